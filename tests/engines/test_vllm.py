# SPDX-License-Identifier: MIT
"""The engine vllm for real: vLLM's CPU build on a random model, driven over pipes as llem does."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import types
from typing import Any
from unittest import mock

import tap
from driver import ROOT, RpcError, Worker, python_worker

BUILD = pathlib.Path(os.environ.get("LLEM_TEST_BUILD_DIR", ROOT / "build-check"))
DRIVER = BUILD / "tests/unit/cpu/cpu_driver"
WORKER = ROOT / "engines/vllm/worker.py"
ENV = {
    "PYTHONPATH": str(ROOT / "engines/worker"),
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
}
CACHE_BYTES = 64 << 20
ENGINE = {"enforce_eager": True, "max_model_len": 256, "kv_cache_memory_bytes": CACHE_BYTES}
PROMPTS = [[5 + i % 97 for i in range(140)], [1, 7, 9], [5 + i % 97 for i in range(150)]]
TMP = tempfile.TemporaryDirectory()
OUT = 8


def model() -> str:
    """A random Llama with a tokenizer of words; the size of its heads is one that vLLM knows."""
    path = pathlib.Path(TMP.name) / "model"
    if path.exists():
        return str(path)
    import tokenizers
    import torch
    import transformers

    torch.manual_seed(7)
    config = transformers.LlamaConfig(
        vocab_size=512,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=512,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=0.2,
        tie_word_embeddings=False,
    )
    transformers.LlamaForCausalLM(config).float().save_pretrained(path)
    words = tokenizers.Tokenizer(
        tokenizers.models.WordLevel(
            {"<unk>": 0, "<s>": 1, "</s>": 2} | {f"w{i}": i for i in range(3, 512)},
            unk_token="<unk>",
        )
    )
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(path)
    return str(path)


def config(section: dict[str, Any], **task: Any) -> dict[str, Any]:
    """A resolved configuration as far as the worker reads it."""
    task = {
        "model": model(),
        "random_seed": 42,
        "max_output_tokens": OUT,
        "ignore_eos": True,
        **task,
    }
    return {"engine": "vllm", "task": task, "vllm": section}


@contextlib.contextmanager
def worker(section: dict[str, Any], load: bool = True, **task: Any):
    """A worker that is initialised with these settings and, unless told otherwise, loaded."""
    with python_worker(WORKER, env=ENV) as w:
        try:
            w.call(
                "initialize", protocol=1, engine="vllm", config=config(section, **task), paths={}
            )
            if load:
                w.call("load_prompts", prompts=PROMPTS, max_input_tokens=None)
                w.loaded = w.call("load_model")
            yield w
        except RpcError as error:
            if error.kind != "engine":
                raise
            raise AssertionError(f"{error}\n{w.end()[1][-4000:]}") from error


def run(w: Worker, indices: list[int], repeats: int = 1, stream: bool = False):
    """A pass: its reply and the receipts by (repeat, prompt)."""
    reply = w.call("run_inference", **{"pass": 0}, indices=indices, repeats=repeats, stream=stream)
    return reply, {(r["repeat"], r["i"]): r for r in w.take("request")}


def refused(section: dict[str, Any], **task: Any) -> RpcError:
    """The error that these settings get at `initialize`."""
    try:
        with worker(section, load=False, **task):
            raise AssertionError(f"{section} was taken")
    except RpcError as error:
        return error


def logits(sequences: list[list[int]]) -> list[list[float]]:
    """What the engine cpu computes for the token after each of some sequences."""
    if not DRIVER.exists():
        raise tap.Skip(f"{DRIVER} is not built")
    lines = "".join(" ".join(map(str, s)) + "\n" for s in sequences)
    out = subprocess.run(
        [DRIVER, "logits", model(), "scalar"],
        input=lines,
        text=True,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    return [[float(x) for x in line.split()] for line in out.splitlines()]


def descendants(of: int) -> set[int]:
    """The processes below one that still run or have not been reaped."""
    found, todo = set(), [of]
    while todo:
        try:
            kids = pathlib.Path(f"/proc/{todo[-1]}/task/{todo.pop()}/children").read_text().split()
        except OSError:
            continue
        found |= {int(k) for k in kids}
        todo += [int(k) for k in kids]
    return found


# What the loaded workers of the tests below gave, so that one load serves several tests.
GREEDY: dict[str, Any] = {}


def test_settings_take_effect_and_a_load_leaves_no_process_behind():
    asked = {
        **ENGINE,
        "block_size": 32,
        "max_num_seqs": 4,
        "max_num_batched_tokens": 256,
        "enable_prefix_caching": True,
        "enable_chunked_prefill": True,
        "kv_cache_dtype": "auto",
        "tensor_parallel_size": 1,
        "pipeline_parallel_size": 1,
        "distributed_executor_backend": "mp",
        "disable_custom_all_reduce": True,
        "attention": {"backend": "CPU_ATTN", "flash_attn_max_num_splits_for_cuda_graph": 16},
        "compilation_config": {"cudagraph_num_of_warmups": 1},
        "cpu_offload_gb": 0,
        "offload_num_in_group": 1,
    }
    with worker({"dtype": "float32", "engine": asked}) as w:
        GREEDY["loaded"] = w.loaded
        effective = w.loaded["effective"]
        assert effective["dtype"] == "float32"
        for name, value in asked.items():
            if isinstance(value, dict):
                for key, inner in value.items():
                    assert effective[name][key] == inner, (name, key, effective[name])
            else:
                assert effective[name] == value, (name, effective.get(name))
        GREEDY["pass"] = run(w, [0, 1, 2], repeats=2)
        GREEDY["stream"] = run(w, [0, 1], stream=True)
        GREEDY["warmup_ms"] = w.call("run_warmup_prompt", index=0)["latency_ms"]
        GREEDY["observed"] = w.call("capture_observed_params")
        GREEDY["synchronised"] = w.call("synchronize")["t_ns"]
        for prompt, words in (([3] * 256, "no room"), ([512], "vocabulary")):
            try:
                w.call("load_prompts", prompts=[prompt], max_input_tokens=None)
                raise AssertionError("taken")
            except RpcError as error:
                assert error.kind == "config" and words in str(error), error
        w.call("load_prompts", prompts=PROMPTS, max_input_tokens=None)
        children = descendants(w.process.pid)
        assert len(children) >= 2, "vLLM works in processes of its own"
        w.call("cleanup")
        assert not descendants(w.process.pid), "cleanup leaves processes"
        w.call("shutdown")
        assert w.process.wait(30) == 0
        assert not [p for p in children if pathlib.Path(f"/proc/{p}").exists()]


def test_receipts_have_plausible_counts_and_ordered_times():
    reply, receipts = GREEDY["pass"]
    assert len(receipts) == 6
    for (repeat, i), r in receipts.items():
        assert r["input_tokens"] == len(PROMPTS[i])
        assert r["output_tokens"] == len(r["output_ids"]) == OUT
        assert r["finish"] == "length"
        times = [r[k] for k in ("t_submit_ns", "t_scheduled_ns", "t_first_ns", "t_last_ns")]
        assert [reply["t_begin_ns"], *times, reply["t_end_ns"]] == sorted(
            [reply["t_begin_ns"], *times, reply["t_end_ns"]]
        ), (repeat, i, times)
        assert times[3] > times[2], "eight tokens take more than one step"
    assert reply["peak_memory_bytes"] is None  # of a GPU; there is none
    assert GREEDY["warmup_ms"] > 0 and GREEDY["synchronised"] > reply["t_end_ns"]


def test_prefix_hits_are_those_of_the_pass_alone():
    _, receipts = GREEDY["pass"]
    # Prompts 0 and 2 share 140 tokens, four whole blocks of 32; repeats begin with an empty cache.
    for repeat in (0, 1):
        cached = [receipts[repeat, i]["cached_tokens"] for i in (0, 1, 2)]
        assert cached == [0, 0, 128], cached


def test_a_stream_tells_the_time_of_every_token():
    reply, receipts = GREEDY["stream"]
    for i in (0, 1):
        r = receipts[0, i]
        assert len(r["token_ns"]) == r["output_tokens"] == OUT
        assert r["token_ns"] == sorted(r["token_ns"]) and r["t_first_ns"] == r["token_ns"][0]
        assert r["token_ns"][-1] <= reply["t_end_ns"]
        assert r["output_ids"] == GREEDY["pass"][1][0, i]["output_ids"]


def test_greedy_tokens_are_those_of_the_engine_cpu():
    assert GREEDY["observed"]["sampling_params"]["temperature"] == 0, "unset sampling is greedy"
    assert GREEDY["observed"]["sampling_params"]["max_tokens"] == OUT
    sequences, want = [], []
    for i, prompt in enumerate(PROMPTS):
        ids = GREEDY["pass"][1][0, i]["output_ids"]
        for k, token in enumerate(ids):
            sequences.append(prompt + ids[:k])
            want.append(token)
    got = [max(range(len(x)), key=x.__getitem__) for x in logits(sequences)]
    assert got == want


def test_ngram_speculation_gives_the_same_tokens_and_an_end_of_sequence_stops():
    ids = GREEDY["pass"][1][0, 0]["output_ids"]
    stop = next(t for t in ids[2:] if t not in ids[:2])
    copy = pathlib.Path(TMP.name) / "stops"
    shutil.copytree(model(), copy)
    for name in ("config.json", "generation_config.json"):
        file = json.loads((copy / name).read_text())
        file["eos_token_id"] = stop
        (copy / name).write_text(json.dumps(file))
    speculative = {"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 3}
    section = {"dtype": "float32", "engine": {**ENGINE, "speculative_config": speculative}}
    with worker(section, model=str(copy), ignore_eos=False) as w:
        effective = w.loaded["effective"]["speculative_config"]
        assert effective["method"] == "ngram" and effective["num_speculative_tokens"] == 3
        r = run(w, [0])[1][0, 0]
        assert r["output_ids"] == ids[: ids.index(stop) + 1] and r["finish"] == "stop", (r, ids)
        assert r["output_tokens"] == len(r["output_ids"])


def test_a_draft_model_gives_the_same_tokens():
    speculative = {"method": "draft_model", "model": model(), "num_speculative_tokens": 2}
    section = {"dtype": "float32", "engine": {**ENGINE, "speculative_config": speculative}}
    with worker(section) as w:
        assert w.loaded["effective"]["speculative_config"]["model"] == model()
        for i, prompt in enumerate(PROMPTS):
            del prompt
            assert run(w, [i])[1][0, i]["output_ids"] == GREEDY["pass"][1][0, i]["output_ids"]


def test_beam_search_is_no_worse_than_greedy():
    import math

    section = {
        "dtype": "float32",
        "engine": ENGINE,
        "beam_search": {"beam_width": 12, "length_penalty": 1.0},
    }
    with worker(section, max_output_tokens=4) as w:
        _, receipts = run(w, [0, 1])
        observed = w.call("capture_observed_params")["sampling_params"]
    assert observed["beam_width"] == 12 and observed["length_penalty"] == 1.0
    for i in (0, 1):
        r = receipts[0, i]
        assert r["input_tokens"] == len(PROMPTS[i])
        assert r["output_tokens"] == len(r["output_ids"]) == 4 * 12
        best, greedy = r["output_ids"][:4], GREEDY["pass"][1][0, i]["output_ids"][:4]
        sums = []
        for ids in (best, greedy):
            rows = logits([PROMPTS[i] + ids[:k] for k in range(4)])
            sums.append(
                sum(x[t] - math.log(sum(map(math.exp, x))) for x, t in zip(rows, ids, strict=True))
            )
        assert sums[0] >= sums[1] - 1e-3, sums


SAMPLING = {
    "temperature": 0.9,
    "top_k": 40,
    "top_p": 0.95,
    "repetition_penalty": 1.2,
    "min_p": 0.01,
    "min_tokens": 2,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.25,
    "ignore_eos": True,
    "n": 2,
}


def test_sampling_settings_reach_vllm_and_a_pass_repeats_itself():
    with worker({"dtype": "float32", "engine": ENGINE, "sampling": SAMPLING}) as w:
        observed = w.call("capture_observed_params")["sampling_params"]
        for name, value in SAMPLING.items():
            assert observed[name] == value, (name, observed[name])
        first, second = run(w, [1])[1][0, 1], run(w, [1])[1][0, 1]
        assert first["output_tokens"] == 2 * OUT == len(first["output_ids"])
        assert first["output_ids"] == second["output_ids"], "each prompt has its seed"
        assert first["output_ids"][:OUT] != first["output_ids"][OUT:], "two answers"
        assert "t_first_ns" not in first, "of two answers there is no one first token"


def test_settings_of_other_versions_are_refused_with_their_successors():
    for section, name, words in (
        ({"engine": {"swap_space": 4}}, "engine.swap_space", "leave it out"),
        ({"engine": {"num_scheduler_steps": 8}}, "engine.num_scheduler_steps", "leave it out"),
        (
            {"engine": {"max_seq_len_to_capture": 8192}},
            "engine.max_seq_len_to_capture",
            "max_cudagraph_capture_size",
        ),
        (
            {"engine": {"attention": {"use_cudnn_prefill": True}}},
            "engine.attention.use_cudnn_prefill",
            "mla_prefill_backend",
        ),
        (
            {"beam_search": {"beam_width": 2, "early_stopping": True}},
            "beam_search.early_stopping",
            "leave it out",
        ),
    ):
        error = refused(section)
        assert error.kind == "config" and f"vllm.{name}" in str(error), error
        assert "0.32" in str(error) and words in error.hint, (str(error), error.hint)


def test_unknown_settings_are_refused_with_the_nearest_name():
    for section, path, near in (
        ({"engine": {"max_num_sequences": 4}}, "engine.max_num_sequences", "max_num_seqs"),
        ({"sampling": {"temprature": 1}}, "sampling.temprature", "temperature"),
        ({"beam_search": {"beam_widht": 1}}, "beam_search.beam_widht", "beam_width"),
        (
            {"engine": {"compilation_config": {"cudagraf_mode": 0}}},
            "engine.compilation_config.cudagraf_mode",
            "cudagraph_mode",
        ),
        (
            {"engine": {"speculative_config": {"num_spec_tokens": 1}}},
            "engine.speculative_config.num_spec_tokens",
            "num_speculative_tokens",
        ),
    ):
        error = refused(section)
        assert error.kind == "config" and f"vllm.{path}" in str(error), error
        assert near in error.hint, error.hint
    error = refused({"enforce_eager": True})
    assert "would not reach vLLM" in str(error) and "vllm.engine" in error.hint
    error = refused({"sampling": {"temperature": 1.0}, "beam_search": {"beam_width": 2}})
    assert "exclude each other" in str(error)


def test_texts_are_tokenised_and_cut_by_vllms_own_tokenizer():
    with worker({}, load=False) as w:
        got = w.call("load_prompts", prompts=["w5 w6 w7 w8", "w9 nowhere"], max_input_tokens=3)
        assert got == {"input_tokens": [3, 2], "truncated": 1}, got
        try:
            w.call("load_prompts", prompts=[""], max_input_tokens=3)
            raise AssertionError("taken")
        except RpcError as error:
            assert error.kind == "config" and "prompt 0 has no tokens" in str(error)


def byte_model() -> str:
    """The same model with a tokenizer that the engine cpu knows too: byte-level BPE."""
    import transformers

    path = pathlib.Path(TMP.name) / "bytes"
    if not path.exists():
        shutil.copytree(model(), path)
        file = ROOT / "tests/data/tokenizers/gpt2.json"
        transformers.PreTrainedTokenizerFast(
            tokenizer_file=str(file), eos_token="<|endoftext|>"
        ).save_pretrained(path)
    return str(path)


def run_llem(
    engine: str, section: dict[str, Any]
) -> tuple[dict[str, Any], list[str], list[dict[str, Any]]]:
    """`llem run` of four prompts, verified: the result, the hashes of what was generated, and it"""
    file, out = (pathlib.Path(TMP.name) / f"{engine}{end}" for end in (".yaml", "-results"))
    dataset = {"source": "random", "n_prompts": 4, "input_tokens": 20}
    task = {"model": byte_model(), "max_output_tokens": OUT, "ignore_eos": True, "dataset": dataset}
    output = {"save_outputs": "text"}
    file.write_text(
        json.dumps({"engine": engine, "task": task, engine: section, "output": output})
    )
    env = {**os.environ, "LLEM_PYTHON_VLLM": sys.executable}
    llem = BUILD / "llem"
    done = subprocess.run([llem, "run", "--quick", file, "-o", out], env=env, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    (path,) = out.glob("*/*/result.json")
    assert subprocess.run([llem, "verify", path.parent], capture_output=True).returncode == 0
    reader = subprocess.run([ROOT / "tools/test-python"], stdout=subprocess.PIPE, text=True)
    script = (
        "import pyarrow.parquet as q, sys; t = q.read_table(sys.argv[1]).to_pylist();"
        "print(*(r['output_sha256'] for r in sorted(t, key=lambda r: r['index'])"
        " if r['pass'] == 0), sep=chr(10))"
    )
    hashes = subprocess.run(
        [reader.stdout.strip(), "-c", script, path.parent / "requests.parquet"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.split()
    lines = (path.parent / "outputs.jsonl").read_text().splitlines()
    outputs = sorted(map(json.loads, lines), key=lambda x: x["index"])
    return json.loads(path.read_text()), hashes, outputs


def test_llem_runs_it_from_a_file_with_the_tokens_of_the_engine_cpu():
    import transformers

    result, hashes, outputs = run_llem("vllm", {"dtype": "float32", "engine": ENGINE})
    assert result["engine"] == "vllm" and result["engine_version"].startswith("0.")
    assert result["tokens"]["input"] == 4 * 20 and result["tokens"]["output"] == 4 * OUT
    assert result["latency_stats"]["ttft_samples"] == 4, "times of the engine core were taken over"
    _, same, texts = run_llem("cpu", {"dtype": "float32"})
    assert len(hashes) == 4 and all(len(h) == 64 for h in hashes) and hashes == same
    tokenizer = transformers.AutoTokenizer.from_pretrained(byte_model())
    for x in outputs:
        text = tokenizer.decode(x["ids"], skip_special_tokens=True)
        assert x["text"] == text.replace("\0", "\ufffd"), x
    assert len(outputs) == 4 and all(x["text"] for x in outputs) and outputs == texts


def test_a_missing_model_is_named():
    error = refused({}, model="/nowhere/model")
    assert error.kind == "model_not_found" and "/nowhere/model" in str(error)


def test_a_missing_package_is_a_sentence_with_the_command():
    python = sys._base_executable
    if subprocess.run([python, "-c", "import vllm"], stderr=subprocess.DEVNULL).returncode == 0:
        raise tap.Skip(f"{python} has vllm")
    with python_worker(WORKER, python, ENV) as w:
        try:
            w.call("initialize", protocol=1, engine="vllm", config=config({}), paths={})
            raise AssertionError("started")
        except RpcError as error:
            assert error.kind == "missing_package" and "vllm" in str(error)
            assert "-m pip install vllm" in error.hint


def test_a_machine_without_the_gpus_is_told_in_a_sentence():
    sys.path[:0] = [str(ROOT / "engines/worker"), str(WORKER.parent)]
    import worker as module

    engine = object.__new__(module.Vllm)
    engine.asked = types.SimpleNamespace(llm={"tensor_parallel_size": 2})
    for kind, words in (("cuda", "is 2, but 0 GPUs are visible"), ("", "finds no GPU")):
        platform = types.SimpleNamespace(device_type=kind)
        with mock.patch("vllm.platforms.current_platform", platform):
            (error,) = engine.check_hardware()
        assert words in error, error
    with worker({}, load=False) as w:
        assert w.call("check_hardware")["errors"] == [], "the CPU build needs none"


def test_too_much_memory_is_told_as_such():
    engine = {**ENGINE, "kv_cache_memory_bytes": 1 << 44}
    with worker({"engine": engine}, load=False) as w:
        w.call("load_prompts", prompts=PROMPTS, max_input_tokens=None)
        try:
            w.call("load_model")
            raise AssertionError("loaded")
        except RpcError as error:
            assert error.kind == "out_of_memory", (str(error), error.kind)
            assert "kv_cache_memory_bytes" in error.hint
        w.call("cleanup")
        assert not descendants(w.process.pid)
        w.call("shutdown")


def test_a_value_that_vllm_refuses_is_a_configuration_error():
    with worker({"engine": {**ENGINE, "attention": {"backend": "NONSENSE"}}}, load=False) as w:
        w.call("load_prompts", prompts=PROMPTS, max_input_tokens=None)
        try:
            w.call("load_model")
            raise AssertionError("loaded")
        except RpcError as error:
            assert error.kind == "config" and "NONSENSE" in str(error), error
        w.call("shutdown")


if __name__ == "__main__":
    tap.run()
