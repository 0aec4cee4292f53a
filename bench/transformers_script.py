# SPDX-License-Identifier: MIT
"""What bench/transformers compares with: the same work by a plain script, as one would write it.

usage: transformers_script.py MODEL PROMPTS BATCH TOKENS    prints JSON: seconds of generate()
"""

import json
import sys
import time

import torch
import transformers

model_dir, prompts, batch, tokens = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
with open(prompts, encoding="utf-8") as f:
    texts = [json.loads(line)["prompt"] for line in f]
tokenizer = transformers.AutoTokenizer.from_pretrained(model_dir, padding_side="left")
tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token or "<|endoftext|>"
model = transformers.AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32).eval()
batches = [
    tokenizer(texts[i : i + batch], return_tensors="pt", padding=True)
    for i in range(0, len(texts), batch)
]
options = {"do_sample": False, "max_new_tokens": tokens, "eos_token_id": None}


def generate(inputs) -> int:
    out = model.generate(
        input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], **options
    )
    return out.shape[0] * (out.shape[1] - inputs["input_ids"].shape[1])


with torch.no_grad():
    generate(batches[0])
    begin = time.perf_counter()
    count = sum(generate(b) for b in batches)
    seconds = time.perf_counter() - begin
print(json.dumps({"inference_s": seconds, "tokens": count}))
