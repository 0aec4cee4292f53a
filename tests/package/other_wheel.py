# SPDX-License-Identifier: MIT
"""Make the wheel of another distribution: name, version and files; "llem" gives it the command.

usage: other_wheel.py DIR NAME VERSION FILE...
"""

import pathlib
import sys
import zipfile

directory, name, version, *files = sys.argv[1:]
info = f"{name}-{version}.dist-info"
content = {file: "def app():\n    print('the other')\n" for file in files if file != "llem"}
content[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
content[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
if "llem" in files:
    content[f"{info}/entry_points.txt"] = "[console_scripts]\nllem = other.cli:app\n"
content[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*content, f"{info}/RECORD"])
with zipfile.ZipFile(pathlib.Path(directory) / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
    for file, text in content.items():
        wheel.writestr(file, text)
