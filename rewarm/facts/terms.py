"""Facts with a start and an end: the snapshot is what held on one day.

Offices, clubs and posts come in this form (`start`, `end`), and so do the yearly answers of time-scoped questions.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, ClassVar

from rewarm.corpora.sources import Name
from rewarm.facts import leave_out
from rewarm.facts.files import words
from rewarm.facts.triples import Triples
from rewarm.types import BadRows

NOT_BEGUN = "not begun"
OVER = "over"


class Terms(Triples):
    """Facts that held on the day `at`, from its first day on up to but without the day it ended.

    A date may lack its day or month: a fact that ended in 2021 held all of 2021. No start is always, no end is still.
    """

    paper: ClassVar[str] = "TempLAMA, arXiv 2106.15110 (facts with the time they held)"

    at: datetime.date
    start_field: Name = "start"
    end_field: Name = "end"

    def held(self) -> str:
        """The day."""
        return self.at.isoformat()

    def _wanted(self, row: Mapping[str, Any], bad: BadRows) -> bool:
        at = self.at.isoformat()
        start, end = words(row.get(self.start_field)), words(row.get(self.end_field))
        if start > at:
            leave_out(bad, NOT_BEGUN)
            return False
        if end and (end <= at if len(end) >= len(at) else end < at[: len(end)]):
            leave_out(bad, OVER)
            return False
        return True
