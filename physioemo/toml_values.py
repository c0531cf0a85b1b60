"""What a value of a declaration in TOML is: each function returns it, or None if it is another."""

import math
from typing import Any

__all__ = ["finite_number", "plain_text"]


def plain_text(value: Any) -> str | None:
    """Return a text that says something, or None."""
    return value if isinstance(value, str) and value.strip() else None


def finite_number(value: Any) -> float | None:
    """Return a number that is finite and no truth value, or None."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None
