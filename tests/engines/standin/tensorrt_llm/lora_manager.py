# SPDX-License-Identifier: MIT
"""LoraConfig: the fields of tensorrt_llm/lora_manager.py."""

from .llmapi.strict import Strict


class LoraConfig(Strict):
    """Room for adapters."""

    model_fields = {
        "lora_dir": list,
        "lora_ckpt_source": "hf",
        "max_lora_rank": 64,
        "lora_target_modules": list,
        "trtllm_modules_to_hf_modules": dict,
        "max_loras": None,
        "max_cpu_loras": None,
    }
