# SPDX-License-Identifier: MIT
"""The fields of the original's ExperimentResult in a result.json, without help of our own schema.

    python3 result_fields.py RESULT

Fails where a name is missing or a value is of another type; prints the path of each field that is
null, without the copies that `process_results` has of what the result says itself.
"""

import json
import sys

REAL = (int, float)

RAW_PROCESS = {
    "schema_version": str,
    "experiment_id": str,
    "engine": str,
    "engine_version": str,
    "process_index": int,
    "gpu_id": int,
    "gpu_name": str,
    "gpu_is_mig": bool,
    "gpu_mig_profile": str,
    "model_name": str,
    "timestamps": {"start": str, "end": str, "duration_sec": REAL},
    "inference_metrics": {
        "total_tokens": int,
        "input_tokens": int,
        "output_tokens": int,
        "inference_time_sec": REAL,
        "tokens_per_second": REAL,
        "latency_per_token_ms": REAL,
        "time_to_first_token_ms": REAL,
        "latency_measurements": {
            "ttft_ms": [REAL],
            "itl_full_ms": [REAL],
            "itl_trimmed_ms": [REAL],
            "request_count": int,
            "total_output_tokens": int,
            "excluded_tokens": int,
            "streaming_mode": bool,
            "warmup_requests_excluded": int,
            "measurement_mode": str,
        },
    },
    "energy_metrics": {
        "total_energy_j": REAL,
        "gpu_energy_j": REAL,
        "cpu_energy_j": REAL,
        "ram_energy_j": REAL,
        "gpu_power_w": REAL,
        "cpu_power_w": REAL,
        "duration_sec": REAL,
        "emissions_kg_co2": REAL,
        "energy_per_token_j": REAL,
    },
    "compute_metrics": {
        "flops_total": REAL,
        "flops_per_token": REAL,
        "flops_per_second": REAL,
        "peak_memory_mb": REAL,
        "model_memory_mb": REAL,
        "flops_method": str,
        "flops_confidence": str,
        "compute_precision": str,
    },
    "extended_metrics": None,  # as in the result
    "per_request_latencies_ms": [REAL],
    "gpu_utilisation_samples": [REAL],
    "energy_breakdown": None,
    "thermal_throttle": None,
    "warmup_result": None,
}

RESULT = {
    "schema_version": str,
    "experiment_id": str,
    "measurement_config_hash": str,
    "llenergymeasure_version": str,
    "engine": str,
    "engine_version": str,
    "model_name": str,
    "measurement_methodology": str,
    "steady_state_window": [REAL],
    "total_tokens": int,
    "total_energy_j": REAL,
    "total_inference_time_sec": REAL,
    "avg_tokens_per_second": REAL,
    "avg_energy_per_token_j": REAL,
    "mj_per_tok_adjusted": REAL,
    "mj_per_tok_total": REAL,
    "total_flops": REAL,
    "flops_per_output_token": REAL,
    "flops_per_input_token": REAL,
    "flops_per_second": REAL,
    "baseline_power_w": REAL,
    "energy_adjusted_j": REAL,
    "energy_per_device_j": [REAL],
    "energy_breakdown": {
        "raw_j": REAL,
        "adjusted_j": REAL,
        "baseline_power_w": REAL,
        "baseline_method": str,
        "baseline_timestamp": str,
        "baseline_cache_age_sec": REAL,
    },
    "multi_gpu": {
        "num_gpus": int,
        "energy_per_gpu_j": [REAL],
        "energy_total_j": REAL,
        "energy_per_output_token_j": REAL,
    },
    "measurement_warnings": [str],
    "warmup_excluded_samples": int,
    "reproducibility_notes": str,
    "timeseries": str,
    "start_time": str,
    "end_time": str,
    "process_results": [RAW_PROCESS],
    "aggregation": {
        "method": str,
        "num_processes": int,
        "temporal_overlap_verified": bool,
        "gpu_attribution_verified": bool,
        "warnings": [str],
    },
    "thermal_throttle": {
        "thermal": bool,
        "power": bool,
        "sw_thermal": bool,
        "hw_thermal": bool,
        "hw_power": bool,
        "throttle_duration_sec": REAL,
        "max_temperature_c": REAL,
        "throttle_timestamps": [REAL],
        "detected": bool,
    },
    "warmup_result": {
        "converged": bool,
        "final_cv": REAL,
        "iterations_completed": int,
        "target_cv": REAL,
        "max_prompts": int,
        "latencies_ms": [REAL],
        "thermal_floor_wait_s": REAL,
    },
    "latency_stats": {
        "ttft_mean_ms": REAL,
        "ttft_median_ms": REAL,
        "ttft_p95_ms": REAL,
        "ttft_p99_ms": REAL,
        "ttft_min_ms": REAL,
        "ttft_max_ms": REAL,
        "ttft_samples": int,
        "itl_mean_ms": REAL,
        "itl_median_ms": REAL,
        "itl_p95_ms": REAL,
        "itl_p99_ms": REAL,
        "itl_samples": int,
        "itl_full_mean_ms": REAL,
        "itl_full_p99_ms": REAL,
    },
    "extended_metrics": {
        "tpot_ms": REAL,
        "token_efficiency_index": REAL,
        "memory": {
            "total_vram_mb": REAL,
            "model_memory_mb": REAL,
            "peak_memory_mb": REAL,
            "inference_memory_mb": REAL,
            "kv_cache_mb": REAL,
            "tokens_per_gb_vram": REAL,
            "model_memory_utilisation": REAL,
            "kv_cache_memory_ratio": REAL,
        },
        "gpu_utilisation": {
            "sm_utilisation_mean": REAL,
            "sm_utilisation_samples": int,
            "memory_bandwidth_utilisation": REAL,
        },
        "batch": {
            "effective_batch_size": REAL,
            "batch_utilisation": REAL,
            "padding_overhead": REAL,
            "num_batches": int,
        },
        "kv_cache": {
            "kv_cache_hit_rate": REAL,
            "kv_cache_blocks_used": int,
            "kv_cache_blocks_total": int,
        },
        "request_latency": {
            "e2e_latency_mean_ms": REAL,
            "e2e_latency_median_ms": REAL,
            "e2e_latency_p95_ms": REAL,
            "e2e_latency_p99_ms": REAL,
            "e2e_latency_samples": int,
        },
    },
}
for name, fields in RAW_PROCESS.items():
    if fields is None:
        RAW_PROCESS[name] = RESULT[name]


def walk(fields, value, path: str, nulls: list[str], wrong: list[str]) -> None:
    if value is None:
        nulls.append(path)
    elif isinstance(fields, dict):
        if not isinstance(value, dict):
            wrong.append(f"{path} is no object")
            return
        for name, inner in fields.items():
            at = f"{path}.{name}" if path else name
            if name in value:
                walk(inner, value[name], at, nulls, wrong)
            else:
                wrong.append(f"{at} is missing")
    elif isinstance(fields, list):
        if not isinstance(value, list):
            wrong.append(f"{path} is no list")
            return
        for i, item in enumerate(value):
            walk(fields[0], item, f"{path}.{i}", nulls, wrong)
    elif not isinstance(value, fields) or isinstance(value, bool) != (fields is bool):
        wrong.append(f"{path} is {value!r}")


def main() -> int:
    nulls: list[str] = []
    wrong: list[str] = []
    with open(sys.argv[1], encoding="utf-8") as file:
        walk(RESULT, json.load(file), "", nulls, wrong)
    copy = "process_results.0."
    print("\n".join(n for n in nulls if not n.startswith(copy) or n[len(copy) :] not in nulls))
    print("\n".join(wrong), file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
