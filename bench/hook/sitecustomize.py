# SPDX-License-Identifier: MIT
"""Python runs this before a program of bench/transformers: it imports what all of them import, and
tells at the end what that took and the CPU time of generate()."""

import atexit
import json
import os
import time

begin, cpu_begin = time.perf_counter(), time.process_time()
import torch  # noqa: E402, F401
import transformers  # noqa: E402

for name in "AutoModelForCausalLM AutoTokenizer LlamaForCausalLM PreTrainedTokenizerFast".split():
    getattr(transformers, name)
told = {
    "imports_s": time.perf_counter() - begin,
    "imports_cpu_s": time.process_time() - cpu_begin,
    "calls": 0,
    "generate_cpu_s": 0.0,
    "generate_s": 0.0,
}
inner, leave = transformers.GenerationMixin.generate, os._exit


def generate(*args, **kwargs):
    """The library's, with its times taken."""
    cpu, wall = time.process_time(), time.perf_counter()
    try:
        return inner(*args, **kwargs)
    finally:
        told["calls"] += 1
        told["generate_cpu_s"] += time.process_time() - cpu
        told["generate_s"] += time.perf_counter() - wall


def tell() -> None:
    """Leave what is known where the benchmark looks for it."""
    with open(os.environ["LLEM_BENCH_TOLD"], "a", encoding="utf-8") as f:
        f.write(json.dumps(told) + "\n")


def tell_and_leave(code: int) -> None:
    """llem's worker ends like this, without the libraries' own ends."""
    tell()
    leave(code)


transformers.GenerationMixin.generate, os._exit = generate, tell_and_leave
atexit.register(tell)
