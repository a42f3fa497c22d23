"""Facts with a start and an end: the snapshot is what held on one day.

Offices, clubs and posts come in this form (`start`, `end`), and so do the yearly answers of time-scoped questions.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from rewarm.corpora.sources import Name
from rewarm.facts import leave_out, reject
from rewarm.facts.files import words
from rewarm.facts.triples import Triples
from rewarm.types import BadRows

NOT_BEGUN = "not begun"
OVER = "over"
NO_TIME = "neither start nor end"
NO_DATE = "start or end is not written as 2021-01-03"
_WRITTEN = re.compile(r"([-+]?)(\d{4}(?:-\d\d){0,2})(?:[T ].*)?", re.ASCII)


class Terms(Triples):
    """Facts that held on the day `at`, from its first day on up to but without the day it ended.

    A date may lack its day or month: a fact that ended in 2021 held all of 2021. No start is always, no end is still.
    Dates are written 2021-01-03 or as Wikidata writes them, +2021-01-03T00:00:00Z, where 00 is an unknown day or month;
    a row with any other, or with neither field, is bad.
    """

    paper: ClassVar[str] = "TempLAMA, arXiv 2106.15110 (facts with the time they held)"

    at: datetime.date
    start_field: Name = "start"
    end_field: Name = "end"

    def held(self) -> str:
        """The day."""
        return self.at.isoformat()

    def _wanted(self, row: Mapping[str, Any], place: str, bad: BadRows) -> bool:
        if self.start_field not in row and self.end_field not in row:
            reject(bad, NO_TIME, place)
            return False
        at = self.at.isoformat()
        start, end = (_date(words(row.get(field))) for field in (self.start_field, self.end_field))
        if start is None or end is None:
            reject(bad, NO_DATE, place)
            return False
        if start > at:
            leave_out(bad, NOT_BEGUN)
            return False
        if end and (end <= at if len(end) >= len(at) else end < at[: len(end)]):
            leave_out(bad, OVER)
            return False
        return True


def _date(written: str) -> str | None:
    """A date, month or year as ISO writes it, "" for none; None for what is no date. Before our era is the year 0."""
    match = _WRITTEN.fullmatch(written)
    if match is None:
        return None if written else ""
    return "0000" if match[1] == "-" else match[2].replace("-00", "")
