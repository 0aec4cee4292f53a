# SPDX-License-Identifier: MIT
"""The settings of an experiment, one class a section.

Written by tools/make_python_models.py: change what it reads, not this file.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from llenergymeasure._section import Section

__all__ = [
    "BaselineConfig",
    "CPUConfig",
    "CPUSamplingConfig",
    "DatasetConfig",
    "Engine",
    "ExperimentSettings",
    "LoRAConfig",
    "MeasurementConfig",
    "OutputConfig",
    "TaskConfig",
    "TensorRTConfig",
    "TensorRTKVCacheConfig",
    "TensorRTQuantConfig",
    "TensorRTSamplingConfig",
    "TensorRTSchedulerConfig",
    "TransformersConfig",
    "TransformersSamplingConfig",
    "VLLMAttentionConfig",
    "VLLMBeamSearchConfig",
    "VLLMConfig",
    "VLLMEngineConfig",
    "VLLMSamplingConfig",
    "VLLMSpeculativeConfig",
    "WarmupConfig",
]


class Engine(str, Enum):
    """The engines that come with llem; others go by their names."""

    TRANSFORMERS = "transformers"
    VLLM = "vllm"
    TENSORRT = "tensorrt"
    CPU = "cpu"


class DatasetConfig(Section):
    """the prompts"""

    llem_path: ClassVar[str] = "task.dataset"

    source: str = "aienergyscore"
    """builtin, random, aienergyscore, or a .jsonl, .json, .txt, .csv or .parquet file"""
    n_prompts: int = 100
    """how many prompts; the dataset must hold that many"""
    order: Literal["interleaved", "grouped", "shuffled"] = "interleaved"
    """as in the file, sorted by kind, or shuffled with task.random_seed"""
    input_tokens: int | None = None
    """fixed length of the prompts of the dataset random (tokens)"""


class TaskConfig(Section):
    """what is measured: model, prompts, limits"""

    llem_path: ClassVar[str] = "task"

    model: str
    """hub id or local directory of the model"""
    dataset: DatasetConfig = Field(default_factory=DatasetConfig)
    """the prompts"""
    max_input_tokens: int | None = 256
    """longer prompts are cut to this; null = not cut (tokens)"""
    max_output_tokens: int | None = 256
    """at most this many are generated per prompt; null = until the end of sequence (tokens)"""
    random_seed: int = 42
    """seed of sampling and shuffling"""
    ignore_eos: bool = False
    """generate task.max_output_tokens whatever the model says, for a fixed amount of work"""


class WarmupConfig(Section):
    """runs before the measurement that are thrown away"""

    llem_path: ClassVar[str] = "measurement.warmup"

    enabled: bool = True
    """false leaves out warm-up and thermal wait"""
    n_warmup: int = 5
    """prompts of a warm-up of fixed length (prompts)"""
    thermal_floor_seconds: float = 60.0
    """longest wait for the temperature to settle after the warm-up (s)"""
    convergence_detection: bool = False
    """stop when latencies settle instead of after n_warmup prompts"""
    cv_threshold: float = 0.05
    """coefficient of variation below which latencies count as settled"""
    max_prompts: int = 20
    """most prompts of a warm-up that waits for convergence (prompts)"""
    window_size: int = 3
    """how many latencies the coefficient of variation is taken over (prompts)"""
    min_prompts: int = 5
    """fewest prompts before convergence is looked at (prompts)"""
    mode: Literal["auto", "converge", "fixed"] = "auto"
    """auto converges unless n_warmup or convergence_detection is given"""


class BaselineConfig(Section):
    """power of the idle machine"""

    llem_path: ClassVar[str] = "measurement.baseline"

    enabled: bool = True
    """measure idle power"""
    duration_seconds: float = 30.0
    """how long idle power is measured (s)"""
    strategy: Literal["cached", "validated", "fresh"] = "validated"
    """use an older baseline, check it now and then, or measure each time"""
    cache_ttl_seconds: float = 7200.0
    """how old a baseline may be (cached, validated) (s)"""
    validation_interval: int = 5
    """experiments between checks (validated) (experiments)"""
    drift_threshold: float = 0.1
    """fraction by which a checked baseline may differ (validated)"""


class MeasurementConfig(Section):
    """how it is measured"""

    llem_path: ClassVar[str] = "measurement"

    warmup: WarmupConfig = Field(default_factory=WarmupConfig)
    """runs before the measurement that are thrown away"""
    baseline: BaselineConfig = Field(default_factory=BaselineConfig)
    """power of the idle machine"""
    energy_sampler: Literal[
        "auto",
        "nvml",
        "zeus",
        "codecarbon",
        "rapl",
        "estimate",
    ] | None = "auto"
    """where energy is read; auto takes the best that is usable, null measures none"""
    hash_weights: bool = False
    """after the run, hash the content of weight files whose digest the hub has not told"""
    latency_pass: bool = False
    """after the window, run the prompts once more, one token at a time, for the times of tokens"""
    quick: bool = False
    """baseline and thermal wait of at most 2 s, for trying things out; marks every result"""


class TransformersSamplingConfig(Section):
    """how tokens are chosen"""

    model_config = ConfigDict(extra="allow")
    llem_path: ClassVar[str] = "transformers.sampling"

    temperature: float | None = None
    """randomness; 0 is greedy"""
    do_sample: bool | None = None
    """false is greedy"""
    top_k: int | None = None
    """keep the k most likely tokens; 0 keeps all"""
    top_p: float | None = None
    """keep the most likely tokens up to this total probability"""
    repetition_penalty: float | None = None
    """above 1 discourages repetition"""
    min_p: float | None = None
    """least probability relative to the most likely token"""
    min_new_tokens: int | None = None
    """fewest tokens to generate"""


class TransformersConfig(Section):
    """options of Hugging Face transformers"""

    model_config = ConfigDict(extra="allow")
    llem_path: ClassVar[str] = "transformers"

    batch_size: int | None = None
    """prompts at a time; null = 1"""
    dtype: Literal["float32", "float16", "bfloat16"] | None = None
    """kind of number of weights and arithmetic; null = bfloat16"""
    attn_implementation: Literal[
        "sdpa",
        "flash_attention_2",
        "flash_attention_3",
        "eager",
    ] | None = None
    """attention kernels; null = the library's choice"""
    torch_compile: bool | None = None
    """compile the model"""
    torch_compile_mode: str | None = None
    """default, reduce-overhead or max-autotune"""
    torch_compile_backend: str | None = None
    """compiler; null = inductor"""
    load_in_4bit: bool | None = None
    """quantise the weights to 4 bits at load"""
    load_in_8bit: bool | None = None
    """quantise the weights to 8 bits at load"""
    bnb_4bit_compute_dtype: Literal["float16", "bfloat16", "float32"] | None = None
    """arithmetic of 4-bit weights"""
    bnb_4bit_quant_type: Literal["nf4", "fp4"] | None = None
    """code of 4-bit weights"""
    bnb_4bit_use_double_quant: bool | None = None
    """quantise the scales as well"""
    use_cache: bool | None = None
    """keep keys and values; null = true"""
    cache_implementation: Literal["static", "offloaded_static", "sliding_window"] | None = None
    """kind of key/value cache; null = dynamic"""
    num_beams: int | None = None
    """beams of beam search; null = 1"""
    early_stopping: bool | None = None
    """stop beam search early"""
    length_penalty: float | None = None
    """exponent on the length in beam search; null = 1.0"""
    no_repeat_ngram_size: int | None = None
    """no n-gram of this size twice; 0 = off"""
    prompt_lookup_num_tokens: int | None = None
    """tokens guessed from the prompt; null = off"""
    device_map: str | None = None
    """how layers are spread over devices"""
    max_memory: dict[str, Any] | None = None
    """most memory per device, as device to text like 10GiB"""
    allow_tf32: bool | None = None
    """let float32 products use TF32"""
    autocast_enabled: bool | None = None
    """run under autocast"""
    autocast_dtype: Literal["float16", "bfloat16"] | None = None
    """arithmetic under autocast; null = bfloat16"""
    low_cpu_mem_usage: bool | None = None
    """load without a second copy in memory"""
    tp_plan: Literal["auto"] | None = None
    """tensor parallelism; device_map is not sent then"""
    tp_size: int | None = None
    """processes of tensor parallelism; null = all"""
    chat_template: bool | None = None
    """prompts through the template of the tokenizer"""
    sampling: TransformersSamplingConfig | None = None
    """how tokens are chosen"""


class VLLMSpeculativeConfig(Section):
    """speculative decoding"""

    model_config = ConfigDict(extra="allow")
    llem_path: ClassVar[str] = "vllm.engine.speculative_config"

    model: str | None = None
    """draft model"""
    num_speculative_tokens: int | None = None
    """tokens guessed per step"""
    method: str | None = None
    """how tokens are guessed"""


class VLLMAttentionConfig(Section):
    """attention kernels"""

    model_config = ConfigDict(extra="allow")
    llem_path: ClassVar[str] = "vllm.engine.attention"

    backend: str | None = None
    """name of the attention backend"""
    flash_attn_version: int | None = None
    """version of flash attention"""
    flash_attn_max_num_splits_for_cuda_graph: int | None = None
    """most splits in CUDA graphs"""
    use_prefill_decode_attention: bool | None = None
    """separate kernels for prefill and decode; null = true"""
    use_prefill_query_quantization: bool | None = None
    """quantise queries in prefill"""
    use_cudnn_prefill: bool | None = None
    """cuDNN for prefill"""
    disable_flashinfer_prefill: bool | None = None
    """no FlashInfer for prefill"""
    disable_flashinfer_q_quantization: bool | None = None
    """no quantised queries in FlashInfer"""
    use_trtllm_attention: bool | None = None
    """kernels of TensorRT-LLM"""
    use_trtllm_ragged_deepseek_prefill: bool | None = None
    """ragged prefill of TensorRT-LLM for DeepSeek"""


class VLLMEngineConfig(Section):
    """options of the LLM constructor"""

    model_config = ConfigDict(extra="allow")
    llem_path: ClassVar[str] = "vllm.engine"

    gpu_memory_utilization: float | None = None
    """share of a GPU's memory to take"""
    swap_space: float | None = None
    """CPU memory for swapped requests; null = 4 (GiB)"""
    cpu_offload_gb: float | None = None
    """weights kept in CPU memory; null = 0 (GiB)"""
    block_size: Literal[8, 16, 32] | None = None
    """tokens per cache block"""
    kv_cache_dtype: Literal["auto", "fp8", "fp8_e5m2", "fp8_e4m3"] | None = None
    """kind of number of the key/value cache; null = auto"""
    enforce_eager: bool | None = None
    """no CUDA graphs"""
    enable_chunked_prefill: bool | None = None
    """split long prompts"""
    max_num_seqs: int | None = None
    """most requests at a time"""
    max_num_batched_tokens: int | None = None
    """most tokens per step; null = automatic (tokens)"""
    max_model_len: int | None = None
    """longest sequence; null = the model's (tokens)"""
    num_scheduler_steps: int | None = None
    """steps per scheduling; null = 1"""
    tensor_parallel_size: int | None = None
    """GPUs a layer is spread over; null = 1"""
    pipeline_parallel_size: int | None = None
    """GPUs the layers are spread over; null = 1"""
    distributed_executor_backend: Literal["mp", "ray"] | None = None
    """how workers are started"""
    enable_prefix_caching: bool | None = None
    """share the cache of common prefixes"""
    quantization: Literal[
        "awq",
        "gptq",
        "fp8",
        "fp8_e5m2",
        "fp8_e4m3",
        "marlin",
        "bitsandbytes",
    ] | None = None
    """quantisation of the weights"""
    max_seq_len_to_capture: int | None = None
    """longest sequence in CUDA graphs; null = 8192 (tokens)"""
    speculative_config: VLLMSpeculativeConfig | None = None
    """speculative decoding"""
    offload_group_size: int | None = None
    """layers per offload group; null = 0"""
    offload_num_in_group: int | None = None
    """offloaded layers per group; null = 1"""
    offload_prefetch_step: int | None = None
    """layers fetched ahead; null = 1"""
    offload_params: list[str] | None = None
    """names of the parameters to offload"""
    disable_custom_all_reduce: bool | None = None
    """use NCCL only"""
    kv_cache_memory_bytes: int | None = None
    """size of the key/value cache; excludes gpu_memory_utilization (bytes)"""
    compilation_config: dict[str, Any] | None = None
    """passed on whole"""
    attention: VLLMAttentionConfig | None = None
    """attention kernels"""


class VLLMSamplingConfig(Section):
    """how tokens are chosen"""

    model_config = ConfigDict(extra="allow")
    llem_path: ClassVar[str] = "vllm.sampling"

    temperature: float | None = None
    """randomness; 0 is greedy"""
    top_k: int | None = None
    """keep the k most likely tokens; -1 keeps all"""
    top_p: float | None = None
    """keep the most likely tokens up to this total probability"""
    repetition_penalty: float | None = None
    """above 1 discourages repetition"""
    min_p: float | None = None
    """least probability relative to the most likely token"""
    min_tokens: int | None = None
    """fewest tokens to generate"""
    presence_penalty: float | None = None
    """penalty for tokens that occurred"""
    frequency_penalty: float | None = None
    """penalty by how often a token occurred"""
    ignore_eos: bool | None = None
    """go on after the end of sequence"""
    n: int | None = None
    """answers per prompt; null = 1"""


class VLLMBeamSearchConfig(Section):
    """beam search instead of sampling"""

    model_config = ConfigDict(extra="allow")
    llem_path: ClassVar[str] = "vllm.beam_search"

    beam_width: int | None = None
    """beams"""
    length_penalty: float | None = None
    """exponent on the length; null = 1.0"""
    early_stopping: bool | None = None
    """stop early"""


class VLLMConfig(Section):
    """options of vLLM"""

    model_config = ConfigDict(extra="allow")
    llem_path: ClassVar[str] = "vllm"

    chat_template: bool | None = None
    """prompts through the template of the tokenizer"""
    dtype: Literal["float32", "float16", "bfloat16", "auto"] | None = None
    """kind of number of weights and arithmetic; null = the library's choice"""
    engine: VLLMEngineConfig | None = None
    """options of the LLM constructor"""
    sampling: VLLMSamplingConfig | None = None
    """how tokens are chosen"""
    beam_search: VLLMBeamSearchConfig | None = None
    """beam search instead of sampling"""


class TensorRTQuantConfig(Section):
    """quantisation"""

    model_config = ConfigDict(extra="allow")
    llem_path: ClassVar[str] = "tensorrt.quant_config"

    quant_algo: Literal[
        "FP8",
        "INT8",
        "W4A16_AWQ",
        "W4A16_GPTQ",
        "W8A16",
        "W8A16_GPTQ",
        "W4A8_AWQ",
        "NO_QUANT",
    ] | None = None
    """of the weights"""
    kv_cache_quant_algo: Literal["FP8", "INT8"] | None = None
    """of the key/value cache"""


class TensorRTKVCacheConfig(Section):
    """the key/value cache"""

    model_config = ConfigDict(extra="allow")
    llem_path: ClassVar[str] = "tensorrt.kv_cache_config"

    enable_block_reuse: bool | None = None
    """share blocks of common prefixes"""
    free_gpu_memory_fraction: float | None = None
    """share of the free memory to take; null = 0.9"""
    max_tokens: int | None = None
    """most tokens held; null = automatic (tokens)"""
    host_cache_size: int | None = None
    """part kept in CPU memory (bytes)"""


class TensorRTSchedulerConfig(Section):
    """the scheduler"""

    model_config = ConfigDict(extra="allow")
    llem_path: ClassVar[str] = "tensorrt.scheduler_config"

    capacity_scheduling_policy: Literal[
        "GUARANTEED_NO_EVICT",
        "MAX_UTILIZATION",
        "STATIC_BATCH",
    ] | None = None
    """what is done when the cache is full"""


class TensorRTSamplingConfig(Section):
    """how tokens are chosen"""

    model_config = ConfigDict(extra="allow")
    llem_path: ClassVar[str] = "tensorrt.sampling"

    temperature: float | None = None
    """randomness; 0 is greedy"""
    top_k: int | None = None
    """keep the k most likely tokens; 0 keeps all"""
    top_p: float | None = None
    """keep the most likely tokens up to this total probability"""
    repetition_penalty: float | None = None
    """above 1 discourages repetition"""
    min_p: float | None = None
    """least probability relative to the most likely token"""
    min_tokens: int | None = None
    """fewest tokens to generate"""
    n: int | None = None
    """answers per prompt; null = 1"""
    ignore_eos: bool | None = None
    """go on after the end of sequence"""


class TensorRTConfig(Section):
    """options of TensorRT-LLM"""

    model_config = ConfigDict(extra="allow")
    llem_path: ClassVar[str] = "tensorrt"

    max_batch_size: int | None = None
    """most requests at a time, set at build"""
    tensor_parallel_size: int | None = None
    """GPUs a layer is spread over; null = 1"""
    pipeline_parallel_size: int | None = None
    """GPUs the layers are spread over; null = 1"""
    max_input_len: int | None = None
    """longest prompt, set at build (tokens)"""
    max_seq_len: int | None = None
    """longest sequence, set at build (tokens)"""
    max_num_tokens: int | None = None
    """most tokens per step; null = automatic (tokens)"""
    chat_template: bool | None = None
    """prompts through the template of the tokenizer"""
    dtype: Literal["float16", "bfloat16"] | None = None
    """kind of number of weights and arithmetic; null = automatic"""
    fast_build: bool | None = None
    """build faster, run slower"""
    backend: Literal["trt", "pytorch", "_autodeploy"] | None = None
    """runtime; null = the library's choice"""
    quant_config: TensorRTQuantConfig | None = None
    """quantisation"""
    kv_cache_config: TensorRTKVCacheConfig | None = None
    """the key/value cache"""
    scheduler_config: TensorRTSchedulerConfig | None = None
    """the scheduler"""
    sampling: TensorRTSamplingConfig | None = None
    """how tokens are chosen"""


class CPUSamplingConfig(Section):
    """how tokens are chosen; greedy when nothing is set"""

    llem_path: ClassVar[str] = "cpu.sampling"

    temperature: float | None = None
    """randomness; 0 is greedy"""
    do_sample: bool | None = None
    """false is greedy"""
    top_k: int | None = None
    """keep the k most likely tokens; 0 keeps all"""
    top_p: float | None = None
    """keep the most likely tokens up to this total probability"""
    min_p: float | None = None
    """least probability relative to the most likely token"""
    repetition_penalty: float | None = None
    """above 1 discourages repetition"""


class CPUConfig(Section):
    """options of the built-in CPU engine"""

    llem_path: ClassVar[str] = "cpu"

    dtype: Literal["float32", "bfloat16"] | None = None
    """kind of number of the weights; null = the weights' own"""
    batch_size: int = 1
    """prompts at a time"""
    threads: int | None = None
    """threads; null = one per physical core"""
    load_format: Literal["auto", "dummy"] = "auto"
    """dummy takes random weights in the shapes of a config.json"""
    sampling: CPUSamplingConfig | None = None
    """how tokens are chosen; greedy when nothing is set"""


class LoRAConfig(Section):
    """an adapter for the model"""

    llem_path: ClassVar[str] = "lora"

    adapter_id: str | None = None
    """hub id of the adapter"""
    adapter_path: str | None = None
    """directory of the adapter"""
    merge_weights: bool = False
    """merge the adapter into the weights at load"""


class OutputConfig(Section):
    """where results go"""

    llem_path: ClassVar[str] = "output"

    results_dir: str | None = None
    """directory for results; null = the user's configuration, else ./results"""
    save_timeseries: bool = True
    """write timeseries.parquet"""
    save_outputs: Literal["none", "hash", "text"] = "hash"
    """what is kept of the generated tokens: nothing, a hash a request, or all in outputs.jsonl"""


class ExperimentSettings(Section):
    """One experiment: what is measured, how, and by which engine"""

    model_config = ConfigDict(extra="allow")
    llem_path: ClassVar[str] = ""

    task: TaskConfig
    """what is measured: model, prompts, limits"""
    engine: Engine | str = Field(Engine.TRANSFORMERS, union_mode="left_to_right")
    """what runs the model"""
    measurement: MeasurementConfig = Field(default_factory=MeasurementConfig)
    """how it is measured"""
    sampling_preset: Literal["deterministic", "standard", "creative", "factual"] | None = None
    """fills <engine>.sampling where the file says nothing"""
    transformers: TransformersConfig | None = None
    """options of Hugging Face transformers"""
    vllm: VLLMConfig | None = None
    """options of vLLM"""
    tensorrt: TensorRTConfig | None = None
    """options of TensorRT-LLM"""
    cpu: CPUConfig | None = None
    """options of the built-in CPU engine"""
    lora: LoRAConfig | None = None
    """an adapter for the model"""
    passthrough_kwargs: dict[str, Any] | None = None
    """further arguments for the engine, handed on as they are"""
    output: OutputConfig = Field(default_factory=OutputConfig)
    """where results go"""
    study_name: str | None = None
    """begins the name of the results directory"""
