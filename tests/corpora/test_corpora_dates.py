"""Dates as rows write them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from rewarm.corpora.dates import PERIODS, Period, period_of


@pytest.mark.parametrize(
    ("value", "year", "quarter", "month", "day"),
    [
        ("2021-09-14", "2021", "2021-07", "2021-09", "2021-09-14"),
        ("2021-09-14T23:59:59-08:00", "2021", "2021-07", "2021-09", "2021-09-14"),
        (" 2021/12/01 ", "2021", "2021-10", "2021-12", "2021-12-01"),
        ("2021.01", "2021", "2021-01", "2021-01", None),
        ("20210331", "2021", "2021-01", "2021-03", "2021-03-31"),
        (20210401, "2021", "2021-04", "2021-04", "2021-04-01"),
        ("2021", "2021", None, None, None),
        (2021, "2021", None, None, None),
        (date(2020, 2, 29), "2020", "2020-01", "2020-02", "2020-02-29"),
        (datetime(2020, 2, 29, 5, tzinfo=UTC), "2020", "2020-01", "2020-02", "2020-02-29"),
        # One second before and at the end of 2020, in seconds and in milliseconds since 1970.
        (1609459199, "2020", "2020-10", "2020-12", "2020-12-31"),
        (1609459200.0, "2021", "2021-01", "2021-01", "2021-01-01"),
        (1609459200000, "2021", "2021-01", "2021-01", "2021-01-01"),
    ],
)
def test_the_period_of_a_date(value: Any, year: str, quarter: str | None, month: str | None, day: str | None) -> None:
    found: dict[Period, str | None] = {"year": year, "quarter": quarter, "month": month, "day": day}
    assert set(found) == set(PERIODS)
    assert {by: period_of(value, by) for by in found} == found


@pytest.mark.parametrize(
    "value",
    [None, "", "soon", True, 12, "2021-13-01", "2021-02-29", "2021-00", "14.09.2021", "12345", "0000-01-01",
     "2021-09/14x", ["2021-09-14"], float("inf"), float("nan"), -5],
)  # fmt: skip
def test_what_is_no_day_of_the_calendar_has_no_period(value: Any) -> None:
    assert period_of(value, "day") is None
