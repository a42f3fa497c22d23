"""Chance: the control that every other way to choose must beat at equal tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rewarm.selection import Column, Judged, Selection


class Random(Selection):
    """Every document has the same chance; only the seed decides."""

    paper: ClassVar[str] = "The control of any selection; reviewers of arXiv 2311.08545 asked for it at equal tokens."
    cost: ClassVar[str] = "none"

    def parts(self) -> tuple[Selection, ...]:
        """None: nothing is measured."""
        return ()

    def judge(self, values: Sequence[Column], draw_D: Column) -> Judged:
        """The numbers drawn are the scores."""
        return Judged.of(draw_D)
