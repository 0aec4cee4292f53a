# SPDX-License-Identifier: MIT
"""The engine `vllm`: vLLM's LLM class behind the worker protocol.

Prompts go in as token ids, cut to task.max_input_tokens outside the window. Times of a request are
those of vLLM's engine core, which stamps them with CLOCK_MONOTONIC. Settings are passed on by the
names the installed vLLM knows them by; one that it does not know is refused before the load.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import re
import threading
import time
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

OLDEST = (0, 8)  # the first whose own choice is the engine that this drives

# Settings of other versions: what took their place, for the hint of the refusal.
BECAME = {
    "vllm.engine.swap_space": "vLLM 0.11 and newer recompute what does not fit; leave it out",
    "vllm.engine.num_scheduler_steps": "it went with vLLM's first engine; leave it out",
    "vllm.engine.max_seq_len_to_capture": "set engine.compilation_config: "
    "{max_cudagraph_capture_size: N}",
    "vllm.engine.attention.use_prefill_decode_attention": "choose it by engine.attention.backend",
    "vllm.engine.attention.use_cudnn_prefill": "set engine.attention.mla_prefill_backend",
    "vllm.engine.attention.disable_flashinfer_prefill": "set engine.attention.mla_prefill_backend",
    "vllm.engine.attention.use_trtllm_ragged_deepseek_prefill": "set "
    "vllm.engine.attention.mla_prefill_backend: TRTLLM_RAGGED",
    "vllm.beam_search.early_stopping": "vLLM's beam search always runs until every beam is done or "
    "max_output_tokens are reached; leave it out",
}

# The setting in effect of each row, where VllmConfig holds it. Of several paths the first that the
# installed version has.
EFFECTIVE = {
    "dtype": ("model_config.dtype",),
    "max_model_len": ("model_config.max_model_len",),
    "enforce_eager": ("model_config.enforce_eager",),
    "quantization": ("model_config.quantization",),
    "seed": ("model_config.seed",),
    "gpu_memory_utilization": ("cache_config.gpu_memory_utilization",),
    "kv_cache_memory_bytes": ("cache_config.kv_cache_memory_bytes",),
    "kv_cache_bytes": ("cache_config.kv_cache_memory_bytes",),
    "block_size": ("cache_config.block_size",),
    "kv_cache_dtype": ("cache_config.cache_dtype",),
    "enable_prefix_caching": ("cache_config.enable_prefix_caching",),
    "swap_space": ("cache_config.swap_space",),
    "cpu_offload_gb": ("offload_config.uva.cpu_offload_gb", "cache_config.cpu_offload_gb"),
    "offload_group_size": ("offload_config.prefetch.offload_group_size",),
    "offload_num_in_group": ("offload_config.prefetch.offload_num_in_group",),
    "offload_prefetch_step": ("offload_config.prefetch.offload_prefetch_step",),
    "offload_params": ("offload_config.prefetch.offload_params",),
    "enable_chunked_prefill": ("scheduler_config.enable_chunked_prefill",),
    "max_num_seqs": ("scheduler_config.max_num_seqs",),
    "max_num_batched_tokens": ("scheduler_config.max_num_batched_tokens",),
    "num_scheduler_steps": ("scheduler_config.num_scheduler_steps",),
    "async_scheduling": ("scheduler_config.async_scheduling",),
    "tensor_parallel_size": ("parallel_config.tensor_parallel_size",),
    "pipeline_parallel_size": ("parallel_config.pipeline_parallel_size",),
    "distributed_executor_backend": ("parallel_config.distributed_executor_backend",),
    "disable_custom_all_reduce": ("parallel_config.disable_custom_all_reduce",),
    "max_seq_len_to_capture": ("model_config.max_seq_len_to_capture",),
    "load_format": ("load_config.load_format",),
    "device": ("device_config.device_type",),
    "kv_cache_blocks_total": ("cache_config.num_gpu_blocks",),
}

# Groups of settings: what is told of each besides what was asked for.
GROUPS = {
    "attention_config": ("backend",),
    "compilation_config": ("mode", "level", "backend", "cudagraph_mode"),
    "speculative_config": ("method", "model", "num_speculative_tokens"),
}

MEMORY_HINT = (
    "a smaller model, vllm.engine.max_model_len, vllm.engine.max_num_seqs or "
    "task.max_output_tokens needs less; vllm.engine.gpu_memory_utilization or, on CPUs, "
    "vllm.engine.kv_cache_memory_bytes says how much may be taken"
)
# What a failed load printed, what kind of error it is and what helps. The processes that load do
# not say why they end.
CAUSES = (
    (
        r"(?:OutOfMemoryError|CUDA out of memory|CUDA error: out of memory)[^\n]*",
        "out_of_memory",
        MEMORY_HINT,
    ),
    (r"Free memory on device[^\n]*", "out_of_memory", MEMORY_HINT),
    (r"No available memory for the cache blocks[^\n]*", "out_of_memory", MEMORY_HINT),
    (r"Available memory on node[^\n]*", "out_of_memory", MEMORY_HINT),
    (r"[^\n]*KV cache is needed, which is larger than[^\n]*", "out_of_memory", MEMORY_HINT),
    (r"(?:MemoryError|std::bad_alloc)[^\n]*", "out_of_memory", MEMORY_HINT),
    (
        r"Not enough allowed NUMA nodes[^\n.]*",
        "config",
        "VLLM_CPU_OMP_THREADS_BIND says which CPUs each process gets, as in 0-3|4-7",
    ),
    (
        r"Module parameters should not already be on CPU[^\n]*",
        "config",
        "vllm.engine.offload_* moves weights from a GPU; leave them out on a CPU",
    ),
    (
        r"'_OpNamespace' '\w+' object has no attribute '\w+'"
        r"|_C::\w+\(\) expected at most 0 arg[^\n]*",
        "hardware",
        "the installed vLLM has no such kernel for this processor; another quantisation or "
        "kv_cache_dtype may do without",
    ),
    (r"(?<=ValueError: )[^\n]+", "config", None),
    (r"(?<=NotImplementedError: )[^\n]+", "config", None),
    (r"\b\w+(?:Error|Exception): [^\n]+", "engine", None),
)
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # that room can be made for
OWN = {"model", "tokenizer", "sampling_params", "disable_log_stats"}  # not for users to set
END_S = 20.0  # for vLLM's processes to end by themselves


# ---- settings


class Asked:
    """The arguments for vLLM that a configuration comes to, checked against the installed one."""

    def __init__(self, setup: Setup, version: str):
        from vllm import SamplingParams
        from vllm.engine.arg_utils import EngineArgs

        section = settings(setup.get("vllm"))
        self.version = version
        self.engine_names = fields_of(EngineArgs)
        self.task_seed = int(setup.get("task.random_seed", 42))
        self.max_output = setup.get("task.max_output_tokens")
        self.ignore_eos = bool(setup.get("task.ignore_eos", False))
        known = {"chat_template", "dtype", "engine", "sampling", "beam_search"}
        for name in section:
            if name not in known:
                where = "engine" if name in self.engine_names else "engine or vllm.sampling"
                raise WorkerError(
                    f"vllm.{name} would not reach vLLM",
                    "config",
                    f"options of the LLM constructor belong under vllm.{where}",
                )
        self.adapter = adapter_of(setup)
        self.llm = self._engine_args(setup, section)
        self.sampling = settings(section.get("sampling"))
        self.beam = settings(section.get("beam_search")) or None
        self.refuse(self.sampling, fields_of(SamplingParams), "sampling")
        if self.beam is not None:
            self._check_beam()

    def refuse(self, given: Any, known: set[str], section: str) -> None:
        """Raise the sentence for what this vLLM does not know."""
        refuse_unknown(given, known, f"vllm.{section}", f"vLLM {self.version}", BECAME)

    def _engine_args(self, setup: Setup, section: dict[str, Any]) -> dict[str, Any]:
        args = settings(section.get("engine"))
        args.update(settings(setup.get("passthrough_kwargs")))
        attention = settings(args.pop("attention", None))
        taken = sorted(OWN & set(args))
        if taken:
            raise WorkerError(
                f"vllm.engine.{taken[0]} is set by llem itself",
                "config",
                "the model is task.model",
            )
        self.refuse(args, self.engine_names, "engine")
        if attention:
            self._attention(args, attention)
        for name, home in (
            ("speculative_config", "SpeculativeConfig"),
            ("compilation_config", "CompilationConfig"),
        ):
            if isinstance(args.get(name), dict):
                args[name] = settings(args[name])
                names = fields_of(getattr(importlib.import_module("vllm.config"), home))
                self.refuse(args[name], names, f"engine.{name}")
        self._check_quantization(args.get("quantization"))
        if not args.get("speculative_config", True):
            del args["speculative_config"]
        if "offload_params" in args:
            args["offload_params"] = set(args["offload_params"])
        model, revision = split_revision(setup.model)
        args["model"] = model
        if revision:
            args.setdefault("revision", revision)
            args.setdefault("tokenizer_revision", revision)
        args.setdefault("trust_remote_code", is_on("LLEM_TRUST_REMOTE_CODE"))
        args.setdefault("seed", self.task_seed)
        if section.get("dtype") is not None:
            args["dtype"] = section["dtype"]
        args["disable_log_stats"] = False  # without them a request has no times
        if self.adapter is not None:
            rank = self.adapter[1]
            args["enable_lora"] = True
            args.setdefault("max_loras", 1)
            args.setdefault("max_lora_rank", next((r for r in LORA_RANKS if r >= rank), rank))
        if "worker_extension_cls" in self.engine_names:
            args.setdefault("worker_extension_cls", "llem_vllm_extension.Extension")
        return args

    def _check_quantization(self, method: Any) -> None:
        """Methods come and go with versions; a load would find that out late."""
        module = importlib.import_module("vllm.model_executor.layers.quantization")
        known = list(getattr(module, "QUANTIZATION_METHODS", [method]))
        if method is not None and method not in known:
            raise WorkerError(
                f"vLLM {self.version} has no quantization {method} (vllm.engine.quantization)",
                "config",
                f"it has {', '.join(known)}",
            )

    def _attention(self, args: dict[str, Any], attention: dict[str, Any]) -> None:
        """Newer versions take a group; older ones its members, the backend as attention_backend."""
        if "attention_config" in self.engine_names:
            from vllm.config import AttentionConfig

            self.refuse(attention, fields_of(AttentionConfig), "engine.attention")
            args["attention_config"] = attention
            return
        renamed = {"attention_backend" if k == "backend" else k: v for k, v in attention.items()}
        self.refuse(renamed, self.engine_names, "engine.attention")
        args.update(renamed)

    def _check_beam(self) -> None:
        try:
            from vllm.sampling_params import BeamSearchParams
        except ImportError:
            raise WorkerError(
                f"vLLM {self.version} has no beam search",
                "config",
                "take the section vllm.beam_search out, or install another vLLM",
            ) from None
        if self.sampling:
            raise WorkerError(
                "vllm.sampling and vllm.beam_search exclude each other",
                "config",
                "beam search does not sample: take one of the two sections out",
            )
        self.refuse(self.beam, fields_of(BeamSearchParams), "beam_search")
        if "beam_width" not in self.beam:
            raise WorkerError("vllm.beam_search needs beam_width", "config")
        if self.max_output is None and "max_tokens" not in self.beam:
            raise WorkerError(
                "beam search needs a limit of the output", "config", "set task.max_output_tokens"
            )
        # Beam search reads that many log probabilities of each token; the engine's default is 20.
        if "max_logprobs" in self.engine_names:
            self.llm.setdefault("max_logprobs", max(20, 2 * int(self.beam["beam_width"])))

    def sampling_fields(self, index: int) -> dict[str, Any]:
        """The fields of SamplingParams. Greedy unless something of sampling was asked for."""
        fields = dict(self.sampling)
        if not any(k in fields for k in ("temperature", "top_k", "top_p", "min_p")):
            fields["temperature"] = 0.0
        if fields.get("temperature") != 0:
            # vLLM's own generator is shared by all requests, so what one draws from it depends on
            # which others happen to be in its batch.
            fields.setdefault("seed", seed_of(self.task_seed, index))
        if "stop" not in fields:
            fields.setdefault("detokenize", False)  # text is no part of the work measured
        if self.ignore_eos:
            fields["ignore_eos"] = True
        if self.max_output is not None or "max_tokens" not in fields:
            fields["max_tokens"] = self.max_output
        return fields

    def beam_fields(self) -> dict[str, Any]:
        """The fields of BeamSearchParams."""
        fields = {"max_tokens": self.max_output, **self.beam}
        if self.ignore_eos:
            fields["ignore_eos"] = True
        return fields


class Tail:
    """Passes on what this process and its children write to descriptor 2, and keeps the end of it.

    vLLM's processes say on standard error alone why they end.
    """

    def __init__(self) -> None:
        self.text = b""
        self._real = os.dup(2)
        self._read, write = os.pipe()
        os.dup2(write, 2)
        os.dup2(write, 1)
        os.close(write)
        self._thread = threading.Thread(target=self._pump, daemon=True)
        self._thread.start()

    def _pump(self) -> None:
        while data := os.read(self._read, 65536):
            self.text = (self.text + data)[-65536:]
            view = memoryview(data)
            while view:
                view = view[os.write(self._real, view) :]

    def restore(self) -> None:
        """Let this process write directly again; its children's words still pass through."""
        os.dup2(self._real, 2)
        os.dup2(self._real, 1)

    def cause(self) -> tuple[str, str, str | None] | None:
        """What the text says about the failure: a sentence, a kind and a hint."""
        self._thread.join(0.3)  # the last words may still be under way
        text = self.text.decode("utf-8", "replace")
        for pattern, kind, hint in CAUSES:
            found = [x for x in re.findall(pattern, text) if "nitialization failed" not in x]
            if found:
                return found[0].strip(), kind, hint
        return None


# ---- the engine


class Vllm(LlmEngine):
    """LLM, in its own processes."""

    name = "vllm"
    context_setting = "vllm.engine.max_model_len"

    def __init__(self, setup: Setup):
        super().__init__(setup)
        # vLLM must not report home, and must not fork a process with threads in it.
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
        adopt_orphans()
        self.vllm = need_package("vllm")
        need_version("vllm", self.version(), OLDEST)
        self.asked = Asked(setup, self.version())
        self.llm: Any = None
        self.tail: Tail | None = None

    def version(self) -> str:
        return str(getattr(self.vllm, "__version__", "unknown"))

    def libraries(self) -> dict[str, str]:
        return versions("vllm", "vllm-cpu", "torch", "transformers", "tokenizers")

    # -- before the load

    def devices_needed(self) -> int:
        """How many devices the model is spread over."""
        return int(self.asked.llm.get("tensor_parallel_size", 1)) * int(
            self.asked.llm.get("pipeline_parallel_size", 1)
        )

    def check_hardware(self) -> list[str]:
        from vllm.platforms import current_platform

        kind = getattr(current_platform, "device_type", "") or ""
        if kind == "cpu":
            return []
        if not kind:
            return [
                "vLLM finds no GPU that it can use; install its CPU build (vllm-cpu), or a driver"
            ]
        count, needed = len(visible_gpus()), self.devices_needed()
        if needed > count:
            return [
                f"vllm.engine.tensor_parallel_size times pipeline_parallel_size is {needed}, but "
                f"{count} GPUs are visible"
            ]
        return []

    def open_device(self) -> list[dict[str, Any]]:
        # A context made here would stay beside those of vLLM's own processes, so none is.
        gpus = visible_gpus()[: self.devices_needed()]
        return [{k: g[k] for k in ("kind", "uuid", "name", "pci")} for g in gpus] or (
            super().open_device()
        )

    def make_tokenizer(self) -> Any:
        args = self.asked.llm
        get: Any = None
        for module in ("vllm.tokenizers", "vllm.transformers_utils.tokenizer"):
            with contextlib.suppress(ImportError):
                get = get or getattr(importlib.import_module(module), "get_tokenizer", None)
        if get is None:
            raise WorkerError(f"vLLM {self.version()} offers no get_tokenizer")
        mode = {"tokenizer_mode": args["tokenizer_mode"]} if "tokenizer_mode" in args else {}
        return get(
            args["model"],
            trust_remote_code=args["trust_remote_code"],
            revision=args.get("tokenizer_revision") or args.get("revision"),
            **mode,
        )

    # -- the load

    def load_model(self, progress: Any) -> dict[str, Any]:
        self.cleanup()
        args = dict(self.asked.llm)
        if self.asked.beam is None and not self.has_tokenizer(args["model"]):
            args.setdefault("skip_tokenizer_init", True)
        progress("loading into vLLM", None)
        self.tail = Tail()
        try:
            self.llm = self.vllm.LLM(**args)
        finally:
            self.tail.restore()
        model = self.llm.llm_engine.vllm_config.model_config
        self.limits = (model.max_model_len, model.get_vocab_size())
        self.check_prompts()
        workers = self.ask("llem_describe") or []
        config = self.llm.llm_engine.vllm_config
        weights = [w.pop("weights_bytes", None) for w in workers]
        devices = workers or self.open_device()
        if devices[0]["kind"] == "cpu":
            devices = devices[:1]  # several processes, one machine
        return {
            "devices": devices,
            "model": self.describe_model(config, weights),
            "effective": self.effective(config),
        }

    def ask(self, method: str, *args: Any) -> list[Any] | None:
        """Call a method in every worker process; None where this vLLM has no extensions."""
        if "worker_extension_cls" not in self.asked.engine_names:
            return None
        return self.llm.collective_rpc(method, args=args)

    def describe_model(self, config: Any, weights: list[Any]) -> dict[str, Any]:
        """What the counts of operations need, in the names of every engine."""
        model = config.model_config
        return {
            "name": self.setup.get("task.model"),
            **describe_config(model.hf_config),
            "dtype": plain(model.dtype),
            "weights_bytes": sum(weights) if weights and None not in weights else None,
            "revision": model.revision,
        }

    def effective(self, config: Any) -> dict[str, Any]:
        """What vLLM made of what was asked."""
        found: dict[str, Any] = {"chat_template": self.chat}
        for name, paths in EFFECTIVE.items():
            value = next((v for v in (at(config, p) for p in paths) if v is not None), None)
            if value is not None:
                found[name] = plain(value)
        for group, always in GROUPS.items():
            held = at(config, group)
            names = {*always, *(self.asked.llm.get(group) or {})} if held is not None else ()
            told = {k: named(at(held, k)) for k in sorted(names) if at(held, k) is not None}
            if told:
                found[group.replace("attention_config", "attention")] = told
        if self.asked.adapter is not None:
            found["lora"] = {
                "adapter": self.asked.adapter[0],
                "merged": False,
                "max_rank": at(config, "lora_config.max_lora_rank"),
            }
        tokens = at(config, "cache_config.kv_cache_size_tokens")
        if tokens is not None:
            found["kv_cache_tokens"] = int(tokens)
        return found

    # -- running

    def run_warmup_prompt(self, index: int) -> float:
        if self.llm is not None:
            self.llm.reset_prefix_cache()
        begin = time.monotonic_ns()
        self.generate([index])
        return (time.monotonic_ns() - begin) * 1e-6

    def synchronize(self) -> None:
        if self.llm is not None:
            self.ask("llem_synchronize")

    def parameters(self, index: int = 0) -> Any:
        """Fresh SamplingParams of a prompt, or BeamSearchParams."""
        from vllm import SamplingParams

        if self.asked.beam is None:
            from vllm.sampling_params import RequestOutputKind

            fields = self.asked.sampling_fields(index)
            fields.setdefault("output_kind", RequestOutputKind.FINAL_ONLY)
            return SamplingParams(**fields)
        from vllm.sampling_params import BeamSearchParams

        return BeamSearchParams(**self.asked.beam_fields())

    def generate(self, indices: list[int]) -> list[Any]:
        """All these prompts at once, as a user of vLLM would run them."""
        if self.llm is None:
            raise WorkerError("the engine vllm has no model loaded")
        prompts = [{"prompt_token_ids": self.prompts[i]} for i in indices]
        if self.asked.beam is not None:
            return self.llm.beam_search(prompts, self.parameters(), lora_request=self.lora())
        params = [self.parameters(i) for i in indices]
        return self.llm.generate(prompts, params, use_tqdm=False, lora_request=self.lora())

    def lora(self) -> Any:
        """The adapter as every request names it; None without one."""
        if self.asked.adapter is None:
            return None
        from vllm.lora.request import LoRARequest

        return LoRARequest("adapter", 1, self.asked.adapter[0])

    def generate_streaming(self, indices: list[int]) -> tuple[list[Any], list[list[int]]]:
        """The same, looking at every step: finished outputs, and when each token was there."""
        from vllm.sampling_params import RequestOutputKind

        engine = self.llm.llm_engine
        params = [self.parameters(i) for i in indices]
        for p in params:
            p.output_kind = RequestOutputKind.CUMULATIVE
        prompts = [{"prompt_token_ids": self.prompts[i]} for i in indices]
        if hasattr(self.llm, "enqueue"):
            self.llm.enqueue(prompts, params, use_tqdm=False, lora_request=self.lora())
        else:
            for prompt, p in zip(prompts, params, strict=True):
                name = str(next(self.llm.request_counter))
                engine.add_request(name, prompt, p, lora_request=self.lora())
        times: dict[str, list[int]] = {}
        done: dict[str, Any] = {}
        while engine.has_unfinished_requests():
            outputs = engine.step()
            now = time.monotonic_ns()
            for output in outputs:
                seen = times.setdefault(output.request_id, [])
                seen += [now] * (len(output.outputs[0].token_ids) - len(seen))
                if output.finished:
                    done[output.request_id] = output
        names = sorted(done, key=int)  # vLLM counts requests in their order
        return [done[n] for n in names], [times[n] for n in names]

    def run_inference(
        self, pass_id: int, indices: list[int], repeats: int, stream: bool
    ) -> Inference:
        self.check_pass(indices, repeats, self.llm)
        # Of n answers, each is a request of its own to vLLM; only one is a stream of tokens.
        stream = stream and self.asked.beam is None and self.asked.sampling.get("n", 1) == 1
        self.ask("llem_begin")
        # What an earlier pass or repeat left in the cache would be work that this one is spared.
        self.llm.reset_prefix_cache()
        runs = []
        begin = time.monotonic_ns()
        for repeat in range(repeats):
            if repeat:
                self.llm.reset_prefix_cache()
            submit = time.monotonic_ns()
            if stream:
                outputs, times = self.generate_streaming(indices)
            else:
                outputs, times = self.generate(indices), None
            runs.append((submit, outputs, times, time.monotonic_ns()))
        self.ask("llem_synchronize")
        end = time.monotonic_ns()
        receipts = []
        for repeat, (submit, outputs, times, returned) in enumerate(runs):
            for k, i in enumerate(indices):
                receipt = self.receipt(i, outputs[k], returned)
                receipt.update(repeat=repeat, i=i, t_submit_ns=submit)
                if times is not None:
                    receipt.update(
                        token_ns=times[k], t_first_ns=times[k][0], t_last_ns=times[k][-1]
                    )
                receipts.append(receipt)
        memory, source = self.peak_memory()
        return Inference(begin, end, memory, receipts, extra={"peak_memory_source": source})

    def receipt(self, index: int, output: Any, returned_ns: int) -> dict[str, Any]:
        """What vLLM tells of a request. Its times are seconds of CLOCK_MONOTONIC."""
        if hasattr(output, "sequences"):  # of a beam search: prompt and answer in one list
            n = len(self.prompts[index])
            best = list(output.sequences[0].tokens[n:])
            eos = self.llm.get_tokenizer().eos_token_id
            stopped = bool(best) and best[-1] == eos and not self.asked.ignore_eos
            return {
                "t_last_ns": returned_ns,
                "input_tokens": n,
                "output_tokens": sum(len(s.tokens) - n for s in output.sequences),
                "finish": "stop" if stopped else "length",
                "output_ids": [t for s in output.sequences for t in s.tokens[n:]],
            }
        metrics = output.metrics
        several = len(output.outputs) > 1

        def time_ns(name: str) -> int | None:
            value = getattr(metrics, name, None)
            return round(value * 1e9) if value else None

        return {
            "t_scheduled_ns": time_ns("scheduled_ts"),
            # Of several answers, the times are those of the one that ended last.
            "t_first_ns": None if several else time_ns("first_token_ts"),
            "t_last_ns": time_ns("last_token_ts") or returned_ns,
            "input_tokens": len(output.prompt_token_ids),
            "cached_tokens": output.num_cached_tokens,
            "output_tokens": sum(len(o.token_ids) for o in output.outputs),
            "finish": output.outputs[0].finish_reason,
            "output_ids": [t for o in output.outputs for t in o.token_ids],
        }

    def peak_memory(self) -> tuple[int | None, str | None]:
        """The most memory held on the devices, and who says so."""
        memory = gpu_memory_of_children()
        if memory is not None:
            return memory, "nvml_process"
        peaks = self.ask("llem_peak_bytes") or [None]
        if None in peaks:
            return None, None
        return sum(peaks), "torch_allocator"

    def capture_observed_params(self) -> dict[str, Any]:
        if self.llm is None:
            return {"engine_params": {}, "sampling_params": {}}
        params = self.parameters()
        fields = sorted(fields_of(type(params)))
        return {
            "engine_params": self.effective(self.llm.llm_engine.vllm_config),
            "sampling_params": {f: plain(getattr(params, f)) for f in fields},
        }

    # -- the end

    def cleanup(self) -> None:
        if self.llm is None and not children(os.getpid()):
            return
        llm, self.llm = self.llm, None
        with contextlib.suppress(Exception):
            llm.llm_engine.engine_core.shutdown()
        del llm
        gc.collect()
        end_children(END_S)

    def explain(self, error: BaseException) -> WorkerError | None:
        text = str(error)
        dead = type(error).__name__ == "EngineDeadError" or "Engine core" in text
        cause = self.tail.cause() if dead and self.tail is not None else None
        if cause is not None:
            sentence, kind, hint = cause
            return WorkerError(f"vLLM: {sentence}", kind, hint)
        if "out of memory" in text.lower() or "OutOfMemory" in type(error).__name__:
            return WorkerError(
                f"vLLM ran out of memory: {first_line(error)}", "out_of_memory", MEMORY_HINT
            )
        if type(error).__name__ in (
            "ValidationError",
            "VLLMValidationError",
            "ValueError",
            "NotImplementedError",
        ):
            lines = [x.strip() for x in text.splitlines() if x.strip()]
            # pydantic says first how many errors there are, then the field, then what is wrong
            sentence = " ".join(lines[1:3]) if "validation error" in lines[0] else lines[0]
            return WorkerError(
                f"vLLM refuses it: {re.sub(r' +[[]type=.*', '', sentence)}", "config"
            )
        return None


if __name__ == "__main__":
    serve(Vllm)
