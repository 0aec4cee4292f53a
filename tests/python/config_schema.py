# SPDX-License-Identifier: MIT
"""The JSON Schema of experiment files, against files that llem accepts and refuses."""

import json
import os
import pathlib

import jsonschema
import tap
import yaml

SOURCE = pathlib.Path(os.environ["LLEM_TEST_SOURCE_DIR"])
CASES = SOURCE / "tests/data/yaml"
SCHEMA = json.loads((SOURCE / "docs/schemas/experiment-file.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

# Accepted by llem, because text and numbers become what the setting is; a schema cannot say so.
COERCED = {"valid-everything"}
# Refused by llem for what a schema does not see: what is not a number at all.
UNSEEN = {"kind-real-nan", "kind-extra-nan"}


def load(path: pathlib.Path):
    text = path.read_text(encoding="utf-8-sig")
    return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)


def is_valid(path: pathlib.Path) -> bool:
    return next(VALIDATOR.iter_errors(load(path)), None) is None


def cases(prefix: str) -> list[pathlib.Path]:
    found = [
        p
        for p in sorted(CASES.iterdir())
        if p.suffix in (".yaml", ".json") and p.name.startswith(prefix)
    ]
    assert found, prefix
    return found


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_accepted_files_are_valid():
    for path in cases("valid-"):
        if path.stem not in COERCED:
            errors = [e.message for e in VALIDATOR.iter_errors(load(path))]
            assert not errors, f"{path.name}: {errors}"


def test_the_examples_are_valid():
    for path in sorted((SOURCE / "examples").glob("*.yaml")):
        errors = [e.message for e in VALIDATOR.iter_errors(load(path))]
        assert not errors, f"{path.name}: {errors}"


def test_unknown_keys_are_not_valid():
    for prefix in ("key-", "renamed"):
        for path in cases(prefix):
            assert not is_valid(path), path.name


def test_wrong_kinds_and_ranges_are_not_valid():
    for prefix in ("kind-", "range-", "null-"):
        for path in cases(prefix):
            assert path.stem in UNSEEN or not is_valid(path), path.name


def test_the_section_of_another_engine_is_not_valid():
    assert not is_valid(CASES / "cross-section.yaml")
    assert VALIDATOR.is_valid({"task": {"model": "m"}, "transformers": {"batch_size": 2}})
    assert not VALIDATOR.is_valid({"task": {"model": "m"}, "vllm": {"dtype": "auto"}})
    assert VALIDATOR.is_valid({"task": {"model": "m"}, "engine": "vllm", "vllm": {"dtype": "auto"}})
    assert VALIDATOR.is_valid({"task": {"model": "m"}, "engine": "cpu", "vllm": None})


def test_every_setting_has_a_description():
    def walk(node, path):
        for name, child in node.get("properties", {}).items():
            here = f"{path}.{name}"
            assert child.get("description") or child.get("properties"), here
            walk(child, here)

    walk(SCHEMA, "")


tap.run()
