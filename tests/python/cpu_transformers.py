# SPDX-License-Identifier: MIT
"""The engine cpu and transformers on the same random models and texts, made anew from a fixed seed.

Wider than the golden files: biases everywhere, untied and tied heads, scaled positions, a sliding
window, other activations, tokenizers with awkward added tokens. Skipped where transformers is not
installed.
"""

import importlib.util
import os
import pathlib
import random
import subprocess
import tempfile

import tap

BUILD = pathlib.Path(os.environ["LLEM_TEST_BUILD_DIR"])
DATA = pathlib.Path(os.environ["LLEM_TEST_SOURCE_DIR"]) / "tests/data"
DRIVER = BUILD / "tests/unit/cpu/cpu_driver"
LIMIT = 1e-4
SMALL = dict(
    vocab_size=300,
    hidden_size=48,
    intermediate_size=80,
    num_hidden_layers=3,
    num_attention_heads=6,
    num_key_value_heads=2,
    max_position_embeddings=256,
)


def need(*modules):
    for name in modules:
        if importlib.util.find_spec(name) is None:
            raise tap.Skip(f"{name} is not installed")


def kernels() -> list[str]:
    flags = pathlib.Path("/proc/cpuinfo").read_text()
    return ["scalar"] + ["avx2"] * (" avx2 " in flags)


def compare(make_config, seed: int) -> None:
    need("torch", "transformers")
    import torch
    import transformers

    torch.manual_seed(seed)
    config = make_config(transformers)
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():
        for parameter in model.parameters():  # biases start at 0, norms at 1: too easy
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.2)
            else:
                parameter.mul_(4)
    draw = random.Random(seed)
    prompts = [
        [draw.randrange(config.vocab_size) for _ in range(n)] for n in (1, 2, 17, 40, 100, 200)
    ]
    with torch.no_grad():
        want = [model(torch.tensor([p])).logits[0, -1] for p in prompts]
    with tempfile.TemporaryDirectory() as tmp:
        model.save_pretrained(tmp)
        lines = "".join(" ".join(map(str, p)) + "\n" for p in prompts)
        for name in kernels():
            out = subprocess.run(
                [DRIVER, "logits", tmp, name],
                input=lines,
                text=True,
                stdout=subprocess.PIPE,
                check=True,
            ).stdout.splitlines()
            assert len(out) == len(prompts)
            for prompt, line, truth in zip(prompts, out, want, strict=True):
                got = torch.tensor([float(x) for x in line.split()])
                error = (got - truth).abs().max().item()
                assert error <= LIMIT, (
                    f"{name}, prompt of {len(prompt)}: logits differ by {error:.3g}"
                )


def test_llama_with_biases_everywhere():
    compare(
        lambda t: t.LlamaConfig(
            **SMALL, attention_bias=True, mlp_bias=True, tie_word_embeddings=False
        ),
        1,
    )


def test_llama_with_linear_rope_and_a_head_size_of_its_own():
    compare(
        lambda t: t.LlamaConfig(
            **SMALL,
            head_dim=20,
            tie_word_embeddings=True,
            rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 5000.0},
        ),
        2,
    )


def test_llama_with_llama3_rope():
    compare(
        lambda t: t.LlamaConfig(
            **SMALL,
            rope_parameters={
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
                "rope_theta": 10000.0,
            },
        ),
        3,
    )


def test_qwen2_with_a_sliding_window_in_its_upper_layers():
    compare(
        lambda t: t.Qwen2Config(
            **SMALL, use_sliding_window=True, sliding_window=24, max_window_layers=1
        ),
        4,
    )


def test_qwen2_with_a_tied_head():
    compare(lambda t: t.Qwen2Config(**SMALL, tie_word_embeddings=True), 5)


def test_gpt2_with_each_activation():
    for seed, act in enumerate(("gelu_new", "gelu", "relu", "silu")):
        compare(
            lambda t, act=act: t.GPT2Config(
                vocab_size=300,
                n_embd=40,
                n_layer=2,
                n_head=5,
                n_positions=256,
                n_inner=90,
                activation_function=act,
            ),
            10 + seed,
        )


def test_gpt2_with_scores_scaled_by_layer_and_not_by_size():
    compare(
        lambda t: t.GPT2Config(
            vocab_size=300,
            n_embd=40,
            n_layer=2,
            n_head=5,
            n_positions=256,
            scale_attn_weights=False,
            scale_attn_by_inverse_layer_idx=True,
        ),
        20,
    )


def texts(draw: random.Random, special: list[str]) -> list[str]:
    alphabet = (
        list("abcdefgh  \n\t.,'!?0123456789<>|_")
        + [
            "é",
            "e\u0301",
            "ß",
            "ſ",
            "中",
            "文",
            "한",
            "\u1112\u1161\u11ab",
            "\u00a0",
            "\u3000",
            "\u180e",
            "\u200d",
            "🙂",
            "👩",
            "\u0323",
            "\u0301",
            "\u0344",
            "\u2126",
            "İ",
            "\u0f73",
            "'S",
            "'ll",
            "'LL",
            "\r\n",
        ]
        + special
    )
    return ["".join(draw.choice(alphabet) for _ in range(draw.randrange(60))) for _ in range(1500)]


def compare_tokens(tokenizer, special: list[str], seed: int) -> None:
    lines = texts(random.Random(seed), special)
    with tempfile.TemporaryDirectory() as tmp:
        path = f"{tmp}/tokenizer.json"
        tokenizer.save(path)
        out = (
            subprocess.run(
                [DRIVER, "tokens", path],
                input="".join(x + "\0" for x in lines).encode(),
                stdout=subprocess.PIPE,
                check=True,
            )
            .stdout.decode()
            .split("\n")[:-1]
        )
    assert len(out) == len(lines)
    for line, ids in zip(lines, out, strict=True):
        want = tokenizer.encode(line).ids
        assert [int(x) for x in ids.split()] == want, f"{line!r}: {ids} for {want}"


def load(name: str):
    need("tokenizers")
    import tokenizers

    return tokenizers.Tokenizer.from_file(str(DATA / f"tokenizers/{name}.json"))


def test_tokenizers_with_awkward_added_tokens():
    for seed, name in enumerate(("gpt2", "llama3", "qwen2")):
        tokenizer = load(name)
        import tokenizers

        tokenizer.add_special_tokens(
            [
                tokenizers.AddedToken("<|x|>", lstrip=True, rstrip=True),
                tokenizers.AddedToken("<|x|>y", single_word=True),
            ]
        )
        tokenizer.add_tokens(
            [
                tokenizers.AddedToken("abc", single_word=True, normalized=False),
                tokenizers.AddedToken("e\u0301f", normalized=True),
                tokenizers.AddedToken("éf", normalized=False, rstrip=True),
            ]
        )
        compare_tokens(tokenizer, ["<|x|>", "<|x|>y", "abc", "e\u0301f", "éf"], seed)


def test_tokenizers_with_other_pre_tokenizers():
    tokenizer = load("gpt2")
    from tokenizers import Regex, processors
    from tokenizers import pre_tokenizers as p

    byte_level = p.ByteLevel(add_prefix_space=False, use_regex=False)
    for seed, first in enumerate(
        (
            [p.Digits(individual_digits=True)],
            [p.Digits(individual_digits=False)],
            [p.Split("a", "merged_with_previous")],
            [p.Split("a", "merged_with_next")],
            [p.Split(Regex(r"\s+"), "removed")],
            [p.Split(Regex(r"[a-c]"), "contiguous")],
            [p.Split(Regex(r"\p{L}+|\p{N}"), "removed", invert=True)],
            [p.Split(Regex(r"\S"), "isolated"), p.Digits(individual_digits=True)],
            [p.Split(Regex(r"^b|c$"), "isolated")],
            [
                p.Split(
                    Regex(
                        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
                        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
                    ),
                    "isolated",
                )
            ],
        )
    ):
        tokenizer.pre_tokenizer = p.Sequence([*first, byte_level])
        compare_tokens(tokenizer, ["<|endoftext|>"], 100 + seed)
    tokenizer.pre_tokenizer = p.ByteLevel(add_prefix_space=True)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A <|endoftext|> <|endoftext|>", special_tokens=[("<|endoftext|>", 0)]
    )
    compare_tokens(tokenizer, ["<|endoftext|>"], 200)


def test_nfc_of_every_character_and_of_many_sequences():
    need("tokenizers")
    import sys
    import unicodedata

    tokenizer = load("qwen2")
    draw = random.Random(7)
    marks = [chr(c) for c in range(0x300, 0x34F)] + ["\u3099", "\u0f71", "\u0f72", "\u1dca"]
    # What Unicode 3.2 knew is the same in every version that any of the two may carry.
    known = [
        chr(c)
        for c in range(1, sys.maxunicode + 1)
        if unicodedata.ucd_3_2_0.category(chr(c)) not in ("Cn", "Cs", "Co")
    ]
    lines = ["".join(known[i : i + 64]) for i in range(0, len(known), 64)]
    lines += [
        "".join(
            draw.choice(known[:40000]) + "".join(draw.choices(marks, k=draw.randrange(4)))
            for _ in range(20)
        )
        for _ in range(500)
    ]
    tokenizer.pre_tokenizer = __import__("tokenizers").pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=False
    )
    with tempfile.TemporaryDirectory() as tmp:
        path = f"{tmp}/tokenizer.json"
        tokenizer.save(path)
        for form in (lambda x: x, lambda x: unicodedata.normalize("NFC", x)):
            out = (
                subprocess.run(
                    [DRIVER, "tokens", path],
                    input="".join(form(x) + "\0" for x in lines).encode(),
                    stdout=subprocess.PIPE,
                    check=True,
                )
                .stdout.decode()
                .split("\n")[:-1]
            )
            for line, ids in zip(lines, out, strict=True):
                assert [int(x) for x in ids.split()] == tokenizer.encode(
                    unicodedata.normalize("NFC", line)
                ).ids, repr(line)


tap.run()
