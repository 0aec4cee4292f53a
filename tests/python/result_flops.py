# SPDX-License-Identifier: MIT
"""FLOPs against PyTorch's own counter, on small random models of several families.

Every position goes through the model on its own, with a cache of those before it, so that PyTorch
counts the causal context and not the masked square. Skipped where torch and
transformers are not installed.
"""

import json
import os
import pathlib
import subprocess

import tap

try:
    import torch
    import transformers
    from torch.utils.flop_counter import FlopCounterMode
except ImportError:
    torch = None

MAKE = pathlib.Path(os.environ["LLEM_TEST_BUILD_DIR"]) / "tests/unit/result/make-synthetic"


def ours(dimensions: dict, prompt: int, output: int) -> dict:
    args = ["flops", json.dumps(dimensions), prompt, 0, output]
    return json.loads(
        subprocess.run([MAKE, *map(str, args)], check=True, capture_output=True, text=True).stdout
    )


def counted(model, prompt: int, output: int) -> float:
    """One position after the other; the head only where a token is taken from it."""
    model = model.eval()
    total = 0
    with torch.no_grad():
        cache = transformers.DynamicCache()
        for position in range(prompt + output - 1):
            with FlopCounterMode(display=False) as counter:
                hidden = model.base_model(
                    torch.tensor([[position % 7]]), past_key_values=cache, use_cache=True
                ).last_hidden_state
                if position >= prompt - 1:
                    model.lm_head(hidden)
            total += counter.get_total_flops()
    return total


def check(model, dimensions: dict) -> None:
    for prompt, output in ((5, 1), (4, 6), (1, 3)):
        f = ours(dimensions, prompt, output)
        expected = counted(model, prompt, output)
        assert f["prefill"] + f["decode"] == expected, (prompt, output, f, expected)


def need_torch() -> None:
    if torch is None:
        raise tap.Skip("torch and transformers are not installed")


def test_grouped_heads_and_gated_layers():
    need_torch()
    c = transformers.LlamaConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
        vocab_size=50,
        attn_implementation="eager",
    )
    check(
        transformers.LlamaForCausalLM(c),
        dict(
            hidden_size=32,
            num_layers=2,
            num_heads=4,
            num_kv_heads=2,
            head_size=8,
            intermediate_size=48,
            vocab_size=50,
            gated_mlp=True,
        ),
    )


def test_full_heads_and_plain_layers():
    need_torch()
    c = transformers.GPT2Config(
        n_embd=24,
        n_layer=3,
        n_head=3,
        n_inner=96,
        vocab_size=40,
        n_positions=64,
        attn_implementation="eager",
    )
    check(
        transformers.GPT2LMHeadModel(c),
        dict(
            hidden_size=24,
            num_layers=3,
            num_heads=3,
            num_kv_heads=3,
            head_size=8,
            intermediate_size=96,
            vocab_size=40,
            gated_mlp=False,
        ),
    )


def test_heads_of_another_size():
    need_torch()
    c = transformers.Qwen2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=1,
        intermediate_size=40,
        vocab_size=30,
        attn_implementation="eager",
    )
    check(
        transformers.Qwen2ForCausalLM(c),
        dict(
            hidden_size=32,
            num_layers=2,
            num_heads=4,
            num_kv_heads=1,
            head_size=8,
            intermediate_size=40,
            vocab_size=30,
            gated_mlp=True,
        ),
    )


if __name__ == "__main__":
    tap.run()
