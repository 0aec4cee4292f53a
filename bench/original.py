# SPDX-License-Identifier: MIT
"""The Python original's `llem run` where there is no CUDA device: its check of that is bypassed.

usage: original.py run STUDY.yaml -o DIR    as the original's program
"""

from llenergymeasure.cli import app
from llenergymeasure.harness import preflight

preflight._check_cuda_available = lambda: True
# Its experiments of a study run in processes that import this file.
if __name__ == "__main__":
    app()
