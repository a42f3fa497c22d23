"""What ways that learn prompts on a frozen base have in common: how prompts begin, and rows kept of earlier tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from rewarm.hashing import seed_of
from rewarm.quantities import PositiveCount
from rewarm.tasks import Arrived, Beginning, Kind, Way
from rewarm.tasks.replay import Replay

if TYPE_CHECKING:
    from rewarm.evaluation.learners import Learner, Rows
    from rewarm.evaluation.prompted import PromptedAnswerer


class PromptedWay(Way):
    """A way whose learner is a frozen causal model with learned prompts.

    `scale` is how long prompt vectors begin: `unit`, as published for T5, or `embedding`, as long as the base's own
    input embeddings are on average. `replay` has the options of the way `replay` (`rows`, `times`): rows of earlier
    tasks are learned again, each with the prompts of its own task where they are chosen by task.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("answers",)

    scale: Literal["embedding", "unit"] = "embedding"
    replay: Replay | None = None

    @property
    def reads_old_labels(self) -> bool:
        """Whether rows of earlier tasks are replayed."""
        return self.replay is not None

    @staticmethod
    def prompts_of(learner: Learner) -> PromptedAnswerer:
        """The learner, which is the one that the way made."""
        from rewarm.evaluation.prompted import PromptedAnswerer

        assert isinstance(learner, PromptedAnswerer)
        return learner

    def add(
        self, learner: PromptedAnswerer, source: Arrived | None, owners: Sequence[tuple[int, int]], seed: int
    ) -> None:
        """Adds a prompt for each pair of owners: from the rows of a task, or at random where there is none."""
        from rewarm.evaluation.prompted import at_random, embedding_length, from_rows

        if not owners:
            return
        own_seed = seed_of(seed, "prompts", len(learner.pool))
        if source is None:
            keys_ND, prompts_NLD = at_random(learner, len(owners), own_seed)
        else:
            whole = source.train is None
            rows = source.text if source.train is None else source.train
            keys_ND, prompts_NLD = from_rows(learner, rows, len(owners), own_seed, whole)
        length = embedding_length(learner) if self.scale == "embedding" else 1.0
        learner.pool.add(keys_ND, prompts_NLD * length, owners)

    def rows(self, beginning: Beginning) -> Rows:
        """The task's own rows, and those that are replayed."""
        if self.replay is not None:
            return self.replay.rows(beginning)
        assert beginning.task.train is not None  # the task at hand always has them
        return beginning.task.train


class TokenPrompts(PromptedWay):
    """One prompt of `tokens` vectors before a row: of rows of the task that makes it, or at random (`init`)."""

    paper: ClassVar[str] = "arXiv 2307.02435"

    tokens: PositiveCount = 20
    init: Literal["data", "random"] = "data"

    @property
    def prefix(self) -> int:
        """The vectors."""
        return self.tokens

    def make(self, learner: PromptedAnswerer, beginning: Beginning) -> None:
        """Adds the prompt of the task at hand."""
        task = beginning.task
        self.add(learner, task if self.init == "data" else None, [(task.number, task.number)], beginning.seed)
