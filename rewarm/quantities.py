"""Numbers as people write them in a plan: `20M` tokens, `5%`, `1e-3`."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

_MULTIPLES = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "g": 10**9, "t": 10**12}


def parse_count(value: Any) -> int:
    """A whole number from `20M`, `1.5B`, `500k`, `20_000` or a number; ValueError for anything else."""
    wrong = ValueError("give a whole number such as 500k, 20M or 1.5B")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise wrong
    match = re.fullmatch(
        r"\s*([0-9][0-9_,]*\.?[0-9]*(?:e[+]?[0-9]{1,2})?)\s*([kmbgt]?)\s*(?:tokens?)?\s*", str(value).lower()
    )
    if match is None:
        raise wrong
    number = Decimal(match[1].replace("_", "").replace(",", "")) * _MULTIPLES[match[2]]
    if number != int(number):
        raise wrong
    return int(number)


def parse_share(value: Any) -> float:
    """A fraction from `5%`, `0.05` or `1/2`; ValueError for anything else."""
    wrong = ValueError("give a share such as 5%, 0.05 or 1/2")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise wrong
    text = str(value).strip()
    try:
        number = float(Fraction(text)) if "/" in text else float(text.removesuffix("%"))
    except (ValueError, ArithmeticError):
        raise wrong from None
    return number / 100 if text.endswith("%") else number


Count = Annotated[int, BeforeValidator(parse_count), Field(ge=0)]
"""A number of tokens or bytes; accepts `20M`."""
PositiveCount = Annotated[Count, Field(gt=0)]
"""A count of at least 1."""
Share = Annotated[float, BeforeValidator(parse_share), Field(ge=0.0, le=1.0)]
"""A fraction in [0, 1]; accepts `5%` and `1/2`."""


def short(number: float) -> str:
    """`12.3M` for 12_300_000: three significant digits and a unit."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(number) >= 0.9995 * size:  # 999,700 is 1M: three digits of thousands would be 1e+03k
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"


def size(number: float) -> str:
    """`12.3 GB` for 12_300_000_000 bytes."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= factor:
            return f"{number / factor:.3g} {unit}"
    return f"{number:.0f} bytes"


def clock(seconds: float) -> str:
    """`1 h 04 min`, `3 min 20 s` or `4.2 s`."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    if seconds >= 59.95:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{seconds:.1f} s"
