"""Dates as rows write them, and the period that a date lies in."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, date, datetime
from typing import Any, Literal, get_args

Period = Literal["year", "quarter", "month", "day"]
PERIODS: tuple[str, ...] = get_args(Period)
_WRITTEN = re.compile(r"\s*(\d{4})(?:([-/.]?)(\d{2})(?:\2(\d{2}))?)?(?!\d)")
_PARTS = {"year": 1, "quarter": 2, "month": 2, "day": 3}
_EARLIEST_STAMP = 100_000_000
"""Smaller numbers are years or dates without dashes, not seconds since 1970."""
_MILLISECONDS = 100_000_000_000


def period_of(value: Any, period: Period) -> str | None:
    """The name of the period that a row's date lies in: 2021, 2021-09 or 2021-09-14.

    A quarter is named by its first month, so that names of files are dates and sort as time goes. The date is written
    from the year on (`2021-09-14T10:30:00Z`, `2021/09`, `20210914`), or is a number of seconds or milliseconds since
    1970 (UTC). None when it is neither, is no day of the calendar, or is less exact than the period.
    """
    found = _parts(value)
    if found is None or len(found) < _PARTS[period]:
        return None
    year, *rest = found
    if period == "quarter":
        rest = [(rest[0] - 1) // 3 * 3 + 1]
    return "-".join([f"{year:04}", *(f"{part:02}" for part in rest[: _PARTS[period] - 1])])


def _parts(value: Any) -> list[int] | None:
    """Year, month and day, as many as are given; None when there is no such date."""
    if isinstance(value, date):
        return [value.year, value.month, value.day]
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= _EARLIEST_STAMP:
        try:
            stamp = datetime.fromtimestamp(value / 1000 if value >= _MILLISECONDS else value, UTC)
        except (OverflowError, ValueError, OSError):
            return None
        return [stamp.year, stamp.month, stamp.day]
    match = _WRITTEN.match(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else None
    if match is None:
        return None
    found = [int(part) for part in (match[1], match[3], match[4]) if part]
    if found[0] < 1 or (len(found) > 1 and not 1 <= found[1] <= 12):
        return None
    return None if len(found) > 2 and not 1 <= found[2] <= monthrange(*found[:2])[1] else found
