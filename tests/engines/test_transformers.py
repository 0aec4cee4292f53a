# SPDX-License-Identifier: MIT
"""engines/transformers on the real packages: every setting takes effect or is refused, tokens are
counted per row, and what was used is told.

The engine's class is driven in this process; what needs a process of its own (the protocol, other
variables of the environment, tensor parallelism, a missing package) is driven over pipes.
"""

import contextlib
import importlib.metadata
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

import tap

ROOT = pathlib.Path(os.environ["LLEM_TEST_SOURCE_DIR"])
WORKER = ROOT / "engines/transformers/worker.py"
MODELS = ROOT / "tests/data/models"
sys.path[:0] = [str(ROOT / "tests/engines"), str(WORKER.parent), str(ROOT / "engines/worker")]
os.environ.pop("LLEM_TRANSFORMERS_DEFAULT_DEVICE_MAP", None)
import driver  # noqa: E402
import llem_worker  # noqa: E402
import worker as engine_file  # noqa: E402

TEXTS = ["Hello world, this is it", "A", "Once upon a time there was a"]
TOKENS = 10


def params(model="llama", task=None, top=None, **options) -> dict:
    """`initialize` for a model of tests/data (or a path), float32 and 10 tokens unless told."""
    path = model if os.sep in str(model) or "@" in str(model) else MODELS / model
    return {
        "protocol": 1,
        "engine": "transformers",
        "paths": {},
        "config": {
            "task": {
                "model": str(path),
                "max_output_tokens": TOKENS,
                "random_seed": 42,
                **(task or {}),
            },
            "engine": "transformers",
            "transformers": {"dtype": "float32", **options},
            **(top or {}),
        },
    }


class Run:
    """One engine that has loaded and run the texts once."""

    def __init__(self, *, texts=TEXTS, stream=False, repeats=1, **arguments):
        self.notes: list[tuple[str, dict]] = []
        setup = llem_worker.Setup(
            params(**arguments), lambda method, p: self.notes.append((method, p))
        )
        self.engine = engine_file.Transformers(setup)
        self.lengths, self.truncated = self.engine.load_prompts(list(texts), None, None)
        self.loaded = self.engine.load_model(setup.progress)
        self.effective = self.loaded["effective"]
        self.again(stream, repeats)
        self.observed = self.engine.capture_observed_params()
        self.decoding = self.observed["sampling_params"]

    def again(self, stream=False, repeats=1):
        indices = list(range(len(self.engine.prompts)))
        self.done = self.engine.run_inference(0, indices, repeats, stream)
        self.receipts = self.done.receipts
        self.ids = [r["output_ids"] for r in self.receipts]
        return self


def error_of(**arguments) -> llem_worker.WorkerError:
    try:
        Run(**arguments)
    except llem_worker.WorkerError as error:
        return error
    except Exception as error:
        return llem_worker.classify(error)
    raise AssertionError(f"{arguments} was not refused")


def refused(text: str, kind: str = "config", **arguments) -> None:
    error = error_of(**arguments)
    assert error.kind == kind, (error.kind, error)
    assert text in f"{error} {error.hint}", f"{error} | {error.hint}"


@contextlib.contextmanager
def copy_of(model: str, **files):
    """A model's directory with further JSON files, NAME_json=value."""
    with tempfile.TemporaryDirectory() as tmp:
        path = pathlib.Path(tmp) / "model"
        shutil.copytree(MODELS / model, path)
        for name, value in files.items():
            (path / name.replace("_json", ".json")).write_text(json.dumps(value))
        yield str(path)


@contextlib.contextmanager
def without(module: str):
    """A package that is not installed."""
    hidden = {k: v for k, v in sys.modules.items() if k.split(".")[0] == module}
    for name in hidden:
        del sys.modules[name]
    sys.modules[module] = None
    try:
        yield
    finally:
        del sys.modules[module]
        sys.modules.update(hidden)


_plain: Run | None = None


def plain() -> Run:
    """Greedy, one prompt at a time: what others are compared with."""
    global _plain
    _plain = _plain or Run()
    return _plain


# ---- the environment


def test_torch_is_the_build_for_the_cpu_and_no_gigabytes_of_cuda_came_along():
    import torch

    assert torch.version.cuda is None
    names = [d.metadata["Name"].lower() for d in importlib.metadata.distributions()]
    assert not [n for n in names if n.startswith(("nvidia-c", "nvidia-nccl", "triton"))]


# ---- prompts and tokens


def test_rows_of_a_ragged_batch_give_the_tokens_they_give_alone():
    for model in ("llama", "qwen2", "gpt2"):
        alone, together = Run(model=model), Run(model=model, batch_size=3)
        assert len({len(p) for p in together.engine.prompts}) > 1
        assert together.ids == alone.ids, model
        assert together.effective["padding_side"] == "left"
        assert together.effective["batch_size"] == 3
        assert [r["input_tokens"] for r in together.receipts] == together.lengths


def test_output_is_counted_up_to_and_with_the_first_end_of_sequence_in_each_row():
    want = plain().ids[0][:4]
    with copy_of("llama", generation_config_json={"eos_token_id": [want[3], 399]}) as model:
        run = Run(model=model, batch_size=3)
        assert run.ids[0] == want and run.receipts[0]["output_tokens"] == 4
        assert run.receipts[0]["finish"] == "stop"
        assert run.ids[1] == plain().ids[1] and run.receipts[1]["finish"] == "length"
        assert run.receipts[1]["output_tokens"] == TOKENS
        assert run.decoding["eos_token_ids"] == [want[3], 399]
        run = Run(model=model, batch_size=3, task={"ignore_eos": True})
        assert run.ids == plain().ids, "ignore_eos goes on"
        assert {r["output_tokens"] for r in run.receipts} == {TOKENS}
        assert run.decoding["ignore_eos"] is True


def test_prompts_are_cut_by_the_tokenizer_to_max_input_tokens():
    run = Run(task={"max_input_tokens": 5})
    assert run.lengths == [5, 1, 5] and run.truncated == 2
    whole = plain().engine.prompts
    assert run.engine.prompts == [p[:5] for p in whole]


def test_ids_are_taken_as_prompts_and_need_no_tokenizer():
    with copy_of("llama") as model:
        os.remove(os.path.join(model, "tokenizer.json"))
        run = Run(model=model, texts=[[5, 6, 7], [8]], task={"max_input_tokens": 2})
        assert run.lengths == [2, 1] and run.truncated == 1
        refused("the tokenizer of", error_kind_of(model), model=model)


def error_kind_of(model):
    return error_of(model=model).kind


def test_prompts_that_cannot_be_run_are_refused_before_the_load():
    refused("has no tokens", texts=[""])
    refused("outside the model's vocabulary of 400", texts=[[400]])
    refused("no room in the context of 128", texts=[[1] * 128])


def test_output_without_a_limit_ends_with_the_context():
    run = Run(model="gpt2", texts=[[5] * 120], task={"max_output_tokens": None})
    assert run.receipts[0]["output_tokens"] <= 8
    assert run.receipts[0]["finish"] in ("context", "stop")
    run = Run(model="gpt2", texts=[[5] * 120], task={"max_output_tokens": 50, "ignore_eos": True})
    assert run.receipts[0]["output_tokens"] == 8 and run.receipts[0]["finish"] == "context"


def test_the_chat_template_is_off_unless_asked_for_and_recorded():
    assert plain().effective["chat_template"] is False
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
    tokenizer = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": template}
    with copy_of("llama", tokenizer_config_json=tokenizer) as model:
        assert Run(model=model).lengths == plain().lengths
        run = Run(model=model, chat_template=True)
        assert run.effective["chat_template"] is True
        encode = run.engine.tokenizer()
        assert run.engine.prompts[1] == encode("<user>A<assistant>")["input_ids"]
    refused("has none", chat_template=True)


# ---- decoding


def test_decoding_is_greedy_unless_asked_whatever_the_model_brings():
    with copy_of(
        "llama", generation_config_json={"do_sample": True, "temperature": 1.8, "eos_token_id": 0}
    ) as model:
        run = Run(model=model)
        assert run.ids == plain().ids and run.decoding["do_sample"] is False
        assert run.decoding["temperature"] is None and run.decoding["seed"] is None
        assert run.decoding["max_new_tokens"] == TOKENS
    for sampling in ({"temperature": 0.0}, {"do_sample": False, "temperature": 1.5, "top_k": 3}):
        run = Run(sampling=sampling)
        assert run.ids == plain().ids
        assert run.effective["ignored"]["sampling.temperature"] == "decoding is greedy"


def test_sampling_repeats_with_its_seed_and_changes_with_another():
    a = Run(sampling={"temperature": 1.5}, repeats=2)
    assert a.ids[:3] == a.ids[3:] and a.ids[:3] != plain().ids
    assert a.decoding["seed"] == 42 and a.decoding["do_sample"] is True
    assert a.decoding["top_k"] == 0, "unset is off, as in the other engines"
    assert a.again().ids == a.ids[:3]
    assert Run(sampling={"temperature": 1.5}, task={"random_seed": 7}).ids != a.ids[:3]


def test_each_way_of_sampling_takes_effect():
    assert Run(sampling={"temperature": 1.5, "top_k": 1}).ids == plain().ids
    assert Run(sampling={"do_sample": True, "top_p": 0.0001}).ids == plain().ids
    assert Run(sampling={"do_sample": True, "min_p": 0.9999}).ids == plain().ids
    assert Run(sampling={"repetition_penalty": 5.0}).ids != plain().ids
    end = plain().ids[0][0]
    with copy_of("llama", generation_config_json={"eos_token_id": end}) as model:
        assert Run(model=model).receipts[0]["output_tokens"] == 1
        run = Run(model=model, sampling={"min_new_tokens": 5})
        assert run.receipts[0]["output_tokens"] >= 5
    refused("above task.max_output_tokens", sampling={"min_new_tokens": 11})


def test_beams_ngrams_and_lookup_take_effect_or_say_why_not():
    run = Run(num_beams=3, early_stopping=True, length_penalty=0.5, stream=True)
    assert run.decoding["num_beams"] == 3 and run.decoding["early_stopping"] is True
    assert run.decoding["length_penalty"] == 0.5 and run.effective["num_beams"] == 3
    assert "t_first_ns" not in run.receipts[0], "generate() streams no beams"
    run = Run(early_stopping=True, length_penalty=0.5)
    assert set(run.effective["ignored"]) == {"early_stopping", "length_penalty"}
    assert len([1 for m, p in run.notes if m == "log" and "no effect" in p["text"]]) == 2
    long = Run(task={"max_output_tokens": 60, "ignore_eos": True}, no_repeat_ngram_size=2).ids[0]
    pairs = list(zip(long, long[1:], strict=False))
    assert len(set(pairs)) == len(pairs)
    run = Run(prompt_lookup_num_tokens=3, stream=True)
    assert run.ids == plain().ids and run.decoding["prompt_lookup_num_tokens"] == 3
    assert len(run.receipts[0]["token_ns"]) == TOKENS
    refused("batch_size 1 only", prompt_lookup_num_tokens=3, batch_size=2)
    refused("exclude each other", prompt_lookup_num_tokens=3, num_beams=2)


def test_streaming_tells_when_each_token_came_and_changes_none():
    run = Run(stream=True, batch_size=3)
    assert run.ids == plain().ids
    for r in run.receipts:
        times = r["token_ns"]
        assert len(times) == r["output_tokens"] and times == sorted(times)
        assert r["t_submit_ns"] < times[0] == r["t_first_ns"] < times[-1] == r["t_last_ns"]
        assert run.done.t_begin_ns <= r["t_submit_ns"] and times[-1] <= run.done.t_end_ns
    assert "token_ns" not in plain().receipts[0] and "t_first_ns" not in plain().receipts[0]


# ---- loading


def test_dtype_is_bfloat16_unless_said():
    assert Run(dtype=None).effective["dtype"] == "bfloat16"
    assert Run(dtype="float16").effective["dtype"] == "float16"
    assert plain().loaded["model"]["weights_bytes"] == 4 * plain().loaded["model"]["parameters"]


def test_attention_is_what_was_asked_or_the_fallback_is_told():
    assert plain().effective["attn_implementation"] == "sdpa"
    run = Run(attn_implementation="eager")
    assert run.effective["attn_implementation"] == "eager" and run.ids == plain().ids
    for asked in ("flash_attention_2", "flash_attention_3"):
        run = Run(attn_implementation=asked, dtype="bfloat16")
        assert run.effective["attn_implementation"] == "sdpa"
        assert "needs a CUDA device" in run.effective["ignored"]["attn_implementation"]


def test_caches_take_effect_or_are_refused():
    assert Run(use_cache=False).effective["cache"] == "none"
    assert Run(use_cache=False).ids == plain().ids
    for cache in ("static", "sliding_window"):
        run = Run(cache_implementation=cache)
        assert run.ids == plain().ids and run.effective["cache"] == cache
        assert run.decoding["cache_implementation"] == cache
    refused("nothing to offload on a CPU", cache_implementation="offloaded_static")
    refused("knows no cache_implementation", cache_implementation="paper")


def test_compiling_is_done_before_the_window_for_every_shape_in_it():
    run = Run(torch_compile=True, torch_compile_backend="aot_eager", cache_implementation="static")
    assert run.ids == plain().ids and "compiled_graphs" not in run.done.extra
    assert run.effective["compile"] == {
        "enabled": True,
        "mode": "default",
        "backend": "aot_eager",
        "by_library": False,
    }
    shapes = [p["text"] for m, p in run.notes if m == "progress" and "compiling" in p["text"]]
    assert len(shapes) == len(set(run.lengths)), shapes
    run = Run(torch_compile=True, batch_size=2, texts=TEXTS[:2])  # the compiler itself
    assert run.ids == plain().ids[:2] and "compiled_graphs" not in run.done.extra
    assert run.effective["compile"]["backend"] == "inductor"


def test_compilers_that_are_not_there_are_refused():
    refused("knows no mode 'fast'", torch_compile=True, torch_compile_mode="fast")
    refused("has no compiler 'none'", torch_compile=True, torch_compile_backend="none")
    refused(
        "of the compiler inductor",
        torch_compile=True,
        torch_compile_backend="aot_eager",
        torch_compile_mode="reduce-overhead",
    )


def test_quantisation_takes_effect_where_bitsandbytes_is_installed():
    run = Run(
        load_in_4bit=True,
        bnb_4bit_compute_dtype="bfloat16",
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
    )
    told = run.effective["quantization"]
    assert told["load_in_4bit"] and told["bnb_4bit_quant_type"] == "nf4"
    assert told["bnb_4bit_compute_dtype"] == "bfloat16" and told["bnb_4bit_use_double_quant"]
    model = run.loaded["model"]
    assert model["parameters"] == plain().loaded["model"]["parameters"]
    assert model["weights_bytes"] < 2 * model["parameters"]
    assert "bitsandbytes" in run.loaded["libraries"]
    assert Run(load_in_8bit=True).effective["quantization"]["load_in_8bit"]


def test_packages_that_are_missing_are_named_with_the_command_that_installs_them():
    for module, arguments in (
        ("bitsandbytes", {"load_in_4bit": True}),
        ("peft", {"top": {"lora": {"adapter_path": "/nowhere"}}}),
        ("accelerate", {"device_map": "auto"}),
    ):
        with without(module):
            refused(f"-m pip install {module}", "missing_package", **arguments)


def test_device_maps_and_memory_take_effect_or_are_refused():
    run = Run(device_map="auto", max_memory={"cpu": "2GiB"})
    assert run.ids == plain().ids and run.effective["device"] == "cpu"
    assert Run(device_map="cpu").ids == plain().ids
    refused("without device_map", max_memory={"cpu": "2GiB"})
    os.environ["LLEM_TRANSFORMERS_DEFAULT_DEVICE_MAP"] = "cpu"
    try:
        assert Run().engine.device_map == "cpu"
    finally:
        del os.environ["LLEM_TRANSFORMERS_DEFAULT_DEVICE_MAP"]
    setup = llem_worker.Setup(params(device_map="cuda:3"))
    errors = engine_file.Transformers(setup).check_hardware()
    assert len(errors) == 1 and "sees no GPU" in errors[0]


def test_low_cpu_mem_usage_is_as_asked_or_refused():
    assert Run(low_cpu_mem_usage=True).effective["low_cpu_mem_usage"] is True
    refused("not to be had", low_cpu_mem_usage=False)


def test_autocast_takes_effect_and_tf32_needs_a_gpu():
    run = Run(autocast_enabled=True)
    assert run.effective["autocast"] == "bfloat16" and run.effective["dtype"] == "float32"
    run = Run(autocast_enabled=True, autocast_dtype="float16")
    assert run.effective["autocast"] == "float16"
    assert "autocast_dtype" in Run(autocast_dtype="float16").effective["ignored"]
    refused("needs a CUDA device", allow_tf32=True)
    assert Run(allow_tf32=False).effective["tf32"] is None


def test_keys_that_the_library_does_not_know_are_refused_before_the_load():
    refused("no argument atn_implementation", atn_implementation="eager")
    refused("did you mean attn_implementation?", atn_implementation="eager")
    refused("did you mean temperature?", sampling={"temprature": 1.0})
    refused("passthrough_kwargs.nothing", top={"passthrough_kwargs": {"nothing": 1}})


def test_keys_that_the_library_knows_are_handed_on():
    run = Run(
        top={"passthrough_kwargs": {"attn_implementation": "eager"}},
        use_safetensors=True,
        sampling={"suppress_tokens": [plain().ids[0][0]]},
    )
    assert run.effective["attn_implementation"] == "eager"
    assert run.effective["extra"] == {"use_safetensors": True, "attn_implementation": "eager"}
    assert run.ids[0][0] != plain().ids[0][0]


@contextlib.contextmanager
def adapter(model: str):
    """A random adapter for a model."""
    import peft
    import torch
    import transformers

    torch.manual_seed(1)
    base = transformers.AutoModelForCausalLM.from_pretrained(MODELS / model, dtype=torch.float32)
    config = peft.LoraConfig(r=4, lora_alpha=32, init_lora_weights=False, task_type="CAUSAL_LM")
    with tempfile.TemporaryDirectory() as tmp:
        peft.get_peft_model(base, config).save_pretrained(tmp)
        yield tmp


def test_an_adapter_takes_effect_merged_or_not():
    with adapter("llama") as path:
        run = Run(top={"lora": {"adapter_path": path, "adapter_id": None, "merge_weights": False}})
        assert run.ids != plain().ids
        lora = run.effective["lora"]
        assert lora["adapter"] == path and lora["merged"] is False and lora["parameters"] > 0
        assert "peft" in run.loaded["libraries"]
        merged = Run(top={"lora": {"adapter_path": path, "merge_weights": True}})
        assert merged.ids == run.ids and merged.effective["lora"]["merged"] is True
        refused("does not fit", model="gpt2", top={"lora": {"adapter_path": path}})
    refused("has no adapter_config.json", top={"lora": {"adapter_path": str(MODELS)}})


# ---- what is told


def test_the_model_is_told_as_the_built_in_engine_tells_it():
    for name, gated, tied in (("llama", True, True), ("gpt2", False, True), ("qwen2", True, None)):
        told = Run(model=name).loaded["model"]
        config = json.loads((MODELS / name / "config.json").read_text())
        assert told["hidden_size"] == config.get("hidden_size", config.get("n_embd"))
        assert told["num_layers"] == config.get("num_hidden_layers", config.get("n_layer"))
        assert told["vocab_size"] == config["vocab_size"] and told["gated_mlp"] is gated
        assert tied is None or told["tied_embeddings"] is tied
        assert told["parameters"] > told["embedding_parameters"] > 0 and len(told["sha256"]) == 64
        assert all(f["bytes"] > 0 for f in told["files"])


def test_peak_memory_is_of_the_process_on_a_cpu_and_says_so():
    extra = plain().done.extra
    assert extra["peak_memory_source"] == "VmHWM" and plain().done.peak_memory_bytes > 50 << 20


def test_the_errors_of_torch_are_known():
    import torch

    try:
        torch.empty(1 << 50, dtype=torch.uint8)
        raise AssertionError("a pebibyte was to be had")
    except RuntimeError as error:
        assert llem_worker.classify(error).kind == "out_of_memory", error


def test_every_row_of_engine_yaml_is_in_these_tests():
    text = (WORKER.parent / "engine.yaml").read_text()
    rows = [line.split("path: ")[1].split(",")[0] for line in text.splitlines() if "path: " in line]
    tests = pathlib.Path(__file__).read_text()
    for row in rows:
        key = row.rsplit(".", 1)[-1]
        assert not key or key + "=" in tests or f'"{key}"' in tests, row
        assert not key or key in engine_file.OURS or key in engine_file.SAMPLING, row
    assert len(rows) > 30


# ---- processes


def process(python=sys.executable, env=None, **arguments):
    worker = driver.python_worker(WORKER, python, env)
    worker.hello = worker.call("initialize", **params(**arguments))
    return worker


def process_error(python=sys.executable, env=None, **arguments) -> driver.RpcError:
    with driver.python_worker(WORKER, python, env) as worker:
        try:
            worker.call("initialize", **params(**arguments))
        except driver.RpcError as error:
            return error
    raise AssertionError("initialize did not fail")


def test_the_worker_speaks_the_protocol_from_initialize_to_shutdown():
    from transformers import AutoTokenizer

    with process(batch_size=3) as w:
        assert w.hello["name"] == "transformers"
        assert w.hello["version"] == importlib.metadata.version("transformers")
        assert w.hello["libraries"]["torch"].startswith("2.")
        assert w.call("check_hardware") == {"errors": []}
        assert w.call("load_prompts", prompts=TEXTS)["truncated"] == 0
        assert w.call("open_device")["devices"][0]["kind"] == "cpu"
        assert w.call("load_model")["load_s"] > 0
        assert w.call("run_warmup_prompt", index=0)["latency_ms"] > 0
        done = w.call("run_inference", **{"pass": 2, "indices": [2, 0], "repeats": 2})
        receipts = w.take("request")
        assert [(r["pass"], r["repeat"], r["i"]) for r in receipts] == [
            (2, 0, 2),
            (2, 0, 0),
            (2, 1, 2),
            (2, 1, 0),
        ]
        assert done["output_tokens"] == sum(r["output_tokens"] for r in receipts)
        assert receipts[1]["output_ids"] == plain().ids[0]
        assert not any("output_text" in r for r in receipts)
        w.call("run_inference", **{"pass": 0, "indices": [0, 1], "repeats": 1, "text": True})
        tokenizer = AutoTokenizer.from_pretrained(MODELS / "llama")
        for r in w.take("request"):
            text = tokenizer.decode(
                r["output_ids"], skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
            assert text and r["output_text"] == text.replace("\0", "\ufffd")
        w.call("cleanup")
        w.call("cleanup")
        w.call("load_model")
        w.call("shutdown")
        assert w.end()[0] == 0


def test_two_ranks_give_one_stream_of_receipts_and_say_what_each_did():
    with process(tp_plan="auto", tp_size=2, batch_size=3) as w:
        w.call("load_prompts", prompts=TEXTS)
        loaded = w.call("load_model")
        assert loaded["effective"]["tensor_parallel"] == 2
        assert w.call("run_warmup_prompt", index=0)["latency_ms"] > 0
        done = w.call(
            "run_inference", **{"pass": 0, "indices": [0, 1, 2], "repeats": 1, "text": True}
        )
        receipts = w.take("request")
        assert all(r["output_text"] for r in receipts)
        assert [r["output_ids"] for r in receipts] == plain().ids, "and the tokens of one process"
        ranks = done["process_results"]
        assert [r["rank"] for r in ranks] == [0, 1] and ranks[0]["pid"] != ranks[1]["pid"]
        assert done["t_begin_ns"] == min(r["t_begin_ns"] for r in ranks)
        assert done["t_end_ns"] == max(r["t_end_ns"] for r in ranks)
        for r in ranks:
            assert r["t_end_ns"] > r["t_begin_ns"] and r["peak_memory_bytes"] > 0
            assert r["devices"][0]["kind"] == "cpu"
            assert r["output_tokens"] == done["output_tokens"]
        try:
            w.call("run_inference", **{"pass": 0, "indices": [99], "repeats": 1})
        except driver.RpcError as error:
            assert "there is no prompt 99; 3 are loaded" in str(error)
        again = w.call("run_inference", **{"pass": 0, "indices": [1], "repeats": 1})
        assert len(again["process_results"]) == 2, "a request that is refused ends no rank"
        parts = sum(r["weights_bytes"] for r in ranks)
        whole = plain().loaded["model"]["weights_bytes"]
        assert whole <= parts < 1.8 * whole, "the layers are split between them"
        w.call("shutdown")
        assert w.end()[0] == 0
        for r in ranks:
            assert not os.path.exists(f"/proc/{r['pid']}"), "nobody stays"
    assert "needs tp_size" in str(process_error(tp_plan="auto"))
    assert Run(tp_size=2).effective["ignored"]["tp_size"]


def test_a_text_keeps_the_spaces_that_the_tokenizers_clean_up_would_take_out():
    from transformers import AutoTokenizer

    for clean_up in (False, True):
        tokenizer = AutoTokenizer.from_pretrained(
            MODELS / "llama",
            clean_up_tokenization_spaces=clean_up,
            clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output=clean_up,
        )
        ids = tokenizer.encode("Hello , world .")
        assert (tokenizer.decode(ids, skip_special_tokens=True) == "Hello, world.") == clean_up
        assert llem_worker.text_of(tokenizer, ids) == "Hello , world ."


def llem(*command: str, **env: str) -> subprocess.CompletedProcess:
    """The program itself, with this interpreter for the engine."""
    build = os.environ["LLEM_TEST_BUILD_DIR"]
    return subprocess.run(
        [f"{build}/llem", *command],
        env={
            **os.environ,
            "LD_LIBRARY_PATH": build,
            "LLEM_PYTHON_TRANSFORMERS": sys.executable,
            **env,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_result_of_two_ranks_has_an_item_for_each_and_is_their_aggregation():
    with tempfile.TemporaryDirectory() as tmp:
        run = llem(
            *("run", "-e", "transformers", "-m", str(MODELS / "llama"), "-d", "builtin"),
            *("-n", "3", "--quick", "-q", "-o", tmp, "--set", "transformers.dtype=float32"),
            *("--set", "transformers.tp_plan=auto", "--set", "transformers.tp_size=2"),
            *("--set", "task.max_output_tokens=8", "--set", "task.max_input_tokens=16"),
            *("--set", "measurement.baseline.enabled=false"),
        )
        assert run.returncode == 0, run.stdout
        directory = str(next(pathlib.Path(tmp).glob("study_*/001_*")))
        result = json.loads(pathlib.Path(directory, "result.json").read_text())
        verify = llem("verify", directory)
        assert verify.returncode == 0, verify.stdout
    ranks = result["process_results"]
    assert [p["process_index"] for p in ranks] == [0, 1]
    aggregation = result["aggregation"]
    assert aggregation["method"] == "shared_energy_wall_throughput"
    assert aggregation["num_processes"] == 2 and aggregation["temporal_overlap_verified"]
    assert len(aggregation["warnings"]) == 1 and "energy is of all" in aggregation["warnings"][0]
    assert min(p["timestamps"]["start"] for p in ranks) == result["start_time"]
    assert max(p["timestamps"]["end"] for p in ranks) == result["end_time"]
    seconds = result["total_inference_time_sec"]
    assert 0 < max(p["inference_metrics"]["inference_time_sec"] for p in ranks) <= seconds
    for p in ranks:
        assert p["inference_metrics"]["total_tokens"] == result["total_tokens"]
        assert p["energy_metrics"]["total_energy_j"] is None
    whole = result["extended_metrics"]["memory"]
    for field in ("peak_memory_mb", "model_memory_mb"):
        parts = [p["compute_metrics"][field] for p in ranks]
        assert min(parts) > 0 and abs(sum(parts) - whole[field]) < 1e-6, field
    rate = result["total_tokens"] / seconds
    assert abs(result["avg_tokens_per_second"] - rate) < 1e-9 * rate


def hub(tmp: str) -> dict[str, str]:
    """A cache of the hub with one model under one revision."""
    where = pathlib.Path(tmp) / "hub/models--org--small"
    commit = "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(MODELS / "llama", where / "snapshots" / commit)
    (where / "refs").mkdir()
    (where / "refs/v1").write_text(commit)
    return {"HF_HOME": tmp, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": "", "commit": commit}


def test_models_of_the_hub_are_found_by_its_variables_and_the_revision_is_told():
    with tempfile.TemporaryDirectory() as tmp:
        env = hub(tmp)
        commit = env.pop("commit")
        del env["HF_HUB_CACHE"]
        with process(env=env, model="org/small@v1") as w:
            w.call("load_prompts", prompts=TEXTS)
            told = w.call("load_model")["model"]
            assert told["revision"] == commit and len(told["files"]) == 1
            w.call("run_inference", **{"pass": 0, "indices": [0]})
            assert w.take("request")[0]["output_ids"] == plain().ids[0]
        error = process_error(env=env, model="org/other@main")
        assert error.kind == "model_not_found" and "org/other" in str(error), error
        assert "cannot be reached" in str(error) and "HF_HUB_OFFLINE" in error.hint


def test_a_model_that_cannot_be_had_is_said_with_its_reason():
    with tempfile.TemporaryDirectory() as tmp:
        for model, env, kind, words in driver.hub_faults(tmp):
            error = process_error(env=env, model=model)
            assert error.kind == kind and words in str(error), (model, error.kind, error)


def test_a_model_that_is_not_there_is_said_at_once():
    refused("there is no directory", "model_not_found", model="/nowhere/model")
    with tempfile.TemporaryDirectory() as tmp:
        refused("has no config.json", "model_not_found", model=tmp)


def test_a_signal_during_the_load_leaves_no_process_and_says_so():
    build = pathlib.Path(os.environ["LLEM_TEST_BUILD_DIR"])
    # A load that takes long enough to be met: the compiler, whose processes are the worker's.
    section = {"dtype": "float32", "torch_compile": True}
    with tempfile.TemporaryDirectory() as tmp:
        for number in (signal.SIGINT, signal.SIGTERM):
            out = pathlib.Path(tmp) / str(number)
            driver.interrupted("transformers", section, str(MODELS / "llama"), number, out, build)


def check_engine(name: str, *options: str, **env: str) -> list[str]:
    """What `llem check-engine NAME` complains of."""
    command = ["check-engine", name, "-m", str(MODELS / "llama"), *options]
    run = llem(*command, "--set", "task.max_output_tokens=8", **env)
    found = [line.strip() for line in run.stdout.splitlines() if "\u2717" in line]
    assert run.returncode == bool(found) and "rules looked at" in run.stdout, run.stdout
    return found


def test_llem_check_engine_finds_nothing_to_complain_of():
    for more in ([], ["--set", "transformers.tp_plan=auto", "--set", "transformers.tp_size=2"]):
        assert check_engine("transformers", "--set", "transformers.dtype=float32", *more) == []


def test_llem_check_engine_finds_nothing_wrong_with_tensorrt_but_that_it_has_no_gpu():
    # The stand-in takes its tokenizer from transformers, as the real one does.
    path = f"{ROOT}/tests/engines/standin:{os.environ.get('PYTHONPATH', '')}"
    env = {"PYTHONPATH": path, "LLEM_PYTHON_TENSORRT": sys.executable}
    (only,) = check_engine("tensorrt", "--set", "task.ignore_eos=true", **env)
    assert "check_hardware: finds nothing wrong with this machine" in only


def test_without_torch_the_worker_says_how_to_install_it():
    with tempfile.TemporaryDirectory() as tmp:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp], check=True)
        error = process_error(python=f"{tmp}/bin/python")
        assert error.kind == "missing_package" and "torch" in str(error)
        assert f"{tmp}/bin/python -m pip install torch" in error.hint
        site = next(pathlib.Path(tmp).glob("lib/python*/site-packages"))
        (site / "torch.py").write_text("")
        (site / "transformers.py").write_text("__version__ = '4.40.1'")
        error = process_error(python=f"{tmp}/bin/python")
        assert error.kind == "missing_package" and "4.40.1" in str(error)
        assert "transformers>=4.56" in error.hint


if __name__ == "__main__":
    tap.run()
