#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the typed classes of the Python package from the project's own schemas.

Settings come from docs/schemas/experiment-file.schema.json, which a test of the core compares with
the rows; results from docs/schemas/result.schema.json and study-result.schema.json. `--check`
writes nothing and ends with 1 where what is committed differs.
"""

from __future__ import annotations

import json
import keyword
import pathlib
import sys
import textwrap
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
SCHEMAS = ROOT / "docs" / "schemas"
PACKAGE = ROOT / "python" / "llenergymeasure"
WIDTH = 100
Schema = dict[str, Any]

# What the seeds call a section or an object; others are named after their key.
SETTINGS_NAMES = {
    "": "ExperimentSettings",
    "vllm": "VLLMConfig",
    "tensorrt": "TensorRTConfig",
    "cpu": "CPUConfig",
    "lora": "LoRAConfig",
    "vllm.engine.speculative_config": "VLLMSpeculativeConfig",
    "vllm.engine.attention": "VLLMAttentionConfig",
    "tensorrt.quant_config": "TensorRTQuantConfig",
    "tensorrt.kv_cache_config": "TensorRTKVCacheConfig",
    "tensorrt.scheduler_config": "TensorRTSchedulerConfig",
}
# By the last key alone: where one comes twice, it is the same.
RESULT_NAMES = {
    "": "ResultFields",
    "multi_gpu": "MultiGPUMetrics",
    "thermal_throttle": "ThermalThrottleInfo",
    "latency_stats": "LatencyStatistics",
    "extended_metrics": "ExtendedEfficiencyMetrics",
    "memory": "MemoryEfficiencyMetrics",
    "gpu_utilisation": "GPUUtilisationMetrics",
    "batch": "BatchEfficiencyMetrics",
    "kv_cache": "KVCacheEfficiencyMetrics",
    "request_latency": "RequestLatencyMetrics",
    "aggregation": "AggregationMetadata",
    "process_results": "RawProcessResult",
    "quantities": "Quantity",
    "energy": "EnergyFigures",
    "domains": "EnergyDomain",
    "methods": "EnergyMethod",
    "counter": "CounterFigures",
    "energy_estimated_j": "EnergyEstimate",
    "energy_estimated": "EstimatedFigures",
    "j_per_output_token": "EstimateRange",
    "output_tokens_per_j": "EstimateRange",
    "kwh_per_million_output_tokens": "EstimateRange",
    "flops": "FlopsResult",
    "tokens": "TokenCounts",
    "measurement_warnings_detail": "MeasurementWarning",
}
STUDY_NAMES = {
    "": "StudyFields",
    "configurations": "StudyConfiguration",
    "flags": "StudyFlag",
    "quantities": "StudyQuantity",
}


def camel(text: str) -> str:
    return "".join(part.capitalize() for part in text.split("_"))


def settings_name(path: str) -> str:
    if path in SETTINGS_NAMES:
        return SETTINGS_NAMES[path]
    *above, last = path.split(".")
    base = SETTINGS_NAMES.get(above[0], camel(above[0]) + "Config") if above else ""
    common = not above or above[0] in ("task", "measurement")
    return f"{'' if common else base.removesuffix('Config')}{camel(last)}Config"


def result_name(path: str) -> str:
    last = path.split(".")[-1]
    return RESULT_NAMES.get(last) or camel(last)


def study_name(path: str) -> str:
    last = path.split(".")[-1]
    return STUDY_NAMES.get(last) or "Study" + camel(last)


def literal(value: Any) -> str:
    """As a formatter would write it."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


class Writer:
    """Classes of one schema, inner ones first."""

    def __init__(self, name_of: Any, base: str, definitions: dict[str, Schema] | None = None):
        self.name_of = name_of
        self.base = base
        self.definitions = definitions or {}
        self.classes: dict[str, tuple[str, str]] = {}  # name: (schema as text, code)

    def kind(self, schema: Schema, path: str) -> tuple[str, bool]:
        """The Python type of a value, and whether it may be null."""
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return self.kind(self.definitions[name], name)
        types = schema.get("type", [])
        types = [types] if isinstance(types, str) else list(types)
        values = schema.get("enum", [])
        null = "null" in types or None in values
        types = [t for t in types if t != "null"]
        if path == "engine" and "anyOf" in schema:
            return "Engine | str", False
        if values:
            return f"Literal[{', '.join(literal(v) for v in values if v is not None)}]", null
        if "object" in types:
            inner = schema.get("additionalProperties")
            if "properties" in schema:
                return self.add(schema, path), null
            if isinstance(inner, dict):
                return f"dict[str, {self.kind(inner, path)[0]}]", null
            return "dict[str, Any]", null
        if "array" in types:
            inner, inner_null = self.kind(schema.get("items", {}), path)
            return f"list[{inner}{' | None' if inner_null else ''}]", null
        if types == ["string"] and schema.get("description", "").startswith("UTC"):
            return "datetime", null
        plain = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
        return plain[types[0]] if types else "Any", null

    def default(self, schema: Schema, kind: str, null: bool, required: bool) -> str:
        raise NotImplementedError

    def field(self, key: str, schema: Schema, path: str, required: bool) -> str:
        kind, null = self.kind(schema, path)
        assert key.isidentifier() and not keyword.iskeyword(key), path
        default = self.default(schema, kind, null, required)
        line = f"    {key}: {kind}{' | None' if null and kind != 'Any' else ''}{default}\n"
        if len(line) > WIDTH + 1:  # only long Literals are
            line = line.replace("Literal[", "Literal[\n        ").replace(", ", ",\n        ")
            line = line.replace("]", ",\n    ]", 1)
        return line + docstring(schema.get("description", ""), "    ")

    def head(self, path: str, schema: Schema) -> str:
        return ""

    def add(self, schema: Schema, path: str) -> str:
        name: str = self.name_of(path)
        same = json.dumps({k: v for k, v in schema.items() if k not in ("type", "description")})
        body = "".join(
            self.field(key, value, f"{path}.{key}" if path else key,
                       key in schema.get("required", []))
            for key, value in schema["properties"].items()
            if set(value) - {"description"}  # else it is tolerated in files, and read by nobody
        )
        code = f"class {name}({self.base}):\n"
        code += docstring(schema.get("description") or schema.get("title", ""), "    ")
        code += "\n" + self.head(path, schema) + body
        if name in self.classes:
            assert self.classes[name][0] == same, f"two classes would be called {name}"
        else:
            self.classes[name] = (same, code)
        return name


def docstring(text: str, indent: str) -> str:
    if not text:
        return ""
    text = text.replace("\\", "\\\\").replace('"""', "'''")
    lines = textwrap.wrap(text, WIDTH - len(indent) - 6) or [""]
    end = ' """' if lines[-1].endswith('"') else '"""'
    begin = '""" ' if lines[0].startswith('"') else '"""'
    return indent + begin + ("\n" + indent).join(lines) + end + "\n"


class Settings(Writer):
    def default(self, schema: Schema, kind: str, null: bool, required: bool) -> str:
        if required:
            return ""
        if "default" in schema:
            value = schema["default"]
            if kind.startswith("Engine"):
                return f' = Field(Engine.{value.upper()}, union_mode="left_to_right")'
            return f" = {float(value)!r}" if kind == "float" and value is not None else (
                f" = {literal(value)}")
        if null:
            return " = None"
        return f" = Field(default_factory={kind})"

    def head(self, path: str, schema: Schema) -> str:
        rest = schema.get("additionalProperties", True) or path == ""
        extra = '    model_config = ConfigDict(extra="allow")\n' if rest else ""
        return extra + f'    llem_path: ClassVar[str] = "{path}"\n\n'


class Results(Writer):
    def default(self, schema: Schema, kind: str, null: bool, required: bool) -> str:
        return " = None" if null else ""


def head(title: str, imports: str) -> str:
    return (
        "# SPDX-License-Identifier: MIT\n"
        f'"""{title}\n\n'
        "Written by tools/make_python_models.py: change what it reads, not this file.\n"
        f'"""\n\nfrom __future__ import annotations\n\n{imports}\n'
    )


def settings() -> str:
    schema = json.loads((SCHEMAS / "experiment-file.schema.json").read_text())
    engines = schema["properties"]["engine"]["anyOf"][0]["enum"]
    schema["description"] = "One experiment: what is measured, how, and by which engine"
    writer = Settings(settings_name, "Section")
    writer.add(schema, "")
    members = "".join(f'    {e.upper()} = "{e}"\n' for e in engines)
    names = ["Engine", *writer.classes]
    return (
        head("The settings of an experiment, one class a section.",
             "from enum import Enum\nfrom typing import Any, ClassVar, Literal\n\n"
             "from pydantic import ConfigDict, Field\n\n"
             "from llenergymeasure._section import Section\n")
        + exports(names)
        + "\n\nclass Engine(str, Enum):\n"
        '    """The engines that come with llem; others go by their names."""\n\n' + members
        + "\n\n" + "\n\n".join(code for _, code in writer.classes.values())
    )


def results() -> str:
    schema = json.loads((SCHEMAS / "result.schema.json").read_text())
    schema["description"] = "The fields of result.json"
    writer = Results(result_name, "Fields")
    writer.add(schema, "")
    return (
        head("The fields of a result, one class an object.",
             "from datetime import datetime\nfrom typing import Any, Literal\n\n"
             "from llenergymeasure._section import Fields\n")
        + exports(list(writer.classes))
        + "\n\n" + "\n\n".join(code for _, code in writer.classes.values())
    )


def study() -> str:
    schema = json.loads((SCHEMAS / "study-result.schema.json").read_text())
    schema["description"] = "The fields of study_result.json"
    fields = schema["properties"]
    # Open maps, as the original has them; rows are as flat as in the table that is made of them.
    fields["measurement_protocol"] = {"type": "object", "description": "how it was run"}
    for name, words in (("skipped_experiments", "what was declared and is invalid"),
                        ("runs", "one a run, in running order: its state, settings and figures")):
        fields[name] = {"type": "array", "items": {"type": "object"}, "description": words}
    (quantity,) = fields["quantities"]["properties"].values()
    fields["quantities"] = {"type": "object", "additionalProperties": quantity}
    writer = Results(study_name, "Fields", schema["$defs"])
    writer.add(schema, "")
    return (
        head("The fields of a study's result, one class an object.",
             "from typing import Any, Literal\n\nfrom llenergymeasure._section import Fields\n")
        + exports(list(writer.classes))
        + "\n\n" + "\n\n".join(code for _, code in writer.classes.values())
    )


def exports(names: list[str]) -> str:
    return "__all__ = [\n" + "".join(f'    "{name}",\n' for name in sorted(names)) + "]\n"


def main() -> int:
    status = 0
    for name, text in (("_settings.py", settings()), ("_fields.py", results()),
                       ("_study_fields.py", study())):
        path = PACKAGE / name
        if "--check" not in sys.argv[1:]:
            path.write_text(text)
        elif not path.is_file() or path.read_text() != text:
            print(f"{path} is not what tools/make_python_models.py writes: run it")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
