# SPDX-License-Identifier: MIT
"""Made-up studies on disk: a plan, and runs whose result.json has the numbers that a test wants."""

import json
import pathlib

UNITS = {
    "total_energy_j": "J",
    "energy_adjusted_j": "J",
    "avg_energy_per_token_j": "J/tok",
    "energy.j_per_output_token": "J/tok",
    "total_inference_time_sec": "s",
    "avg_tokens_per_second": "tok/s",
    "throughput.output_tokens_per_s": "tok/s",
    "latency_stats.ttft_mean_ms": "ms",
    "tokens.output": "tok",
    "tokens.input": "tok",
}


def save(path: pathlib.Path, document) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n")


def quantity(value, path: str, u: float, reason: str, u_sys: float | None = None) -> dict:
    known = value is not None
    return {
        "value": value,
        "unit": UNITS[path],
        "source": "nvml/counter_ticks" if known else None,
        "quality": "measured" if known else "none",
        "u_stat": u if known else None,
        "u_sys": u_sys,
        "ci95": [value - 1.96 * u, value + 1.96 * u] if known else None,
        "reason": None if known else reason,
        "u_sys_reason": "gain_unknown" if known and u_sys is None else None,
    }


def result(
    numbers: dict, u: float = 0.01, reason: str = "estimated_only", u_sys=None, **more
) -> dict:
    """A result.json with these of the paths in UNITS; null for a reason where one is None."""
    numbers = {"tokens.output": 512.0, "tokens.input": 64.0} | numbers
    measured = numbers.get("total_energy_j") is not None
    document = {
        "schema_version": "3.0",
        "experiment_id": "made-up",
        "engine": "test",
        "engine_version": "1",
        "model_name": "m",
        "kind": "inference",
        "quick": False,
        "recording": {"version": 1, "sha256": "0" * 64},
        "energy_quality": "measured" if measured else "estimated",
        "energy_source": "nvml/counter_ticks" if measured else "estimate",
        "energy_scope": ["gpu:GPU-0001"],
        "dataset": {"sha256": "a" * 64},
        "measurement_warnings_detail": [],
        "quantities": {p: quantity(v, p, u, reason, u_sys) for p, v in numbers.items()},
    }
    if not measured:
        document["energy_estimated_j"] = {"value": 10.0, "low": 5.0, "high": 20.0}
        document["quantities"]["energy_estimated_j.value"] = {
            "value": 10.0,
            "unit": "J",
            "source": "estimate",
            "quality": "estimated",
        }
    return document | more


def status(state: str = "completed", started: int = 0, message: str | None = None) -> dict:
    at = f"2026-01-01T{started // 3600:02}:{started // 60 % 60:02}:{started % 60:02}"
    return {
        "state": state,
        "reason": None if state == "completed" else "crashed",
        "message": message,
        "hint": None,
        "exit": {"code": 0, "signal": None},
        "started_utc": f"{at}.000000Z",
        "finished_utc": f"{at}.500000Z",
        "elapsed_s": 0.5,
        "clock_set_s": 0.0,
        "log_tail": "",
    }


def make(root: pathlib.Path, settings: list, cycles: int, runs: dict, order=None) -> list[str]:
    """A study of these settings. runs: (experiment, cycle), each from 1, to a result.json, a
    status.json, both as a pair, or None for a run that has no directory. The directories."""
    axes = list(dict.fromkeys(key for s in settings for key in s))
    order = order or [(e, c) for c in range(1, cycles + 1) for e in range(1, len(settings) + 1)]
    dirs = [f"{i:03}_c{c}_m-test_{e:08x}" for i, (e, c) in enumerate(order, 1)]
    plan = {
        "version": 2,
        "study_name": "made-up",
        "study_design_hash": "0123456789abcdef",
        "execution": {
            "n_cycles": cycles,
            "experiment_order": "interleave",
            "experiment_gap_seconds": 0.0,
            "cycle_gap_seconds": None,
            "shuffle_seed": None,
            "experiment_timeout_seconds": 600.0,
            "deduplicate_equivalent": True,
        },
        "axes": axes,
        "experiments": [
            {
                "number": i,
                "engine": "test",
                "model": "m",
                "differs_by": ", ".join(f"{k}={v}" for k, v in s.items()),
                "settings": s,
                "measurement_config_hash": f"{i:016x}",
                "resolved_config_hash": f"{i:064x}",
                "same_as": None,
            }
            for i, s in enumerate(settings, 1)
        ],
        "skipped": [
            {"number": 99, "engine": "test", "differs_by": "x=1", "reason": "first\nsecond"}
        ],
        "runs": [
            {"dir": d, "experiment": e, "cycle": c} for d, (e, c) in zip(dirs, order, strict=True)
        ],
    }
    save(root / "plan.json", plan)
    save(root / "manifest.json", {"schema_version": "2.0", "experiments": []})
    for i, (name, key) in enumerate(zip(dirs, order, strict=True)):
        what = runs.get(key)
        if what is None:
            continue
        document, state = what if isinstance(what, tuple) else (what, None)
        if document and "schema_version" in document:
            save(root / name / "result.json", document)
            state = state or status(started=10 * i)
        save(root / name / "status.json", state or document)
    return dirs
