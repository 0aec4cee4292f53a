#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write tests/fuzz/corpus/parquet: data sets as pyarrow and DuckDB write them, small.

They are what tests/unit/base/test_parquet.c reads and where the fuzz target begins.
Usage: "$(tools/test-python)" tools/make_golden_parquet.py
"""

import pathlib

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

OUT = pathlib.Path(__file__).parent.parent / "tests/fuzz/corpus/parquet"
# Repeats, nulls, an empty text, and more than ASCII.
TEXTS = ["same" if i % 3 else None if i % 6 else f"row {i} é" for i in range(20)] + [""]
WHOLE = [t or f"filled {i}" for i, t in enumerate(TEXTS)]


def write(name: str, columns: dict, required: bool = False, **options: object) -> None:
    table = pa.table(columns)
    if required:
        table = table.cast(pa.schema([f.with_nullable(False) for f in table.schema]))
    pq.write_table(table, OUT / f"{name}.parquet", **options)


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for codec in ("none", "snappy", "zstd", "gzip"):
        write(f"v1-{codec}", {"text": TEXTS}, compression=codec)
    write("v2-snappy", {"text": TEXTS}, compression="snappy", data_page_version="2.0")
    write("plain-required", {"text": WHOLE}, True, use_dictionary=False, compression="none")
    for short, encoding in (("length", "DELTA_LENGTH_BYTE_ARRAY"), ("bytes", "DELTA_BYTE_ARRAY")):
        for version in ("1.0", "2.0"):
            write(
                f"delta-{short}-v{version[0]}",
                {"text": TEXTS},
                use_dictionary=False,
                column_encoding=encoding,
                data_page_version=version,
                compression="zstd",
            )
    write(
        "groups-and-pages",
        {"text": TEXTS},
        row_group_size=7,
        data_page_size=1,
        write_batch_size=2,
        compression="snappy",
    )
    write(
        "columns",
        {
            "id": list(range(21)),
            "tags": [["a"], [], None] * 7,
            "where": [{"file": "f", "line": 1}] * 21,
            "text": WHOLE,
            "prompt": [None, " ", "prompt wins"] * 7,
            "score": [0.5] * 21,
            "source": pa.array(["wiki", "chat", None] * 7).dictionary_encode(),
        },
    )
    write("numbers-only", {"id": [1, 2], "text": [1, 2]})
    write("no-rows", {"text": pa.array([], pa.string())})
    write("not-utf8", {"text": pa.array([b"fine", b"\xff\xfe"], pa.binary())})
    # The shape of AIEnergyScore/text_generation: one split of a thousand rows, one column `text`.
    write(
        "aienergyscore",
        {"text": [f"Prompt number {i} of a thousand." for i in range(1000)]},
        compression="snappy",
    )
    text = "case when i % 3 = 0 then null else 'duck ' || (i % 5) end"
    rows = f"select {text} as text from range(21) t(i)"
    for version in ("v1", "v2"):
        path = OUT / f"duckdb-{version}.parquet"
        duckdb.sql(f"copy ({rows}) to '{path}' (format parquet, parquet_version {version})")


if __name__ == "__main__":
    main()
