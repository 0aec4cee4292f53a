# SPDX-License-Identifier: MIT
"""`python -m llenergymeasure` is the command `llem`."""

import sys

from _llem import main

if __name__ == "__main__":
    sys.exit(main())
