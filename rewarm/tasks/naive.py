"""Naive fine-tuning: each task on its own rows, from what the task before left. What forgetting is measured on."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rewarm.tasks import Beginning, Way

if TYPE_CHECKING:
    from rewarm.evaluation.learners import Rows


class Naive(Way):
    """Fine-tunes on the rows of the task that has arrived, and does nothing for the earlier ones: the lower bound."""

    about: ClassVar[str] = "fine-tuned on each task in turn, nothing holds the earlier ones"

    def rows(self, beginning: Beginning) -> Rows:
        """The task's own training rows."""
        assert beginning.task.train is not None  # the task at hand always has them
        return beginning.task.train
