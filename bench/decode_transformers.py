# SPDX-License-Identifier: MIT
"""The rival of bench/decode: transformers on the CPU, random weights in a config's shape.

Prints one JSON object: name of the way to tokens per second (median time of a token).

usage: decode_transformers.py DIR INPUT_TOKENS OUTPUT_TOKENS
"""

import json
import os
import statistics
import sys
import time

import torch
import transformers

RUNS = 1


class Times:
    """A streamer that only notes when each token came."""

    def __init__(self):
        self.at = []

    def put(self, value):
        self.at.append(time.perf_counter())

    def end(self):
        pass


def between(times: list[float]) -> list[float]:
    return [b - a for a, b in zip(times, times[1:], strict=False)]


def by_generate(model, ids, count: int) -> list[float]:
    times = Times()
    model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        streamer=times,
        do_sample=False,
        max_new_tokens=count,
        min_new_tokens=count,
    )
    return between(times.at[1:])  # the first put is the prompt


def by_forward(model, ids, count: int) -> list[float]:
    out = model(ids, use_cache=True, logits_to_keep=1)
    times = []
    for _ in range(count):
        token = out.logits[:, -1].argmax(-1, keepdim=True)
        times.append(time.perf_counter())
        out = model(token, past_key_values=out.past_key_values, use_cache=True)
    return between(times)


def main() -> None:
    path, n_input, n_output = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    config = transformers.AutoConfig.from_pretrained(path)
    ids = torch.tensor([[(i * 7919 + 13) % 1000 for i in range(n_input)]])
    rates = {}
    for dtype in (torch.bfloat16, torch.float32):
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
        for name, way in (("generate()", by_generate), ("forward()", by_forward)):
            with torch.inference_mode():
                took = [t for _ in range(RUNS) for t in way(model, ids, n_output)]
            rates[f"{str(dtype).removeprefix('torch.')} {name}"] = 1 / statistics.median(took)
        del model
    print(json.dumps(rates))


main()
