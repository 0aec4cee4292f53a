#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes docs/python-reference.md out of the docstrings of the Python package, read as text.

`--check` writes nothing and ends with 1 where what is committed differs.
"""

from __future__ import annotations

import ast
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "python" / "llenergymeasure"
TARGET = ROOT / "docs" / "python-reference.md"
# Where what is public stands, in the order of the page.
MODULES = ["api", "config", "_settings", "results", "_fields", "windows", "engine", "progress",
           "exceptions", "study", "_study_fields"]


def text(node: ast.AST) -> str:
    return ast.unparse(node)


def signature(f: ast.FunctionDef) -> str:
    returns = f" -> {text(f.returns)}" if f.returns else ""
    return f"{f.name}({text(f.args)}){returns}"


def prose(doc: str | None) -> list[str]:
    """Paragraphs as they stand; the lists of arguments and errors as tables' poor relations."""
    return ["", *(line.rstrip() for line in doc.splitlines())] if doc else []


def fenced(doc: str | None) -> list[str]:
    return ["", "```text", *doc.splitlines(), "```"] if doc else []


def function(f: ast.FunctionDef, level: str) -> list[str]:
    return [f"{level} `{f.name}`", "", "```python", f"def {signature(f)}", "```",
            *fenced(ast.get_docstring(f)), ""]


def fields(c: ast.ClassDef) -> list[str]:
    rows = []
    for i, item in enumerate(c.body):
        if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name):
            continue
        name = item.target.id
        if name.startswith("_") or name == "llem_path":
            continue
        after = c.body[i + 1] if i + 1 < len(c.body) else None
        words = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            words = " ".join(str(after.value.value).split())
        value = text(item.value) if item.value else "(required)"
        cells = [f"`{name}`", f"`{text(item.annotation)}`", f"`{value}`", words]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return ["", "| field | type | default | |", "| --- | --- | --- | --- |", *rows] if rows else []


def class_(c: ast.ClassDef) -> list[str]:
    out = [f"### `{c.name}`", *prose(ast.get_docstring(c)), *fields(c), ""]
    for item in c.body:
        if isinstance(item, ast.FunctionDef) and not item.name.startswith("_"):
            out += function(item, "####")
    return out


def module(name: str) -> list[str]:
    tree = ast.parse((PACKAGE / f"{name}.py").read_text())
    exported: set[str] | None = None
    for node in tree.body:
        if isinstance(node, ast.Assign) and text(node.targets[0]) == "__all__":
            exported = {e.value for e in ast.walk(node.value) if isinstance(e, ast.Constant)}
    out: list[str] = []
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and exported and (
                node.name in exported):
            out += class_(node) if isinstance(node, ast.ClassDef) else function(node, "###")
    title = (ast.get_docstring(tree) or name).splitlines()[0]
    return [f"## {title}", "", *out] if out else []


def page() -> str:
    head = ["# The Python package, class by class", "",
            "Written by tools/make_python_reference.py out of the docstrings; `python.md` is the "
            "way in. Units are in names or said; None stands for what is not known.", ""]
    lines = head + [line for name in MODULES for line in module(name)]
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(page())
    elif not TARGET.is_file() or TARGET.read_text() != page():
        print(f"{TARGET} is not what tools/make_python_reference.py writes: run it")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
