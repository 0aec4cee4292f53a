# SPDX-License-Identifier: MIT
"""LLM: signatures and result shapes of tensorrt_llm/llmapi/llm.py, with made-up tokens."""

import dataclasses
import datetime
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

from .. import NUMBERS
from .llm_args import BuildCacheConfig, TorchLlmArgs, TrtLlmArgs
from .sampling_params import SamplingParams

VOCABULARY = 1000


@dataclasses.dataclass
class Timing:
    """Times since the steady clock's zero."""

    arrival_time: datetime.timedelta
    first_scheduled_time: datetime.timedelta
    first_token_time: datetime.timedelta
    last_token_time: datetime.timedelta


@dataclasses.dataclass
class PerfMetrics:
    """What a request with return_perf_metrics gets."""

    timing_metrics: Timing


@dataclasses.dataclass
class CompletionOutput:
    """One answer."""

    index: int
    text: str = ""
    token_ids: list[int] = dataclasses.field(default_factory=list)
    cumulative_logprob: float | None = None
    finish_reason: str | None = None
    stop_reason: Any = None
    request_perf_metrics: PerfMetrics | None = None

    @property
    def length(self) -> int:
        return len(self.token_ids)


@dataclasses.dataclass
class LlmBuildStats:
    """Of the building of an engine."""

    cache_hitted: bool = False
    engine_dir: pathlib.Path | None = None
    build_steps_info: list[tuple[str, float]] = dataclasses.field(default_factory=list)


def now() -> datetime.timedelta:
    return datetime.timedelta(microseconds=time.monotonic_ns() // 1000)


class RequestOutput:
    """An answer that may be waited for, or read as it grows (`async for`)."""

    def __init__(
        self, prompt_token_ids: list[int], params: SamplingParams, cached: int, adapter: int
    ):
        self.request_id = 1
        self.prompt = None
        self.prompt_token_ids = prompt_token_ids
        self.outputs: list[CompletionOutput] = []
        self.finished = False
        if NUMBERS >= (1, 0):
            self.cached_tokens = cached
        self._params = params
        self._adapter = adapter
        self._parts = self._work()

    def _work(self):
        p = self._params
        arrival = now()
        limit = getattr(p, "max_tokens", None) or getattr(p, "max_new_tokens", None) or 16
        greedy = p.top_k == 1
        scheduled = now()
        for index in range(p.n):
            output = CompletionOutput(index)
            self.outputs.append(output)
            seed = 0 if greedy else (getattr(p, "seed", None) or 0) + 31 * (index + 1)
            seed += self._adapter
            first = None
            while len(output.token_ids) < limit and output.finish_reason is None:
                time.sleep(0.0005)
                first = first or now()
                token = (sum(self.prompt_token_ids) + 7 * len(output.token_ids) + seed) % VOCABULARY
                output.token_ids = [*output.token_ids, token]
                if not p.ignore_eos and token in (p.end_id, *(p.stop_token_ids or ())):
                    output.finish_reason = "stop"
                yield self
            output.finish_reason = output.finish_reason or "length"
            if p.return_perf_metrics:
                output.request_perf_metrics = PerfMetrics(Timing(arrival, scheduled, first, now()))
        self.finished = True
        yield self

    def result(self, timeout: float | None = None) -> "RequestOutput":
        for _ in self._parts:
            pass
        return self

    def __aiter__(self):
        return self

    async def __anext__(self):
        for part in self._parts:
            return part
        raise StopAsyncIteration


class BaseLLM:
    """What the back ends share."""

    default_backend = "pytorch"

    def __init__(
        self,
        model: str | pathlib.Path,
        tokenizer: Any = None,
        tokenizer_mode: str = "auto",
        skip_tokenizer_init: bool = False,
        trust_remote_code: bool = False,
        tensor_parallel_size: int = 1,
        dtype: str = "auto",
        revision: str | None = None,
        tokenizer_revision: str | None = None,
        **kwargs: Any,
    ):
        backend = kwargs.get("backend", self.default_backend)
        kind = TorchLlmArgs if backend in ("pytorch", "_autodeploy") else TrtLlmArgs
        for key in kwargs:
            if key not in kind.model_fields:
                raise ValueError(f"{type(self).__name__} got invalid argument: {key}")
        if os.environ.get("LLEM_STANDIN_FAIL"):  # KIND: text
            kind, _, text = os.environ["LLEM_STANDIN_FAIL"].partition(": ")
            raise type(kind, (OSError,), {})(text)
        self.args = kind(
            model=model,
            tokenizer=tokenizer,
            tokenizer_mode=tokenizer_mode,
            skip_tokenizer_init=skip_tokenizer_init,
            trust_remote_code=trust_remote_code,
            tensor_parallel_size=tensor_parallel_size,
            dtype=dtype,
            revision=revision,
            tokenizer_revision=tokenizer_revision,
            **kwargs,
        )
        self.llm_build_stats = LlmBuildStats()
        self._engine_dir: pathlib.Path | None = None
        self._seen: dict[str | None, list[list[int]]] = {}
        if kind is TrtLlmArgs:
            self._build()
        # The real one has a process a GPU; one of these does not end when it is told.
        self._workers = [
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            for _ in range(tensor_parallel_size + 1)
        ]

    def _build(self) -> None:
        args, model = self.args, pathlib.Path(self.args.model)
        if (model / "rank0.engine").exists():
            self._engine_dir = model
            return
        limits = sorted((k, str(v)) for k, v in vars(args.build_config).items())
        key = hashlib.sha256(f"{model} {limits} {args.dtype}".encode()).hexdigest()[:32]
        cache = args.enable_build_cache
        if isinstance(cache, BuildCacheConfig):
            self._engine_dir = pathlib.Path(cache.cache_root) / f"engine-{key}" / "content"
        else:
            self._engine_dir = pathlib.Path(tempfile.mkdtemp())
        self.llm_build_stats.cache_hitted = (self._engine_dir / "config.json").exists()
        if not self.llm_build_stats.cache_hitted:
            self._engine_dir.mkdir(parents=True, exist_ok=True)
            for rank in range(args.tensor_parallel_size):
                (self._engine_dir / f"rank{rank}.engine").write_bytes(bytes(5000))
            config = {"pretrained_config": {"mapping": {"tp_size": args.tensor_parallel_size}}}
            (self._engine_dir / "config.json").write_text(json.dumps(config))
            self.llm_build_stats.build_steps_info = [("Building engine", 0.5)]
        self.llm_build_stats.engine_dir = self._engine_dir

    def generate(
        self,
        inputs: Any,
        sampling_params: Any = None,
        use_tqdm: bool = True,
        lora_request: Any = None,
        prompt_adapter_request: Any = None,
        kv_cache_retention_config: Any = None,
        disaggregated_params: Any = None,
        scheduling_params: Any = None,
        cache_salt: str | None = None,
    ) -> list[RequestOutput]:
        several = isinstance(sampling_params, list)
        futures = [
            self.generate_async(
                prompt,
                sampling_params=sampling_params[i] if several else sampling_params,
                cache_salt=cache_salt,
                lora_request=lora_request,
            )
            for i, prompt in enumerate(inputs)
        ]
        return [f.result() for f in futures]

    def generate_async(
        self,
        inputs: Any,
        sampling_params: Any = None,
        lora_request: Any = None,
        prompt_adapter_request: Any = None,
        streaming: bool = False,
        kv_cache_retention_config: Any = None,
        disaggregated_params: Any = None,
        _postproc_params: Any = None,
        scheduling_params: Any = None,
        cache_salt: str | None = None,
    ) -> RequestOutput:
        params = sampling_params or SamplingParams()
        if params.end_id is None and self.args.skip_tokenizer_init:
            raise ValueError(
                "tokenizer is required to reset end_id if it is None, or you can explicitly "
                "specify the end_id for sampling_params"
            )
        ids = inputs["prompt_token_ids"]
        if lora_request is not None and self.args.lora_config is None:
            raise ValueError("LoRA is not enabled: there is no lora_config")
        adapter = lora_request.lora_int_id if lora_request is not None else 0
        return RequestOutput(ids, params, self._reused(ids, cache_salt), adapter)

    def _reused(self, ids: list[int], salt: str | None) -> int:
        if not self.args.kv_cache_config.enable_block_reuse:
            return 0
        block = self.args.kv_cache_config.tokens_per_block
        best = 0
        for old in self._seen.setdefault(salt, []):
            n = 0
            while ids[n : n + block] == old[n : n + block] and len(old[n : n + block]) == block:
                n += block
            best = max(best, n)
        self._seen[salt].append(ids)
        return best

    def shutdown(self) -> None:
        for worker in self._workers[1:]:
            worker.kill()
            worker.wait()


class LLM(BaseLLM):
    """The class that users import; of old versions, the one for every back end."""

    default_backend = "pytorch" if NUMBERS >= (1, 0) else None


class TrtLLM(BaseLLM):
    """Of tensorrt_llm._tensorrt_engine."""

    default_backend = None
