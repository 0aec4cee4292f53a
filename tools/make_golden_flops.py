#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make tests/data/golden/flops.json: what PyTorch counts on tiny random models of every family.

For each: its config.json, its parameters, and the operations that torch.utils.flop_counter sees
while a prompt and some tokens after it go through the model (tests/data/README.md).
Packages: tests/engines/requirements-transformers.txt.

usage: tools/make_golden_flops.py [--check] [NAME...]

--check writes nothing, and compares with what the file has. NAME: these cases only.
"""

import argparse
import json
import pathlib
import sys
import warnings

import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

PATH = pathlib.Path(__file__).resolve().parent.parent / "tests/data/golden/flops.json"
PROMPT, OUTPUT = 12, 4
WINDOW = 8  # shorter than the prompt, so that it is felt

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 56,
    "vocab_size": 96,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GROUPED = SMALL | {"num_key_value_heads": 2}
PLAIN = {key: value for key, value in SMALL.items() if key != "intermediate_size"}
GPT = {
    "n_embd": 32,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 64,
    "vocab_size": 96,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
EXPERTS = GROUPED | {"moe_intermediate_size": 24, "num_experts": 6, "num_experts_per_tok": 2}
LATENT = SMALL | {
    "num_key_value_heads": 4,
    "moe_intermediate_size": 24,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "n_shared_experts": 2,
    "first_k_dense_replace": 1,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 12,
    "qk_rope_head_dim": 4,
    "v_head_dim": 10,
    "n_group": 2,
    "topk_group": 1,
}
LOCAL = {"num_local_experts": 6, "num_experts_per_tok": 2}

# Name of the case: model_type, configuration.
CASES: dict[str, tuple[str, dict]] = {
    "llama": ("llama", GROUPED),
    "llama-tied": ("llama", GROUPED | {"tie_word_embeddings": True}),
    "llama-biased": ("llama", GROUPED | {"attention_bias": True, "mlp_bias": True, "head_dim": 12}),
    "llama-full-heads": ("llama", SMALL),
    "granite": ("granite", GROUPED),
    "mistral": ("mistral", GROUPED | {"sliding_window": None}),
    "mistral-window": ("mistral", GROUPED | {"sliding_window": WINDOW}),
    "mixtral": ("mixtral", GROUPED | LOCAL | {"sliding_window": None}),
    "phi3": ("phi3", GROUPED | {"sliding_window": None}),
    "phi3-window": ("phi3", GROUPED | {"sliding_window": WINDOW}),
    "olmo": ("olmo", GROUPED),
    "olmo2": ("olmo2", GROUPED),
    "olmoe": ("olmoe", GROUPED | {"num_experts": 6, "num_experts_per_tok": 2}),
    "granitemoe": ("granitemoe", GROUPED | LOCAL),
    "qwen2": ("qwen2", GROUPED),
    "qwen2-window": (
        "qwen2",
        GROUPED | {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
    ),
    "qwen2_moe": ("qwen2_moe", EXPERTS | {"shared_expert_intermediate_size": 40}),
    "qwen2_moe-mixed": (
        "qwen2_moe",
        EXPERTS
        | {
            "num_hidden_layers": 4,
            "shared_expert_intermediate_size": 40,
            "decoder_sparse_step": 2,
            "mlp_only_layers": [3],
        },
    ),
    "qwen3": ("qwen3", GROUPED | {"head_dim": 12}),
    "qwen3_moe": ("qwen3_moe", EXPERTS | {"head_dim": 12}),
    "smollm3": ("smollm3", GROUPED),
    "gemma": ("gemma", GROUPED | {"head_dim": 12}),
    "gemma2": ("gemma2", GROUPED | {"head_dim": 12, "sliding_window": WINDOW}),
    "gemma3_text": (
        "gemma3_text",
        GROUPED | {"head_dim": 12, "sliding_window": WINDOW, "num_hidden_layers": 7},
    ),
    "gpt_oss": ("gpt_oss", GROUPED | LOCAL | {"head_dim": 12, "sliding_window": WINDOW}),
    "deepseek_v2": ("deepseek_v2", LATENT | {"q_lora_rank": None}),
    "deepseek_v3": ("deepseek_v3", LATENT | {"q_lora_rank": 20}),
    "stablelm": ("stablelm", GROUPED | {"use_qkv_bias": True}),
    "cohere": ("cohere", GROUPED),
    "cohere2": ("cohere2", GROUPED | {"sliding_window": WINDOW, "num_hidden_layers": 5}),
    "starcoder2": ("starcoder2", GROUPED | {"sliding_window": WINDOW}),
    "nemotron": ("nemotron", GROUPED),
    "phi": ("phi", SMALL),
    "gpt_neox": ("gpt_neox", SMALL),
    "gptj": ("gptj", GPT | {"rotary_dim": 4}),
    "falcon": ("falcon", PLAIN | {"multi_query": True, "alibi": False, "parallel_attn": True}),
    "falcon-new": (
        "falcon",
        PLAIN
        | {
            "new_decoder_architecture": True,
            "num_kv_heads": 2,
            "ffn_hidden_size": 56,
            "alibi": False,
        },
    ),
    "falcon-old": (
        "falcon",
        PLAIN
        | {"multi_query": False, "alibi": False, "parallel_attn": False, "bias": True},
    ),
    "bloom": ("bloom", {"hidden_size": 32, "n_layer": 3, "n_head": 4, "vocab_size": 96}),
    "gpt2": ("gpt2", GPT),
    "gpt2-inner": ("gpt2", GPT | {"n_inner": 40}),
    "gpt_bigcode": ("gpt_bigcode", GPT),
    "opt": ("opt", PLAIN | {"ffn_dim": 56, "word_embed_proj_dim": 32}),
}


def make(model_type: str, values: dict) -> transformers.PreTrainedModel:
    torch.manual_seed(1)
    config = transformers.AutoConfig.for_model(model_type, **values)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    if hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")
    return model.eval()


def count(run) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run()
    return counter.get_total_flops()


def measure(model: transformers.PreTrainedModel) -> dict:
    """Operations of a prompt and of each token after it, token by token and the prompt at once."""
    ids = [3 + i % 90 for i in range(PROMPT + OUTPUT)]
    cache = transformers.DynamicCache(config=model.config)
    body, head = model.base_model, model.get_output_embeddings()
    steps = []
    for position in range(PROMPT + OUTPUT - 1):

        def step(position=position):
            hidden = body(
                torch.tensor([[ids[position]]]), past_key_values=cache, use_cache=True
            ).last_hidden_state
            if position >= PROMPT - 1:  # a token is taken from it
                head(hidden)

        steps.append(count(step))
    whole = count(
        lambda: head(body(torch.tensor([ids[:PROMPT]]), use_cache=False).last_hidden_state[:, -1:])
    )
    return {
        "prompt": PROMPT,
        "prefill": sum(steps[:PROMPT]),
        "decode": steps[PROMPT:],
        "prefill_at_once": whole,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", FutureWarning)
    known = json.loads(PATH.read_text()) if PATH.exists() else {}
    cases, different = {}, []
    for name in arguments.names or CASES:
        model = make(*CASES[name])
        config = json.loads(model.config.to_json_string())
        config.pop("transformers_version", None)
        cases[name] = {"parameters": model.num_parameters(), **measure(model), "config": config}
        old = {k: v for k, v in known.get(name, {}).items() if k != "config"}
        if old != {k: v for k, v in cases[name].items() if k != "config"}:
            different.append(name)
    if arguments.check:
        print(f"{len(cases)} families counted, {len(different)} differ: {' '.join(different)}")
        return 1 if different else 0
    known.update(cases)
    lines = [f"{json.dumps(n)}: {json.dumps(known[n])}" for n in CASES if n in known]
    PATH.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
