# SPDX-License-Identifier: MIT
"""Classes with a fixed set of fields that refuse every other, as pydantic's with extra=forbid."""

from typing import Any


class Strict:
    """Fields and their defaults are in `model_fields`, of the bases first."""

    model_fields: dict[str, Any] = {}

    def __init__(self, **given: Any):
        for name in given:
            if name not in self.model_fields:
                raise ValueError(
                    f"1 validation error for {type(self).__name__}\n{name}\n"
                    f"  Extra inputs are not permitted [type=extra_forbidden, input_value=...]"
                )
        for name, default in {**self.model_fields, **given}.items():
            setattr(self, name, default() if isinstance(default, type) else default)
