"""Numbers as people write them in a plan: `20M` tokens, `5%`, `1e-3`."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

_MULTIPLES = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "g": 10**9, "t": 10**12}


def parse_count(value: Any) -> int:
    """A whole number from `20M`, `1.5B`, `500k`, `20_000` or a number; ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("give a whole number such as 500k, 20M or 1.5B")
    match = re.fullmatch(
        r"\s*([0-9][0-9_,]*\.?[0-9]*(?:e[+]?[0-9]+)?)\s*([kmbgt]?)\s*(?:tokens?)?\s*", str(value).lower()
    )
    if match is None:
        raise ValueError("give a whole number such as 500k, 20M or 1.5B")
    number = float(match[1].replace("_", "").replace(",", "")) * _MULTIPLES[match[2]]
    if number != int(number):
        raise ValueError("give a whole number such as 500k, 20M or 1.5B")
    return int(number)


def parse_share(value: Any) -> float:
    """A fraction from `5%` or `0.05`; ValueError for anything else."""
    if isinstance(value, str) and value.strip().endswith("%"):
        return float(value.strip()[:-1]) / 100
    if isinstance(value, bool):
        raise ValueError("give a share such as 5% or 0.05")
    return float(value)


Count = Annotated[int, BeforeValidator(parse_count), Field(ge=0)]
"""A number of tokens or bytes; accepts `20M`."""
Share = Annotated[float, BeforeValidator(parse_share), Field(ge=0.0, le=1.0)]
"""A fraction in [0, 1]; accepts `5%`."""


def short(number: float) -> str:
    """`12.3M` for 12_300_000: three significant digits and a unit."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(number) >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"


def clock(seconds: float) -> str:
    """`1 h 04 min`, `3 min 20 s` or `4.2 s`."""
    if seconds >= 3600:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"
    if seconds >= 60:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{seconds:.1f} s"
