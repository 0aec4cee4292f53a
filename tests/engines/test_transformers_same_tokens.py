# SPDX-License-Identifier: MIT
"""transformers and the engine cpu do the same work: prompts cut alike, the same greedy tokens."""

import os
import pathlib
import shutil
import tempfile

import same_tokens
import tap
import transformers

MODELS = pathlib.Path(os.environ["LLEM_TEST_SOURCE_DIR"]) / "tests/data/models"


def test_llama_alone_and_in_ragged_batches():
    same_tokens.compare("transformers", MODELS / "llama")
    same_tokens.compare("transformers", MODELS / "llama", {"batch_size": 4})


def test_qwen2_and_gpt2():
    with tempfile.TemporaryDirectory() as tmp:
        # transformers splits texts for any Qwen2 as the real ones do, whatever tokenizer.json says:
        # the file that it writes says so, and cpu goes by the file.
        model = pathlib.Path(tmp) / "qwen2"
        shutil.copytree(MODELS / "qwen2", model)
        transformers.AutoTokenizer.from_pretrained(model).save_pretrained(model)
        same_tokens.compare("transformers", model, {"batch_size": 2})
    same_tokens.compare("transformers", MODELS / "gpt2", {"batch_size": 2})


def test_scaled_positions_and_going_on_after_the_end():
    same_tokens.compare(
        "transformers", MODELS / "llama3-rope", {"batch_size": 5}, {"ignore_eos": True}
    )


if __name__ == "__main__":
    tap.run()
