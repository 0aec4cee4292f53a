# SPDX-License-Identifier: MIT
"""TAP for the Python tests: every function named test_* of the calling module is one test.

A test fails by raising; it skips by raising Skip(reason). Call run() at the end of the module.
"""

import sys
import traceback


class Skip(Exception):
    """Raised by a test that cannot run here; its text is the reason."""


def run() -> None:
    """Run the tests of __main__ in the order they are written, print TAP, exit 1 on any failure."""
    module = sys.modules["__main__"]
    tests = [(n, f) for n, f in vars(module).items() if n.startswith("test_") and callable(f)]
    print(f"1..{len(tests)}")
    failed = 0
    for number, (name, test) in enumerate(tests, 1):
        label = name.removeprefix("test_")
        try:
            test()
            print(f"ok {number} - {label}", flush=True)
        except Skip as reason:
            print(f"ok {number} - {label} # SKIP {reason}", flush=True)
        except Exception:
            failed += 1
            print(f"not ok {number} - {label}", flush=True)
            print("".join("# " + x for x in traceback.format_exc().splitlines(True)), flush=True)
    sys.exit(1 if failed else 0)
