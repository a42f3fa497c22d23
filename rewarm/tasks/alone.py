"""Each task alone: from the base, on its own rows. What forward transfer is measured against."""

from __future__ import annotations

from typing import ClassVar

from rewarm.tasks.naive import Naive as _Naive


class Alone(_Naive):
    """Fine-tunes the base on one task alone, anew for each: what a task would reach without those before it."""

    about: ClassVar[str] = "the base fine-tuned on each task alone: no transfer, and one model a task"
    starts_afresh: ClassVar[bool] = True
