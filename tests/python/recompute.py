# SPDX-License-Identifier: MIT
"""Compute a recording's main numbers again, by code that shares nothing with llem's.

    recompute.py EXPERIMENT_DIR...     compare with result.json; exit 1 on a difference above 1e-9

Only numpy, zstandard and docs/formats.md are used. What is computed: the energy of every charged
domain with a counter (docs/measurement.md: "Counter" and "Plain difference"), idle power, totals,
tokens, TTFT, ITL, TPOT and end-to-end latencies with their percentiles, FLOPs.
"""

import hashlib
import json
import math
import pathlib
import sys

import numpy as np
import zstandard

TYPES = {"i64": "<i8", "i32": "<i4", "u16": "<u2", "f64": "<f8"}


class Recording:
    def __init__(self, directory: pathlib.Path):
        self.json = json.loads((directory / "recording.json").read_text())
        assert self.json["version"] == 1
        self.tables: dict[str, dict[str, np.ndarray]] = {}
        for c in self.json["columns"]:
            packed = (directory / c["file"]).read_bytes()
            data = zstandard.ZstdDecompressor().decompress(
                packed, max_output_size=max(1, c["bytes"])
            )
            assert hashlib.sha256(data).hexdigest() == c["sha256"], c["file"]
            if c["type"] == "utf8":
                rows, at = [], 0
                while at < len(data):
                    n = int.from_bytes(data[at : at + 4], "little")
                    rows.append(data[at + 4 : at + 4 + n].decode())
                    at += 4 + n
                column = np.array(rows, dtype=object)
            else:
                column = np.frombuffer(data, TYPES[c["type"]])
            assert len(column) == c["count"]
            self.tables.setdefault(c["table"], {})[c["name"]] = column


def line(x: np.ndarray, y: np.ndarray, degree: int) -> np.ndarray:
    """Least squares; coefficients, lowest power first."""
    return np.linalg.lstsq(np.vander(x, degree + 1, increasing=True), y, rcond=None)[0]


class Counter:
    """One counter: plain reads and ticks, seconds from t0, joules from the first read."""

    def __init__(self, r: Recording, device: int, field: dict, t0: int, head: float):
        s = r.tables["samples"]
        mine = (s["device"] == device) & (s["field"] == field["id"]) & (s["status"] == 0)
        begin, end = (s["begin_ns"][mine] - t0) / 1e9, (s["end_ns"][mine] - t0) / 1e9
        raw = s["raw"][mine].astype(object)
        steps = np.diff(raw)
        if field["modulus"]:
            steps = np.where(steps < 0, steps + field["modulus"], steps)
        assert (steps >= 0).all()
        self.joules = np.concatenate([[0.0], np.cumsum(steps).astype(float)]) * field["to_si"]
        self.at = (begin + end) / 2
        moved = np.flatnonzero(steps > 0)
        self.tau = (begin[moved] + end[moved + 1]) / 2
        self.half = (end[moved + 1] - begin[moved]) / 2
        self.c = self.joules[moved + 1]
        before = (self.tau <= 0) & (self.tau >= head)
        if before.sum() < 10:
            before = self.tau <= 0
        self.period = float(np.median(np.diff(self.tau[before])))
        resolution = float(np.median(2 * self.half[before]))
        self.resolved = self.period >= 4 * resolution
        if not self.resolved and 0 < field["period_s"] < self.period:
            self.period = field["period_s"]

    def energy(self, t1: float, head: float, tail: float) -> float:
        if not self.resolved:
            return float(np.interp(t1, self.at, self.joules) - np.interp(0, self.at, self.joules))
        i = np.flatnonzero(self.tau + self.half <= 0)[-1]
        j = np.flatnonzero(self.tau - self.half >= t1 + self.period + 0.05)[0]
        pre = [k for k in range(i + 1) if self.tau[k] - self.half[k] >= head or k == i]
        post = [k for k in range(j, len(self.tau)) if self.tau[k] <= tail]
        assert len(pre) >= 10 and len(post) >= 10
        idle = line(self.tau[pre] - self.tau[i], self.c[pre] - self.c[pre[0]], 1)[1]
        fit = line(self.tau[post] - self.tau[j], self.c[post] - self.c[j], 2)
        g0, g1 = -self.tau[i], self.tau[j] - t1
        after = (
            fit[1] * g1 - fit[2] * g1 * g1
        )  # the line of the power, integrated back over the guard
        return float(self.c[j] - self.c[i] - idle * g0 - after)

    def mean_power(self, span: dict, t0: int) -> float:
        """Of an idle stretch: slope between its first and last tick, or read."""
        a, b = (span["begin_ns"] - t0) / 1e9, (span["end_ns"] - t0) / 1e9
        x, y = (self.tau, self.c) if self.resolved else (self.at, self.joules)
        inside = np.flatnonzero((x >= a) & (x <= b))
        return float((y[inside[-1]] - y[inside[0]]) / (x[inside[-1]] - x[inside[0]]))


def flops(model: dict, requests: list[tuple[int, int]]) -> float:
    d, layers, heads = model["hidden_size"], model["num_layers"], model["num_heads"]
    kv, dh, inner, vocab = (
        model["num_kv_heads"],
        model["head_size"],
        model["intermediate_size"],
        model["vocab_size"],
    )
    weights = d * heads * dh + 2 * d * kv * dh + heads * dh * d
    weights += (3 if model["gated_mlp"] else 2) * d * inner
    total = 0
    for prompt, generated in requests:
        positions = prompt + generated - 1
        total += 2 * layers * weights * positions + 2 * d * vocab * generated
        total += 4 * layers * heads * dh * positions * (positions + 1) // 2
    return float(total)


def recompute(directory: pathlib.Path) -> dict[str, float]:
    r = Recording(directory / "recording")
    out: dict[str, float] = {}
    w = r.json["window"]
    t0, t1 = w["t_begin_ns"], w["t_end_ns"]
    seconds = (t1 - t0) / 1e9
    out["total_inference_time_sec"] = seconds

    q, k = r.tables.get("requests", {}), 0
    n_in = n_out = 0
    if len(q.get("pass", [])):
        measured = q["pass"] == 0
        n_in, n_out = (
            int(q["input_tokens"][measured].sum()),
            int(q["output_tokens"][measured].sum()),
        )
        out |= {
            "total_tokens": n_in + n_out,
            "tokens.input": n_in,
            "tokens.output": n_out,
            "throughput.output_tokens_per_s": n_out / seconds,
            "avg_tokens_per_second": (n_in + n_out) / seconds,
        }
        ttft = (q["t_first_ns"] - q["t_submit_ns"])[measured & (q["t_first_ns"] >= 0)] / 1e6
        e2e = (q["t_last_ns"] - q["t_submit_ns"])[measured & (q["t_last_ns"] >= 0)] / 1e6
        several = measured & (q["output_tokens"] > 1) & (q["t_first_ns"] >= 0)
        tpot = ((q["t_last_ns"] - q["t_first_ns"]) / 1e6 / (q["output_tokens"] - 1.0).clip(1))[
            several
        ]
        tokens = r.tables.get("tokens", {"request": np.array([]), "t_ns": np.array([])})
        full, trimmed = [], []
        for row in np.flatnonzero(measured):
            gaps = np.diff(np.sort(tokens["t_ns"][tokens["request"] == row])) / 1e6
            full.extend(gaps)
            if len(gaps) >= 3:
                trimmed.extend(gaps[1:-1])
        for prefix, v in (
            ("latency_stats.ttft", ttft),
            ("latency_stats.itl", np.array(trimmed)),
            ("extended_metrics.request_latency.e2e_latency", e2e),
        ):
            if len(v):
                out |= {
                    f"{prefix}_mean_ms": v.mean(),
                    f"{prefix}_median_ms": np.median(v),
                    f"{prefix}_p95_ms": np.percentile(v, 95),
                    f"{prefix}_p99_ms": np.percentile(v, 99),
                }
        if full:
            out |= {
                "latency_stats.itl_full_mean_ms": np.mean(full),
                "latency_stats.itl_full_p99_ms": np.percentile(full, 99),
            }
        if len(tpot):
            out["extended_metrics.tpot_ms"] = tpot.mean()
        model = r.json["model"] or {}
        cached = q["cached_tokens"][measured]
        if (
            model.get("hidden_size")
            and not model.get("experts")
            and not model.get("sliding_window")
            and not (cached > 0).any()
        ):
            out["total_flops"] = flops(
                model,
                list(
                    zip(
                        q["input_tokens"][measured].tolist(),
                        q["output_tokens"][measured].tolist(),
                        strict=True,
                    )
                ),
            )

    energies, bare = [], []
    for k in r.json["charged"]["domains"]:
        domain = r.json["domains"][k]
        counters = [f for f in domain["fields"] if f["role"] == "counter"]
        if not counters:
            return out
        head, tail = (w["preroll_begin_ns"] - t0) / 1e9, (w["postroll_end_ns"] - t0) / 1e9
        c = Counter(r, k, counters[0], t0, head)
        energies.append(c.energy(seconds, head, tail))
        out[f"energy.domains.{k}.energy_j"] = energies[-1]
        if r.json["baseline"]["bare"]:
            bare.append(c.mean_power(r.json["baseline"]["bare"], t0))
            continue
        for kept in (r.json["baseline"].get("reused") or {}).get("domains", []):
            if (kept["id"], kept["sampler"]) == (domain["id"], domain["sampler"]):
                bare.append(kept["counter"]["power_w"])
    if energies:
        out["total_energy_j"] = math.fsum(energies)
        if n_out:
            out["energy.j_per_output_token"] = sum(energies) / n_out
            out["energy.kwh_per_million_output_tokens"] = sum(energies) / n_out / 3.6
            out["mj_per_tok_total"] = 1000 * sum(energies) / (n_in + n_out)
    if energies and len(bare) == len(energies):
        out["~baseline_power_w"] = sum(bare)
    return out


def at(tree, path: str):
    for part in path.split("."):
        tree = tree[int(part)] if isinstance(tree, list) else tree[part]
    return tree


def compare(directory: pathlib.Path) -> list[str]:
    """What differs, as sentences."""
    result = json.loads((directory / "result.json").read_text())
    bad = []
    for path, value in recompute(directory).items():
        # idle powers are means over a stretch whose ends are a convention: 0.1 %
        within = 1e-3 if path.startswith("~") else 1e-9
        stored = at(result, path.lstrip("~"))
        if stored is None or abs(stored - value) > within * max(abs(value), 1e-300):
            bad.append(f"{path.lstrip('~')}: result.json has {stored}, recomputed {value}")
    return bad


def main() -> None:
    bad = [f"{d}: {x}" for d in sys.argv[1:] for x in compare(pathlib.Path(d))]
    print("\n".join(bad) if bad else "every number agrees")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
