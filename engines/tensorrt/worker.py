# SPDX-License-Identifier: MIT
"""The engine `tensorrt`: TensorRT-LLM's LLM class behind the worker protocol.

Two back ends: PyTorch, and an engine built for the GPU, which is kept in a cache of built engines.
Names that changed between versions are in tables; what the installed version does not know is
refused before the load. Only rank 0 of several speaks to llem.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import importlib
import json
import os
import pathlib
import re
import sys
import time
import types
from typing import Any

from llem_llm import (
    LlmEngine,
    adapter_of,
    adopt_orphans,
    at,
    children,
    describe_config,
    end_children,
    fields_of,
    gpu_memory_of_children,
    is_on,
    named,
    refuse_unknown,
    seed_of,
    settings,
    visible_gpus,
)
from llem_worker import (
    Inference,
    Setup,
    WorkerError,
    first_line,
    need_package,
    need_version,
    plain,
    serve,
    split_revision,
    versions,
)

OLDEST = (0, 12)  # the first with the class LLM where it is now

# Where a back end lives, from which version on: module of its LLM, arguments that choose it, module
# and class of its arguments. The newest that is not above the installed version counts.
BACKENDS = {
    (0, 0): {
        "trt": ("tensorrt_llm", {}, "tensorrt_llm.llmapi.llm_args", "LlmArgs"),
        "pytorch": (
            "tensorrt_llm",
            {"backend": "pytorch"},
            "tensorrt_llm.llmapi.llm_args",
            "LlmArgs",
        ),
    },
    (0, 21): {
        "trt": ("tensorrt_llm", {}, "tensorrt_llm.llmapi.llm_args", "TrtLlmArgs"),
        "pytorch": (
            "tensorrt_llm",
            {"backend": "pytorch"},
            "tensorrt_llm.llmapi.llm_args",
            "TorchLlmArgs",
        ),
        "_autodeploy": (
            "tensorrt_llm",
            {"backend": "_autodeploy"},
            "tensorrt_llm._torch.auto_deploy.llm_args",
            "LlmArgs",
        ),
    },
    (1, 0): {
        "trt": (
            "tensorrt_llm._tensorrt_engine",
            {},
            "tensorrt_llm.llmapi.llm_args",
            "TrtLlmArgs",
        ),
        "pytorch": ("tensorrt_llm", {}, "tensorrt_llm.llmapi.llm_args", "TorchLlmArgs"),
        "_autodeploy": (
            "tensorrt_llm._torch.auto_deploy",
            {},
            "tensorrt_llm._torch.auto_deploy.llm_args",
            "LlmArgs",
        ),
    },
}
DEFAULT_BACKEND = {(0, 0): "trt", (1, 0): "pytorch"}  # of the library, from which version on

# Where adapters live, the newest place first.
LORA_CONFIG = (
    "tensorrt_llm._torch.peft.lora.config:LoraConfig",
    "tensorrt_llm.lora_helper:LoraConfig",
    "tensorrt_llm.lora_manager:LoraConfig",
)
LORA_REQUEST = ("tensorrt_llm.executor.request:LoRARequest",)

# Our name and the library's, by class; of several the first that the installed version has.
RENAMED = {
    "LLM": {"quant_config": ("quant_config", "quantization")},
    "SamplingParams": {
        "max_tokens": ("max_tokens", "max_new_tokens"),
        "seed": ("seed", "random_seed"),
    },
    "SchedulerConfig": {
        "capacity_scheduling_policy": ("capacity_scheduler_policy", "capacity_scheduling_policy"),
    },
}

# What a setting that the chosen back end or version lacks should become.
BECAME = {
    "tensorrt.quant_config": "the PyTorch back end takes the quantisation of the checkpoint: use a "
    "quantised one, or backend: trt",
    "tensorrt.fast_build": "only an engine is built: set backend: trt, or leave it out",
}
# Fixed when an engine is built; passed through BuildConfig, so that they reach the build.
BUILD = ("max_batch_size", "max_input_len", "max_seq_len", "max_num_tokens")
BUILT_IN = ("max_input_len", "max_seq_len", "dtype", "quant_config", "fast_build")
OWN = {"model", "tokenizer"}
MEMORY_HINT = (
    "a smaller model, tensorrt.max_batch_size, tensorrt.max_seq_len, tensorrt.max_num_tokens or "
    "tensorrt.kv_cache_config.free_gpu_memory_fraction needs less"
)
FP8_CAPABILITY, LEAST_CAPABILITY = (8, 9), (7, 5)
END_S = 20.0


def newest(table: dict[tuple[int, ...], Any], version: tuple[int, ...]) -> Any:
    """The entry of a table by version that counts for this one."""
    return table[max(v for v in table if v <= version)]


def first_of(places: tuple[str, ...]) -> Any:
    """The first class of `module:name` that the installed version has; None if it has none."""
    for place in places:
        module, _, name = place.partition(":")
        with contextlib.suppress(ImportError, AttributeError):
            return getattr(importlib.import_module(module), name)
    return None


def rank() -> int:
    """Which of several processes of one launch this is."""
    for name in ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return 0


def size_of(folder: pathlib.Path | str | None) -> int | None:
    """Bytes of the files below a folder; None where there is none."""
    if folder is None or not os.path.isdir(folder):
        return None
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_size
    return total


class Asked:
    """The arguments for TensorRT-LLM that a configuration comes to."""

    def __init__(self, setup: Setup, version: str):
        self.library = f"TensorRT-LLM {version}"
        self.version = need_version("tensorrt_llm", version, OLDEST)
        section = settings(setup.get("tensorrt"))
        section.pop("chat_template", None)  # of LlmEngine
        self.engine_path = section.pop("engine_path", None)
        asked = section.pop("backend", None)
        self.backend = asked or (
            "trt" if self.engine_path else newest(DEFAULT_BACKEND, self.version)
        )
        self.module, self.choice, args_module, args_class = self._backend()
        self.names = fields_of(getattr(importlib.import_module(args_module), args_class))
        self.llmapi = importlib.import_module("tensorrt_llm.llmapi")
        self.task_seed = int(setup.get("task.random_seed", 42))
        self.max_output = setup.get("task.max_output_tokens")
        self.ignore_eos = bool(setup.get("task.ignore_eos", False))
        self.sampling = settings(section.pop("sampling", None))
        self.sampling_names = fields_of(self.llmapi.SamplingParams)
        known = self.sampling_names | set(RENAMED["SamplingParams"])
        self.refuse(self.sampling, known, "tensorrt.sampling")
        section.update(settings(setup.get("passthrough_kwargs")))
        self.asked = dict(section)
        self.adapter = adapter_of(setup)
        self.llm = self._arguments(setup, section)

    def _backend(self) -> tuple[str, dict[str, Any], str, str]:
        offered = newest(BACKENDS, self.version)
        if self.engine_path and self.backend != "trt":
            raise WorkerError(
                f"tensorrt.engine_path is a built engine, and backend: {self.backend} runs none",
                "config",
                "set tensorrt.backend: trt, or leave one of the two out",
            )
        try:
            found = offered[self.backend]
            importlib.import_module(found[0])
            importlib.import_module(found[2])
        except (KeyError, ModuleNotFoundError):
            raise WorkerError(
                f"{self.library} has no back end {self.backend}",
                "config",
                "leave tensorrt.backend out, which takes the library's own choice",
            ) from None
        return found

    def refuse(self, given: Any, known: set[str], section: str) -> None:
        """Raise the sentence for what this version does not know."""
        refuse_unknown(given, known, section, self.library, BECAME)

    def rename(self, kind: str, known: set[str], given: dict[str, Any]) -> dict[str, Any]:
        """Names as this version has them."""
        table = RENAMED.get(kind, {})
        return {
            next((n for n in table.get(name, ()) if n in known), name): value
            for name, value in given.items()
        }

    def build(self, kind: str, path: str, given: dict[str, Any]) -> Any:
        """A configuration object of the library."""
        cls = getattr(self.llmapi, kind)
        known = fields_of(cls)
        given = self.rename(kind, known, settings(given))
        self.refuse(given, known, f"tensorrt.{path}")
        return cls(**given)

    def member(self, kind: str, path: str, name: str) -> Any:
        """A member of an enumeration of the library by its name."""
        members = getattr(self.llmapi, kind).__members__
        if name not in members:
            raise WorkerError(
                f"{self.library} has no {path} {name}",
                "config",
                f"it has {', '.join(members)}",
            )
        return members[name]

    def _arguments(self, setup: Setup, section: dict[str, Any]) -> dict[str, Any]:
        args = dict(section)
        taken = sorted(OWN & set(args))
        if taken:
            raise WorkerError(
                f"tensorrt.{taken[0]} is set by llem itself", "config", "the model is task.model"
            )
        cache = settings(args.pop("kv_cache_config", None))
        quant = settings(args.pop("quant_config", None))
        scheduler = settings(args.pop("scheduler_config", None))
        if self.backend != "trt" and quant.get("kv_cache_quant_algo") == "FP8":
            cache["dtype"] = "fp8"  # the PyTorch back end's name for it
            del quant["kv_cache_quant_algo"]
        if self.backend != "trt" and args.get("fast_build") is False:
            del args["fast_build"]
        if quant:
            args["quant_config"] = quant
        known = self.names if self.backend == "trt" else self.names - {"quant_config"}
        self.refuse(self.rename("LLM", known, args), known, "tensorrt")
        for key in ("quant_algo", "kv_cache_quant_algo"):
            if key in quant:
                quant[key] = self.member("QuantAlgo", f"quant_config.{key}", quant[key])
        if quant:
            args["quant_config"] = self.build("QuantConfig", "quant_config", quant)
        if cache:
            args["kv_cache_config"] = self.build("KvCacheConfig", "kv_cache_config", cache)
        policy = scheduler.get("capacity_scheduling_policy")
        if policy:
            scheduler["capacity_scheduling_policy"] = self.member(
                "CapacitySchedulerPolicy", "scheduler_config.capacity_scheduling_policy", policy
            )
        if scheduler:
            args["scheduler_config"] = self.build("SchedulerConfig", "scheduler_config", scheduler)
        model, revision = split_revision(setup.model)
        args["model"] = model
        if self.adapter is not None:
            args.setdefault("lora_config", self._lora_config(*self.adapter))
        if self.engine_path:
            self._check_engine(args, setup.path(str(self.engine_path)))
        elif self.backend == "trt":
            limits = {k: args[k] for k in BUILD if k in args}
            if limits:
                args["build_config"] = self.build("BuildConfig", "build_config", limits)
            self._cache(args)
        if revision:
            args.setdefault("revision", revision)
            args.setdefault("tokenizer_revision", revision)
        if is_on("LLEM_TRUST_REMOTE_CODE"):
            args.setdefault("trust_remote_code", True)
        return {**self.rename("LLM", known, args), **self.choice}

    def _lora_config(self, path: str, rank: int) -> Any:
        """Room for one adapter."""
        if self.backend == "trt":
            raise WorkerError(
                "tensorrt.backend: trt builds engines without room for an adapter",
                "config",
                "set tensorrt.backend: pytorch, or merge the adapter into the model first",
            )
        kind = first_of(LORA_CONFIG)
        if kind is None or first_of(LORA_REQUEST) is None:
            raise WorkerError(f"{self.library} has no adapters in the places known", "config")
        return kind(lora_dir=[path], max_lora_rank=rank, max_loras=1, max_cpu_loras=1)

    def _check_engine(self, args: dict[str, Any], path: str) -> None:
        """A built engine fits what is asked, or a sentence says what does not."""

        def wrong(text: str, hint: str | None = None) -> WorkerError:
            return WorkerError(f"tensorrt.engine_path {path}: {text}", "config", hint)

        fixed = [k for k in BUILT_IN if k in args]
        if fixed:
            raise wrong(
                f"tensorrt.{fixed[0]} was fixed when the engine was built",
                f"leave tensorrt.{fixed[0]} out, or let llem build the engine",
            )
        folder = pathlib.Path(path)
        if not folder.is_dir():
            raise wrong("there is no such directory")
        try:
            config = json.loads((folder / "config.json").read_text())
            mapping = config.get("pretrained_config", {}).get("mapping", {})
            built = int(mapping.get("tp_size", 1))
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise wrong(f"its config.json cannot be read: {first_line(error)}") from None
        asked = int(args.get("tensor_parallel_size", built))
        if asked != built:
            raise wrong(
                f"it was built for tensor_parallel_size {built}, not {asked}",
                f"set tensorrt.tensor_parallel_size: {built}",
            )
        pipeline = int(mapping.get("pp_size", 1))
        for i in range(built * pipeline):
            if not (folder / f"rank{i}.engine").is_file():
                raise wrong(f"rank{i}.engine is missing")
        args["model"] = path

    def _cache(self, args: dict[str, Any]) -> None:
        """Keep built engines. The library's key leaves the weights out: each set has a folder."""
        if os.environ.get("LLEM_TRT_BUILD_CACHE_ENABLED", "1").lower() in ("0", "false", "no"):
            return
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        root = os.environ.get("LLEM_TRT_BUILD_CACHE_PATH") or os.path.join(home, "llem", "tensorrt")
        digest = hashlib.sha256(str(args["model"]).encode())
        if os.path.isdir(args["model"]):
            for entry in sorted(os.scandir(args["model"]), key=lambda e: e.name):
                stat = entry.stat()
                digest.update(f"{entry.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
        self.cache_root = pathlib.Path(root) / digest.hexdigest()[:16]
        if "enable_build_cache" in self.names and "enable_build_cache" not in args:
            args["enable_build_cache"] = self.llmapi.BuildCacheConfig(cache_root=self.cache_root)

    cache_root: pathlib.Path | None = None

    def sampling_fields(self, index: int) -> dict[str, Any]:
        """The fields of SamplingParams. Greedy unless something of sampling was asked for."""
        fields = dict(self.sampling)
        sampled = any(k in fields for k in ("temperature", "top_k", "top_p", "min_p"))
        if not sampled or fields.get("temperature") == 0:
            for name in ("temperature", "top_p", "min_p"):
                fields.pop(name, None)
            fields["top_k"] = 1
        else:
            # Without either, the library takes the most likely token.
            fields.setdefault("top_p", 1.0)
            fields.setdefault("seed", seed_of(self.task_seed, index))
        if "stop" not in fields:
            fields.setdefault("detokenize", False)  # text is no part of the work measured
        if self.ignore_eos:
            fields["ignore_eos"] = True
        if self.max_output is not None or "max_tokens" not in fields:
            fields["max_tokens"] = self.max_output
        if "return_perf_metrics" in self.sampling_names:
            fields["return_perf_metrics"] = True  # without it a request has no times
        return self.rename("SamplingParams", self.sampling_names, fields)


class TensorRt(LlmEngine):
    """LLM, and the processes it starts, one a GPU."""

    name = "tensorrt"
    context_setting = "tensorrt.max_seq_len"

    def __init__(self, setup: Setup):
        super().__init__(setup)
        adopt_orphans()
        self.library = need_package("tensorrt_llm")
        self.asked = Asked(setup, self.version())
        self.llm: Any = None
        self.ends: list[int] = []  # where the library has no tokenizer to ask
        self.salts = 0

    def version(self) -> str:
        return str(getattr(self.library, "__version__", "unknown"))

    def libraries(self) -> dict[str, str]:
        return versions("tensorrt_llm", "tensorrt", "torch", "transformers")

    # -- before the load

    def devices_needed(self) -> int:
        """How many GPUs the model is spread over."""
        return int(self.asked.llm.get("tensor_parallel_size", 1)) * int(
            self.asked.llm.get("pipeline_parallel_size", 1)
        )

    def check_hardware(self) -> list[str]:
        gpus, needed = visible_gpus(), self.devices_needed()
        if needed > len(gpus):
            return [
                f"the engine tensorrt needs {needed} NVIDIA GPU{'s' * (needed > 1)}, and "
                f"{len(gpus)} {'are' if len(gpus) != 1 else 'is'} visible"
            ]
        errors = []
        least = min(g["capability"] for g in gpus[:needed])
        if least < LEAST_CAPABILITY:
            errors.append(
                "TensorRT-LLM needs compute capability 7.5, and {}.{} is there".format(*least)
            )
        quant = settings(self.asked.asked.get("quant_config"))
        for key in ("quant_algo", "kv_cache_quant_algo"):
            if quant.get(key) == "FP8" and least < FP8_CAPABILITY:
                errors.append(
                    f"tensorrt.quant_config.{key}: FP8 needs compute capability 8.9, and "
                    "{}.{} is there".format(*least)
                )
        return errors

    def open_device(self) -> list[dict[str, Any]]:
        # A context made here would stay beside those of the library's processes, so none is.
        gpus = visible_gpus()[: self.devices_needed()]
        return [{k: g[k] for k in ("kind", "uuid", "name", "pci")} for g in gpus]

    def make_tokenizer(self) -> Any:
        transformers = need_package("transformers")
        args = self.asked.llm
        return transformers.AutoTokenizer.from_pretrained(
            split_revision(self.setup.model)[0],
            revision=args.get("tokenizer_revision"),
            trust_remote_code=bool(args.get("trust_remote_code")),
        )

    # -- the load

    def load_model(self, progress: Any) -> dict[str, Any]:
        self.cleanup()
        args = dict(self.asked.llm)
        config = self.model_config()
        self.ends = []
        if not self.has_tokenizer(str(args["model"])):
            args.setdefault("skip_tokenizer_init", True)
            self.ends = self.end_ids() or [-1]
        progress(
            "building or finding the engine" if self.asked.backend == "trt" else "loading", None
        )
        self.llm = importlib.import_module(self.asked.module).LLM(**args)
        limit = at(self.llm, "args.build_config.max_seq_len") or at(self.llm, "args.max_seq_len")
        self.limits = (limit, getattr(config, "vocab_size", None))
        self.check_prompts()
        effective = self.effective()
        described = describe_config(config) if config is not None else {}
        return {
            "devices": self.open_device(),
            "model": {
                "name": self.setup.get("task.model"),
                **described,
                "dtype": effective.get("dtype"),
                "revision": args.get("revision"),
            },
            "effective": effective,
        }

    def model_config(self, name: str = "config.json") -> Any:
        """A configuration file of the model; None where there is none (a built engine alone)."""
        model, revision = split_revision(self.setup.model)
        path = os.path.join(model, name)
        with contextlib.suppress(Exception):
            if not os.path.isdir(model):
                hub = importlib.import_module("huggingface_hub")
                path = hub.hf_hub_download(model, name, revision=revision)
            with open(path) as f:
                return json.load(f, object_hook=lambda o: types.SimpleNamespace(**o))
        return None

    def end_ids(self) -> list[int]:
        """The model's end-of-sequence tokens, which the library asks its tokenizer for."""
        for name in ("generation_config.json", "config.json"):
            ends = getattr(self.model_config(name), "eos_token_id", None)
            if ends is not None:
                return list(ends) if isinstance(ends, list) else [ends]
        return []

    def effective(self) -> dict[str, Any]:
        """What the library made of what was asked, and what the built engine is."""
        args = self.llm.args
        found: dict[str, Any] = {"backend": self.asked.backend, "chat_template": self.chat}
        names = ("dtype", "tensor_parallel_size", "pipeline_parallel_size", "fast_build", *BUILD)
        for name in names:
            value = at(args, f"build_config.{name}")
            value = at(args, name) if value is None else value
            if value is not None:
                found[name] = plain(value)
        for group, always in (
            ("quant_config", ("quant_algo", "kv_cache_quant_algo")),
            (
                "kv_cache_config",
                ("enable_block_reuse", "free_gpu_memory_fraction", "max_tokens", "dtype"),
            ),
            ("scheduler_config", ("capacity_scheduler_policy",)),
        ):
            held = at(args, group)
            names = {*always, *settings(self.asked.asked.get(group))}
            told = {n: named(at(held, n)) for n in sorted(names) if at(held, n) is not None}
            if told:
                found[group] = told
        if self.asked.adapter is not None:
            found["lora"] = {
                "adapter": self.asked.adapter[0],
                "merged": False,
                "max_rank": at(args, "lora_config.max_lora_rank"),
            }
        if self.asked.backend == "trt":
            stats = at(self.llm, "llm_build_stats")
            folder = at(self.llm, "_engine_dir") or at(stats, "engine_dir")
            found["engine_bytes"] = size_of(folder)
            found["engine_from_cache"] = at(stats, "cache_hitted")
            found["build_steps_s"] = dict(at(stats, "build_steps_info") or [])
            found["engine_cache"] = str(self.asked.cache_root) if self.asked.cache_root else None
            found["engine_cache_bytes"] = size_of(self.asked.cache_root)
        return found

    # -- running

    def run_warmup_prompt(self, index: int) -> float:
        begin = time.monotonic_ns()
        self.generate([index])
        return (time.monotonic_ns() - begin) * 1e-6

    def parameters(self, index: int = 0) -> Any:
        """Fresh SamplingParams of a prompt."""
        fields = self.asked.sampling_fields(index)
        if self.ends:
            fields.setdefault("end_id", self.ends[0])
            fields.setdefault("stop_token_ids", self.ends[1:] or None)
        return self.asked.llmapi.SamplingParams(**fields)

    def fresh_cache(self) -> dict[str, Any]:
        """The argument that lets a repeat find nothing of earlier ones in the cache."""
        self.salts += 1
        salted = "cache_salt" in fields_of(self.llm.generate)
        return {"cache_salt": f"llem {self.salts}"} if salted else {}

    def generate(self, indices: list[int]) -> list[Any]:
        """All these prompts at once, as a user of TensorRT-LLM would run them."""
        if self.llm is None:
            raise WorkerError("the engine tensorrt has no model loaded")
        prompts = [{"prompt_token_ids": self.prompts[i]} for i in indices]
        params = [self.parameters(i) for i in indices]
        return self.llm.generate(
            prompts, sampling_params=params, use_tqdm=False, **self.fresh_cache(), **self.lora()
        )

    def lora(self) -> dict[str, Any]:
        """The argument that names the adapter; none without one."""
        if self.asked.adapter is None:
            return {}
        return {"lora_request": first_of(LORA_REQUEST)("adapter", 1, self.asked.adapter[0])}

    def generate_streaming(self, indices: list[int]) -> tuple[list[Any], list[list[int]]]:
        """The same, with the time of each token."""
        salt = self.fresh_cache()
        times: list[list[int]] = [[] for _ in indices]

        async def one(k: int, i: int) -> Any:
            output = self.llm.generate_async(
                {"prompt_token_ids": self.prompts[i]},
                sampling_params=self.parameters(i),
                streaming=True,
                **salt,
                **self.lora(),
            )
            async for part in output:
                now = time.monotonic_ns()
                times[k] += [now] * (len(part.outputs[0].token_ids) - len(times[k]))
            return output

        async def every() -> list[Any]:
            return list(await asyncio.gather(*(one(k, i) for k, i in enumerate(indices))))

        return asyncio.run(every()), times

    def run_inference(
        self, pass_id: int, indices: list[int], repeats: int, stream: bool
    ) -> Inference:
        self.check_pass(indices, repeats, self.llm)
        stream = stream and self.asked.sampling.get("n", 1) == 1
        runs = []
        begin = time.monotonic_ns()
        for _ in range(repeats):
            submit = time.monotonic_ns()
            if stream:
                outputs, times = self.generate_streaming(indices)
            else:
                outputs, times = self.generate(indices), None
            runs.append((submit, outputs, times, time.monotonic_ns()))
        end = time.monotonic_ns()
        receipts = []
        for repeat, (submit, outputs, times, returned) in enumerate(runs):
            for k, i in enumerate(indices):
                receipt = self.receipt(i, outputs[k], submit, returned)
                receipt.update(repeat=repeat, i=i)
                if times is not None and times[k]:
                    receipt.update(
                        token_ns=times[k], t_first_ns=times[k][0], t_last_ns=times[k][-1]
                    )
                receipts.append(receipt)
        return Inference(begin, end, gpu_memory_of_children(), receipts)

    def receipt(self, index: int, output: Any, submit_ns: int, returned_ns: int) -> dict[str, Any]:
        """What the library tells of a request. Its times are of the steady clock, as ours are."""
        timing = at(output.outputs[0], "request_perf_metrics.timing_metrics")
        several = len(output.outputs) > 1

        def time_ns(name: str) -> int | None:
            value = at(timing, name)
            if value is None:
                return None
            t = ((value.days * 86400 + value.seconds) * 1_000_000 + value.microseconds) * 1000
            # Another node's clock, or one that was not set, is no time of ours. 1 us is its step.
            return t if submit_ns - 1000 <= t <= returned_ns + 1000 else None

        scheduled, first, last = (
            time_ns(n) for n in ("first_scheduled_time", "first_token_time", "last_token_time")
        )
        return {
            "t_submit_ns": submit_ns,
            "t_scheduled_ns": max(scheduled, submit_ns) if scheduled else None,
            "t_first_ns": None if several else first,
            "t_last_ns": min(last, returned_ns) if last else returned_ns,
            "input_tokens": len(self.prompts[index]),
            "cached_tokens": at(output, "cached_tokens"),
            "output_tokens": sum(len(o.token_ids) for o in output.outputs),
            "finish": output.outputs[0].finish_reason,
            "output_ids": [t for o in output.outputs for t in o.token_ids],
        }

    def capture_observed_params(self) -> dict[str, Any]:
        if self.llm is None:
            return {"engine_params": {}, "sampling_params": {}}
        params = self.parameters()
        return {
            "engine_params": self.effective(),
            "sampling_params": {
                f: plain(getattr(params, f)) for f in sorted(self.asked.sampling_names)
            },
        }

    # -- the end

    def cleanup(self) -> None:
        if self.llm is None and not children(os.getpid()):
            return
        llm, self.llm = self.llm, None
        with contextlib.suppress(Exception):
            llm.shutdown()
        del llm
        gc.collect()
        end_children(END_S)

    def explain(self, error: BaseException) -> WorkerError | None:
        text = str(error)
        if "out of memory" in text.lower() or "OutOfMemory" in type(error).__name__:
            return WorkerError(
                f"TensorRT-LLM ran out of memory: {first_line(error)}", "out_of_memory", MEMORY_HINT
            )
        if type(error).__name__ in ("ValidationError", "ValueError"):
            lines = [x.strip() for x in text.splitlines() if x.strip()] or [text]
            sentence = " ".join(lines[1:3]) if "validation error" in lines[0] else lines[0]
            sentence = re.sub(r" +[[]type=.*", "", sentence)
            return WorkerError(f"TensorRT-LLM refuses it: {sentence}", "config")
        return None


if __name__ == "__main__":
    if rank() > 0:
        print("only rank 0 speaks to llem; this one has nothing to do", file=sys.stderr)
        sys.exit(0)
    serve(TensorRt)
