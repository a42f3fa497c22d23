"""A pool of prompts with keys: each row gets the prompts whose keys are closest to it (PP), the base frozen.

CodeTask-CL (Yadav et al. 2023, arXiv 2307.02435): L = L_LM - pull * sum over the chosen keys of cos(q(x), k), where
q(x) is the mean last hidden state of the frozen base over the prompt of a row. With teacher forcing (PP-TF) a row of
the training gets the keys assigned to its task, and one that is asked about gets the closest, whatever its task.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from rewarm.quantities import PositiveCount
from rewarm.tasks import Arrived
from rewarm.tasks.prompting import PromptedWay
from rewarm.types import UserError

if TYPE_CHECKING:
    from rewarm.evaluation.learners import Learner
    from rewarm.evaluation.prompted import PromptedAnswerer
    from rewarm.tasks import Beginning


class PromptPool(PromptedWay):
    """`keys` prompts of `length` vectors stand before each row, out of a pool.

    A task has `keys` keys assigned: `shared` with each other task, the rest its own. N tasks make N keys - N(N-1)/2
    shared: 68 of 4 tasks with 20 keys, of which each pair shares 2, as in the authors' code.

    `key_init: stream` sees only what has arrived: a task brings new keys, made of its own rows, and takes `shared` of
    the own ones of each earlier task for the pair, so that every task has `keys` at every time and the last one
    completes the published assignment. `random` does the same with keys and prompts drawn at random. `upfront` is the
    published one: all keys are made before the first task, of rows of all tasks (of both tasks, where they are
    shared); it `peeks_ahead`. `pool` is a number of keys made at once before the first task, at random or `upfront`,
    with no assignment.

    `pull` is the published lambda, `key_rate` the learning rate of keys as a factor of that of prompts.
    """

    paper: ClassVar[str] = "arXiv 2307.02435"
    about: ClassVar[str] = "prompts chosen by the text itself, by keys, the base frozen"

    keys: PositiveCount = 20
    length: PositiveCount = 5
    shared: Annotated[int, Field(ge=0)] = 2
    pool: PositiveCount | None = None
    key_init: Literal["stream", "random", "upfront"] = "stream"
    teacher_forcing: bool = False
    pull: Annotated[float, Field(ge=0)] = 0.1
    key_rate: Annotated[float, Field(gt=0)] = 1.0

    @field_validator("teacher_forcing", mode="before")
    @classmethod
    def _in_training_alone(cls, value: Any) -> Any:
        if value == "both":
            raise ValueError(
                "'both' tells the model the task of each text that it is asked about: those are prompts by task under "
                "another name. Use type: task-prompts, or true for training alone"
            )
        return True if value == "train" else value

    @model_validator(mode="after")
    def _fits(self) -> PromptPool:
        if self.pool is not None and self.key_init == "stream":
            raise ValueError(
                f"pool: {self.pool} keys cannot be made at once of tasks that have not arrived: set key_init to random "
                "or upfront, or leave pool out"
            )
        if self.pool is not None and self.teacher_forcing:
            raise ValueError("pool: teacher_forcing assigns keys by `keys` and `shared`: leave pool out")
        if self.pool is not None and self.pool < self.keys:
            raise ValueError(f"pool: {self.pool} is less than the {self.keys} keys of a row: raise it or lower keys")
        if self.shared >= self.keys:
            raise ValueError(f"shared: {self.shared} must be below keys ({self.keys})")
        return self

    @property
    def peeks_ahead(self) -> bool:
        """Whether keys are made of tasks that have not arrived."""
        return self.key_init == "upfront"

    @property
    def prefix(self) -> int:
        """The vectors of the chosen prompts."""
        return self.keys * self.length

    def check(self, tasks: int) -> None:
        """UserError where sharing would leave a task no key to itself."""
        if self.pool is None:
            self._own(tasks)

    def learner(self, plain: Learner, seed: int) -> Learner:
        """The base, frozen, with an empty pool."""
        from rewarm.evaluation.prompted import Choice, PromptedAnswerer

        choice = Choice("query", self.keys, self.teacher_forcing, self.pull, self.key_rate)
        return PromptedAnswerer(plain.body, self.length, choice)

    def arrive(self, learner: Learner, beginning: Beginning) -> None:
        """Gives the pool what the task brings: new keys, or all of them before the first task."""
        prompted = self.prompts_of(learner)
        if self.key_init != "upfront" and self.pool is None:
            self._grow(prompted, beginning)
        elif not len(prompted.pool):
            self._make(prompted, beginning)

    def _grow(self, prompted: PromptedAnswerer, beginning: Beginning) -> None:
        number = beginning.task.number
        own = self._own(1 + len(beginning.earlier))
        for other in beginning.earlier:
            prompted.pool.share(other.number, number, self.shared)
        source = beginning.task if self.key_init == "stream" else None
        self.add(prompted, source, [(number, number)] * own, beginning.seed)

    def _own(self, tasks: int) -> int:
        """The keys that each of so many tasks has to itself; UserError where none would be left."""
        own = self.keys - (tasks - 1) * self.shared
        if own < 1:
            raise UserError(
                f"prompt-pool: {tasks} tasks that share {self.shared} keys in pairs leave {own} of {self.keys} keys to "
                "a task itself: raise keys or lower shared"
            )
        return own

    def _make(self, prompted: PromptedAnswerer, beginning: Beginning) -> None:
        tasks = [beginning.task, *(beginning.to_come if self.key_init == "upfront" else ())]
        for source, owners in self._shares(tasks):
            self.add(prompted, source if self.key_init == "upfront" else None, owners, beginning.seed)

    def _shares(self, tasks: list[Arrived]) -> list[tuple[Arrived, list[tuple[int, int]]]]:
        """The owners of the keys that are made of each task's rows."""
        if self.pool is not None:
            even = [self.pool // len(tasks) + (place < self.pool % len(tasks)) for place in range(len(tasks))]
            return [(task, [(task.number, task.number)] * count) for task, count in zip(tasks, even, strict=True)]
        own = self._own(len(tasks))
        made: dict[int, list[tuple[int, int]]] = {task.number: [(task.number, task.number)] * own for task in tasks}
        for first, second in combinations([task.number for task in tasks], 2):
            for key in range(self.shared):
                made[(first, second)[key % 2]].append((first, second))
        return [(task, made[task.number]) for task in tasks]
