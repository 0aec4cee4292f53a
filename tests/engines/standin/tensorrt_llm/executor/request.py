# SPDX-License-Identifier: MIT
"""LoRARequest: the fields of tensorrt_llm/executor/request.py."""

import dataclasses
import os


@dataclasses.dataclass
class LoRARequest:
    """The adapter that a request wants."""

    lora_name: str
    lora_int_id: int
    lora_path: str = ""
    lora_ckpt_source: str = "hf"

    def __post_init__(self):
        if not os.path.exists(self.lora_path):
            raise ValueError(f"lora_path ({self.lora_path}) does not exist.")
