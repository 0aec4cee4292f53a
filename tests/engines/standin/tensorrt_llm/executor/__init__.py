# SPDX-License-Identifier: MIT
"""The names that tensorrt_llm.executor offers, as far as they are needed."""
