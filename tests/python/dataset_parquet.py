# SPDX-License-Identifier: MIT
"""Data sets written by pyarrow and DuckDB in every way that llem says it reads, text by text."""

import itertools
import json
import os
import pathlib
import random
import subprocess
import tempfile

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import tap

DRIVER = pathlib.Path(os.environ["LLEM_TEST_BUILD_DIR"]) / "tests/unit/measure/dataset_driver"


def texts(rows: int, distinct: int) -> list[str]:
    """Texts of all lengths up to a thousand bytes, sorted so that prefixes repeat."""
    draw = random.Random(rows * 31 + distinct)
    words = []
    for _ in range(distinct):
        word = "".join(draw.choices("abc dé 試ω", k=draw.choice((1, 5, 40, 400))))
        words.append(word.strip() + ".")
    return sorted(draw.choices(words, k=rows))


def read(paths: list[pathlib.Path]) -> list:
    done = subprocess.run([DRIVER, *paths], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_way_of_pyarrow():
    encodings = [
        {"use_dictionary": True},
        {"use_dictionary": False},
        {"use_dictionary": False, "column_encoding": "DELTA_LENGTH_BYTE_ARRAY"},
        {"use_dictionary": False, "column_encoding": "DELTA_BYTE_ARRAY"},
        # a dictionary that is given up in the middle of a column
        {"use_dictionary": True, "dictionary_pagesize_limit": 2000},
    ]
    ways = list(
        itertools.product(
            encodings, ("none", "snappy", "zstd"), ("1.0", "2.0"), ((None, 1 << 20), (700, 512))
        )
    )
    with tempfile.TemporaryDirectory() as tmp:
        paths, expected = [], []
        for k, (encoding, codec, version, (group, page)) in enumerate(ways):
            rows, distinct = ((1500, 40), (1500, 1500), (1, 1))[k % 3]
            prompts = texts(rows, distinct)
            kinds = [("wiki", "chat", None)[i % 3] for i in range(rows)]
            first = [p if i % 7 else None for i, p in enumerate(prompts)]
            rest = [None if i % 7 else p for i, p in enumerate(prompts)]
            columns = {
                "id": range(rows),
                "prompt": pa.array(first, pa.string()),
                "source": pa.array(kinds, pa.string()),
                "list": [[i, None] for i in range(rows)],
                "text": pa.array(rest, pa.string()),
            }
            if isinstance(encoding.get("column_encoding"), str):
                name = encoding["column_encoding"]
                encoding = dict(
                    encoding, column_encoding={c: name for c in ("prompt", "source", "text")}
                )
            path = pathlib.Path(tmp) / f"{k}.parquet"
            pq.write_table(
                pa.table(columns),
                path,
                compression=codec,
                data_page_version=version,
                row_group_size=group,
                data_page_size=page,
                write_batch_size=64,
                write_page_index=k % 2 == 0,
                write_page_checksum=k % 5 == 0,
                **encoding,
            )
            paths.append(path)
            expected.append([[p, kind or ""] for p, kind in zip(prompts, kinds, strict=True)])
        for way, got, want in zip(ways, read(paths), expected, strict=True):
            assert got == want, (way, got if isinstance(got, str) else "other texts")


def test_columns_without_nulls_categories_and_large_strings():
    prompts = texts(500, 30)
    with tempfile.TemporaryDirectory() as tmp:
        paths = []
        for k, kind in enumerate(
            (pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int16(), pa.string()))
        ):
            table = pa.table({"text": pa.array(prompts, pa.string()).cast(kind)})
            for required in (False, True):
                path = pathlib.Path(tmp) / f"{k}-{required}.parquet"
                schema = pa.schema([f.with_nullable(not required) for f in table.schema])
                pq.write_table(table.cast(schema), path)
                paths.append(path)
        for path, got in zip(paths, read(paths), strict=True):
            assert got == [[p, ""] for p in prompts], path


def test_every_way_of_duckdb():
    with tempfile.TemporaryDirectory() as tmp:
        paths, expected = [], []
        for rows, codec, version, group in itertools.product(
            (1, 3000), ("uncompressed", "snappy", "zstd"), ("v1", "v2"), (2048,)
        ):
            for distinct in (20, rows):
                prompts = texts(rows, distinct)
                rows_of = pa.table({"n": range(rows), "p": prompts})
                assert rows_of.num_rows == rows
                path = pathlib.Path(tmp) / f"{len(paths)}.parquet"
                duckdb.sql(
                    "copy (select n, case when n % 5 < 4 then p end as prompt,"
                    f" case when n % 5 = 4 then p end as text from rows_of order by n) to '{path}'"
                    f" (format parquet, codec {codec}, parquet_version {version},"
                    f" row_group_size {group})"
                )
                paths.append(path)
                expected.append([[p, ""] for p in prompts])
        for path, got, want in zip(paths, read(paths), expected, strict=True):
            assert got == want, (path, got if isinstance(got, str) else "other texts")


def test_what_is_not_read_is_refused_by_name():
    with tempfile.TemporaryDirectory() as tmp:
        for codec in ("gzip", "brotli", "lz4"):
            path = pathlib.Path(tmp) / f"{codec}.parquet"
            pq.write_table(pa.table({"text": ["a"]}), path, compression=codec)
            (got,) = read([path])
            assert isinstance(got, str) and f"is packed with {codec.upper()}" in got, got


def test_a_small_file_that_unpacks_to_very_much_is_refused():
    """Letters in many groups of rows, and a dictionary's one text named ten thousand times."""
    with tempfile.TemporaryDirectory() as tmp:
        big = pathlib.Path(tmp) / "big.parquet"
        letters = pa.table({"text": ["a" * 30_000_000]})
        with pq.ParquetWriter(big, letters.schema, compression="zstd", use_dictionary=False) as f:
            for _ in range(10):
                f.write_table(letters)
        named = pathlib.Path(tmp) / "named.parquet"
        one = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int8()), ["a" * 100_000])
        pq.write_table(pa.table({"text": one}), named)
        got = read([big, named])
        assert "unpacks to more than a data set may hold" in got[0], got[0][:200]
        assert "are longer than" in got[1], got[1][:200]


if __name__ == "__main__":
    tap.run()
