# SPDX-License-Identifier: MIT
"""The names that tensorrt_llm.llmapi offers."""

from .llm import LLM, CompletionOutput, RequestOutput
from .llm_args import (
    BuildCacheConfig,
    BuildConfig,
    CapacitySchedulerPolicy,
    KvCacheConfig,
    QuantAlgo,
    QuantConfig,
    SchedulerConfig,
)
from .sampling_params import SamplingParams

__all__ = [
    "BuildCacheConfig",
    "BuildConfig",
    "CapacitySchedulerPolicy",
    "CompletionOutput",
    "KvCacheConfig",
    "LLM",
    "QuantAlgo",
    "QuantConfig",
    "RequestOutput",
    "SamplingParams",
    "SchedulerConfig",
]
