# SPDX-License-Identifier: MIT
"""engines/worker/llem_worker.py around a small engine: the channel, receipts, errors, the end."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import tap

ROOT = pathlib.Path(os.environ["LLEM_TEST_SOURCE_DIR"])
sys.path[:0] = [str(ROOT / "tests/engines"), str(ROOT / "engines/worker")]
import driver  # noqa: E402
import llem_worker  # noqa: E402

ENGINE = r"""
import sys
sys.path.insert(0, %(module)r)
import os, subprocess, time
import llem_worker

class GatedRepoError(Exception):
    pass

class Small(llem_worker.Engine):
    name = "small"
    capabilities = ["receipts"]
    ready = False

    def version(self):
        return "1.2"

    def check_hardware(self):
        if self.setup.get("small.broken"):
            raise RuntimeError("a broken check")
        return ["no such device"]

    def load_prompts(self, prompts, max_input_tokens, chat_template):
        self.prompts = prompts
        return [len(p) for p in prompts], 0

    def load_model(self, progress):
        progress("half way", 0.5)
        print("a library prints")
        os.write(1, b"a C library prints\n")
        subprocess.run(["echo", "a child prints"])
        assert sys.stdin.read() == "", "nothing is to be read there"
        self.ready = True
        return {"devices": [], "model": {"path": self.setup.model}, "effective": {}}

    def run_inference(self, pass_id, indices, repeats, stream):
        begin = time.monotonic_ns()
        if self.setup.get("small.slow"):
            time.sleep(60)
        receipts = [
            {"repeat": r, "i": i, "t_submit_ns": begin, "t_last_ns": begin + 1, "t_first_ns": None,
             "input_tokens": len(self.prompts[i]), "output_tokens": 1, "finish": "stop"}
            for r in range(repeats) for i in indices
        ]
        steps = {"begin_ns": [begin], "end_ns": [begin + 1], "prefill_tokens": [3],
                 "decode_tokens": [0]}
        return llem_worker.Inference(begin, time.monotonic_ns(), None, receipts, steps,
                                     {"odd": float("nan")})

    def capture_observed_params(self):
        return {"engine_params": {"kinds": {"b", "a"}, "object": object()}}

    def run_warmup_prompt(self, index):
        if index == 1:
            raise MemoryError()
        if index == 2:
            raise GatedRepoError("401")
        if index == 3:
            import no_such_package.sub
        if index == 4:
            raise llem_worker.WorkerError("not so", "config", "do it otherwise")
        if index == 5:
            raise ValueError("first line\nsecond line")
        if index == 6:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        if index == 7:
            print("dying", file=sys.stderr)
            os._exit(9)
        return 1.5

llem_worker.serve(Small)
"""
CONFIG = {"task": {"model": "/host/models/m"}, "small": {}}


class small:
    """The worker above, initialised."""

    def __init__(self, **options):
        self.options = options

    def __enter__(self):
        self.dir = tempfile.TemporaryDirectory()
        path = pathlib.Path(self.dir.name) / "worker.py"
        path.write_text(ENGINE % {"module": str(ROOT / "engines/worker")})
        self.worker = driver.python_worker(path)
        self.hello = self.worker.call(
            "initialize",
            protocol=1,
            engine="small",
            config={**CONFIG, "small": self.options},
            paths={"/host": "/inside"},
        )
        return self.worker

    def __exit__(self, *exception):
        self.worker.__exit__()
        self.dir.cleanup()


def error_of(worker, method, **params):
    try:
        worker.call(method, **params)
    except driver.RpcError as error:
        return error
    raise AssertionError(f"{method} did not fail")


def test_whatever_is_printed_goes_to_standard_error_and_not_into_the_protocol():
    with small() as w:
        loaded = w.call("load_model")
        assert loaded["model"] == {"path": "/inside/models/m"} and loaded["load_s"] > 0
        assert w.take("progress") == [{"text": "half way", "fraction": 0.5}]
        w.call("shutdown")
        status, log = w.end()
        assert status == 0
        for text in ("a library prints", "a C library prints", "a child prints"):
            assert text in log, log


def test_initialize_tells_name_version_libraries_and_capabilities():
    s = small()
    with s:
        assert s.hello["name"] == "small" and s.hello["version"] == "1.2"
        assert s.hello["protocol"] == 1 and s.hello["capabilities"] == ["repeats", "receipts"]
        assert s.hello["libraries"]["python"] == "%d.%d.%d" % sys.version_info[:3]


def test_another_version_of_the_protocol_is_refused():
    with small() as w:
        error = error_of(w, "initialize", protocol=2, engine="small", config={}, paths={})
        assert error.kind == "config" and "version 1" in str(error)


def test_clock_and_synchronize_answer_the_monotonic_clock():
    with small() as w:
        for method in ("clock", "synchronize"):
            before = time.monotonic_ns()
            t = w.call(method)["t_ns"]
            assert before <= t <= time.monotonic_ns()


def test_receipts_come_before_the_reply_with_their_pass_and_without_what_is_unknown():
    with small() as w:
        w.call("load_prompts", prompts=["ab", "abc"], max_input_tokens=None)
        done = w.call("run_inference", **{"pass": 2, "indices": [1, 0], "repeats": 2})
        receipts = w.take("request")
        assert [(r["pass"], r["repeat"], r["i"], r["input_tokens"]) for r in receipts] == [
            (2, 0, 1, 3),
            (2, 0, 0, 2),
            (2, 1, 1, 3),
            (2, 1, 0, 2),
        ]
        assert all("t_first_ns" not in r for r in receipts)
        assert w.take("steps")[0]["prefill_tokens"] == [3]
        assert done["t_end_ns"] >= done["t_begin_ns"] and done["peak_memory_bytes"] is None
        assert done["odd"] is None, "a number that is none is null"


def test_check_hardware_and_capture_never_fail():
    with small(broken=True) as w:
        assert w.call("check_hardware") == {"errors": ["RuntimeError: a broken check"]}
        assert w.call("capture_observed_params") == {
            "engine_params": {"kinds": ["a", "b"], "object": "object"},
            "sampling_params": {},
        }


def test_every_error_has_a_kind_and_most_a_remedy():
    with small() as w:
        for index, kind, text, hint in (
            (1, "out_of_memory", "out of memory", "smaller"),
            (2, "gated_model", "/inside/models/m", "HF_TOKEN"),
            (3, "missing_package", "no_such_package", "-m pip install no_such_package"),
            (4, "config", "not so", "do it otherwise"),
            (5, "engine", "ValueError: first line", None),
            (6, "out_of_memory", "Tried to allocate", "batch_size"),
        ):
            error = error_of(w, "run_warmup_prompt", index=index)
            assert error.kind == kind and text in str(error), (error.kind, error)
            assert (error.hint is None) if hint is None else (hint in error.hint), error.hint
            assert "\n" not in str(error)
            assert "Traceback" in error.error["data"]["traceback"]
        assert w.call("run_warmup_prompt", index=0) == {"latency_ms": 1.5}


def test_an_unknown_method_is_an_error_and_no_request_ends_the_worker():
    with small() as w:
        assert error_of(w, "no_such_method").code == -32601
        w.process.stdin.write(b"this is no request\n")
        error = error_of(w, "clock")
        assert error.code == -32700 and "this is no request" in str(error)
        assert w.end()[0] == 0


def test_a_method_before_initialize_is_an_error():
    with tempfile.TemporaryDirectory() as tmp:
        path = pathlib.Path(tmp) / "worker.py"
        path.write_text(ENGINE % {"module": str(ROOT / "engines/worker")})
        with driver.python_worker(path) as w:
            assert error_of(w, "load_model").kind == "config"


def test_at_end_of_input_it_answers_what_was_asked_and_leaves():
    with small() as w:
        w.process.stdin.write(b'{"jsonrpc":"2.0","id":7,"method":"clock"}\n')
        status, _ = w.end()
        assert status == 0


def test_it_leaves_a_request_that_nobody_waits_for():
    with small(slow=True) as w:
        w.call("load_prompts", prompts=["a"], max_input_tokens=None)
        request = {"jsonrpc": "2.0", "id": 9, "method": "run_inference", "params": {"indices": [0]}}
        w.process.stdin.write(json.dumps(request).encode() + b"\n")
        w.process.stdin.close()
        w.process.stdout.close()
        assert w.process.wait(timeout=20) == 1


def test_a_message_larger_than_the_pipe_arrives_whole():
    with small() as w:
        w.call("load_prompts", prompts=["x" * 100] * 20000, max_input_tokens=None)
        w.call("run_inference", **{"pass": 0, "indices": list(range(20000)), "repeats": 1})
        assert len(w.take("request")) == 20000


def test_plain_values_have_no_addresses_and_no_private_fields():
    class Thing:
        def __init__(self):
            self.a = 1
            self._b = 2
            self.c = object()

    assert llem_worker.plain(Thing()) == {"a": 1, "c": "object"}
    assert llem_worker.plain({"x": (1, float("inf")), 2: {3, 1}}) == {"x": [1, None], "2": [1, 3]}


def test_a_revision_is_split_from_an_id_but_not_from_a_directory():
    with tempfile.TemporaryDirectory() as tmp:
        path = os.path.join(tmp, "a@b")
        os.mkdir(path)
        assert llem_worker.split_revision(path) == (path, None)
    assert llem_worker.split_revision("org/model@v1.0") == ("org/model", "v1.0")
    assert llem_worker.split_revision("org/model") == ("org/model", None)


def test_the_module_needs_nothing_but_the_standard_library():
    path = importlib.util.find_spec("llem_worker").origin
    run = subprocess.run(
        [sys.executable, "-I", "-S", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert run.returncode == 0, run.stdout


def test_prompts_are_cut_at_their_end_and_refused_where_nothing_can_start():
    def encode(text, limit):
        return [len(word) for word in text.split()][:limit]

    cut = llem_worker.token_ids(["a bb ccc", [7, 8, 9], "d"], 2, encode)
    assert cut == ([[1, 2], [7, 8], [1]], 2)
    assert llem_worker.token_ids(["a bb ccc"], None, encode) == ([[1, 2, 3]], 0)
    llem_worker.check_prompts([[1, 2]], 3, 3)
    for prompts, context, vocabulary, words in (
        ([[1, 2], [1, 2, 3]], 3, None, "prompt 1 has 3 tokens"),
        ([[3]], None, 3, "outside the model's vocabulary of 3"),
        ([[-1]], None, 3, "outside the model's vocabulary of 3"),
    ):
        try:
            llem_worker.check_prompts(prompts, context, vocabulary, "the.limit")
        except llem_worker.WorkerError as error:
            assert words in str(error) and error.kind == "config"
            assert context is None or error.hint.endswith("below 3, or raise the.limit")
        else:
            raise AssertionError(words)
    try:
        llem_worker.token_ids(["a", " "], None, encode)
    except llem_worker.WorkerError as error:
        assert "prompt 1 has no tokens" in str(error)
    else:
        raise AssertionError("an empty prompt")


def test_a_text_is_what_the_decoder_writes_with_any_kind_of_tokenizer():
    class Cleaning:
        def decode(self, ids, skip_special_tokens, clean_up_tokenization_spaces=True):
            assert skip_special_tokens
            return "so." if clean_up_tokenization_spaces else "so ."

    class Plain:
        def decode(self, ids, skip_special_tokens):
            return "so ."

    assert llem_worker.text_of(Cleaning(), [1]) == llem_worker.text_of(Plain(), [1]) == "so ."


if __name__ == "__main__":
    tap.run()
