"""Experience replay: a buffer of old labelled rows is mixed into the rows of each new task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from rewarm.hashing import seed_of
from rewarm.quantities import PositiveCount
from rewarm.tasks import Arrived, Beginning, Way

if TYPE_CHECKING:
    from rewarm.evaluation.learners import Rows


class Replay(Way):
    """A buffer of `rows` labelled rows, an equal part of each earlier task, learned with the new task's rows.

    A task's part is drawn by seed and name alone, and shrinks to the first of the drawn as tasks come: so it is what a
    buffer would still hold that was filled while the task was there. `times` repeats the buffer in an epoch. The buffer
    is old data with labels, which the ways without it do without.
    """

    paper: ClassVar[str] = "Chaudhry et al. 2019 (arXiv 1902.10486)"
    about: ClassVar[str] = "a buffer of old labelled rows is learned along with each task"

    rows_kept: Annotated[PositiveCount, Field(alias="rows")] = 200
    times: Annotated[int, Field(ge=1, le=1000)] = 1

    @property
    def reads_old_labels(self) -> bool:
        """Those in the buffer."""
        return True

    def rows(self, beginning: Beginning) -> Rows:
        """The task's rows, and behind them the buffer."""
        from rewarm.tasks.rows import Joined

        assert beginning.task.train is not None  # the task at hand always has them
        held = self.buffer(beginning) * self.times
        return Joined([(beginning.task.number, beginning.task.train), *held])

    def buffer(self, beginning: Beginning) -> list[tuple[int, Rows]]:
        """Number and kept rows of each earlier task: `rows` split equally, what is left over going to the first."""
        from rewarm.tasks.rows import Some

        share, over = divmod(self.rows_kept, max(1, len(beginning.earlier)))
        found: list[tuple[int, Rows]] = []
        for place, task in enumerate(beginning.earlier):
            drawn = self._drawn(task, beginning.stream_seed)[: share + (place < over)]
            if drawn and task.train is not None:
                found.append((task.number, Some(task.train, drawn)))
        return found

    def _drawn(self, task: Arrived, seed: int) -> list[int]:
        import numpy as np

        count = len(task.train.lengths) if task.train is not None else 0
        drawn: list[int] = np.random.default_rng(seed_of(seed, "buffer", task.name)).permutation(count).tolist()
        return drawn
