# SPDX-License-Identifier: MIT
"""The engine vllm for real: vLLM's CPU build on a random model, driven over pipes as llem does."""

import atexit
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import types
from typing import Any
from unittest import mock

import tap
from driver import ROOT, RpcError, Worker, hub_faults, interrupted, python_worker

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


def config(section: dict[str, Any], top: Any = None, **task: Any) -> dict[str, Any]:
    """A resolved configuration as far as the worker reads it."""
    task = {
        "model": model(),
        "random_seed": 42,
        "max_output_tokens": OUT,
        "ignore_eos": True,
        **task,
    }
    return {"engine": "vllm", "task": task, "vllm": section, **(top or {})}


@contextlib.contextmanager
def worker(section: dict[str, Any], load: bool = True, env: Any = ENV, **task: Any):
    """A worker that is initialised with these settings and, unless told otherwise, loaded."""
    with python_worker(WORKER, env=env) as w:
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


SHARED: list[Worker] = []


def shared() -> Worker:
    """One worker for what ends before or in the load: importing vLLM is most of it."""
    if not SHARED:
        SHARED.append(python_worker(WORKER, env=ENV))
        atexit.register(SHARED[0].__exit__)
    return SHARED[0]


def refused(section: dict[str, Any], load: bool = False, **task: Any) -> RpcError:
    """The error that these settings get at `initialize`, or in the load or the first prompt."""
    w = shared()
    try:
        w.call("initialize", protocol=1, engine="vllm", config=config(section, **task), paths={})
        assert load, f"{section} was taken"
        w.call("load_prompts", prompts=PROMPTS, max_input_tokens=None)
        w.call("load_model")
        w.call("run_warmup_prompt", index=1)  # the first to need some kernels
        raise AssertionError(f"{section} works")
    except RpcError as error:
        return error
    finally:
        w.call("cleanup")


def logits(sequences: list[list[int]], of: str | None = None) -> list[list[float]]:
    """What the engine cpu computes for the token after each of some sequences."""
    if not DRIVER.exists():
        raise tap.Skip(f"{DRIVER} is not built")
    lines = "".join(" ".join(map(str, s)) + "\n" for s in sequences)
    out = subprocess.run(
        [DRIVER, "logits", of or model(), "scalar"],
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
        "attention": {
            "backend": "CPU_ATTN",
            "flash_attn_version": 2,
            "flash_attn_max_num_splits_for_cuda_graph": 16,
            "use_prefill_query_quantization": True,
            "disable_flashinfer_q_quantization": True,
            "use_trtllm_attention": False,
        },
        "compilation_config": {"cudagraph_num_of_warmups": 1},
        "cpu_offload_gb": 0.001,
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


def adapter(rank: int = 4) -> tuple[str, str]:
    """A random adapter as peft saves one, and the model with it merged in."""
    import torch
    from safetensors.torch import load_file, save_file

    path, merged = (pathlib.Path(TMP.name) / name for name in ("adapter", "merged"))
    path.mkdir()
    shutil.copytree(model(), merged)
    weights = load_file(merged / "model.safetensors")
    found = {}
    torch.manual_seed(3)
    for name in list(weights):
        if name.endswith(("q_proj.weight", "down_proj.weight")):
            out, into = weights[name].shape
            a, b = torch.randn(rank, into) * 0.3, torch.randn(out, rank) * 0.3
            stem = f"base_model.model.{name.removesuffix('.weight')}"
            found |= {f"{stem}.lora_A.weight": a, f"{stem}.lora_B.weight": b}
            weights[name] += 2 * b @ a
    save_file(found, path / "adapter_model.safetensors")
    save_file(weights, merged / "model.safetensors", {"format": "pt"})
    settings = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank}
    settings |= {"target_modules": ["q_proj", "down_proj"], "bias": "none"}
    (path / "adapter_config.json").write_text(json.dumps(settings))
    return str(path), str(merged)


def test_an_adapter_gives_the_tokens_of_the_model_with_it_merged_in():
    path, merged = adapter()
    lora = {"adapter_path": path, "adapter_id": None, "merge_weights": False}
    for section, words in (
        ({**lora, "merge_weights": True}, "applies an adapter beside the weights"),
        ({**lora, "adapter_path": model()}, "has no adapter_config.json"),
    ):
        error = refused({}, top={"lora": section})
        assert error.kind == "config" and words in str(error), error
    with worker({"dtype": "float32", "engine": ENGINE}, top={"lora": lora}) as w:
        told = w.loaded["effective"]["lora"]
        assert told == {"adapter": path, "merged": False, "max_rank": 8}
        receipts, streamed = (run(w, [0, 1], stream=x)[1] for x in (False, True))
    for i in (0, 1):
        ids = receipts[0, i]["output_ids"]
        assert ids == streamed[0, i]["output_ids"]
        for of, same in ((merged, True), (model(), False)):
            rows = logits([PROMPTS[i] + ids[:k] for k in range(OUT)], of)
            best = [max(range(len(x)), key=x.__getitem__) for x in rows]
            assert (ids == best) is same, (of, ids, best)


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
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    share = round((3 << 29) / memory, 3)  # 1.5 GiB, of which vLLM itself takes a part
    engine = {"enforce_eager": True, "max_model_len": 256, "gpu_memory_utilization": share}
    with worker({"dtype": "float32", "engine": engine, "sampling": SAMPLING}) as w:
        effective = w.loaded["effective"]
        assert effective["gpu_memory_utilization"] == share
        token = 2 * 2 * 2 * 64 * 4  # keys and values of two layers, two heads each, in float32
        assert 0 < effective["kv_cache_tokens"] * token <= share * memory, effective
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
        *(
            ({"engine": {"attention": {name: True}}}, f"engine.attention.{name}", words)
            for name, words in (
                ("use_prefill_decode_attention", "engine.attention.backend"),
                ("use_cudnn_prefill", "mla_prefill_backend"),
                ("disable_flashinfer_prefill", "mla_prefill_backend"),
                ("use_trtllm_ragged_deepseek_prefill", "TRTLLM_RAGGED"),
            )
        ),
        *(
            ({"engine": {"quantization": name}}, "engine.quantization", "auto_gptq")
            for name in ("marlin", "bitsandbytes", "fp8_e5m2", "fp8_e4m3")
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


def test_every_row_of_engine_yaml_is_in_the_table_and_shown_where_it_says():
    """The table of docs/engines.md: settings, what was seen, by which file."""
    text = (ROOT / "docs/engines.md").read_text()
    lines = [x for x in text.splitlines() if x.startswith("| ") and x.count(" | ") == 2]
    shown: dict[str, str] = {}
    for line in lines:
        names, _, where = line.strip("| ").split(" | ")
        files = "".join((ROOT / x).read_text() for x in re.findall(r"`([\w/.]+)`", where))
        for name in re.findall(r"`([\w.]+)(?:: [^`]*)?`", names):
            shown[name] = shown.get(name, "") + files
    rows = (WORKER.parent / "engine.yaml").read_text().splitlines()
    for row in (x.split("path: ")[1].split(",")[0] for x in rows if "path: " in x):
        if row == "." or f"path: {row}, type: section" in "\n".join(rows):
            continue
        assert row in shown, f"{row} is not in the table of docs/engines.md"
        assert f'"{row.rsplit(".", 1)[-1]}"' in shown[row], row
    assert len(shown) > 45


def test_texts_are_tokenised_and_cut_by_vllms_own_tokenizer():
    with worker({}, load=False) as w:
        got = w.call("load_prompts", prompts=["w5 w6 w7 w8", "w9 nowhere"], max_input_tokens=3)
        assert got == {"input_tokens": [3, 2], "truncated": 1}, got
        try:
            w.call("load_prompts", prompts=[""], max_input_tokens=3)
            raise AssertionError("taken")
        except RpcError as error:
            assert error.kind == "config" and "prompt 0 has no tokens" in str(error)


def test_the_chat_template_is_off_unless_asked_for():
    copy = pathlib.Path(TMP.name) / "chat"
    shutil.copytree(model(), copy)
    template = "w3 {{ messages[0]['content'] }} w4"
    (copy / "chat_template.jinja").write_text(template)
    for path, on, want in ((copy, True, [3]), (copy, False, [1]), (model(), True, None)):
        with worker({"chat_template": on}, load=False, model=str(path)) as w:
            try:
                got = w.call("load_prompts", prompts=["w5"], max_input_tokens=None)
                assert got["input_tokens"] == want, (path, on, got)
            except RpcError as error:
                assert want is None and error.kind == "config" and "has none" in str(error), error


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


def test_a_signal_during_the_load_leaves_no_process_and_says_so():
    for number in (signal.SIGINT, signal.SIGTERM):
        out = pathlib.Path(TMP.name) / f"signal{number}"
        interrupted("vllm", {"dtype": "float32", "engine": ENGINE}, model(), number, out, BUILD)


def test_llem_check_engine_finds_nothing_to_complain_of():
    settings = {"dtype": "float32", "engine": json.dumps(ENGINE)}
    command = [BUILD / "llem", "check-engine", "vllm", "-m", model()]
    done = subprocess.run(
        [*command, "--set", f"task.max_output_tokens={OUT}"]
        + [x for k, v in settings.items() for x in ("--set", f"vllm.{k}={v}")],
        env={**os.environ, "LLEM_PYTHON_VLLM": sys.executable},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0 and "all kept" in done.stdout, done.stdout[-3000:]


def test_a_missing_model_is_named():
    error = refused({}, model="/nowhere/model")
    assert error.kind == "model_not_found" and "/nowhere/model" in str(error)


def test_a_model_that_cannot_be_had_is_said_with_its_reason():
    workers: dict[str, Worker] = {}  # one an endpoint: importing vLLM is most of it
    with contextlib.ExitStack() as ends:
        for model, env, kind, words in hub_faults(TMP.name):
            endpoint = env["HF_ENDPOINT"]
            if endpoint not in workers:
                workers[endpoint] = ends.enter_context(python_worker(WORKER, env={**ENV, **env}))
            w = workers[endpoint]
            settings = config({}, model=model)
            w.call("initialize", protocol=1, engine="vllm", config=settings, paths={})
            for method, params in (("load_prompts", {"prompts": ["w5"]}), ("load_model", {})):
                try:
                    w.call(method, **params)
                    raise AssertionError(f"{model} was found")
                except RpcError as error:
                    assert error.kind == kind and words in str(error), (method, error.kind, error)


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


def test_a_version_that_is_too_old_is_named_with_the_command():
    package = pathlib.Path(TMP.name) / "old/vllm"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('__version__ = "0.6.3"')
    env = {**ENV, "PYTHONPATH": f"{package.parent}:{ENV['PYTHONPATH']}"}
    try:
        with worker({}, load=False, env=env):
            raise AssertionError("started")
    except RpcError as error:
        assert error.kind == "missing_package" and "vllm 0.6.3" in str(error), error
        assert "-m pip install 'vllm>=0.8'" in error.hint


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
    error = refused({"engine": {**ENGINE, "kv_cache_memory_bytes": 1 << 44}}, load=True)
    assert error.kind == "out_of_memory", (str(error), error.kind)
    assert "kv_cache_memory_bytes" in error.hint
    assert not descendants(shared().process.pid)


def gptq() -> str:
    """The model with its layers in four bits, symmetric, in groups of 32 inputs, as GPTQ packs."""
    import torch
    from safetensors.torch import load_file, save_file

    path = pathlib.Path(TMP.name) / "gptq"
    shutil.copytree(model(), path)
    packed = {}
    for name, x in load_file(path / "model.safetensors").items():
        if not name.endswith("_proj.weight"):
            packed[name] = x.bfloat16()
            continue
        out, into = x.shape
        groups = x.reshape(out, into // 32, 32)
        scales = groups.abs().amax(2) / 7
        codes = (torch.round(groups / scales[..., None]) + 8).reshape(out, into).t().to(torch.int64)
        words = sum(codes[k::8] << (4 * k) for k in range(8))
        words = torch.where(words >= 1 << 31, words - (1 << 32), words)
        stem = name.removesuffix("weight")
        packed[stem + "qweight"] = words.to(torch.int32).contiguous()
        packed[stem + "scales"] = scales.t().contiguous().bfloat16()
        zeros = torch.full((into // 32, out // 8), 0x77777777, dtype=torch.int32)
        packed[stem + "qzeros"] = zeros
        packed[stem + "g_idx"] = (torch.arange(into) // 32).to(torch.int32)
    save_file(packed, path / "model.safetensors", {"format": "pt"})
    settings = json.loads((path / "config.json").read_text())
    method = {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": False, "sym": True}
    settings |= {"quantization_config": method, "dtype": "bfloat16"}
    (path / "config.json").write_text(json.dumps(settings))
    return str(path)


def test_what_only_some_processors_can_is_in_effect_or_said_with_its_reason():
    import torch

    wide = torch.cpu._is_avx512_supported()
    for engine, task, kind, words in (
        ({"kv_cache_dtype": "fp8"}, {}, "config", "FP8 KV cache on CPU requires"),
        ({"quantization": "gptq"}, {"model": gptq()}, "hardware", "cpu_gemm_wna16"),
        ({"quantization": "fp8"}, {}, "hardware", "static_scaled_fp8_quant"),
    ):
        section = {"dtype": "bfloat16", "engine": {**ENGINE, **engine}}
        if not wide:
            error = refused(section, load=True, **task)
            assert error.kind == kind and words in str(error), (error.kind, error)
            continue
        with worker(section, **task) as w:
            (name,) = engine
            assert engine[name] in w.loaded["effective"][name], w.loaded["effective"]
            assert run(w, [0])[1][0, 0]["output_tokens"] == OUT


def test_values_that_this_build_refuses_are_configuration_errors_with_its_reason():
    quantised = {"model": str(pathlib.Path(TMP.name) / "gptq")}
    prefetch = {"offload_group_size": 2, "offload_num_in_group": 1, "offload_prefetch_step": 1}
    for engine, task, words in (
        ({"attention": {"backend": "NONSENSE"}}, {}, "NONSENSE"),
        ({"block_size": 16}, {}, "No common block size for 16"),
        ({"quantization": "awq"}, quantised, "does not match the quantization method"),
        ({**prefetch, "offload_params": ["mlp"]}, {}, "should not already be on CPU"),
        ({"distributed_executor_backend": "ray"}, {}, "Failed to import Ray"),
    ):
        error = refused({"engine": {**ENGINE, **engine}}, load=True, **task)
        assert error.kind == "config" and words in str(error), (error.kind, error)


def test_two_processes_give_the_tokens_of_one():
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        raise tap.Skip("one CPU")
    env = {**ENV, "VLLM_CPU_OMP_THREADS_BIND": f"{cpus[0]}|{cpus[1]}"}
    engine = {**ENGINE, "tensor_parallel_size": 2, "distributed_executor_backend": "mp"}
    with worker({"dtype": "float32", "engine": engine}, env=env) as w:
        effective = w.loaded["effective"]
        assert effective["tensor_parallel_size"] == 2
        assert effective["distributed_executor_backend"] == "mp"
        assert len(w.loaded["devices"]) == 1 and len(descendants(w.process.pid)) >= 3
        weights = [x["model"]["weights_bytes"] for x in (w.loaded, GREEDY["loaded"])]
        assert weights[1] < weights[0] < 1.1 * weights[1], "what is not split is held twice"
        for i, r in run(w, [0, 1, 2])[1].items():
            assert r["output_ids"] == GREEDY["pass"][1][i]["output_ids"]


if __name__ == "__main__":
    tap.run()
