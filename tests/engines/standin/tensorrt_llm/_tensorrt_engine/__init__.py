# SPDX-License-Identifier: MIT
"""The LLM of engines that are built, from version 1.0 on."""

from ..llmapi.llm import TrtLLM as LLM

__all__ = ["LLM"]
