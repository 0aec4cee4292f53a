# SPDX-License-Identifier: MIT
"""Parquet files of llem read back by pyarrow and by DuckDB, value by value."""

import os
import pathlib
import subprocess
import tempfile

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import tap

MAKE = pathlib.Path(os.environ["LLEM_TEST_BUILD_DIR"]) / "tests/unit/result/make-synthetic"
ORIGINAL = [
    "timestamp_s",
    "gpu_index",
    "power_w",
    "temperature_c",
    "memory_used_mb",
    "memory_total_mb",
    "sm_utilisation_pct",
    "throttle_reasons",
]


def make(*args: object) -> str:
    return subprocess.run(
        [MAKE, *map(str, args)], check=True, capture_output=True, text=True
    ).stdout


def expected(k: int) -> dict:
    return {
        "i32": None if k % 2 == 0 else -k,
        "i64": None if k % 3 == 0 else k << 33,
        "f32": None if k % 5 == 0 else k / 4,
        "f64": None if k % 7 == 0 else k / 3,
        "text": None if k % 11 == 0 else f"row {k} é",
        "nothing": None,
        "all": k,
    }


def test_every_type_with_and_without_nulls_over_pages_and_groups():
    with tempfile.TemporaryDirectory() as tmp:
        for rows in (0, 1, 65536, 65537, 1200000):
            path = f"{tmp}/t.parquet"
            make("table", path, rows)
            f = pq.ParquetFile(path)
            assert f.metadata.num_rows == rows
            assert f.metadata.num_row_groups == -(-rows // (1 << 20))
            step = max(1, rows // 5000)
            t = f.read()
            for k in list(range(0, rows, step)) + ([rows - 1] if rows else []):
                assert t.slice(k, 1).to_pylist()[0] == expected(k), k
            nulls = {c: t.column(c).null_count for c in t.column_names}
            for name, n in (
                ("i32", 2),
                ("i64", 3),
                ("f32", 5),
                ("f64", 7),
                ("text", 11),
                ("nothing", 1),
            ):
                assert nulls[name] == -(-rows // n), name
            assert nulls["all"] == 0
            assert t.schema.metadata[b"key"] == "value é".encode()
            got = duckdb.sql(
                f"select count(*), sum(i64), count(text), max(f64), sum(\"all\") from '{path}'"
            ).fetchall()[0]
            assert got[0] == rows
            if rows:
                assert got[4] == rows * (rows - 1) // 2
                assert got[2] == rows - nulls["text"]
                assert (got[1] or 0) == sum(k << 33 for k in range(rows) if k % 3)


def test_timeseries_begins_with_the_original_columns():
    with tempfile.TemporaryDirectory() as tmp:
        make("experiment", tmp, "nvml", "gpus=2")
        t = pq.read_table(f"{tmp}/timeseries.parquet")
        assert t.column_names[:8] == ORIGINAL
        types = [t.schema.field(n).type for n in ORIGINAL]
        assert types == [pa.float64(), pa.int32()] + [pa.float32()] * 5 + [pa.int64()]
        assert set(t.column("gpu_index").to_pylist()) == {0, 1, 2}
        times = t.column("timestamp_s").to_pylist()
        assert times == sorted(times)
        assert int(t.schema.metadata[b"t0_ns"]) == 1000000000000
        assert t.schema.metadata[b"t0_utc"] == b"2026-01-01T00:16:40.000000Z"
        assert b"timestamp_s" in t.schema.metadata[b"units"]
        assert b"GPU-0001" in t.schema.metadata[b"domains"]
        # the energy column spans about what the result says, plus what idled around it
        begin, end = duckdb.sql(
            f"select min(energy_j), max(energy_j) from '{tmp}/timeseries.parquet'"
            " where gpu_index = 0 and timestamp_s between 0 and 5.3"
        ).fetchall()[0]
        import json

        energy = json.load(open(f"{tmp}/result.json"))["energy_per_device_j"][0]
        assert abs(end - begin - energy) < 0.05 * energy
        hot = duckdb.sql(
            f"select max(temperature_c), max(sm_utilisation_pct), bit_or(throttle_reasons)"
            f" from '{tmp}/timeseries.parquet'"
        ).fetchall()[0]
        assert hot[0] == 54 and hot[1] == 95 and hot[2] == 4


def test_counter_without_power_gets_power_from_its_differences():
    with tempfile.TemporaryDirectory() as tmp:
        make("experiment", tmp, "rapl")
        got = duckdb.sql(
            f"select avg(power_w) from '{tmp}/timeseries.parquet' where domain = 'package:0'"
            " and timestamp_s between 0.2 and 4.8"
        ).fetchall()[0][0]
        assert abs(got - 80) < 0.5


def test_requests_have_their_times_and_tokens():
    with tempfile.TemporaryDirectory() as tmp:
        make("experiment", tmp, "none")
        rows = pq.read_table(f"{tmp}/requests.parquet").to_pylist()
        assert len(rows) == 12
        assert [r["index"] for r in rows] == list(range(12))
        assert sum(r["output_tokens"] for r in rows) == 384
        assert rows[0]["cached_tokens"] is None and rows[0]["output_sha256"] is None
        assert rows[0]["finish"] == "length"
        assert (
            abs(rows[5]["ttft_ms"] - 1000 * (rows[5]["first_token_s"] - rows[5]["submit_s"])) < 1e-6
        )
        assert (
            abs(
                rows[5]["tpot_ms"]
                - 1000 * (rows[5]["last_token_s"] - rows[5]["first_token_s"]) / 31
            )
            < 1e-6
        )


if __name__ == "__main__":
    tap.run()
