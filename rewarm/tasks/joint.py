"""All tasks so far at once, from the base: the ceiling, which needs every old label."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rewarm.tasks import Beginning, Way

if TYPE_CHECKING:
    from rewarm.evaluation.learners import Rows


class Joint(Way):
    """Fine-tunes the base on the rows of all tasks that have arrived: the usual upper bound of what can be kept.

    Weights are chosen by the development rows of all of them. An epoch grows with the tasks, and so do its steps.
    """

    about: ClassVar[str] = "the base fine-tuned on all tasks so far at once: the ceiling"
    starts_afresh: ClassVar[bool] = True

    @property
    def reads_old_labels(self) -> bool:
        """It does: that is what the others are to do without."""
        return True

    def rows(self, beginning: Beginning) -> Rows:
        """The training rows of all tasks so far."""
        from rewarm.tasks.rows import Joined

        tasks = [*beginning.earlier, beginning.task]
        return Joined([(task.number, task.train) for task in tasks if task.train is not None])

    def dev(self, beginning: Beginning) -> Rows:
        """The development rows of all tasks so far."""
        from rewarm.tasks.rows import Joined

        tasks = [*beginning.earlier, beginning.task]
        return Joined([(task.number, task.dev) for task in tasks if task.dev is not None])
