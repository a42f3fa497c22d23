"""Dates as rows write them, and the period that a date lies in."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, Literal, get_args

Period = Literal["year", "quarter", "month", "day"]
PERIODS: tuple[str, ...] = get_args(Period)
_WRITTEN = re.compile(r"\s*(\d{4})(?:([-/.]?)(\d{2})(?:\2(\d{2}))?)?(?!\d)")
_PARTS = {"year": 0, "quarter": 1, "month": 1, "day": 2}
_LONGEST = 20
"""Characters of a written date that are looked at; the rest is its time."""
_EARLIEST_STAMP = 100_000_000
"""Smaller numbers are years or dates without dashes, not seconds since 1970."""
_MILLISECONDS = 100_000_000_000


def period_of(value: Any, period: Period) -> str | None:
    """The name of the period that a row's date lies in: 2021, 2021-09 or 2021-09-14.

    A quarter is named by its first month, so that names of files are dates and sort as time goes. The date is written
    from the year on (`2021-09-14T10:30:00Z`, `2021/09`, `20210914`), or is a number of seconds or milliseconds since
    1970 (UTC). None when it is neither, is no day of the calendar, or is less exact than the period.
    """
    if isinstance(value, str):
        return _named(value[:_LONGEST], period)
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= _EARLIEST_STAMP:
        try:
            value = datetime.fromtimestamp(value / 1000 if value >= _MILLISECONDS else value, UTC)
        except (OverflowError, ValueError, OSError):
            return None
    if isinstance(value, date):
        return _named(f"{value.year:04}-{value.month:02}-{value.day:02}", period)
    return _named(str(value), period) if isinstance(value, int) and not isinstance(value, bool) else None


@lru_cache(maxsize=100_000)
def _named(written: str, period: Period) -> str | None:
    """Rows share their dates, so nearly every date was read before."""
    match = _WRITTEN.match(written)
    if match is None:
        return None
    year, *rest = (int(part) for part in (match[1], match[3], match[4]) if part)
    known = year >= 1 and (not rest or 1 <= rest[0] <= 12)
    if not known or (len(rest) == 2 and not 1 <= rest[1] <= monthrange(year, rest[0])[1]) or len(rest) < _PARTS[period]:
        return None
    if period == "quarter":
        rest[0] -= (rest[0] - 1) % 3
    return "-".join([f"{year:04}", *(f"{part:02}" for part in rest[: _PARTS[period]])])
