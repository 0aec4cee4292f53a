# SPDX-License-Identifier: MIT
"""The stand-in's own parts; see README.md beside this package."""

import os

__version__ = os.environ.get("LLEM_STANDIN_VERSION", "1.2.0")
NUMBERS = tuple(int(n) for n in __version__.split(".")[:2])

from .llmapi.llm import LLM  # noqa: E402
from .llmapi.sampling_params import SamplingParams  # noqa: E402

__all__ = ["LLM", "SamplingParams", "__version__"]
