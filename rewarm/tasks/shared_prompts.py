"""Shared prompts: one set of learned vectors before every row, all tasks one after another.

Prompt tuning (Lester et al. 2021, arXiv 2104.08691) as the lower bound of prompt methods in CodeTask-CL: nothing
keeps an earlier task but what the vectors still hold of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rewarm.tasks.prompting import TokenPrompts

if TYPE_CHECKING:
    from rewarm.evaluation.learners import Learner
    from rewarm.tasks import Beginning


class SharedPrompts(TokenPrompts):
    """The first task makes `tokens` vectors, of its own rows; every task goes on with them."""

    about: ClassVar[str] = "one set of prompts for all tasks, the base frozen"

    def learner(self, plain: Learner, seed: int) -> Learner:
        """The base, frozen, with one prompt before every row."""
        from rewarm.evaluation.prompted import Choice, PromptedAnswerer

        return PromptedAnswerer(plain.body, self.tokens, Choice("all"))

    def arrive(self, learner: Learner, beginning: Beginning) -> None:
        """Makes the vectors, once."""
        prompted = self.prompts_of(learner)
        if not len(prompted.pool):
            self.make(prompted, beginning)
