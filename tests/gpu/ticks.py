# SPDX-License-Identifier: MIT
"""Update periods of every field in recordings, gaps between reads, failed reads.

usage: ticks.py DIR...
Each DIR holds recordings, itself or in directories below; missing ones are skipped.
"""

import array
import itertools
import json
import pathlib
import statistics
import sys

import zstandard


def column(recording: pathlib.Path, table: str, name: str, kind: str) -> array.array:
    """One column as numbers; kind is the type in its file name."""
    path = recording / f"{table}.{name}.{kind}.zst"
    with path.open("rb") as f:
        data = zstandard.ZstdDecompressor().stream_reader(f).read()
    return array.array({"i64": "q", "i32": "i", "u16": "H"}[kind], data)


def show(recording: pathlib.Path) -> None:
    """Print a line for each field of each domain."""
    told = json.loads((recording / "recording.json").read_text(encoding="utf-8"))
    begin = column(recording, "samples", "begin_ns", "i64")
    end = column(recording, "samples", "end_ns", "i64")
    device = column(recording, "samples", "device", "u16")
    field = column(recording, "samples", "field", "u16")
    raw = column(recording, "samples", "raw", "i64")
    status = column(recording, "samples", "status", "i32")
    rows: dict[tuple[int, int], list[int]] = {}
    for i, key in enumerate(zip(device, field, strict=True)):
        rows.setdefault(key, []).append(i)
    for (d, f), at in sorted(rows.items()):
        domain = told["domains"][d]
        name = next((x["name"] for x in domain["fields"] if x["id"] == f), str(f))
        good = [i for i in at if status[i] == 0]
        changes = [begin[b] for a, b in itertools.pairwise(good) if raw[a] != raw[b]]
        periods = [1e-6 * (b - a) for a, b in itertools.pairwise(changes)]
        gaps = [1e-6 * (begin[b] - begin[a]) for a, b in itertools.pairwise(at)]
        calls = [1e-3 * (end[i] - begin[i]) for i in at]
        print(f"{domain['id']} {name}: {len(at)} reads, {len(at) - len(good)} failed, "
              f"{len(changes)} changes, period median "
              f"{statistics.median(periods) if periods else float('nan'):.2f} ms, "
              f"longest gap {max(gaps, default=0):.1f} ms, "
              f"call median {statistics.median(calls):.0f} us, longest {max(calls):.0f} us")


for argument in sys.argv[1:]:
    for path in sorted(pathlib.Path(argument).rglob("recording.json")):
        print(path.parent)
        show(path.parent)
