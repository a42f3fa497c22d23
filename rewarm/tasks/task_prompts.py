"""Task prompts: a set of learned vectors for each task, chosen by the task's known identity, in training and in use.

The upper bound of prompt methods in CodeTask-CL (arXiv 2307.02435): nothing is forgotten, since nothing is shared,
but a text must come with its task. Of no use where that is not known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from rewarm.quantities import PositiveCount
from rewarm.tasks.prompting import PromptedWay

if TYPE_CHECKING:
    from rewarm.evaluation.learners import Learner
    from rewarm.tasks import Beginning


class TaskPrompts(PromptedWay):
    """Each task makes `tokens` vectors of its own, of its own rows."""

    paper: ClassVar[str] = "arXiv 2307.02435"
    about: ClassVar[str] = "prompts for each task, chosen by known identity, the base frozen"

    tokens: PositiveCount = 20
    init: Literal["data", "random"] = "data"

    @property
    def knows_task(self) -> bool:
        """It does."""
        return True

    @property
    def prefix(self) -> int:
        """The vectors."""
        return self.tokens

    def learner(self, plain: Learner, seed: int) -> Learner:
        """The base, frozen, with the prompt of a row's task before it."""
        from rewarm.evaluation.prompted import Choice, PromptedAnswerer

        return PromptedAnswerer(plain.body, self.tokens, Choice("task"))

    def arrive(self, learner: Learner, beginning: Beginning) -> None:
        """Makes the vectors of the task."""
        prompted = self.prompts_of(learner)
        number = beginning.task.number
        self.add(prompted, beginning.task if self.init == "data" else None, [(number, number)], beginning.seed)
