# SPDX-License-Identifier: MIT
"""The table of scalars that the YAML reader is tested with is still what PyYAML says."""

import os
import pathlib
import subprocess
import sys
import tempfile

import tap

SOURCE = pathlib.Path(os.environ["LLEM_TEST_SOURCE_DIR"])


def test_the_table_is_what_pyyaml_says():
    with tempfile.TemporaryDirectory() as directory:
        made = pathlib.Path(directory) / "scalars.tsv"
        subprocess.run(
            [sys.executable, SOURCE / "tools/make_yaml_scalars.py", made],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        have = (SOURCE / "tests/data/yaml-scalars.tsv").read_text()
        assert made.read_text() == have


tap.run()
