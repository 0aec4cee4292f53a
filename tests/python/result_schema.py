# SPDX-License-Identifier: MIT
"""Results and recordings against their JSON Schemas, and the schemas against docs/formats.md."""

import json
import os
import pathlib
import subprocess
import tempfile

import jsonschema
import tap

SOURCE = pathlib.Path(os.environ["LLEM_TEST_SOURCE_DIR"])
MAKE = pathlib.Path(os.environ["LLEM_TEST_BUILD_DIR"]) / "tests/unit/result/make-synthetic"
KINDS = (
    ["nvml"],
    ["nvml", "gpus=3", "throttled"],
    ["nvml", "gpus=2", "ranks"],
    ["rapl"],
    ["rapl", "ranks"],
    ["rapl", "measure"],
    ["estimate"],
    ["none"],
    ["none", "measure"],
)


def validator(name: str) -> jsonschema.Draft202012Validator:
    schema = json.loads((SOURCE / f"docs/schemas/{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def made(args: list[str]):
    with tempfile.TemporaryDirectory() as tmp:
        subprocess.run([MAKE, "experiment", tmp, *args], check=True, capture_output=True)
        root = pathlib.Path(tmp)
        return (
            json.loads((root / "recording/recording.json").read_text()),
            json.loads((root / "result.json").read_text()),
        )


def errors(v: jsonschema.Draft202012Validator, document) -> str:
    return "\n".join(
        f"{'.'.join(map(str, e.path))}: {e.message[:200]}" for e in v.iter_errors(document)
    )


def test_results_of_every_kind_are_valid():
    v = validator("result")
    for args in KINDS:
        bad = errors(v, made(args)[1])
        assert not bad, f"{args}: {bad}"


def test_recordings_of_every_kind_are_valid():
    v = validator("recording")
    for args in KINDS:
        bad = errors(v, made(args)[0])
        assert not bad, f"{args}: {bad}"


def test_texts_for_numbers_and_missing_or_added_fields_are_refused():
    v = validator("result")
    result = made(["none"])[1]
    result["total_energy_j"] = "12"
    assert "total_energy_j" in errors(v, result)
    result = made(["none"])[1]
    del result["total_energy_j"]
    assert "total_energy_j" in errors(v, result)
    result = made(["none"])[1]
    result["another"] = 1
    assert "another" in errors(v, result)


def test_the_order_of_the_file_is_that_of_the_schema():
    schema = json.loads((SOURCE / "docs/schemas/result.schema.json").read_text())
    assert list(made(["nvml"])[1]) == list(schema["properties"])


def test_every_field_stands_in_the_documentation():
    text = (SOURCE / "docs/formats.md").read_text()
    schema = json.loads((SOURCE / "docs/schemas/result.schema.json").read_text())

    def names(node):
        for name, inner in node.get("properties", {}).items():
            yield name
            yield from names(inner)
        for key in ("items", "additionalProperties"):
            if isinstance(node.get(key), dict):
                yield from names(node[key])

    missing = [n for n in names(schema) if f"`{n}`" not in text]
    assert not missing, missing
    recording = json.loads((SOURCE / "docs/schemas/recording.schema.json").read_text())
    missing = [n for n in recording["properties"] if f"`{n}`" not in text]
    assert not missing, missing


if __name__ == "__main__":
    tap.run()
