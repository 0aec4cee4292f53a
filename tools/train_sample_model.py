#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Train the sample model that is committed in examples/sample-model.

Input: none but the grammar in tools/sample_corpus.py; no text from anywhere else.

Output, in --out: a Hugging Face directory.
  config.json, generation_config.json   Llama architecture, grouped queries, tied embeddings
  model.safetensors                     weights in bfloat16
  tokenizer.json, tokenizer_config.json byte-level BPE with GPT-2's pattern, --vocab tokens
  training.json                         the options, the losses and the sizes

Shapes: a batch is (--batch, --context + 1) token ids, cut from one endless stream of documents
that are separated by <|endoftext|>; every document is generated once and seen once. With the
default options the model has 1,967,808 parameters.

The same seed, package versions (tools/requirements-train.txt) and number of threads give the
same corpus and tokenizer everywhere, and the same weights on the same kind of processor.
"""

import argparse
import json
import math
import pathlib
import random
import time

import sample_corpus
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

END = "<|endoftext|>"
LIMIT = 4 * 1024 * 1024


def make_tokenizer(seed, vocabulary, pieces):
    """Train a plain byte-level BPE on a sample of the corpus; id 0 is <|endoftext|>."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    rng = random.Random(seed)
    tokenizer.train_from_iterator((sample_corpus.piece(rng) for _ in range(pieces)), trainer)
    assert tokenizer.get_vocab_size() == vocabulary
    return tokenizer


class Stream:
    """An endless stream of batches of documents."""

    def __init__(self, tokenizer, seed, batch, context):
        self.tokenizer = tokenizer
        self.rng = random.Random(seed)
        self.shape = (batch, context + 1)
        self.ids = []
        self.characters = 0
        self.documents = 0

    def next(self):
        """The next (batch, context + 1) token ids."""
        need = self.shape[0] * self.shape[1]
        while len(self.ids) < need:
            texts = [sample_corpus.document(self.rng) for _ in range(64)]
            for text, encoded in zip(texts, self.tokenizer.encode_batch(texts), strict=True):
                self.ids += [*encoded.ids, 0]
                self.characters += len(text)
            self.documents += len(texts)
        block, self.ids = self.ids[:need], self.ids[need:]
        return torch.tensor(block).reshape(self.shape)


def make_model(arguments):
    config = transformers.LlamaConfig(
        vocab_size=arguments.vocab,
        hidden_size=arguments.hidden,
        intermediate_size=arguments.intermediate,
        num_hidden_layers=arguments.layers,
        num_attention_heads=arguments.heads,
        num_key_value_heads=arguments.kv_heads,
        max_position_embeddings=1024,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        use_cache=True,
    )
    config._attn_implementation = "sdpa"
    torch.manual_seed(arguments.seed)
    return transformers.LlamaForCausalLM(config)


def loss_of(model, block):
    """Mean cross-entropy of the next token, in nats."""
    with torch.autocast("cpu", torch.bfloat16, enabled=model.training):
        logits = model(input_ids=block[:, :-1], use_cache=False).logits
    return torch.nn.functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]).float(), block[:, 1:].reshape(-1)
    )


def held_out_loss(model, blocks):
    model.eval()
    with torch.no_grad():
        loss = sum(float(loss_of(model, block)) for block in blocks) / len(blocks)
    model.train()
    return loss


def train(model, stream, held_out, arguments):
    """AdamW with a linear warm-up and a cosine to a tenth; returns the losses and the seconds.

    Matrix products of the training steps are in bfloat16 (autocast); weights, optimiser state and
    the held-out loss are in float32.
    """
    decayed = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=arguments.rate, betas=(0.9, 0.95))
    begin = time.monotonic()
    history = []
    for step in range(arguments.steps):
        warm = min(1.0, (step + 1) / arguments.warmup)
        fall = 0.1 + 0.45 * (1 + math.cos(math.pi * step / arguments.steps))
        for group in optimiser.param_groups:
            group["lr"] = arguments.rate * warm * fall
        loss = loss_of(model, stream.next())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if step % 100 == 0 or step + 1 == arguments.steps:
            seconds = time.monotonic() - begin
            held = held_out_loss(model, held_out)
            history.append(
                {"step": step, "train": round(loss.item(), 4), "held_out": round(held, 4)}
            )
            print(
                f"step {step}: train {loss.item():.4f}, held out {held:.4f}, {seconds:.0f} s",
                flush=True,
            )
    return history, time.monotonic() - begin


def config_tree(config):
    """config.json with the spelling that nearly all published Llama checkpoints use."""
    tree = config.to_dict()
    rope = tree.pop("rope_parameters")
    keys = [
        "model_type",
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "hidden_act",
        "max_position_embeddings",
        "rms_norm_eps",
        "attention_bias",
        "attention_dropout",
        "mlp_bias",
        "initializer_range",
        "bos_token_id",
        "eos_token_id",
        "tie_word_embeddings",
        "use_cache",
    ]
    out = {"architectures": ["LlamaForCausalLM"]}
    out.update((key, tree[key]) for key in keys)
    out.update(rope_theta=rope["rope_theta"], rope_scaling=None, torch_dtype="bfloat16")
    out["transformers_version"] = transformers.__version__
    return out


def write_json(path, tree):
    path.write_text(json.dumps(tree, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def save(model, tokenizer, report, folder):
    """Write the Hugging Face directory."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    write_json(folder / "config.json", config_tree(model.config))
    write_json(
        folder / "generation_config.json",
        {
            "bos_token_id": 0,
            "eos_token_id": 0,
            "pad_token_id": 0,
            "do_sample": False,
            "transformers_version": transformers.__version__,
        },
    )
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": 1024,
            "bos_token": END,
            "eos_token": END,
            "pad_token": END,
            "unk_token": END,
            "add_bos_token": False,
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": False,
        },
    )
    tensors = {
        name: value.to(torch.bfloat16).contiguous()
        for name, value in model.state_dict().items()
        if name != "lm_head.weight"
    }
    path = folder / "model.safetensors"
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)
    write_json(folder / "training.json", report)
    total = sum(file.stat().st_size for file in folder.iterdir())
    if total > LIMIT:
        raise SystemExit(f"{folder} has {total} bytes, more than {LIMIT}")
    print(f"wrote {folder}, {total} bytes")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("build/sample-model"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--warmup", type=int, default=100, help="steps of rising learning rate")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--vocab", type=int, default=2048)
    parser.add_argument("--hidden", type=int, default=192)
    parser.add_argument("--intermediate", type=int, default=512)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--kv-heads", type=int, default=2)
    parser.add_argument("--tokenizer-pieces", type=int, default=20000)
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    tokenizer = make_tokenizer(arguments.seed, arguments.vocab, arguments.tokenizer_pieces)
    arguments.out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(arguments.out / "tokenizer.json"), pretty=False)
    stream = Stream(tokenizer, arguments.seed + 1, arguments.batch, arguments.context)
    other = Stream(tokenizer, arguments.seed + 2, 8, arguments.context)
    held_out = [other.next() for _ in range(4)]
    model = make_model(arguments)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{parameters} parameters, {arguments.steps} steps", flush=True)

    history, seconds = train(model, stream, held_out, arguments)
    full = held_out_loss(model, held_out)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(torch.bfloat16).float())
    rounded = held_out_loss(model, held_out)
    options = {key: value for key, value in vars(arguments).items() if key != "out"}
    save(
        model,
        tokenizer,
        {
            "options": options,
            "parameters": parameters,
            "training_seconds": round(seconds),
            "training_tokens": arguments.steps * arguments.batch * arguments.context,
            "corpus_documents": stream.documents,
            "corpus_characters": stream.characters,
            "held_out_loss_float32": round(full, 4),
            "held_out_loss_bfloat16_weights": round(rounded, 4),
            "torch_version": torch.__version__,
            "history": history,
        },
        arguments.out,
    )


if __name__ == "__main__":
    main()
