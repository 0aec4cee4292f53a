# SPDX-License-Identifier: MIT
"""Arguments of LLM by back end: the fields of tensorrt_llm/llmapi/llm_args.py."""

import enum
import pathlib

from .. import NUMBERS
from .strict import Strict

QuantAlgo = enum.Enum(
    "QuantAlgo",
    "W8A16 W4A16 W4A16_AWQ W4A8_AWQ W8A16_GPTQ W4A16_GPTQ W8A8_SQ_PER_CHANNEL FP8 "
    "FP8_PER_CHANNEL_PER_TOKEN FP8_BLOCK_SCALES INT8 MIXED_PRECISION NVFP4 NO_QUANT",
)
CapacitySchedulerPolicy = enum.Enum(
    "CapacitySchedulerPolicy", "MAX_UTILIZATION GUARANTEED_NO_EVICT STATIC_BATCH"
)


class KvCacheConfig(Strict):
    """The key/value cache."""

    model_fields = {
        "enable_block_reuse": True,
        "free_gpu_memory_fraction": 0.9,
        **dict.fromkeys(
            "max_tokens max_attention_window sink_token_length host_cache_size "
            "cross_kv_cache_fraction secondary_offload_min_priority".split()
        ),
        "onboard_blocks": True,
        "event_buffer_max_size": 0,
        "enable_partial_reuse": True,
        "copy_on_partial_reuse": True,
        "use_uvm": False,
        "max_gpu_total_bytes": 0,
        "dtype": "auto",
        "tokens_per_block": 32,
    }


class SchedulerConfig(Strict):
    """The scheduler."""

    model_fields = {
        "capacity_scheduler_policy": CapacitySchedulerPolicy.GUARANTEED_NO_EVICT,
        "context_chunking_policy": None,
        "dynamic_batch_config": None,
    }


class QuantConfig(Strict):
    """Quantisation."""

    model_fields = {
        **dict.fromkeys("quant_algo kv_cache_quant_algo exclude_modules".split()),
        "group_size": 128,
        "smoothquant_val": 0.5,
        "clamp_val": None,
        "has_zero_point": False,
        "pre_quant_scale": False,
    }


class BuildConfig(Strict):
    """What is fixed when an engine is built."""

    model_fields = {
        "max_input_len": 1024,
        "max_seq_len": None,
        "max_batch_size": 2048,
        "max_beam_width": 1,
        "max_num_tokens": 8192,
    }


class BuildCacheConfig:
    """Where built engines are kept."""

    def __init__(
        self,
        cache_root: pathlib.Path | None = None,
        max_records: int = 10,
        max_cache_storage_gb: float = 256,
    ):
        self.cache_root = cache_root
        self.max_records = max_records
        self.max_cache_storage_gb = max_cache_storage_gb


class BaseLlmArgs(Strict):
    """Common to the back ends."""

    model_fields = {
        "model": None,
        "tokenizer": None,
        "tokenizer_mode": "auto",
        "skip_tokenizer_init": False,
        "trust_remote_code": False,
        "tensor_parallel_size": 1,
        "dtype": "auto",
        "revision": None,
        "tokenizer_revision": None,
        "pipeline_parallel_size": 1,
        "context_parallel_size": 1,
        "gpus_per_node": None,
        "load_format": "auto",
        "enable_lora": False,
        "lora_config": None,
        "kv_cache_config": KvCacheConfig,
        "enable_chunked_prefill": False,
        "guided_decoding_backend": None,
        "iter_stats_max_iterations": None,
        "request_stats_max_iterations": None,
        "peft_cache_config": None,
        "scheduler_config": SchedulerConfig,
        "cache_transceiver_config": None,
        "speculative_config": None,
        "max_batch_size": 2048,
        "max_input_len": 1024,
        "max_seq_len": None,
        "max_beam_width": 1,
        "max_num_tokens": 8192,
        "gather_generation_logits": False,
        "return_perf_metrics": False,
        "backend": None,
    }


class TrtLlmArgs(BaseLlmArgs):
    """Of an engine that is built."""

    model_fields = {
        **BaseLlmArgs.model_fields,
        "workspace": None,
        "enable_build_cache": False,
        "calib_config": None,
        "quant_config" if NUMBERS >= (0, 13) else "quantization": QuantConfig,
        "embedding_parallel_mode": "SHARDING_ALONG_VOCAB",
        "fast_build": False,
        "build_config": BuildConfig,
        "batching_type": None,
        "normalize_log_probs": False,
    }


class TorchLlmArgs(BaseLlmArgs):
    """Of the PyTorch back end."""

    model_fields = {
        **BaseLlmArgs.model_fields,
        "backend": "pytorch",
        "cuda_graph_config": None,
        "disable_overlap_scheduler": False,
        "attn_backend": "TRTLLM",
        "sampler_type": "auto",
        "enable_iter_perf_stats": False,
        "torch_compile_config": None,
        "stream_interval": 1,
        "allreduce_strategy": "AUTO",
    }


LlmArgs = TrtLlmArgs
