"""A stream of labelled tasks, learned one after another, and what keeps the earlier ones. One file a way to learn.

A file that is no way is a part of the job: its plan, rows, run and page.

Laws (tests/tasks/test_tasks_laws.py): a way sees nothing of a task that has not arrived, and no label of an earlier one
unless it `reads_old_labels`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from rewarm.methods import Method
from rewarm.types import Tell, silent

if TYPE_CHECKING:
    from rewarm.evaluation.learners import Learner, Rows
    from rewarm.evaluation.tuning import Term, Tuning

Kind = Literal["classes", "labelling", "answers"]
"""What a task asks for: a class of a text or a pair of texts, a label for each word, or a text."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A task that has arrived. `train` and `dev` are None of an earlier task, unless the way `reads_old_labels`;
    `text` are rows without a label: unlabelled text of the task's kind (its own training texts, if no other is given).

    `number` is the task's place in the plan, which `Padded.task_B` carries in `train` and `dev`, and in the rows that
    it is scored on. `text` of answers are `Answers` whose tokens are the prompts, every token asked for; of the other
    kinds the labels in it are all 0.
    """

    number: int
    name: str
    train: Rows | None
    dev: Rows | None
    text: Rows


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a way finds when a task arrives: the task, those before it in the order, and nothing of those to come.

    `to_come` has the tasks that have not arrived (their `text`, no label), for a way that `peeks_ahead` alone. `kept`
    is a folder for what is to be found again while the task is learned. `seed` is the task's, `stream_seed` the same at
    every task. Of answers, `new_tokens` is how many tokens are
    written at most, and `ends` are those that end an answer.
    """

    task: Arrived
    earlier: Sequence[Arrived]
    to_come: Sequence[Arrived]
    tuning: Tuning
    seed: int
    kept: Path
    stream_seed: int = 0
    tell: Tell = silent
    new_tokens: int = 0
    ends: tuple[int, ...] = ()


class Way(Method):
    """Slot: how a learner goes from one task to the next.

    `paper` is its source, `about` says in a clause what it does. `kinds` are the tasks it can learn.
    """

    paper: ClassVar[str] = ""
    about: ClassVar[str] = ""
    kinds: ClassVar[tuple[Kind, ...]] = ("classes", "labelling", "answers")
    starts_afresh: ClassVar[bool] = False
    """Whether each task is learned from the base, and not from what the task before left."""

    @property
    def reads_old_labels(self) -> bool:
        """Whether it asks for rows of earlier tasks with their labels; it may depend on the options (a property)."""
        return False

    @property
    def knows_task(self) -> bool:
        """Whether a model is told the task of a text that it is asked about: the report marks it."""
        return False

    @property
    def peeks_ahead(self) -> bool:
        """Whether it looks at tasks that have not arrived: the report marks it."""
        return False

    @property
    def prefix(self) -> int:
        """How many vectors stand before each row and take its positions."""
        return 0

    def check(self, tasks: int) -> None:
        """UserError, when a plan is read, if it cannot learn so many tasks."""
        return

    def learner(self, plain: Learner, seed: int) -> Learner:
        """The learner of the whole stream, made of the plain one of the base; before any task has arrived."""
        return plain

    def arrive(self, learner: Learner, beginning: Beginning) -> None:
        """Makes the learner ready for a task: what it freezes, makes or remembers. Asked again on resuming, of every
        task so far in turn, each time with the learner as it was before that task."""

    @abstractmethod
    def rows(self, beginning: Beginning) -> Rows:
        """What the task is learned from."""

    def dev(self, beginning: Beginning) -> Rows:
        """What the best weights are chosen by: the task's own rows, unless a way says otherwise."""
        assert beginning.task.dev is not None  # that of the task at hand is always there
        return beginning.task.dev

    def term(self, learner: Learner, beginning: Beginning) -> Term | None:
        """What is added to the loss of each step; asked once, before the first."""
        return None


SLOT = Way
