#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make the tiny random models and the golden logits that the `cpu` engine is tested against.

Inputs: examples/sample-model and examples/prompts.jsonl, for the golden of the sample model.
All other weights are drawn from fixed seeds, so the same package versions
(tools/requirements-train.txt) give the same files.

Outputs, under --out (default tests/data):
  models/<name>/     a Hugging Face directory: config.json, model.safetensors (or shards with an
                     index), tokenizer.json
  golden/<name>.json for each of them and for sample-model: prompts, token ids, last-position
                     logits, arg-max of every position, greedy continuation

Shapes: hidden 64 (GPT-2: 48), 2 layers, 4 query heads, 2 key/value heads, vocabulary 400.
The exact formats are in tests/data/README.md.

The reference computation is `transformers` with eager attention, unbatched, no cache, in float32.
For models stored in bfloat16 or float16 the weights are rounded to that type first, then widened
to float32 for the computation. Every arg-max kept in a golden file leads the runner-up by
at least MIN_MARGIN, so a correct float32 engine cannot differ by rounding, and every greedy
continuation has at least MIN_DISTINCT different tokens.
"""

import argparse
import copy
import json
import pathlib

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

END = "<|endoftext|>"
VOCAB = 400
NEW_TOKENS = 16
MIN_MARGIN = 1e-3
MIN_DISTINCT = 6
SAMPLE_PROMPTS = 6

CONFIG_KEYS = [
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
    "rms_norm_eps",
    "hidden_act",
    "attention_bias",
    "mlp_bias",
    "tie_word_embeddings",
    "bos_token_id",
    "eos_token_id",
    "n_positions",
    "n_ctx",
    "n_embd",
    "n_layer",
    "n_head",
    "n_inner",
    "activation_function",
    "layer_norm_epsilon",
    "model_type",
    "use_sliding_window",
    "initializer_range",
]

TRAINING_TEXT = [
    "The kettle uses two kilowatts while it heats the water for the tea.",
    "A meter counts the energy, and the clock counts the time.",
    "When the fan turns faster, the machine is warm and the power is high.",
    "She opened the window, and the wind carried the smell of rain into the kitchen.",
    "What is a joule? A joule is one watt for one second.",
    "There are 12 apples in the basket and 30 plums on the tree.",
    "If the sensor reads 250 watts for 4 seconds, the energy is 1000 joules.",
    "The gardener waters the beans in the morning and the tomatoes in the evening.",
    "It isn't raining now, but they're sure that it'll rain before the end of the day.",
    "Measure first, then compare, then measure again.",
]

PROMPTS = [
    "The meter",
    "What is the energy of 250 watts for 4 seconds? It isn't",
    (
        "She opened the window, and the wind carried the smell of rain into the kitchen. Then "
        "the fan stopped, the machine was cold, and the naïve gardener counted 1234 apples"
    ),
]


def make_tokenizer():
    """Train a byte-level BPE of VOCAB tokens on TRAINING_TEXT; id 0 is the end-of-text token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TRAINING_TEXT, trainer)
    assert tokenizer.get_vocab_size() == VOCAB
    return tokenizer


def randomise(model, seed):
    """Fill every parameter with values large enough that each part of the network matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm = "norm" in name or ".ln_" in name
            if is_norm and name.endswith("weight"):
                parameter.copy_(1.0 + 0.2 * noise)
            elif name.endswith("bias") or "embed" in name or "wte" in name or "lm_head" in name:
                parameter.copy_(0.3 * noise)
            elif "wpe" in name:
                parameter.copy_(0.6 * noise)
            else:
                # About 1/sqrt(fan-in), a little larger so that attention is not uniform.
                parameter.copy_(noise * 1.5 / parameter.shape[-1] ** 0.5)


def round_weights(model, dtype):
    """Round every parameter to `dtype` and keep the rounded value in float32."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(dtype).to(torch.float32))


def forward(model, ids):
    """Logits of every position, shape (len(ids), vocabulary)."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]


def margin(logits):
    """The lead of the largest logit over the second, smallest over all positions."""
    top = torch.topk(logits, 2, dim=-1).values
    return float((top[..., 0] - top[..., 1]).min())


def golden_of(model, tokenizer, prompts):
    """The golden record of a model, or None when some arg-max is decided too narrowly."""
    record = {"prompts": prompts, "input_ids": [], "logits": [], "argmax": [], "greedy": []}
    error = 0.0
    double = copy.deepcopy(model).double()
    for prompt in prompts:
        ids = tokenizer.encode(prompt, add_special_tokens=False).ids
        logits = forward(model, ids)
        exact = forward(double, ids)
        error = max(error, float((logits.double() - exact).abs().max()))
        if margin(logits) < MIN_MARGIN:
            return None, error
        sequence = list(ids)
        for _ in range(NEW_TOKENS):
            last = forward(model, sequence)[-1]
            if margin(last) < MIN_MARGIN:
                return None, error
            sequence.append(int(last.argmax()))
        if len(set(sequence[len(ids) :])) < MIN_DISTINCT:
            return None, error
        record["input_ids"].append(ids)
        record["logits"].append([float(f"{value:.9g}") for value in logits[-1].tolist()])
        record["argmax"].append(logits.argmax(-1).tolist())
        record["greedy"].append(sequence[len(ids) :])
    return record, error


def llama_config(**changes):
    values = {
        "vocab_size": VOCAB,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    values.update(changes)
    return transformers.LlamaConfig(**values)


def plain_config(config, stored, style):
    """config.json as found beside real checkpoints.

    style "classic" writes rope_theta, rope_scaling and torch_dtype at the top level, as nearly
    all published Llama and Qwen2 checkpoints do; style "v5" writes rope_parameters and dtype,
    as transformers 5 does.
    """
    values = config.to_dict()
    out = {"architectures": [config.architectures[0]]}
    out.update((key, values[key]) for key in CONFIG_KEYS if key in values)
    rope = values.get("rope_parameters")
    dtype = str(stored).removeprefix("torch.")
    if style == "v5":
        out["rope_parameters"] = rope
        out["dtype"] = dtype
    else:
        if rope:
            rope = dict(rope)
            out["rope_theta"] = rope.pop("rope_theta")
            out["rope_scaling"] = rope if rope["rope_type"] != "default" else None
        out["torch_dtype"] = dtype
    out["transformers_version"] = transformers.__version__
    return out


def save_tokenizer(tokenizer, path, style):
    """tokenizer.json, with merges as "a b" (style "classic") or as ["a", "b"] (style "v5")."""
    tree = json.loads(tokenizer.to_str())
    if style == "classic":
        tree["model"]["merges"] = [" ".join(pair) for pair in tree["model"]["merges"]]
    path.write_text(json.dumps(tree, ensure_ascii=False) + "\n")
    assert Tokenizer.from_file(str(path)).encode(PROMPTS[2]).ids == tokenizer.encode(PROMPTS[2]).ids


def write_safetensors(tensors, path):
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)


def save(model, config, tokenizer, folder, stored, style, shards, bare):
    """Write one Hugging Face directory."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    (folder / "config.json").write_text(
        json.dumps(plain_config(config, stored, style), indent=2) + "\n"
    )
    save_tokenizer(tokenizer, folder / "tokenizer.json", style)
    tensors = {}
    for name, value in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        tensors[name] = value.to(stored).contiguous()
    if bare:
        # Names as in the first published GPT-2 files: no prefix, with the causal masks.
        tensors = {name.removeprefix("transformer."): value for name, value in tensors.items()}
        size = config.n_positions
        mask = torch.tril(torch.ones(size, size)).to(stored).reshape(1, 1, size, size)
        for layer in range(config.n_layer):
            tensors[f"h.{layer}.attn.bias"] = mask.clone()
    if shards == 1:
        write_safetensors(tensors, folder / "model.safetensors")
        return
    names = sorted(tensors)
    cut = -(-len(names) // shards)
    weight_map = {}
    for shard in range(shards):
        part = {name: tensors[name] for name in names[shard * cut : (shard + 1) * cut]}
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        write_safetensors(part, folder / file)
        weight_map.update(dict.fromkeys(part, file))
    total = sum(value.numel() * value.element_size() for value in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def write_golden(folder, name, stored, record, error, note):
    """Write golden/<name>.json, one key a line."""
    record = {
        "model": name,
        "weights": str(stored).removeprefix("torch."),
        "compute": "float32",
        "max_error_against_float64": float(f"{error:.2g}"),
        **record,
    }
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in record.items()]
    path = folder / "golden" / f"{name}.json"
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    lengths = [len(ids) for ids in record["input_ids"]]
    spread = float(np.std(record["logits"][0]))
    print(f"{name}: {note}, lengths {lengths}, logit spread {spread:.3g}, error {error:.2g}")


def golden_of_sample(arguments):
    """Golden of the committed sample model, for a few of the builtin prompts.

    A prompt is left out when some arg-max is decided too narrowly.
    """
    model = transformers.AutoModelForCausalLM.from_pretrained(
        arguments.sample, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    tokenizer = Tokenizer.from_file(str(arguments.sample / "tokenizer.json"))
    record, worst = None, 0.0
    for line in arguments.prompts.read_text(encoding="utf-8").splitlines():
        one, error = golden_of(model, tokenizer, [json.loads(line)["prompt"]])
        if one is None:
            continue
        worst = max(worst, error)
        if record is None:
            record = one
        else:
            for key, value in one.items():
                record[key].extend(value)
        if len(record["prompts"]) == SAMPLE_PROMPTS:
            break
    write_golden(arguments.out, "sample-model", torch.bfloat16, record, worst, "builtin prompts")


def variants():
    """(name, config, model class, stored dtype, config style, shards, bare names)."""
    llama = transformers.LlamaForCausalLM
    qwen = transformers.Qwen2ForCausalLM
    gpt2 = transformers.GPT2LMHeadModel
    f32, bf16, f16 = torch.float32, torch.bfloat16, torch.float16
    llama3 = {
        "rope_type": "llama3",
        "rope_theta": 10000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    }
    plain = {"rope_type": "default", "rope_theta": 10000.0}
    qwen_config = transformers.Qwen2Config(
        vocab_size=VOCAB,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        rms_norm_eps=1e-6,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
    )
    gpt2_config = transformers.GPT2Config(
        vocab_size=VOCAB,
        n_positions=128,
        n_embd=48,
        n_layer=2,
        n_head=4,
        bos_token_id=0,
        eos_token_id=0,
    )
    tied = llama_config(rope_parameters=plain)
    long = llama_config(
        rope_parameters=llama3, tie_word_embeddings=False, head_dim=32, intermediate_size=96
    )
    untied = llama_config(rope_parameters=plain, tie_word_embeddings=False, num_key_value_heads=1)
    return [
        ("llama", tied, llama, f32, "classic", 1, False),
        ("llama-bf16", tied, llama, bf16, "classic", 1, False),
        ("llama3-rope", long, llama, f32, "classic", 1, False),
        ("llama-v5", untied, llama, f32, "v5", 1, False),
        ("qwen2", qwen_config, qwen, f32, "classic", 2, False),
        ("gpt2", gpt2_config, gpt2, f32, "classic", 1, False),
        ("gpt2-bare-f16", gpt2_config, gpt2, f16, "classic", 1, True),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("tests/data"))
    parser.add_argument(
        "--sample", type=pathlib.Path, default=pathlib.Path("examples/sample-model")
    )
    parser.add_argument(
        "--prompts", type=pathlib.Path, default=pathlib.Path("examples/prompts.jsonl")
    )
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    tokenizer = make_tokenizer()
    (arguments.out / "golden").mkdir(parents=True, exist_ok=True)
    for name, config, factory, stored, style, shards, bare in variants():
        config._attn_implementation = "eager"
        config.architectures = [factory.__name__]
        for seed in range(arguments.seed, arguments.seed + 200):
            model = factory(config).eval().float()
            model.tie_weights()
            randomise(model, seed)
            round_weights(model, stored)
            record, error = golden_of(model, tokenizer, PROMPTS)
            if record is not None:
                break
        else:
            raise SystemExit(f"{name}: no seed decides every arg-max clearly")
        save(model, config, tokenizer, arguments.out / "models" / name, stored, style, shards, bare)
        write_golden(arguments.out, name, stored, record, error, f"seed {seed}")
    if arguments.sample.is_dir():
        golden_of_sample(arguments)


if __name__ == "__main__":
    main()
