# SPDX-License-Identifier: MIT
"""The same model and prompts through `llem run` on several engines: what each generated.

Engines agree where the hashes of their requests' output tokens do. An engine's test compares itself
with `cpu`, which needs no packages.
"""

from __future__ import annotations

import functools
import json
import os
import pathlib
import subprocess
import tempfile
from typing import Any

ROOT = pathlib.Path(os.environ["LLEM_TEST_SOURCE_DIR"])
BUILD = pathlib.Path(os.environ["LLEM_TEST_BUILD_DIR"])
TEXTS = [
    "Once upon a time there was a small engine",
    "A",
    "The sum of 12 and 30 is",
    "He said: 'Nothing at all', and went on without another word, as he had always done.",
    "x",
]
READ = """
import json, sys, pyarrow.parquet as p
rows = p.read_table(sys.argv[1]).to_pylist()
print(json.dumps([r for r in rows if r["pass"] == 0]))
"""


@functools.cache
def reader() -> str:
    """An interpreter that has pyarrow; an engine's own need not."""
    made = subprocess.run(
        [ROOT / "tools/test-python"], stdout=subprocess.PIPE, text=True, check=True
    )
    return made.stdout.strip()


def requests(
    engine: str, model: str | os.PathLike[str], options: dict[str, Any], task: dict[str, Any]
) -> list[dict[str, Any]]:
    """Rows of requests.parquet, with `text` of outputs.jsonl, in the order of the prompts."""
    with tempfile.TemporaryDirectory() as tmp:
        where = pathlib.Path(tmp)
        prompts = where / "prompts.jsonl"
        prompts.write_text("".join(json.dumps({"prompt": t}) + "\n" for t in TEXTS))
        study = {
            "engine": engine,
            engine: options,
            "task": {
                "model": str(model),
                "dataset": {"source": str(prompts), "n_prompts": len(TEXTS)},
                **task,
            },
            "output": {"save_outputs": "text"},
            "measurement": {"energy_sampler": None, "warmup": {"enabled": False}},
        }
        (where / "study.yaml").write_text(json.dumps(study))  # JSON is YAML
        run = subprocess.run(
            [BUILD / "llem", "run", where / "study.yaml", "--quick", "-q", "-o", where / "results"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "LD_LIBRARY_PATH": str(BUILD)},
        )
        if run.returncode:
            logs = "".join(f.read_text()[-3000:] for f in where.rglob("worker.log"))
            raise AssertionError(f"llem run -e {engine}: {run.stdout}\n{logs}")
        table = next(where.rglob("requests.parquet"))
        read = subprocess.run(
            [reader(), "-c", READ, table], stdout=subprocess.PIPE, text=True, check=True
        )
        lines = next(where.rglob("outputs.jsonl")).read_text().splitlines()
    text = {x["index"]: x["text"] for x in map(json.loads, lines)}
    rows = [{**r, "text": text[r["index"]]} for r in json.loads(read.stdout)]
    return sorted(rows, key=lambda r: r["index"])


def compare(
    engine: str,
    model: str | os.PathLike[str],
    options: dict[str, Any] | None = None,
    task: dict[str, Any] | None = None,
) -> None:
    """Assert that an engine and `cpu` take and give the same greedy tokens and texts in float32."""
    task = {"max_output_tokens": 24, "max_input_tokens": 16, **(task or {})}
    want = requests("cpu", model, {"dtype": "float32"}, task)
    got = requests(engine, model, {"dtype": "float32", **(options or {})}, task)
    assert len(got) == len(want) == len(TEXTS)
    for name in ("input_tokens", "output_tokens", "finish", "output_sha256", "text"):
        assert [r[name] for r in got] == [r[name] for r in want], (
            f"{name} on {engine}: {[r[name] for r in got]}, on cpu: {[r[name] for r in want]}"
        )
    assert all(r["output_sha256"] and r["text"] for r in want)
