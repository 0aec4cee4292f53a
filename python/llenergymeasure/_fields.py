# SPDX-License-Identifier: MIT
"""The fields of a result, one class an object.

Written by tools/make_python_models.py: change what it reads, not this file.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from llenergymeasure._section import Fields

__all__ = [
    "AggregationMetadata",
    "Agreement",
    "BatchEfficiencyMetrics",
    "ComputeMetrics",
    "CounterFigures",
    "Emissions",
    "EnergyBreakdown",
    "EnergyDomain",
    "EnergyEstimate",
    "EnergyFigures",
    "EnergyMethod",
    "EnergyMetrics",
    "EstimateRange",
    "EstimatedFigures",
    "EstimatedKgCo2",
    "ExtendedEfficiencyMetrics",
    "FlopsResult",
    "GPUUtilisationMetrics",
    "InferenceMetrics",
    "KVCacheEfficiencyMetrics",
    "LatencyMeasurements",
    "LatencyStatistics",
    "MeasurementWarning",
    "MemoryEfficiencyMetrics",
    "MultiGPUMetrics",
    "Occupancy",
    "OutputPerRequest",
    "Phases",
    "Producer",
    "Quantity",
    "RawProcessResult",
    "Recording",
    "RequestLatencyMetrics",
    "ResultFields",
    "Steadiness",
    "ThermalThrottleInfo",
    "Throughput",
    "Timestamps",
    "TokenCounts",
    "WarmupResult",
]


class EnergyBreakdown(Fields):
    """measured energy and the idle below it"""

    raw_j: float | None = None
    """J; = total_energy_j"""
    adjusted_j: float | None = None
    """J; = energy_adjusted_j"""
    baseline_power_w: float | None = None
    """W; = baseline_power_w"""
    baseline_method: str | None = None
    """fresh, cached or validated; null without baseline"""
    baseline_timestamp: datetime | None = None
    """UTC; begin of the baseline"""
    baseline_cache_age_sec: float | None = None
    """s; from the baseline's end to t0"""


class MultiGPUMetrics(Fields):
    """null unless several GPUs are charged"""

    num_gpus: int
    """charged GPUs"""
    energy_per_gpu_j: list[float | None]
    """J; in the order of energy_scope"""
    energy_total_j: float | None = None
    """J"""
    energy_per_output_token_j: float | None = None
    """J/tok; over output tokens"""


class Timestamps(Fields):
    """when it worked: the window, or of several each its own time"""

    start: datetime | None = None
    """UTC"""
    end: datetime | None = None
    """UTC"""
    duration_sec: float | None = None
    """s"""


class LatencyMeasurements(Fields):
    """the single values; lists of more than 4096 stay in the recording and are null"""

    ttft_ms: list[float] | None = None
    """ms; one a request"""
    itl_full_ms: list[float] | None = None
    """ms; every interval"""
    itl_trimmed_ms: list[float] | None = None
    """ms; without each request's first and last"""
    request_count: int | None = None
    """requests of the pass"""
    total_output_tokens: int | None = None
    """tok"""
    excluded_tokens: int | None = None
    """intervals left out of the trimmed list"""
    streaming_mode: bool | None = None
    """tokens were timed one by one"""
    warmup_requests_excluded: int | None = None
    """0: the warm-up is no part of the pass"""
    measurement_mode: str | None = None
    """true_streaming or per_request_batch"""


class InferenceMetrics(Fields):
    """tokens and time"""

    total_tokens: int | None = None
    """tok"""
    input_tokens: int | None = None
    """tok"""
    output_tokens: int | None = None
    """tok"""
    inference_time_sec: float | None = None
    """s"""
    tokens_per_second: float | None = None
    """tok/s; total tokens"""
    latency_per_token_ms: float | None = None
    """ms; window / total tokens"""
    time_to_first_token_ms: float | None = None
    """ms; mean"""
    latency_measurements: LatencyMeasurements | None = None
    """the single values; lists of more than 4096 stay in the recording and are null"""


class EnergyMetrics(Fields):
    """J and W over the window, of the charged domains that are its own, by kind; null where it
    has none"""

    total_energy_j: float | None = None
    """J"""
    gpu_energy_j: float | None = None
    """J"""
    cpu_energy_j: float | None = None
    """J; packages"""
    ram_energy_j: float | None = None
    """J; DRAM"""
    gpu_power_w: float | None = None
    """W; mean"""
    cpu_power_w: float | None = None
    """W; mean"""
    duration_sec: float | None = None
    """s"""
    emissions_kg_co2: float | None = None
    """kg; always an estimate, see emissions; null: no carbon intensity is given"""
    energy_per_token_j: float | None = None
    """J/tok; total tokens"""


class ComputeMetrics(Fields):
    """operations; of several processes null, since how they share them is not told"""

    flops_total: float | None = None
    """FLOP"""
    flops_per_token: float | None = None
    """FLOP/tok; total tokens"""
    flops_per_second: float | None = None
    """FLOP/s"""
    peak_memory_mb: float | None = None
    """MiB"""
    model_memory_mb: float | None = None
    """MiB"""
    flops_method: str | None = None
    """exact_decoder or palm_2nt"""
    flops_confidence: str | None = None
    """high or medium"""
    compute_precision: str | None = None
    """the model's dtype"""


class MemoryEfficiencyMetrics(Fields):
    """device memory, MiB"""

    total_vram_mb: float | None = None
    """MiB; of the charged GPUs; null on a CPU"""
    model_memory_mb: float | None = None
    """MiB; weights as loaded"""
    peak_memory_mb: float | None = None
    """MiB; the engine's peak; null where it does not tell"""
    inference_memory_mb: float | None = None
    """MiB; peak - model; null where the peak is below the weights"""
    kv_cache_mb: float | None = None
    """MiB; where the engine tells"""
    tokens_per_gb_vram: float | None = None
    """output tokens / GiB of peak memory"""
    model_memory_utilisation: float | None = None
    """model / total VRAM"""
    kv_cache_memory_ratio: float | None = None
    """KV cache / peak"""


class GPUUtilisationMetrics(Fields):
    """of the charged GPUs in the window"""

    sm_utilisation_mean: float | None = None
    """%"""
    sm_utilisation_samples: int
    """readings"""
    memory_bandwidth_utilisation: float | None = None
    """not measured: null"""


class BatchEfficiencyMetrics(Fields):
    """how requests were put together"""

    effective_batch_size: float | None = None
    """sequences; mean over the engine's steps in the window, weighted by time"""
    batch_utilisation: float | None = None
    """effective / configured batch size"""
    padding_overhead: float | None = None
    """1 - input tokens / padded input tokens; null where the engine does not tell the latter"""
    num_batches: int | None = None
    """batches as the engine tells, else steps with a prefill"""


class KVCacheEfficiencyMetrics(Fields):
    """prefix and paged cache"""

    kv_cache_hit_rate: float | None = None
    """cached / input tokens"""
    kv_cache_blocks_used: float | None = None
    """blocks"""
    kv_cache_blocks_total: float | None = None
    """blocks"""


class RequestLatencyMetrics(Fields):
    """from submission to the last token"""

    e2e_latency_mean_ms: float | None = None
    """ms; mean of end to end"""
    e2e_latency_median_ms: float | None = None
    """ms; median of end to end"""
    e2e_latency_p95_ms: float | None = None
    """ms; 95th percentile of end to end"""
    e2e_latency_p99_ms: float | None = None
    """ms; 99th percentile of end to end"""
    e2e_latency_samples: int
    """requests"""
    queue_mean_ms: float | None = None
    """ms; mean from submission to scheduling"""
    queue_samples: int
    """requests that tell"""


class ExtendedEfficiencyMetrics(Fields):
    """efficiency beyond tokens and joules"""

    tpot_ms: float | None = None
    """ms; mean over requests of (last token - first token) / (output tokens - 1); requests of
    one token are left out"""
    token_efficiency_index: float | None = None
    """output tokens/s x output tokens/J; null without energy"""
    memory: MemoryEfficiencyMetrics
    """device memory, MiB"""
    gpu_utilisation: GPUUtilisationMetrics
    """of the charged GPUs in the window"""
    batch: BatchEfficiencyMetrics
    """how requests were put together"""
    kv_cache: KVCacheEfficiencyMetrics
    """prefix and paged cache"""
    request_latency: RequestLatencyMetrics
    """from submission to the last token"""


class ThermalThrottleInfo(Fields):
    """what slowed the charged devices down in the window; null where neither counters, event
    bits nor a temperature can be read"""

    thermal: bool | None = None
    """software or hardware thermal slowdown"""
    power: bool | None = None
    """the power cap was reached; a property of the setup, not a fault"""
    sw_thermal: bool | None = None
    """software thermal slowdown"""
    hw_thermal: bool | None = None
    """hardware thermal slowdown"""
    hw_power: bool | None = None
    """hardware power brake"""
    throttle_duration_sec: float | None = None
    """s; thermal and brake time by the driver's violation counters, the longest of the devices;
    they are read outside the rolls, so it is an upper bound, and at most the window"""
    max_temperature_c: float | None = None
    """degrees Celsius; highest read in the window"""
    throttle_timestamps: list[float] | None = None
    """s from t0; reads (at most 5 a second) that found a thermal or brake bit"""
    detected: bool | None = None
    """thermal or hw_power; the power cap does not count"""
    power_cap_sec: float | None = None
    """s; time at the power cap, the longest of the devices"""


class WarmupResult(Fields):
    """the warm-up; null for `measure`"""

    converged: bool | None = None
    """latencies settled; true too where the mode does not ask"""
    final_cv: float | None = None
    """population standard deviation / mean of the last window_size latencies; null with fewer
    than two"""
    iterations_completed: int | None = None
    """prompts run"""
    target_cv: float | None = None
    """the threshold"""
    max_prompts: int | None = None
    """the bound"""
    latencies_ms: list[float] | None = None
    """ms; one a prompt"""
    thermal_floor_wait_s: float | None = None
    """s; time waited for the temperature to settle"""
    mode: str | None = None
    """converge, fixed, engine or disabled"""
    batch_ms: float | None = None
    """ms; the further warm-up batch just before the window"""


class RawProcessResult(Fields):
    """one process"""

    schema_version: str
    """3.0"""
    experiment_id: str | None = None
    """as above"""
    engine: str | None = None
    """as above"""
    engine_version: str | None = None
    """as above"""
    process_index: int
    """its rank"""
    gpu_id: int | None = None
    """the vendor's index of its first charged GPU; null on a CPU"""
    gpu_name: str | None = None
    """null on a CPU"""
    gpu_is_mig: bool | None = None
    """null where not known"""
    gpu_mig_profile: str | None = None
    """null"""
    model_name: str | None = None
    """as above"""
    timestamps: Timestamps
    """when it worked: the window, or of several each its own time"""
    inference_metrics: InferenceMetrics
    """tokens and time"""
    energy_metrics: EnergyMetrics
    """J and W over the window, of the charged domains that are its own, by kind; null where it
    has none"""
    compute_metrics: ComputeMetrics
    """operations; of several processes null, since how they share them is not told"""
    extended_metrics: ExtendedEfficiencyMetrics
    """efficiency beyond tokens and joules"""
    per_request_latencies_ms: list[float] | None = None
    """ms; end to end, one a request; requests are those of the first process"""
    gpu_utilisation_samples: list[float]
    """%; readings in the window"""
    energy_breakdown: EnergyBreakdown
    """measured energy and the idle below it"""
    thermal_throttle: ThermalThrottleInfo | None = None
    """what slowed the charged devices down in the window; null where neither counters, event
    bits nor a temperature can be read"""
    warmup_result: WarmupResult | None = None
    """the warm-up; null for `measure`"""


class AggregationMetadata(Fields):
    """how this result comes of its processes"""

    method: Literal["single_process", "sum_energy_wall_throughput", "shared_energy_wall_throughput"]
    """ "single_process"; "sum_energy_wall_throughput": of several, each with devices of its own;
    "shared_energy_wall_throughput": of several on the same devices"""
    num_processes: int
    """items of process_results"""
    temporal_overlap_verified: bool
    """they worked at the same time, for half of the shortest one's at least; false of one"""
    gpu_attribution_verified: bool
    """every GPU that the engine named is charged, and each is of one process alone"""
    warnings: list[str]
    """sentences: what of the processes does not fit together"""


class LatencyStatistics(Fields):
    """from receipts of the latency pass, else of the measured one; null where no time of a token
    is known"""

    ttft_mean_ms: float | None = None
    """ms; mean of submission to first token"""
    ttft_median_ms: float | None = None
    """ms; median of submission to first token"""
    ttft_p95_ms: float | None = None
    """ms; 95th percentile of submission to first token"""
    ttft_p99_ms: float | None = None
    """ms; 99th percentile of submission to first token"""
    ttft_min_ms: float | None = None
    """ms"""
    ttft_max_ms: float | None = None
    """ms"""
    ttft_samples: int
    """requests"""
    itl_mean_ms: float | None = None
    """ms; mean of intervals between tokens, each request's first and last left out, requests of
    fewer than three intervals too"""
    itl_median_ms: float | None = None
    """ms; median of intervals between tokens, each request's first and last left out, requests
    of fewer than three intervals too"""
    itl_p95_ms: float | None = None
    """ms; 95th percentile of intervals between tokens, each request's first and last left out,
    requests of fewer than three intervals too"""
    itl_p99_ms: float | None = None
    """ms; 99th percentile of intervals between tokens, each request's first and last left out,
    requests of fewer than three intervals too"""
    itl_samples: int
    """intervals"""
    itl_full_mean_ms: float | None = None
    """ms; mean of all intervals"""
    itl_full_p99_ms: float | None = None
    """ms; 99th percentile of all intervals"""


class Producer(Fields):
    """the program that derived this file; left out of verification"""

    program: str
    """llem"""
    version: str
    commit: str


class Recording(Fields):
    """what it was derived from"""

    version: int
    """of the format"""
    sha256: str
    """of recording.json"""


class EnergyEstimate(Fields):
    """null unless nothing better was charged"""

    value: float | None = None
    """J; TDP x share of the CPUs that were busy x time, or what a sampler says"""
    low: float | None = None
    """J; null without a range"""
    high: float | None = None
    """J; null without a range"""
    method: str
    """cpu_load_x_tdp, or a sampler's own for each domain"""
    tdp_w: float | None = None
    """W"""
    tdp_source: str | None = None
    """where the TDP comes from"""
    cpu_share: float | None = None
    """busy CPU time / (CPUs x window)"""
    reason: str | None = None
    """code; why there is no range (`range_unknown`)"""


class EstimateRange(Fields):
    """J/tok"""

    value: float | None = None
    low: float | None = None
    high: float | None = None


class EstimatedFigures(Fields):
    """figures of the estimate, with its range"""

    j_per_output_token: EstimateRange | None = None
    """J/tok"""
    output_tokens_per_j: EstimateRange | None = None
    """tok/J"""
    kwh_per_million_output_tokens: EstimateRange | None = None
    """kWh"""


class EstimatedKgCo2(Fields):
    """kg; of energy_estimated_j, null without it"""

    value: float | None = None
    low: float | None = None
    high: float | None = None


class Emissions(Fields):
    """carbon dioxide of the electricity, always an estimate"""

    kg_co2: float | None = None
    """kg; of total_energy_j"""
    estimated_kg_co2: EstimatedKgCo2 | None = None
    """kg; of energy_estimated_j, null without it"""
    method: str
    """energy_x_pue_x_carbon_intensity"""
    carbon_intensity_gco2_kwh: float | None = None
    """g/kWh; as configured; null: not given"""
    datacenter_pue: float | None = None
    """as configured, 1 by default"""


class OutputPerRequest(Fields):
    """tok"""

    mean: float | None = None
    """tok"""
    min: int | None = None
    """tok"""
    max: int | None = None
    """tok"""


class TokenCounts(Fields):
    """of the measured pass"""

    input: int | None = None
    """tok; padding left out"""
    output: int | None = None
    """tok; up to and with the first end of sequence"""
    total: int | None = None
    """tok"""
    cached: int | None = None
    """tok; input tokens out of a prefix cache"""
    requests: int | None = None
    """requests"""
    stopped: int | None = None
    """requests that ended by themselves"""
    output_per_request: OutputPerRequest | None = None
    """tok"""


class Throughput(Fields):
    """over total_inference_time_sec"""

    output_tokens_per_s: float | None = None
    """tok/s; output tokens"""
    input_tokens_per_s: float | None = None
    """tok/s; input tokens"""
    total_tokens_per_s: float | None = None
    """tok/s; input + output"""
    requests_per_s: float | None = None
    """1/s"""


class Steadiness(Fields):
    """null in windows too short to tell"""

    first_third_w: float | None = None
    """W"""
    last_third_w: float | None = None
    """W"""
    difference: float | None = None
    """(last - first) / their mean"""


class CounterFigures(Fields):
    """its counter; null if it has none"""

    counting: str
    """integrates, samples, unknown, none"""
    rho: float | None = None
    """the figure that tells"""
    period_s: float | None = None
    """s; between ticks, learned"""
    resolution_s: float | None = None
    """s; how well a tick is placed"""
    ticks: int
    """seen"""
    good_reads: int
    """reads"""
    failed_reads: int
    """reads with a status"""
    garbage_reads: int
    """values that cannot be, left out"""


class EnergyMethod(Fields):
    """one method"""

    method: str
    """name"""
    energy_j: float | None = None
    """J"""
    u_stat_j: float | None = None
    """J; k=1"""
    reason: str | None = None
    """why not"""


class EnergyDomain(Fields):
    """one domain"""

    id: str
    """ "gpu:<UUID>", "package:0", "dram:0", "cpu" """
    kind: str
    """gpu, package, dram, psys, core, cpu"""
    label: str
    """for people"""
    sampler: str
    """who read it"""
    charged: bool
    """part of total_energy_j"""
    quality: Literal["measured", "estimated"]
    """what its joules may be called"""
    estimated_j: float | None = None
    """J; of an estimated domain whose sampler has windows of its own"""
    energy_j: float | None = None
    """J; Q, by `method`"""
    u_stat_j: float | None = None
    """J; k=1"""
    u_sys_j: float | None = None
    """J; k=1; null where the gain is not known, or not charged"""
    gain_source: str | None = None
    """where the uncertainty of the gain comes from"""
    method: str | None = None
    """counter_ticks, counter_interpolated, counter_difference, power_average, power_instant,
    sampler_window"""
    reason: str | None = None
    """why there is no energy"""
    mean_power_w: float | None = None
    """W; energy_j / window"""
    window_energy_j: float | None = None
    """J; S, over [t0, t1] alone"""
    u_window_energy_j: float | None = None
    """J; k=1"""
    energy_adjusted_j: float | None = None
    """J; energy_j - baseline_power_w x window"""
    baseline_power_w: float | None = None
    """W; bare idle before the load"""
    u_baseline_power_w: float | None = None
    """W; k=1"""
    loaded_idle_before_w: float | None = None
    """W"""
    loaded_idle_after_w: float | None = None
    """W"""
    edge_power_before_w: float | None = None
    """W; taken off before t0"""
    edge_power_after_w: float | None = None
    """W; taken off after t1"""
    guard_before_s: float | None = None
    """s; from the first tick used to t0"""
    guard_after_s: float | None = None
    """s; from t1 to the last tick used"""
    u_alias_j: float | None = None
    """J; part of u_stat_j: a counter that may sample"""
    counter: CounterFigures | None = None
    """its counter; null if it has none"""
    methods: list[EnergyMethod]
    """every method tried, best first"""


class EnergyFigures(Fields):
    """energy by denominator, and by domain"""

    j_per_output_token: float | None = None
    """J/tok; total_energy_j / output tokens"""
    output_tokens_per_j: float | None = None
    """tok/J"""
    kwh_per_million_output_tokens: float | None = None
    """kWh"""
    j_per_request: float | None = None
    """J; total_energy_j / requests"""
    mean_power_w: float | None = None
    """W; total_energy_j / time"""
    adjusted_j_per_output_token: float | None = None
    """J/tok; energy_adjusted_j / output tokens"""
    charged: dict[str, Any] | None = None
    """copied from the recording"""
    gain_prior: dict[str, Any] | None = None
    """copied from the recording; never applied"""
    steadiness: Steadiness | None = None
    """null in windows too short to tell"""
    domains: list[EnergyDomain]
    """every domain, charged or not"""


class FlopsResult(Fields):
    """null for `measure`"""

    total: float | None = None
    """FLOP"""
    prefill: float | None = None
    """FLOP; prompts, the first token with them"""
    decode: float | None = None
    """FLOP; the other tokens"""
    attention: float | None = None
    """FLOP; part of both"""
    palm_2nt: float | None = None
    """FLOP; 2 x parameters without embeddings x total tokens"""
    flops_method: str | None = None
    """exact_decoder or palm_2nt"""
    flops_confidence: str | None = None
    """high or medium"""
    peak_flops_per_second: float | None = None
    """FLOP/s; of all devices together, dense, 16-bit; null where not known"""
    mfu: float | None = None
    """total_flops / time / peak; null with a reason in quantities"""


class Agreement(Fields):
    """counter against power readings of the charged domains"""

    verdict: str | None = None
    """consistent, disagree, same_source, single_sensor; null without energy"""
    ratio: float | None = None
    """counter / power"""
    u_ratio: float | None = None
    """k=1, statistical"""
    against: str | None = None
    """the method of the power"""
    reason: str | None = None
    """why there is no verdict"""


class Occupancy(Fields):
    """ramp and drain: fewer than 90 % of the most requests in flight; null where requests tell
    no times"""

    max_in_flight: int
    """requests"""
    mean_in_flight: float | None = None
    """requests"""
    low_time_s: float | None = None
    """s"""
    low_energy_j: float | None = None
    """J"""
    low_energy_share: float | None = None
    """low_energy_j / total_energy_j"""


class Phases(Fields):
    """parts of the window"""

    occupancy: Occupancy | None = None
    """ramp and drain: fewer than 90 % of the most requests in flight; null where requests tell
    no times"""
    reason: str | None = None
    """why prefill and decode have no energies of their own"""


class MeasurementWarning(Fields):
    """one warning"""

    reason: str
    """code"""
    subject: str | None = None
    """a domain's id"""
    text: str
    """a sentence"""
    hint: str | None = None
    """what the user can do"""


class Quantity(Fields):
    """a value with its uncertainty, or a reason"""

    value: float | None = None
    """= the field"""
    unit: str
    source: str | None = None
    """what it was read by"""
    quality: Literal["measured", "derived", "estimated", "none"]
    u_stat: float | None = None
    """statistical standard uncertainty (k=1), in the unit; null = not known"""
    u_sys: float | None = None
    """systematic standard uncertainty (k=1)"""
    ci95: list[float] | None = None
    """value -+ 1.96 x both together, or u_stat alone where u_sys is null"""
    reason: str | None = None
    """code; null where there is a value"""
    u_sys_reason: str | None = None
    """code; why an energy's u_sys is not known (`gain_unknown`)"""


class ResultFields(Fields):
    """The fields of result.json"""

    schema_version: str
    """ "3.0" """
    experiment_id: str
    """unique, no slash"""
    measurement_config_hash: str | None = None
    """16 hex digits"""
    llenergymeasure_version: str | None = None
    """version of the program that measured"""
    engine: str | None = None
    """null for `measure`"""
    engine_version: str | None = None
    """of the engine's runtime"""
    model_name: str | None = None
    """task.model as written"""
    measurement_methodology: Literal["total", "steady_state", "windowed"]
    """ "total" """
    steady_state_window: list[float] | None = None
    """null: the whole run is measured"""
    total_tokens: int | None = None
    """tok; input + output, padding and what follows the end of sequence left out"""
    total_energy_j: float | None = None
    """J; Q summed over the charged domains (energy_scope); measured or null, never an estimate"""
    total_inference_time_sec: float | None = None
    """s; t1 - t0, the engine's own edges after a device sync"""
    avg_tokens_per_second: float | None = None
    """tok/s; total_tokens / total_inference_time_sec"""
    avg_energy_per_token_j: float | None = None
    """J/tok; total_energy_j / total_tokens"""
    mj_per_tok_adjusted: float | None = None
    """mJ/tok; energy_adjusted_j / total_tokens"""
    mj_per_tok_total: float | None = None
    """mJ/tok; total_energy_j / total_tokens"""
    total_flops: float | None = None
    """FLOP; forward pass of every request; method in flops.flops_method"""
    flops_per_output_token: float | None = None
    """FLOP/tok; total_flops / output tokens"""
    flops_per_input_token: float | None = None
    """FLOP/tok; total_flops / input tokens"""
    flops_per_second: float | None = None
    """FLOP/s; total_flops / total_inference_time_sec"""
    baseline_power_w: float | None = None
    """W; bare idle before the load, summed over the charged domains"""
    energy_adjusted_j: float | None = None
    """J; total_energy_j - baseline_power_w x time; may be negative, with a warning"""
    energy_per_device_j: list[float | None] | None = None
    """J; one value a charged domain, in the order of energy_scope; null without total_energy_j"""
    energy_breakdown: EnergyBreakdown
    """measured energy and the idle below it"""
    multi_gpu: MultiGPUMetrics | None = None
    """null unless several GPUs are charged"""
    measurement_warnings: list[str]
    """ "code: sentence hint" """
    warmup_excluded_samples: int | None = None
    """null: the warm-up lies outside the window"""
    reproducibility_notes: str
    """sentences composed of this recording"""
    timeseries: str | None = None
    """ "timeseries.parquet"; null if output.save_timeseries is false"""
    start_time: datetime | None = None
    """UTC; t0"""
    end_time: datetime | None = None
    """UTC; t1"""
    process_results: list[RawProcessResult]
    """one item a process that the engine tells of; one where it tells of none"""
    aggregation: AggregationMetadata
    """how this result comes of its processes"""
    thermal_throttle: ThermalThrottleInfo | None = None
    """what slowed the charged devices down in the window; null where neither counters, event
    bits nor a temperature can be read"""
    warmup_result: WarmupResult | None = None
    """the warm-up; null for `measure`"""
    latency_stats: LatencyStatistics | None = None
    """from receipts of the latency pass, else of the measured one; null where no time of a token
    is known"""
    extended_metrics: ExtendedEfficiencyMetrics
    """efficiency beyond tokens and joules"""
    producer: Producer
    """the program that derived this file; left out of verification"""
    recording: Recording
    """what it was derived from"""
    kind: Literal["inference", "measure"]
    """inference or measure"""
    quick: bool
    """baseline and waits were shortened"""
    energy_quality: Literal["measured", "mixed", "estimated", "none"]
    """measured: every charged domain; mixed: some; estimated: no charged domain is measured;
    none"""
    energy_source: str | None = None
    """ "<sampler>/<method>"; the sampler alone for an estimate; null without energy"""
    energy_scope: list[str]
    """ids of the charged domains"""
    energy_estimated_j: EnergyEstimate | None = None
    """null unless nothing better was charged"""
    energy_estimated: EstimatedFigures | None = None
    """figures of the estimate, with its range"""
    emissions: Emissions
    """carbon dioxide of the electricity, always an estimate"""
    tokens: TokenCounts
    """of the measured pass"""
    throughput: Throughput
    """over total_inference_time_sec"""
    energy: EnergyFigures
    """energy by denominator, and by domain"""
    flops: FlopsResult | None = None
    """null for `measure`"""
    agreement: Agreement
    """counter against power readings of the charged domains"""
    phases: Phases
    """parts of the window"""
    environment: dict[str, Any] | None = None
    """copied from the recording"""
    dataset: dict[str, Any] | None = None
    """copied from the recording; null for `measure`"""
    model: dict[str, Any] | None = None
    """as recorded, without config, with the dimensions that operations are counted from; null
    for `measure`"""
    sensors: list[dict[str, Any]] | None = None
    """copied from the recording"""
    measurement_warnings_detail: list[MeasurementWarning]
    """the same warnings in parts"""
    quantities: dict[str, Quantity]
    """by path of a field of this file"""
