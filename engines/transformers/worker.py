# SPDX-License-Identifier: MIT
"""The engine `transformers`: Hugging Face transformers behind the worker protocol.

Settings are the rows of engine.yaml. Each takes effect, or is refused with its reason before the
load, or (what only another setting would make matter) is named under `effective.ignored`. Decoding
is what the experiment says and nothing else: a model's generation_config.json gives the tokens that
end a sequence, and its sampling defaults are not taken, so that every engine does the same work.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import inspect
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "worker"))
import llem_worker as w  # noqa: E402

OLDEST = (4, 56)
DEVICE_MAP_VARIABLE = "LLEM_TRANSFORMERS_DEFAULT_DEVICE_MAP"
TRUST_VARIABLE = "LLEM_TRUST_REMOTE_CODE"
COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
WARM_TOKENS = 5  # prefill, decode, and what a captured graph needs: warm-up, capture, replay
NO_CONTEXT = 1 << 40  # a tokenizer's or model's limit above this is none

# Rows of engine.yaml that are no argument of from_pretrained. What is in neither is handed on.
OURS = (
    "batch_size chat_template dtype attn_implementation torch_compile torch_compile_mode "
    "torch_compile_backend load_in_4bit load_in_8bit bnb_4bit_compute_dtype bnb_4bit_quant_type "
    "bnb_4bit_use_double_quant use_cache cache_implementation num_beams early_stopping "
    "length_penalty no_repeat_ngram_size prompt_lookup_num_tokens device_map max_memory allow_tf32 "
    "autocast_enabled autocast_dtype low_cpu_mem_usage tp_plan tp_size sampling"
).split()
SAMPLING = "temperature do_sample top_k top_p repetition_penalty min_p min_new_tokens".split()


def refuse(text: str, hint: str | None = None) -> w.WorkerError:
    """A setting that cannot take effect."""
    return w.WorkerError(text, "config", hint)


def nearest(key: str, known: Iterator[str]) -> str:
    """A clause with the name that was perhaps meant."""
    near = difflib.get_close_matches(key, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""


class Transformers(w.Engine):
    """One model of Hugging Face transformers, on CPU or GPU, or one rank of it."""

    name = "transformers"
    capabilities = ["receipts", "token_times", "seed", "ignore_eos", "random_ids"]

    def __init__(self, setup: w.Setup, ranks: Ranks | None = None):
        super().__init__(setup)
        section = setup.get("transformers", {})
        self.options = w.drop_none(section)
        self.sampling = w.drop_none(self.options.get("sampling") or {})
        self.passthrough = w.drop_none(setup.get("passthrough_kwargs", {}))
        self.lora = w.drop_none(setup.get("lora", {}))
        self.ranks = ranks
        self.prompts: list[list[int]] = []
        self.truncated = 0
        self.chat = False
        self.model: Any = None
        self.inner: Any = None  # without the adapter around it
        self.ignored: dict[str, str] = {}
        self.warmed: set[tuple[int, int]] = set()
        self.attention: str | None = None
        self._tokenizer: Any = None

        os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # counting makes no context
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        self.torch = w.need_package("torch")
        self.hf = w.need_package("transformers")
        self.major = w.need_version("transformers", self.hf.__version__, OLDEST)[0]
        self.trust = (
            os.environ.get(TRUST_VARIABLE, "").lower() in ("1", "true", "yes", "on")
            or self.passthrough.get("trust_remote_code") is True
        )
        self.model_id, self.revision = w.split_revision(setup.model)
        self.device_map = self.options.get("device_map")
        if not self.device_map and not self.options.get("tp_plan"):
            self.device_map = os.environ.get(DEVICE_MAP_VARIABLE) or None
        self.device = self.torch.device(self.pick_device())
        self.check_settings()
        self.config = self.read_config()
        self.text_config = self.config.get_text_config()
        self.context = next(
            (
                n
                for n in (
                    getattr(self.text_config, key, None)
                    for key in ("max_position_embeddings", "n_positions", "seq_length")
                )
                if isinstance(n, int) and 0 < n < NO_CONTEXT
            ),
            None,
        )
        self.end_ids = self.read_end_ids()
        self.generation(1)  # whatever the library refuses of it, it refuses now

    def version(self) -> str:
        return self.hf.__version__

    def libraries(self) -> dict[str, str]:
        names = ["torch", "transformers", "tokenizers", "safetensors", "accelerate"]
        names += ["peft"] * bool(self.lora)
        names += ["bitsandbytes"] * self.quantized
        found = w.versions(*names)
        found["torch"] = self.torch.__version__
        if self.torch.version.cuda:
            found["cuda"] = self.torch.version.cuda
        return found

    # ---- settings

    @property
    def quantized(self) -> bool:
        return bool(self.options.get("load_in_4bit") or self.options.get("load_in_8bit"))

    @property
    def batch_size(self) -> int:
        return self.options.get("batch_size", 1)

    @property
    def beams(self) -> int:
        return self.options.get("num_beams", self.sampling.get("num_beams", 1))

    def dtype(self, name: str | None) -> Any:
        return getattr(self.torch, name or "bfloat16")

    def pick_device(self) -> str:
        """Where the inputs go, and the model unless a device map spreads it."""
        if self.ranks:
            return self.ranks.device
        if self.device_map in ("cpu", "mps", "xpu") or str(self.device_map).startswith("cuda"):
            return self.device_map
        return "cuda:0" if self.torch.cuda.is_available() else "cpu"

    def check_settings(self) -> None:
        """Refuse what cannot take effect here; what the configuration rules out is gone by now."""
        o = self.options
        if self.device_map or o.get("max_memory"):
            w.need_package("accelerate", why="device_map and max_memory need it")
        if o.get("max_memory") and not self.device_map:
            raise refuse("max_memory spreads nothing without device_map", "set device_map: auto")
        if o.get("tp_size") and not o.get("tp_plan"):
            self.ignored["tp_size"] = "only tp_plan makes processes"
        if o.get("low_cpu_mem_usage") is False and self.major >= 5:
            raise refuse(
                f"low_cpu_mem_usage: false is not to be had: transformers {self.hf.__version__} "
                "always loads without a second copy"
            )
        if o.get("allow_tf32") and self.device.type != "cuda":
            raise refuse(f"allow_tf32 needs a CUDA device, and the model runs on {self.device}")
        if "autocast_dtype" in o and not o.get("autocast_enabled"):
            self.ignored["autocast_dtype"] = "autocast is off"
        if o.get("prompt_lookup_num_tokens"):
            if self.batch_size > 1:
                raise refuse("prompt_lookup_num_tokens works with batch_size 1 only")
            if self.beams > 1:
                raise refuse("prompt_lookup_num_tokens and num_beams exclude each other")
            if o.get("use_cache") is False or o.get("cache_implementation"):
                raise refuse("prompt_lookup_num_tokens needs the dynamic cache")
        if self.quantized:
            w.need_package("bitsandbytes", why="load_in_4bit and load_in_8bit need it")
            w.need_package("accelerate", why="load_in_4bit and load_in_8bit need it")
            if o.get("tp_plan"):
                raise refuse("load_in_4bit and load_in_8bit cannot be combined with tp_plan")
        if self.lora:
            w.need_package("peft", why="lora needs it")
        self.check_cache()
        self.check_compile()
        self.attention = self.pick_attention()
        self.check_keys()
        if self.sampling.get("min_new_tokens", 0) > self.setup.get(
            "task.max_output_tokens", NO_CONTEXT
        ):
            raise refuse("sampling.min_new_tokens is above task.max_output_tokens")
        if self.setup.get("task.ignore_eos") and not self.setup.get("task.max_output_tokens"):
            raise refuse(
                "task.ignore_eos needs task.max_output_tokens, else nothing ends a request"
            )
        if self.beams == 1:
            for key in ("early_stopping", "length_penalty"):
                if key in o:
                    self.ignored[key] = "only beam search uses it"
        if not self.samples:
            for key in ("temperature", "top_k", "top_p", "min_p"):
                if key in self.sampling:
                    self.ignored["sampling." + key] = "decoding is greedy"

    def check_cache(self) -> None:
        cache = self.options.get("cache_implementation")
        if not cache:
            return
        from transformers.generation import configuration_utils as known

        names = getattr(known, "ALL_CACHE_IMPLEMENTATIONS", (cache,))
        if cache not in names:
            raise refuse(
                f"transformers {self.hf.__version__} knows no cache_implementation {cache}",
                f"it knows {', '.join(sorted(names))}",
            )
        if cache == "offloaded_static" and self.device.type == "cpu":
            raise refuse("cache_implementation: offloaded_static has nothing to offload on a CPU")

    def check_compile(self) -> None:
        o = self.options
        if not o.get("torch_compile"):
            return
        mode, backend = o.get("torch_compile_mode"), o.get("torch_compile_backend", "inductor")
        if mode and mode not in COMPILE_MODES:
            raise refuse(
                f"torch.compile knows no mode {mode!r}", f"it knows {', '.join(COMPILE_MODES)}"
            )
        backends = self.torch._dynamo.list_backends(exclude_tags=())
        if backend not in backends:
            raise refuse(
                f"this torch has no compiler {backend!r}", f"it has {', '.join(sorted(backends))}"
            )
        if mode and backend != "inductor":
            raise refuse(f"torch_compile_mode is of the compiler inductor, not of {backend}")
        if backend == "inductor" and self.device.type == "cpu":
            from torch._inductor import cpp_builder

            try:
                cpp_builder.get_cpp_compiler()
            except Exception as error:
                raise refuse(
                    "torch_compile needs a C++ compiler, and none was found",
                    "install g++, or set torch_compile_backend",
                ) from error

    def pick_attention(self) -> str | None:
        """The kernels asked for, or sdpa where flash attention cannot be used here."""
        asked = self.options.get("attn_implementation")
        if not asked or not asked.startswith("flash_attention"):
            return asked
        test = getattr(self.hf.utils, f"is_flash_attn_{asked[-1]}_available", lambda: False)
        reason = None
        if self.device.type != "cuda":
            reason = f"it needs a CUDA device, and the model runs on {self.device}"
        elif not test():
            reason = "its package cannot be used here"
        if reason is None:
            return asked
        self.ignored["attn_implementation"] = f"{asked}: {reason}; sdpa instead"
        return "sdpa"

    def check_keys(self) -> None:
        """Keys that engine.yaml does not have: the installed library must know them."""
        loader = self.hf.PreTrainedModel.from_pretrained
        known = set(inspect.signature(loader).parameters) | set(
            re.findall(r'kwargs\.pop\(\s*"(\w+)"', inspect.getsource(loader))
        )
        known |= {"trust_remote_code"}
        self.extra = {k: v for k, v in self.options.items() if k not in OURS}
        for origin, keys in (
            ("transformers.", self.extra),
            ("passthrough_kwargs.", self.passthrough),
        ):
            for key in keys:
                if key not in known:
                    raise refuse(
                        f"from_pretrained of transformers {self.hf.__version__} has no argument "
                        f"{key} ({origin}{key}){nearest(key, iter([*OURS, *known]))}"
                    )
        known = set(self.hf.GenerationConfig().to_dict()) - {"max_new_tokens", "max_length"}
        for key in self.sampling:
            if key not in SAMPLING and key not in known:
                raise refuse(
                    f"transformers {self.hf.__version__} has no way of decoding called {key} "
                    f"(transformers.sampling.{key}){nearest(key, iter([*SAMPLING, *known]))}"
                )

    def check_hardware(self) -> list[str]:
        errors = []
        torch = self.torch
        there = torch.cuda.device_count()
        asked = str(self.device_map or "")
        if asked.startswith("cuda") and not there:
            errors.append(
                f"device_map is {asked}, and torch {torch.__version__} sees no GPU; leave it out "
                "to run on the CPU"
            )
        elif asked.startswith("cuda:") and int(asked[5:] or 0) >= there:
            errors.append(f"device_map is {asked}, and torch sees only {there} GPUs")
        if self.ranks and self.ranks.kind == "cuda" and self.ranks.size > there:
            errors.append(f"tp_size is {self.ranks.size}, and torch sees only {there} GPUs")
        return errors

    @property
    def samples(self) -> bool:
        """Greedy unless something of sampling was asked for; a temperature of 0 is greedy too."""
        s = self.sampling
        asked = any(k in s for k in ("temperature", "top_k", "top_p", "min_p"))
        return bool(s.get("do_sample", asked)) and s.get("temperature", 1.0) > 0

    def generation(self, new_tokens: int) -> Any:
        """The library's object for all of decoding, nothing of it left to a default."""
        o, s = self.options, self.sampling
        ends = [] if self.setup.get("task.ignore_eos") else self.end_ids
        fields: dict[str, Any] = {
            **{k: v for k, v in s.items() if k not in SAMPLING},
            "do_sample": self.samples,
            "num_beams": self.beams,
            "use_cache": o.get("use_cache", True),
            "max_new_tokens": new_tokens,
            "min_new_tokens": s.get("min_new_tokens"),
            "repetition_penalty": s.get("repetition_penalty"),
            "no_repeat_ngram_size": o.get("no_repeat_ngram_size"),
            "cache_implementation": o.get("cache_implementation"),
            "prompt_lookup_num_tokens": o.get("prompt_lookup_num_tokens"),
            "eos_token_id": ends or None,
            "pad_token_id": self.pad_id,
        }
        if self.samples:
            fields["temperature"] = s.get("temperature", 1.0)
            fields["top_k"] = s.get("top_k", 0)
            fields["top_p"] = s.get("top_p", 1.0)
            fields["min_p"] = s.get("min_p")
        if self.beams > 1:
            fields["early_stopping"] = o.get("early_stopping", False)
            fields["length_penalty"] = o.get("length_penalty", 1.0)
        if o.get("torch_compile") is not None:
            fields["disable_compile"] = True  # ours, or none; not a second one by the library
        try:
            config = self.hf.GenerationConfig(**w.drop_none(fields))
            config.validate()
        except ValueError as error:
            raise refuse(f"transformers refuses this decoding: {w.first_line(error)}") from error
        return config

    # ---- the model's files

    def read_config(self) -> Any:
        local = os.path.isdir(self.model_id)
        if not local and (self.model_id.startswith((".", "/", "~")) or not self.model_id):
            raise w.WorkerError(
                f"there is no directory {self.model_id}",
                "model_not_found",
                "task.model is a directory or a hub id like Qwen/Qwen2.5-0.5B",
            )
        if local and not os.path.exists(os.path.join(self.model_id, "config.json")):
            raise w.WorkerError(
                f"{self.model_id} has no config.json, so it holds no model of transformers",
                "model_not_found",
            )
        return self.hf.AutoConfig.from_pretrained(
            self.model_id, revision=self.revision, trust_remote_code=self.trust
        )

    def read_end_ids(self) -> list[int]:
        """The tokens that end a sequence: generation_config.json, else config.json."""
        ends = None
        with contextlib.suppress(OSError):
            ends = self.hf.GenerationConfig.from_pretrained(
                self.model_id, revision=self.revision
            ).eos_token_id
        if ends is None:
            ends = getattr(self.text_config, "eos_token_id", None)
        return [ends] if isinstance(ends, int) else list(ends or [])

    @property
    def pad_id(self) -> int:
        """What fills up rows; the attention mask hides it, so any token will do."""
        pad = getattr(self._tokenizer, "pad_token_id", None)
        return pad if pad is not None else (self.end_ids or [0])[0]

    def tokenizer(self) -> Any:
        if self._tokenizer is None:
            try:
                self._tokenizer = self.hf.AutoTokenizer.from_pretrained(
                    self.model_id, revision=self.revision, trust_remote_code=self.trust
                )
            except Exception as error:
                known = w.classify(error, self)
                raise w.WorkerError(
                    f"the tokenizer of {self.model_id} cannot be loaded: {known}",
                    known.kind,
                    known.hint or "task.dataset.source: random needs no tokenizer",
                ) from error
            self._tokenizer.padding_side = "left"
            self._tokenizer.truncation_side = "right"
        return self._tokenizer

    # ---- prompts

    def load_prompts(
        self,
        prompts: list[str | list[int]],
        max_input_tokens: int | None,
        chat_template: bool | str | None,
    ) -> tuple[list[int], int]:
        limit = max_input_tokens or self.setup.get("task.max_input_tokens")
        self.chat = bool(chat_template or self.options.get("chat_template"))
        self.prompts, self.truncated = w.token_ids(prompts, limit, self.encode)
        vocabulary = getattr(self.text_config, "vocab_size", None)
        w.check_prompts(self.prompts, self.context, vocabulary)
        return [len(p) for p in self.prompts], self.truncated

    def encode(self, prompt: str, limit: int | None) -> list[int]:
        tokenizer = self.tokenizer()
        special = True
        if self.chat:
            if not getattr(tokenizer, "chat_template", None):
                raise refuse(f"chat_template is on, and the tokenizer of {self.model_id} has none")
            prompt = tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
            )
            special = False  # the template writes them
        return tokenizer(
            prompt, add_special_tokens=special, truncation=limit is not None, max_length=limit
        )["input_ids"]

    def decode(self, ids: list[int]) -> str:
        return w.text_of(self.tokenizer(), ids)

    # ---- devices and loading

    def open_device(self) -> list[dict[str, Any]]:
        for device in self.cuda_devices():
            self.torch.zeros(1, device=device)
            self.torch.cuda.synchronize(device)
        return self.describe_devices()

    def cuda_devices(self) -> list[Any]:
        """The GPUs that work: those of the model once it is there, else those it may get."""
        torch = self.torch
        if self.model is not None:
            found = {p.device for p in self.model.parameters() if p.device.type == "cuda"}
            return sorted(found, key=lambda d: d.index or 0)
        if self.device.type != "cuda":
            return []
        if self.device_map and not str(self.device_map).startswith("cuda"):
            return [torch.device("cuda", i) for i in range(torch.cuda.device_count())]
        return [self.device]

    def describe_devices(self) -> list[dict[str, Any]]:
        devices = []
        for device in self.cuda_devices():
            p = self.torch.cuda.get_device_properties(device)
            uuid = getattr(p, "uuid", None)
            pci = [getattr(p, f"pci_{x}_id", None) for x in ("domain", "bus", "device")]
            devices.append(
                {
                    "kind": "gpu",
                    "uuid": f"GPU-{uuid}" if uuid else None,
                    "name": p.name,
                    "pci": None if None in pci else "%08x:%02x:%02x.0" % tuple(pci),
                }
            )
        return devices or super().open_device()

    def load_arguments(self) -> dict[str, Any]:
        o = self.options
        arguments: dict[str, Any] = {
            "dtype": self.dtype(o.get("dtype")),
            "revision": self.revision,
            "trust_remote_code": self.trust,
            "attn_implementation": self.attention,
            "device_map": self.device_map,
            "low_cpu_mem_usage": o.get("low_cpu_mem_usage") if self.major < 5 else None,
        }
        if self.ranks:
            arguments.update(self.ranks.load_arguments(self.major))
        elif not self.device_map and self.device.type != "cpu" and w.versions("accelerate"):
            arguments["device_map"] = {"": str(self.device)}  # without a copy on the host
        if o.get("max_memory"):
            arguments["max_memory"] = {
                int(k) if str(k).isdigit() else k: v for k, v in o["max_memory"].items()
            }
        if self.quantized:
            fields = {k: o[k] for k in o if k.startswith(("load_in_", "bnb_4bit_"))}
            if "bnb_4bit_compute_dtype" in fields:
                fields["bnb_4bit_compute_dtype"] = self.dtype(fields["bnb_4bit_compute_dtype"])
            arguments["quantization_config"] = self.hf.BitsAndBytesConfig(**fields)
        return {**w.drop_none(arguments), **self.extra, **self.passthrough}

    def load_model(self, progress: Callable[[str, float | None], None]) -> dict[str, Any]:
        begin = time.monotonic_ns()
        self.cleanup()
        torch, o = self.torch, self.options
        if self.device.type == "cuda" and "allow_tf32" in o:
            torch.backends.cuda.matmul.allow_tf32 = o["allow_tf32"]
            torch.backends.cudnn.allow_tf32 = o["allow_tf32"]
        if self.context is None and not self.setup.get("task.max_output_tokens"):
            raise refuse(
                f"{self.model_id} does not tell how long its context is, so nothing limits the "
                "output",
                "set task.max_output_tokens",
            )
        progress("loading the weights", None)
        model = self.hf.AutoModelForCausalLM.from_pretrained(self.model_id, **self.load_arguments())
        if not self.ranks and not self.quantized and not getattr(model, "hf_device_map", None):
            model = model.to(self.device)
        self.check_placement(model)
        if self.lora:
            progress("loading the adapter", None)
            model = self.add_adapter(model)
        model.eval()
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        # generate() fills what is unset from here: nothing may be left of the model's own.
        inner.generation_config = self.hf.GenerationConfig()
        if hasattr(model, "generation_config"):
            model.generation_config = inner.generation_config
        if o.get("torch_compile"):
            inner.forward = torch.compile(
                inner.forward,
                backend=o.get("torch_compile_backend", "inductor"),
                mode=o.get("torch_compile_mode"),
            )
        self.model, self.inner = model, inner
        self.warm(self.batches(range(len(self.prompts))), progress)
        self.synchronize()
        for key, reason in self.ignored.items():
            self.setup.log("warning", f"transformers.{key} has no effect: {reason}")
        return {
            "load_s": (time.monotonic_ns() - begin) * 1e-9,
            "devices": self.describe_devices(),
            "model": self.describe_model(),
            "effective": self.describe_effective(),
            "libraries": self.libraries(),
        }

    def check_placement(self, model: Any) -> None:
        where = set(getattr(model, "hf_device_map", {}).values())
        if "disk" in where:
            raise w.WorkerError(
                "device_map puts parts of the model on disk, where nothing can be measured",
                "out_of_memory",
                "a smaller model or dtype, or more of max_memory",
            )
        if any(p.device.type == "meta" for p in model.parameters()) and "cpu" not in where:
            raise w.WorkerError(f"the files of {self.model_id} lack weights of the model")

    def add_adapter(self, model: Any) -> Any:
        import peft

        source = self.lora.get("adapter_path") or self.lora["adapter_id"]
        revision = None
        if self.lora.get("adapter_path"):
            source = self.setup.path(source)
            if not os.path.exists(os.path.join(source, "adapter_config.json")):
                raise refuse(f"lora.adapter_path: {source} has no adapter_config.json")
        else:
            source, revision = w.split_revision(source)
        try:
            model = peft.PeftModel.from_pretrained(model, source, revision=revision)
        except (ValueError, RuntimeError, KeyError) as error:
            raise refuse(
                f"the adapter {source} does not fit {self.model_id}: {w.first_line(error)}"
            ) from error
        return model.merge_and_unload() if self.lora.get("merge_weights") else model

    def cleanup(self) -> None:
        if self.model is None:
            return
        self.model = self.inner = None
        self.warmed.clear()
        # The end of the process frees what is left; a collection takes 0.1 s beside torch.
        if self.torch.cuda.is_available() and self.torch.cuda.is_initialized():
            self.torch.cuda.empty_cache()

    # ---- what was loaded

    def weight_files(self) -> tuple[str | None, list[str]]:
        """The directory of the weights and their names."""
        where: str | None = self.model_id
        if not os.path.isdir(self.model_id):
            found = self.hf.utils.cached_file(
                self.model_id, "config.json", revision=self.revision, local_files_only=True
            )
            where = os.path.dirname(found) if found else None
        if where is None:
            return None, []
        for kind in ("model.safetensors", "pytorch_model.bin"):
            index = os.path.join(where, kind + ".index.json")
            if os.path.exists(index):
                with open(index, encoding="utf-8") as f:
                    return where, sorted(set(json.load(f)["weight_map"].values()))
            if os.path.exists(os.path.join(where, kind)):
                return where, [kind]
        return where, []

    def describe_model(self) -> dict[str, Any]:
        c, model = self.text_config, self.inner
        parameters = list(model.parameters())
        where, names = self.weight_files()
        files = [{"name": n, "bytes": os.path.getsize(os.path.join(where or "", n))} for n in names]
        digest = "".join(f"{f['name']} {f['bytes']}\n" for f in files)
        heads = getattr(c, "num_attention_heads", None)
        hidden = getattr(c, "hidden_size", None)
        size = getattr(c, "head_dim", None) or (hidden // heads if hidden and heads else None)
        tables = {
            id(m.weight): m.weight.numel()
            for m in model.modules()
            if isinstance(m, self.torch.nn.Embedding)
        }
        modules = " ".join(n for n, _ in model.named_modules())
        return {
            "name": self.setup.get("task.model", self.setup.model),
            "architecture": type(model).__name__,
            "dtype": w.plain(model.dtype),
            "parameters": sum(logical_size(p) for p in parameters),
            "embedding_parameters": sum(tables.values()),
            "weights_bytes": sum(p.numel() * p.element_size() for p in parameters),
            "files": files,
            "sha256": hashlib.sha256(digest.encode()).hexdigest() if files else None,
            "revision": commit_of(where) or self.revision,
            "hidden_size": hidden,
            "num_layers": getattr(c, "num_hidden_layers", None),
            "num_heads": heads,
            "num_kv_heads": getattr(c, "num_key_value_heads", None) or heads,
            "head_size": size,
            "intermediate_size": getattr(c, "intermediate_size", None)
            or getattr(c, "n_inner", None)
            or (4 * hidden if c.model_type == "gpt2" and hidden else None),
            "vocab_size": getattr(c, "vocab_size", None),
            "max_positions": self.context,
            "gated_mlp": "gate_proj" in modules or "gate_up_proj" in modules,
            "tied_embeddings": bool(getattr(c, "tie_word_embeddings", False)),
            "sliding_window": getattr(c, "sliding_window", None)
            if getattr(c, "use_sliding_window", True)
            else None,
            "experts": first_of(c, "num_local_experts", "num_experts", "n_routed_experts"),
            "active_experts": getattr(c, "num_experts_per_tok", None),
        }

    def describe_effective(self) -> dict[str, Any]:
        o, torch, model = self.options, self.torch, self.inner
        placed = getattr(model, "hf_device_map", None)
        compiled = bool(o.get("torch_compile"))
        out: dict[str, Any] = {
            "dtype": w.plain(model.dtype),
            "attn_implementation": getattr(model.config, "_attn_implementation", None),
            "device_map": {k or "model": str(v) for k, v in placed.items()} if placed else None,
            "device": str(self.device),
            "batch_size": self.batch_size,
            "padding_side": "left",
            "chat_template": self.chat,
            "compile": {
                "enabled": compiled,
                "mode": o.get("torch_compile_mode", "default") if compiled else None,
                "backend": o.get("torch_compile_backend", "inductor") if compiled else None,
                "by_library": self.library_compiles,
            },
            "cache": "none"
            if o.get("use_cache") is False
            else o.get("cache_implementation", "dynamic"),
            "num_beams": self.beams,
            "low_cpu_mem_usage": True if self.major >= 5 else o.get("low_cpu_mem_usage"),
            "autocast": str(o.get("autocast_dtype", "bfloat16"))
            if o.get("autocast_enabled")
            else None,
            "tf32": torch.backends.cuda.matmul.allow_tf32 if self.device.type == "cuda" else None,
            "quantization": None,
            "lora": None,
            "tensor_parallel": self.ranks.size if self.ranks else None,
            "threads": torch.get_num_threads(),
            "trust_remote_code": self.trust,
            "extra": w.plain({**self.extra, **self.passthrough}) or None,
            "ignored": self.ignored or None,
        }
        quantizer = getattr(model.config, "quantization_config", None)
        if quantizer is not None:
            out["quantization"] = w.plain(quantizer)
        if self.lora:
            out["lora"] = {
                "adapter": self.lora.get("adapter_path") or self.lora.get("adapter_id"),
                "merged": bool(self.lora.get("merge_weights")),
                "parameters": sum(
                    p.numel() for n, p in self.model.named_parameters() if "lora_" in n
                ),
            }
        return out

    @property
    def library_compiles(self) -> bool:
        """A static cache makes generate() compile by itself, where there is an accelerator."""
        o = self.options
        return (
            o.get("torch_compile") is None
            and o.get("cache_implementation") in ("static", "sliding_window")
            and self.device.type in ("cuda", "xpu")
        )

    def capture_observed_params(self) -> dict[str, Any]:
        decoding = w.drop_none(self.generation(self.new_tokens(self.longest())).to_dict())
        decoding.pop("transformers_version", None)
        for key in ("temperature", "top_k", "top_p", "min_p"):
            decoding.setdefault(key, None)
        decoding["seed"] = self.seed if self.samples else None
        decoding["ignore_eos"] = bool(self.setup.get("task.ignore_eos"))
        decoding["eos_token_ids"] = self.end_ids
        return {
            "engine_params": self.describe_effective() if self.model is not None else {},
            "sampling_params": {k: v for k, v in decoding.items() if not k.startswith("_")},
        }

    # ---- running

    @property
    def seed(self) -> int:
        return self.setup.get("task.random_seed", 42)

    def longest(self) -> int:
        return max((len(p) for p in self.prompts), default=1)

    def new_tokens(self, length: int) -> int:
        """How many tokens may follow prompts of this length."""
        limit = self.setup.get("task.max_output_tokens", NO_CONTEXT)
        return min(limit, self.context - length) if self.context else limit

    def batches(self, indices: Any) -> list[list[int]]:
        indices = list(indices)
        for i in indices:
            if not 0 <= i < len(self.prompts):
                raise w.WorkerError(f"there is no prompt {i}; {len(self.prompts)} are loaded")
        n = self.batch_size
        return [indices[i : i + n] for i in range(0, len(indices), n)]

    def inputs(self, batch: list[int]) -> dict[str, Any]:
        """The prompts of a batch, filled up on the left, on the device of the model."""
        width = max(len(self.prompts[i]) for i in batch)
        pad = self.pad_id
        rows, masks = [], []
        for i in batch:
            fill = width - len(self.prompts[i])
            rows.append([pad] * fill + self.prompts[i])
            masks.append([0] * fill + [1] * len(self.prompts[i]))
        device = self.model.device
        return {
            "input_ids": self.torch.tensor(rows, device=device),
            "attention_mask": self.torch.tensor(masks, device=device),
        }

    @contextlib.contextmanager
    def arithmetic(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            # Compiled code and bitsandbytes keep tensors over calls, which inference_mode forbids.
            stack.enter_context(self.torch.no_grad())
            if self.options.get("autocast_enabled"):
                stack.enter_context(
                    self.torch.autocast(
                        self.device.type, self.dtype(self.options.get("autocast_dtype"))
                    )
                )
            yield

    def seed_all(self) -> None:
        if self.samples:
            self.torch.manual_seed(self.seed)

    def warm(
        self,
        batches: list[list[int]],
        progress: Callable[[str, float | None], None] = lambda text, fraction: None,
    ) -> None:
        """Compile for the shapes of these batches, so that nothing is compiled in the window.

        The caches of a static kind have the length of the whole request, so few tokens will do; a
        dynamic cache takes every length on its way, so the longest request is run whole.
        """
        if not self.options.get("torch_compile") and not self.library_compiles:
            return
        stop = self.hf.StoppingCriteriaList([stop_after(self.hf, WARM_TOKENS)])
        shapes: dict[tuple[int, int], list[int]] = {}
        for batch in batches:
            shape = (len(batch), max(len(self.prompts[i]) for i in batch))
            if shape not in self.warmed:
                shapes.setdefault(shape, batch)
        whole = self.options.get("cache_implementation") is None
        longest = max(shapes, key=lambda s: s[1], default=None)
        for n, (shape, batch) in enumerate(sorted(shapes.items(), key=lambda x: x[0] != longest)):
            progress(f"compiling for {shape[0]} prompts of {shape[1]} tokens", n / len(shapes))
            try:
                with self.arithmetic():
                    self.model.generate(
                        **self.inputs(batch),
                        generation_config=self.generation(self.new_tokens(shape[1])),
                        stopping_criteria=None if whole and shape == longest else stop,
                    )
            except Exception as error:
                if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                    raise refuse(
                        f"torch.compile failed: {type(error).__name__}: {w.first_line(error)}",
                        "leave torch_compile out, or choose another torch_compile_backend",
                    ) from error
                raise
            self.warmed.add(shape)

    def run_warmup_prompt(self, index: int) -> float:
        self.seed_all()
        inputs = self.inputs(*self.batches([index]))
        decoding = self.generation(self.new_tokens(len(self.prompts[index])))
        self.synchronize()
        begin = time.monotonic_ns()
        with self.arithmetic():
            self.model.generate(**inputs, generation_config=decoding)
        self.synchronize()
        return (time.monotonic_ns() - begin) * 1e-6

    def synchronize(self) -> None:
        for device in self.cuda_devices():
            self.torch.cuda.synchronize(device)
        if self.ranks:
            self.ranks.barrier()

    def compiled_graphs(self) -> int:
        if not self.options.get("torch_compile") and not self.library_compiles:
            return 0
        return self.torch._dynamo.utils.counters["stats"]["unique_graphs"]

    def run_inference(
        self, pass_id: int, indices: list[int], repeats: int, stream: bool
    ) -> w.Inference:
        if self.model is None:
            raise w.WorkerError("no model is loaded")
        batches = self.batches(indices)
        self.warm(batches)
        inputs = [self.inputs(b) for b in batches]
        decodings = [self.generation(self.new_tokens(x["input_ids"].shape[1])) for x in inputs]
        stream = stream and self.beams == 1  # generate() streams no beams
        streamers = [TokenTimes() if stream else None for _ in range(repeats) for _ in batches]
        generate = self.model.generate
        edges: list[tuple[int, int]] = []
        outputs: list[Any] = []
        cuda = self.cuda_devices()
        for device in cuda:
            self.torch.cuda.reset_peak_memory_stats(device)
        if not cuda:
            w.reset_peak_rss()
        graphs = self.compiled_graphs()
        with self.arithmetic():
            self.synchronize()
            begin = time.monotonic_ns()
            for r in range(repeats):
                self.seed_all()
                for b in range(len(batches)):
                    submit = time.monotonic_ns()
                    outputs.append(
                        generate(
                            **inputs[b],
                            generation_config=decodings[b],
                            streamer=streamers[r * len(batches) + b],
                        )
                    )
                    edges.append((submit, time.monotonic_ns()))
            self.synchronize()
            end = time.monotonic_ns()
        graphs = self.compiled_graphs() - graphs
        if graphs:
            self.setup.log("warning", f"{graphs} graphs were compiled inside the window")
        peak = (
            sum(self.torch.cuda.max_memory_allocated(d) for d in cuda)
            if cuda
            else w.peak_rss_bytes()
        )
        receipts = []
        for n, sequences in enumerate(outputs):
            receipts += self.receipts(
                n // len(batches), batches[n % len(batches)], sequences, edges[n], streamers[n]
            )
        done = w.Inference(begin, end, peak, receipts)
        done.extra = {
            "peak_memory_source": "torch.cuda.max_memory_allocated" if cuda else "VmHWM",
            "input_tokens": sum(r["input_tokens"] for r in receipts),
            "output_tokens": sum(r["output_tokens"] for r in receipts),
        }
        if graphs:
            done.extra["compiled_graphs"] = graphs
        if self.ranks:
            self.ranks.gather(
                done, self.describe_devices(), sum(local_bytes(p) for p in self.inner.parameters())
            )
        return done

    def receipts(
        self,
        repeat: int,
        batch: list[int],
        sequences: Any,
        edge: tuple[int, int],
        times: TokenTimes | None,
    ) -> list[dict[str, Any]]:
        """One for each prompt; all of several sequences that it was to return together."""
        if hasattr(sequences, "sequences"):
            sequences = sequences.sequences
        width = max(len(self.prompts[i]) for i in batch)
        rows = sequences[:, width:].tolist()
        each = len(rows) // len(batch)
        ends = set() if self.setup.get("task.ignore_eos") else set(self.end_ids)
        found = []
        for position, i in enumerate(batch):
            ids: list[int] = []
            stopped = True
            for row in rows[position * each : (position + 1) * each]:
                n = next((k + 1 for k, t in enumerate(row) if t in ends), len(row))
                stopped = stopped and n > 0 and row[n - 1] in ends
                ids += row[:n]
            limit = self.new_tokens(width)
            asked = self.setup.get("task.max_output_tokens", NO_CONTEXT)
            length = "length" if asked <= limit else "context"
            receipt = {
                "repeat": repeat,
                "i": i,
                "t_submit_ns": edge[0],
                "t_scheduled_ns": edge[0],
                "t_last_ns": edge[1],
                "input_tokens": len(self.prompts[i]),
                "cached_tokens": 0,
                "output_tokens": len(ids),
                "finish": "stop" if stopped else length,
                "output_ids": ids,
            }
            if times is not None and each == 1 and len(times.tokens) >= len(ids) > 0:
                receipt["token_ns"] = times.tokens[: len(ids)]
                receipt["t_first_ns"] = times.tokens[0]
                receipt["t_last_ns"] = times.tokens[len(ids) - 1]
            found.append(receipt)
        return found


class TokenTimes:
    """A streamer that keeps when each token was on the host, and nothing else."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.prompt = True

    def put(self, value: Any) -> None:
        now = time.monotonic_ns()
        if self.prompt:
            self.prompt = False
        else:
            # One token for each row of a batch, or several for the one row of assisted decoding.
            self.tokens += [now] * (value.shape[-1] if value.dim() == 2 else 1)

    def end(self) -> None:
        pass


def stop_after(hf: Any, tokens: int) -> Any:
    """A criterion that ends generate() after some tokens, whatever length it was set up for."""

    class Stop(hf.StoppingCriteria):
        def __init__(self) -> None:
            self.begin: int | None = None

        def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
            width = input_ids.shape[1]
            if self.begin is None or width < self.begin:
                self.begin = width
            return input_ids.new_full(
                (input_ids.shape[0],), width - self.begin + 1 >= tokens
            ).bool()

    return Stop()


def commit_of(where: str | None) -> str | None:
    """The commit that a directory of the hub's cache is named after: .../snapshots/COMMIT."""
    above, name = os.path.split(os.path.realpath(where or ""))
    return name if os.path.basename(above) == "snapshots" else None


def first_of(config: Any, *names: str) -> Any:
    """The first of some fields that a configuration has."""
    return next((v for v in (getattr(config, n, None) for n in names) if v is not None), None)


def logical_size(parameter: Any) -> int:
    """Elements of a parameter as the model means them: 4-bit weights are packed two a byte."""
    state = getattr(parameter, "quant_state", None)
    shape = getattr(state, "shape", None)
    return shape.numel() if shape is not None else parameter.numel()


def local_bytes(parameter: Any) -> int:
    """What this process holds of a parameter."""
    part = parameter.to_local() if hasattr(parameter, "to_local") else parameter
    return part.numel() * part.element_size()


# ---- tensor parallelism


class Ranks:
    """The processes of torchrun: rank 0 speaks the protocol, the others do as it does."""

    def __init__(self, torch: Any):
        import torch.distributed as dist

        self.dist = dist
        self.rank = int(os.environ["RANK"])
        self.size = int(os.environ["WORLD_SIZE"])
        self.kind = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = "cpu"
        if self.kind == "cuda":
            self.device = f"cuda:{os.environ['LOCAL_RANK']}"
            torch.cuda.set_device(self.device)
        dist.init_process_group("nccl" if self.kind == "cuda" else "gloo")
        self.talk = dist.new_group(backend="gloo") if self.kind == "cuda" else None

    def load_arguments(self, major: int) -> dict[str, Any]:
        if major >= 5:
            try:
                from transformers.distributed.configuration_utils import DistributedConfig

                return {"distributed_config": DistributedConfig(tp_plan="auto", tp_size=self.size)}
            except ImportError:
                pass
        return {"tp_plan": "auto", "tp_size": self.size}

    def barrier(self) -> None:
        self.dist.barrier(group=self.talk)

    def tell(self, order: tuple[str, tuple[Any, ...]] | None) -> Any:
        """Rank 0 says what to do, the others hear it."""
        box = [order]
        self.dist.broadcast_object_list(box, src=0, group=self.talk)
        return box[0]

    def gather(
        self, done: w.Inference, devices: list[dict[str, Any]], weights_bytes: int
    ) -> None:
        """Let rank 0 tell what each did; its edges become the first begin and the last end."""
        mine = {
            "rank": self.rank,
            "pid": os.getpid(),
            "device": self.device,
            "devices": devices,
            "t_begin_ns": done.t_begin_ns,
            "t_end_ns": done.t_end_ns,
            "peak_memory_bytes": done.peak_memory_bytes,
            "input_tokens": done.extra["input_tokens"],
            "output_tokens": done.extra["output_tokens"],
            "weights_bytes": weights_bytes,
        }
        box: list[Any] | None = [None] * self.size if self.rank == 0 else None
        self.dist.gather_object(mine, box, dst=0, group=self.talk)
        if box is not None:
            done.extra["process_results"] = box
            done.t_begin_ns = min(r["t_begin_ns"] for r in box)
            done.t_end_ns = max(r["t_end_ns"] for r in box)


class Leader(w.Engine):
    """Rank 0 of several: tells the others each method before it does it."""

    name = Transformers.name
    capabilities = Transformers.capabilities

    def __init__(self, engine: Transformers):
        super().__init__(engine.setup)
        self.engine = engine
        for method in "version libraries check_hardware capture_observed_params decode".split():
            setattr(self, method, getattr(engine, method))
        for (
            method
        ) in "load_prompts open_device run_warmup_prompt synchronize run_inference".split():
            setattr(self, method, self.lead(method))

    def lead(self, method: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.engine.ranks.tell((method, arguments))
            return getattr(self.engine, method)(*arguments)

        return call

    def load_model(self, progress: Callable[[str, float | None], None]) -> dict[str, Any]:
        self.engine.ranks.tell(("load_model", (None,)))
        loaded = self.engine.load_model(progress)
        devices = self.engine.ranks
        loaded["devices"] = loaded["devices"] if devices.kind == "cpu" else self.all_devices()
        return loaded

    def all_devices(self) -> list[dict[str, Any]]:
        """torch numbers the GPUs of one host alike in every rank."""
        engine, torch = self.engine, self.engine.torch
        saved, engine.cuda_devices = (
            engine.cuda_devices,
            lambda: [torch.device("cuda", i) for i in range(engine.ranks.size)],
        )
        try:
            return engine.describe_devices()
        finally:
            engine.cuda_devices = saved

    def cleanup(self) -> None:
        if self.engine.model is not None:
            self.engine.ranks.tell(("cleanup", ()))
            self.engine.cleanup()

    def close(self) -> None:
        self.engine.ranks.tell(None)


def follow() -> None:
    """A rank other than 0: do what it is told until it is told nothing."""
    setup = w.Setup(w.request_params())
    w.leave_channel()
    torch = w.need_package("torch")
    engine = Transformers(setup, Ranks(torch))
    while True:
        order = engine.ranks.tell(None)
        if order is None:
            return
        method, arguments = order
        if method == "load_model":
            arguments = (lambda text, fraction: None,)
        try:
            getattr(engine, method)(*arguments)
        except w.WorkerError:
            pass  # rank 0 refuses the same, and tells it
        except Exception as error:
            print(f"rank {engine.ranks.rank}: {error}", file=sys.stderr, flush=True)
            time.sleep(5)  # rank 0 meets most errors itself and tells them better
            raise


def make(setup: w.Setup) -> w.Engine:
    """The engine; with tp_plan, this process becomes torchrun, whose rank 0 comes back here."""
    options = w.drop_none(setup.get("transformers", {}))
    if not options.get("tp_plan"):
        return Transformers(setup)
    torch = w.need_package("torch")
    if "RANK" in os.environ:
        return Leader(Transformers(setup, Ranks(torch)))
    size = options.get("tp_size") or torch.cuda.device_count()
    if size < 1:
        raise refuse("tp_plan on a CPU needs tp_size: there are no GPUs to count")
    if torch.cuda.is_available() and size > torch.cuda.device_count():
        raise w.WorkerError(
            f"tp_size is {size}, and torch sees {torch.cuda.device_count()} GPUs",
            "hardware",
            "lower tp_size, or look at CUDA_VISIBLE_DEVICES",
        )
    threads = max(1, len(os.sched_getaffinity(0)) // size)
    setup.restart(
        [
            sys.executable,
            *("-m", "torch.distributed.run", "--nnodes=1", f"--nproc-per-node={size}"),
            *("--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1"),
            os.path.abspath(__file__),
        ],
        {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))},
    )
    raise AssertionError("execve came back")


if __name__ == "__main__":
    if os.environ.get("RANK", "0") == "0":
        w.serve(make)
    else:
        follow()
