"""Task prompts: a set of learned vectors for each task, chosen by the task's known identity, in training and in use.

The upper bound of prompt methods in CodeTask-CL (arXiv 2307.02435): nothing is forgotten, since nothing is shared,
but a text must come with its task. Of no use where that is not known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rewarm.tasks.prompting import TokenPrompts

if TYPE_CHECKING:
    from rewarm.evaluation.learners import Learner
    from rewarm.tasks import Beginning


class TaskPrompts(TokenPrompts):
    """Each task makes `tokens` vectors of its own, of its own rows."""

    about: ClassVar[str] = "prompts for each task, chosen by known identity, the base frozen"

    @property
    def knows_task(self) -> bool:
        """It does."""
        return True

    def learner(self, plain: Learner, seed: int) -> Learner:
        """The base, frozen, with the prompt of a row's task before it."""
        from rewarm.evaluation.prompted import Choice, PromptedAnswerer

        return PromptedAnswerer(plain.body, self.tokens, Choice("task"))

    def arrive(self, learner: Learner, beginning: Beginning) -> None:
        """Makes the vectors of the task."""
        self.make(self.prompts_of(learner), beginning)
