# SPDX-License-Identifier: MIT
"""The engine tensorrt against a stand-in for TensorRT-LLM; standin/README.md says what it shows."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import types
from contextlib import contextmanager
from typing import Any
from unittest import mock

import tap
from driver import ROOT, RpcError, Worker, python_worker

WORKER = ROOT / "engines/tensorrt/worker.py"
TMP = tempfile.TemporaryDirectory()
MODEL = pathlib.Path(TMP.name) / "model"
CACHE = pathlib.Path(TMP.name) / "cache"
MODEL.mkdir()
(MODEL / "config.json").write_text(
    json.dumps(
        {
            "architectures": ["LlamaForCausalLM"],
            "vocab_size": 1000,
            "eos_token_id": [2, 3],
            "hidden_size": 256,
            "num_attention_heads": 4,
            "num_hidden_layers": 2,
            "num_key_value_heads": 2,
            "intermediate_size": 512,
        }
    )
)
(MODEL / "model.safetensors").write_bytes(b"weights")
PROMPTS = [[5 + i % 97 for i in range(140)], [1, 7, 9], [5 + i % 97 for i in range(150)]]
OUT = 6


def env(version: str = "1.2.0", **more: str) -> dict[str, str]:
    paths = [ROOT / "engines/worker", ROOT / "tests/engines/standin"]
    return {
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "LLEM_STANDIN_VERSION": version,
        "LLEM_TRT_BUILD_CACHE_PATH": str(CACHE),
        "CUDA_VISIBLE_DEVICES": "",
        "TMPDIR": TMP.name,
        **more,
    }


def start(w: Worker, section: dict[str, Any], top: Any = None, **task: Any) -> dict[str, Any]:
    task = {"model": str(MODEL), "random_seed": 42, "max_output_tokens": OUT, **task}
    config = {"engine": "tensorrt", "task": task, "tensorrt": section, **(top or {})}
    return w.call("initialize", protocol=1, engine="tensorrt", config=config, paths={})


@contextmanager
def worker(section: dict[str, Any], version: str = "1.2.0", load: bool = True, **task: Any):
    """A worker that is initialised with these settings and, unless told otherwise, loaded."""
    with python_worker(WORKER, env=env(version)) as w:
        w.started = start(w, section, **task)
        if load:
            w.call("load_prompts", prompts=PROMPTS, max_input_tokens=None)
            w.loaded = w.call("load_model")
        yield w


def refused(section: dict[str, Any], version: str = "1.2.0", **task: Any) -> RpcError:
    try:
        with worker(section, version, load=False, **task):
            raise AssertionError(f"{section} was taken")
    except RpcError as error:
        return error


def run(w: Worker, indices: list[int], repeats: int = 1, stream: bool = False):
    reply = w.call("run_inference", **{"pass": 0}, indices=indices, repeats=repeats, stream=stream)
    return reply, {(r["repeat"], r["i"]): r for r in w.take("request")}


def children(of: int) -> list[str]:
    return pathlib.Path(f"/proc/{of}/task/{of}/children").read_text().split()


SAMPLING = {
    "temperature": 0.7,
    "top_k": 40,
    "top_p": 0.9,
    "repetition_penalty": 1.1,
    "min_p": 0.05,
    "min_tokens": 2,
    "n": 2,
    "ignore_eos": True,
}
BUILT = {
    "backend": "trt",
    "max_batch_size": 8,
    "max_input_len": 256,
    "max_seq_len": 512,
    "max_num_tokens": 1024,
    "dtype": "bfloat16",
    "fast_build": True,
    "tensor_parallel_size": 2,
    "pipeline_parallel_size": 1,
    "quant_config": {"quant_algo": "W4A16_AWQ", "kv_cache_quant_algo": "INT8"},
    "kv_cache_config": {
        "enable_block_reuse": False,
        "free_gpu_memory_fraction": 0.5,
        "max_tokens": 4096,
        "host_cache_size": 1 << 20,
    },
    "scheduler_config": {"capacity_scheduling_policy": "MAX_UTILIZATION"},
}


def check_effective(asked: dict[str, Any], effective: dict[str, Any], renamed: dict[str, str]):
    for name, value in asked.items():
        if isinstance(value, dict):
            check_effective(value, effective[name], renamed)
        else:
            assert effective[renamed.get(name, name)] == value, (name, effective)


POLICY = {"capacity_scheduling_policy": "capacity_scheduler_policy"}


def test_every_setting_of_a_built_engine_takes_effect_in_each_version():
    for version in ("1.2.0", "0.21.0"):
        with worker(BUILT, version) as w:
            assert w.started["version"] == version
            check_effective(BUILT, w.loaded["effective"], POLICY)


def test_old_names_of_arguments_are_used_by_old_versions():
    quantised = {"backend": "trt", "quant_config": {"quant_algo": "FP8"}, "sampling": SAMPLING}
    with worker(quantised, "0.12.0") as w:
        observed = w.call("capture_observed_params")["sampling_params"]
        assert observed["max_new_tokens"] == OUT and observed["random_seed"] == 42
        assert run(w, [1])[1][0, 1]["output_tokens"] == 2 * OUT
    with worker(quantised, "1.2.0") as w:
        observed = w.call("capture_observed_params")["sampling_params"]
        assert observed["max_tokens"] == OUT and observed["seed"] == 42


def test_the_pytorch_back_end_takes_what_it_knows_and_refuses_the_rest():
    runtime = {k: v for k, v in BUILT.items() if k not in ("backend", "quant_config", "fast_build")}
    with worker(runtime) as w:
        effective = w.loaded["effective"]
        assert effective["backend"] == "pytorch", "the default of version 1"
        check_effective(runtime, effective, POLICY)
        assert "engine_bytes" not in effective
    for version in ("1.2.0", "0.21.0"):
        for section, words in (
            ({"quant_config": {"quant_algo": "FP8"}}, "quantised"),
            ({"fast_build": True}, "backend: trt"),
        ):
            error = refused({"backend": "pytorch", **section}, version)
            assert error.kind == "config" and words in error.hint, (str(error), error.hint)
    # An FP8 cache has another name there.
    with worker({"quant_config": {"kv_cache_quant_algo": "FP8"}}) as w:
        assert w.loaded["effective"]["kv_cache_config"]["dtype"] == "fp8"


def test_unknown_settings_are_refused_with_the_nearest_name():
    for section, path, near in (
        ({"max_batchsize": 4}, "tensorrt.max_batchsize", "max_batch_size"),
        ({"kv_cache_config": {"max_token": 1}}, "tensorrt.kv_cache_config.max_token", "max_tokens"),
        ({"sampling": {"temprature": 1}}, "tensorrt.sampling.temprature", "temperature"),
        (
            {"backend": "trt", "quant_config": {"quant_algo": "W8A16", "groups": 1}},
            "tensorrt.quant_config.groups",
            "",
        ),
    ):
        error = refused(section)
        assert error.kind == "config" and path in str(error) and "1.2.0" in str(error), error
        assert near in error.hint, error.hint
    error = refused({"backend": "trt", "quant_config": {"quant_algo": "W9"}})
    assert "no quant_config.quant_algo W9" in str(error) and "W4A16_AWQ" in error.hint
    error = refused({"backend": "_autodeploy"})  # the stand-in comes without that part
    assert "no back end _autodeploy" in str(error)


def test_built_engines_are_kept_with_their_size_and_found_again():
    with worker(BUILT) as w:
        first = w.loaded["effective"]
    with worker(BUILT) as w:
        second = w.loaded["effective"]
    assert second["engine_from_cache"] is True and second["build_steps_s"] == {}
    assert first["engine_bytes"] == second["engine_bytes"] > 2 * 5000, "two ranks"
    assert second["engine_cache_bytes"] >= second["engine_bytes"]
    assert second["engine_cache"].startswith(str(CACHE))
    # Other weights under the same path are another engine.
    (MODEL / "model.safetensors").write_bytes(b"other weights")
    with worker(BUILT) as w:
        assert w.loaded["effective"]["engine_from_cache"] is False
        assert w.loaded["effective"]["build_steps_s"] == {"Building engine": 0.5}
    with python_worker(WORKER, env=env(LLEM_TRT_BUILD_CACHE_ENABLED="0")) as w:
        start(w, BUILT)
        assert w.call("load_model")["effective"]["engine_cache"] is None


def test_a_built_engine_is_checked_before_it_is_loaded():
    engine = pathlib.Path(TMP.name) / "engine"
    engine.mkdir()
    path = str(engine)
    error = refused({"engine_path": "/nowhere/engine"})
    assert error.kind == "config" and "no such directory" in str(error)
    assert "config.json cannot be read" in str(refused({"engine_path": path}))
    mapping = {"tp_size": 2, "pp_size": 1}
    (engine / "config.json").write_text(json.dumps({"pretrained_config": {"mapping": mapping}}))
    assert "rank0.engine is missing" in str(refused({"engine_path": path}))
    for i in (0, 1):
        (engine / f"rank{i}.engine").write_bytes(bytes(100))
    error = refused({"engine_path": path, "tensor_parallel_size": 4})
    assert "built for tensor_parallel_size 2, not 4" in str(error)
    error = refused({"engine_path": path, "max_seq_len": 128})
    assert "tensorrt.max_seq_len was fixed" in str(error)
    error = refused({"engine_path": path, "backend": "pytorch"})
    assert "runs none" in str(error)
    kept = {"kv_cache_config": {"free_gpu_memory_fraction": 0.4}}
    with worker({"engine_path": path, **kept}) as w:
        check_effective(kept, w.loaded["effective"], {})
        assert w.loaded["effective"]["engine_bytes"] > 200
        assert w.loaded["effective"]["backend"] == "trt"


def test_receipts_have_plausible_counts_and_ordered_times():
    with worker({}, ignore_eos=True) as w:
        reply, receipts = run(w, [0, 1, 2], repeats=2)
        assert len(receipts) == 6
        for (_, i), r in receipts.items():
            assert r["input_tokens"] == len(PROMPTS[i])
            assert r["output_tokens"] == len(r["output_ids"]) == OUT and r["finish"] == "length"
            times = [reply["t_begin_ns"]]
            times += [r[k] for k in ("t_submit_ns", "t_scheduled_ns", "t_first_ns", "t_last_ns")]
            assert times + [reply["t_end_ns"]] == sorted(times + [reply["t_end_ns"]]), times
        for repeat in (0, 1):  # repeats begin with a cache that has nothing for them
            assert [receipts[repeat, i]["cached_tokens"] for i in (0, 1, 2)] == [0, 0, 128]
        _, streamed = run(w, [0, 1], stream=True)
        for i in (0, 1):
            r = streamed[0, i]
            assert len(r["token_ns"]) == OUT and r["token_ns"] == sorted(r["token_ns"])
            assert r["output_ids"] == receipts[0, i]["output_ids"]
        w.call("run_inference", **{"pass": 0}, indices=[0], repeats=1, stream=False, text=True)
        (r,) = w.take("request")
        assert r["output_ids"] and "output_text" not in r, "the model has no tokenizer"
        assert [x["level"] for x in w.take("log") if "has no tokenizer" in x["text"]] == ["warning"]
        assert w.call("run_warmup_prompt", index=0)["latency_ms"] > 0
        assert w.loaded["model"]["num_kv_heads"] == 2 and w.loaded["model"]["head_size"] == 64


def test_unset_sampling_is_greedy_and_an_end_of_sequence_stops():
    with worker({}) as w:
        observed = w.call("capture_observed_params")["sampling_params"]
        assert observed["top_k"] == 1 and observed["temperature"] is None
        assert observed["end_id"] == 2 and observed["stop_token_ids"] == [3]
        # The stand-in's tokens go up by 7 from the sum of the prompt.
        w.call("load_prompts", prompts=[[981, 1]], max_input_tokens=None)
        r = run(w, [0])[1][0, 0]
        assert r["output_ids"] == [982, 989, 996, 3] and r["finish"] == "stop", r
    with worker({}, ignore_eos=True) as w:
        w.call("load_prompts", prompts=[[981, 1]], max_input_tokens=None)
        assert run(w, [0])[1][0, 0]["output_tokens"] == OUT
    with worker({"sampling": {"temperature": 0.5}}) as w:
        observed = w.call("capture_observed_params")["sampling_params"]
        assert observed["top_p"] == 1.0 and observed["seed"] == 42, "else it would be greedy"
    with worker({"sampling": {"temperature": 0.0, "top_p": 0.9}}) as w:
        observed = w.call("capture_observed_params")["sampling_params"]
        assert observed["top_k"] == 1 and observed["temperature"] is None


def test_sampling_settings_reach_the_library():
    with worker({"sampling": SAMPLING}) as w:
        observed = w.call("capture_observed_params")["sampling_params"]
        for name, value in SAMPLING.items():
            assert observed[name] == value, name
        r = run(w, [1])[1][0, 1]
        assert r["output_tokens"] == 2 * OUT and "t_first_ns" not in r


def test_prompts_that_do_not_fit_are_refused_before_the_window():
    with worker({"max_seq_len": 128}, load=False) as w:
        w.call("load_prompts", prompts=PROMPTS, max_input_tokens=None)
        try:
            w.call("load_model")
            raise AssertionError("taken")
        except RpcError as error:
            assert "no room in the context of 128" in str(error) and "max_seq_len" in error.hint
        try:
            w.call("load_prompts", prompts=["a text"], max_input_tokens=None)
            raise AssertionError("taken")
        except RpcError as error:
            assert "has no tokenizer" in str(error)


def test_every_process_of_the_library_is_ended():
    with worker({}) as w:
        assert len(children(w.process.pid)) == 2
        w.call("cleanup")
        assert not children(w.process.pid)
        w.call("shutdown")
        assert w.process.wait(20) == 0


def test_only_rank_0_speaks():
    for name in ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"):
        other = subprocess.run(
            [sys.executable, WORKER],
            env={**os.environ, **env(), name: "1"},
            input=b'{"jsonrpc":"2.0","id":1,"method":"clock"}\n',
            capture_output=True,
            timeout=60,
        )
        assert other.returncode == 0 and other.stdout == b"" and b"rank 0" in other.stderr


def test_a_machine_without_gpus_is_told_in_a_sentence():
    with worker({"tensor_parallel_size": 2}, load=False) as w:
        (error,) = w.call("check_hardware")["errors"]
        assert error == "the engine tensorrt needs 2 NVIDIA GPUs, and 0 are visible"


def fake_nvml(gpus: int, processes: dict[int, list[tuple[int, int]]]) -> types.SimpleNamespace:
    """The parts of pynvml that are asked, with (pid, bytes) by GPU."""
    return types.SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: gpus,
        nvmlDeviceGetHandleByIndex=lambda i: i,
        nvmlDeviceGetUUID=lambda i: f"GPU-{i}aaa",
        nvmlDeviceGetName=lambda i: b"NVIDIA",
        nvmlDeviceGetPciInfo=lambda i: types.SimpleNamespace(busId=f"00000000:0{i}:00.0"),
        nvmlDeviceGetCudaComputeCapability=lambda i: (9, 0),
        nvmlDeviceGetComputeRunningProcesses=lambda i: [
            types.SimpleNamespace(pid=p, usedGpuMemory=b) for p, b in processes.get(i, [])
        ],
    )


def test_gpus_are_those_that_cuda_would_see_in_its_order():
    sys.path.insert(0, str(ROOT / "engines/worker"))
    import llem_llm

    with mock.patch.dict(sys.modules, pynvml=fake_nvml(3, {})):
        for chosen, want in (
            (None, [0, 1, 2]),
            ("2,0", [2, 0]),
            ("GPU-1a", [1]),
            ("", []),
            ("1,7,0", [1]),
        ):
            with mock.patch.dict(os.environ):
                os.environ.pop("CUDA_VISIBLE_DEVICES", None)
                if chosen is not None:
                    os.environ["CUDA_VISIBLE_DEVICES"] = chosen
                got = llem_llm.visible_gpus()
            assert [g["uuid"] for g in got] == [f"GPU-{i}aaa" for i in want], chosen
            assert all(g["name"] == "NVIDIA" and g["kind"] == "gpu" for g in got)


def test_memory_on_gpus_is_that_of_our_processes_alone():
    sys.path.insert(0, str(ROOT / "engines/worker"))
    import llem_llm

    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
    )
    held = {0: [(os.getpid(), 100), (1, 7000)], 1: [(child.pid, 20), (os.getpid(), 3)]}
    with mock.patch.dict(sys.modules, pynvml=fake_nvml(2, held)):
        assert llem_llm.gpu_memory_of_children() == 123
    with mock.patch.dict(sys.modules, pynvml=fake_nvml(2, {0: [(1, 7000)]})):
        assert llem_llm.gpu_memory_of_children() is None, "nothing of ours is not zero"
    child.communicate()


ADAPTER = MODEL.parent / "adapter"
ADAPTER.mkdir()
(ADAPTER / "adapter_config.json").write_text(json.dumps({"r": 6, "peft_type": "LORA"}))


def test_an_adapter_goes_with_every_request_of_the_pytorch_back_end():
    with worker({}) as w:
        plain = run(w, [0, 1])[1]
    lora = {"adapter_path": str(ADAPTER), "adapter_id": None, "merge_weights": False}
    for version in ("1.2.0", "0.21.0"):
        with worker({"backend": "pytorch"}, version, top={"lora": lora}) as w:
            told = w.loaded["effective"]["lora"]
            assert told == {"adapter": str(ADAPTER), "merged": False, "max_rank": 6}
            for stream in (False, True):
                for key, r in run(w, [0, 1], stream=stream)[1].items():
                    assert r["output_ids"] == [x + 1 for x in plain[key]["output_ids"]]
    for section, change, words in (
        ({"backend": "trt"}, {}, "without room for an adapter"),
        ({}, {"merge_weights": True}, "applies an adapter beside the weights"),
        ({}, {"adapter_path": str(MODEL)}, "has no adapter_config.json"),
    ):
        error = refused(section, top={"lora": {**lora, **change}})
        assert error.kind == "config" and words in str(error), error


def test_the_chat_template_is_off_unless_asked_for_and_recorded():
    sys.path.insert(0, str(ROOT / "engines/worker"))
    import llem_llm
    import llem_worker

    tokenizer = types.SimpleNamespace(
        chat_template="{{ messages }}",
        encode=lambda text: [len(text)],
        apply_chat_template=lambda messages, **options: [3, len(messages[0]["content"]), 4],
    )
    for on, want in ((None, [2]), (True, [3, 2, 4])):
        section = {"tensorrt": {"chat_template": on}, "task": {"model": str(MODEL)}}
        engine = type("", (llem_llm.LlmEngine,), {"name": "tensorrt"})(
            llem_worker.Setup({"config": section})
        )
        engine._tokenizer = tokenizer
        engine.load_prompts(["ab"], None, None)
        assert engine.prompts == [want] and engine.chat is bool(on)
    tokenizer.chat_template = None
    try:
        engine.load_prompts(["ab"], None, None)
        raise AssertionError("taken")
    except llem_worker.WorkerError as error:
        assert error.kind == "config" and "has none" in str(error)
    with worker({"chat_template": True}) as w:
        assert w.loaded["effective"]["chat_template"] is True


def test_every_row_of_engine_yaml_is_in_these_tests():
    text = (WORKER.parent / "engine.yaml").read_text()
    rows = [line.split("path: ")[1].split(",")[0] for line in text.splitlines() if "path: " in line]
    tests = pathlib.Path(__file__).read_text()
    for row in rows:
        key = row.rsplit(".", 1)[-1]
        assert not key or f'"{key}"' in tests, row
    assert len(rows) > 25


def load_error(**more: str) -> RpcError:
    """What a load says that fails as the variables of the stand-in say."""
    with python_worker(WORKER, env=env(**more)) as w:
        start(w, {})
        try:
            w.call("load_model")
        except RpcError as error:
            return error
    raise AssertionError("loaded")


def test_a_model_that_cannot_be_had_is_said_with_its_reason():
    for name, kind, words in (
        ("GatedRepoError", "gated_model", "must be granted by its owner"),
        ("RepositoryNotFoundError", "model_not_found", "the hub has no model"),
        ("LocalEntryNotFoundError", "model_not_found", "the hub cannot be reached"),
    ):
        error = load_error(LLEM_STANDIN_FAIL=f"{name}: of huggingface_hub")
        assert error.kind == kind and words in str(error), (name, error.kind, error)


def test_a_version_that_is_too_old_is_named_with_the_command():
    error = refused({}, "0.11.0")
    assert error.kind == "missing_package" and "tensorrt_llm 0.11.0" in str(error), error
    assert "-m pip install 'tensorrt_llm>=0.12'" in error.hint


def test_faults_are_sentences():
    error = refused({}, model="/nowhere/model")
    assert error.kind == "model_not_found" and "/nowhere/model" in str(error)
    with python_worker(WORKER, env={**env(), "PYTHONPATH": str(ROOT / "engines/worker")}) as w:
        try:
            start(w, {})
            raise AssertionError("started")
        except RpcError as error:
            assert error.kind == "missing_package"
            assert "-m pip install tensorrt_llm" in error.hint
    error = load_error(LLEM_STANDIN_FAIL="OutOfMemoryError: CUDA out of memory. Tried 9 GiB")
    assert error.kind == "out_of_memory" and "free_gpu_memory_fraction" in error.hint


if __name__ == "__main__":
    tap.run()
