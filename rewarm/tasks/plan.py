"""The plan of `rewarm learn`: a base, tasks in files, orders of them, and the ways to learn them. Reads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, field_validator, model_validator

from rewarm.methods import Faults, Options, build, checked
from rewarm.plan_file import read_yaml
from rewarm.quantities import Count, PositiveCount, Share
from rewarm.stages import Name, parse_name, repeated
from rewarm.tasks import Kind, Way
from rewarm.tasks.reading import Task, task_of
from rewarm.types import UserError

if TYPE_CHECKING:
    from rewarm.evaluation.tuning import Tuning

Seed = Annotated[int, Field(ge=0, lt=1 << 31)]
MEASURES: dict[Kind, tuple[str, ...]] = {
    "classes": ("macro_f1", "accuracy"),
    "labelling": ("entity_f1", "macro_f1", "accuracy"),
    "answers": ("bleu", "exact_match"),
}
"""What ways may be judged by, of each kind of task; the first is the default (entity_f1: where the tags are IOB2)."""


class TuningOptions(Options):
    """How each task is tuned: keys as in `rewarm.evaluation.tuning.Tuning`.

    The rate of the i-th task of an order is max(rate_min, rate_factor x that of the one before it): LR ADJUST, Winata
    et al. 2023 (arXiv 2305.16252). A way that starts each task from the base has the first rate throughout.
    """

    SYNONYMS: ClassVar[dict[str, str]] = {"lr": "learning_rate", "steps": "max_steps", "num_train_epochs": "epochs"}

    learning_rate: Annotated[float, Field(gt=0)] = 2e-5
    epochs: PositiveCount = 3
    max_steps: PositiveCount | None = None
    batch_size: PositiveCount = 16
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    warmup: Count = 0
    decay: Literal["linear", "none"] = "linear"
    patience: PositiveCount | None = None
    eval_every: PositiveCount | None = None
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    rate_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    rate_min: Annotated[float, Field(ge=0)] = 0.0

    def at(self, place: int, seed: int, precision: str) -> Tuning:
        """The tuning of the task at a place of its order, counted from 0."""
        from rewarm.evaluation.tuning import Tuning

        options = self.model_dump(exclude={"rate_factor", "rate_min"})
        lowered = max(self.rate_min, self.rate_factor**place * self.learning_rate)
        options["learning_rate"] = min(self.learning_rate, lowered)
        return Tuning(**options, seed=seed, precision=precision)


class NamedWay(Options):
    """A way and what it is called in the results: its type, if the plan gives no name."""

    name: Name
    way: SerializeAsAny[Way]


def _tasks(value: Any) -> Any:
    """Tasks by name, from a mapping or from a list of mappings with a `name`; Faults with every fault."""
    if isinstance(value, list | tuple):
        if not all(isinstance(one, Mapping) and "name" in one for one in value):
            raise ValueError("give a mapping from names to tasks, or a list of tasks with a 'name' each")
        if twice := repeated([str(one["name"]) for one in value]):
            raise ValueError(f"the name '{twice[0]}' is given twice")
        value = {one["name"]: {key: item for key, item in one.items() if key != "name"} for one in value}
    if not isinstance(value, Mapping):
        raise ValueError("give a mapping from a name of yours to a task, with its 'kind' and 'path'")
    found: dict[str, Task] = {}
    faults: list[tuple[str, str]] = []
    for name, item in value.items():
        try:
            found[parse_name(name)] = item if isinstance(item, Task) else task_of(item, str(name))
        except Faults as error:
            faults += error.faults
        except ValueError as error:
            faults.append((str(name), str(error)))
    if faults:
        raise Faults(faults)
    return found


def _ways(value: Any) -> Any:
    items = value if isinstance(value, list | tuple) else [value]
    faults: list[tuple[str, str]] = []
    found = []
    for place, item in enumerate(items):
        if isinstance(item, NamedWay):
            found.append(item)
            continue
        options = dict(item) if isinstance(item, Mapping) else item
        name = options.pop("name", None) if isinstance(options, dict) else None
        try:
            way: Any = build("tasks", options, str(place))
            found.append(NamedWay(name=name or way.method_name(), way=way))
        except Faults as error:
            faults += error.faults
        except ValueError as error:
            faults.append((str(place), str(error)))
    if faults:
        raise Faults(faults)
    return tuple(found)


def _seeds(value: Any) -> Any:
    count = isinstance(value, int) and not isinstance(value, bool)
    if count and not 1 <= value <= 100:
        raise ValueError("give a count from 1 to 100, or a list of seeds")
    return tuple(range(value)) if count else value


class LearnPlan(Options):
    """A stream of labelled tasks of one kind, learned one after another in each order, with each seed, in each way.

    `classes` are the names of the labels; without them all that occur in the training rows of the tasks. The head is
    shared by all tasks, so a name that comes with a later task has its output from the start. `subword`: the part of a
    word whose hidden state its label is read from. `measure` is what ways are compared by.
    """

    SYNONYMS: ClassVar[dict[str, str]] = {
        "model": "base", "output": "output_dir", "methods": "ways", "seq_len": "max_length", "seed": "seeds",
        "order": "orders", "max_new_tokens": "new_tokens", "training": "tuning", "labels": "classes",
    }  # fmt: skip
    METHODS: ClassVar[dict[str, str]] = {"ways": "tasks"}

    base: Annotated[str, Field(min_length=1)]
    revision: str | None = None
    output_dir: Annotated[str, Field(min_length=1)]
    tasks: Annotated[dict[str, SerializeAsAny[Task]], BeforeValidator(_tasks), Field(min_length=2)]
    ways: Annotated[tuple[NamedWay, ...], BeforeValidator(_ways), Field(min_length=1)]
    orders: tuple[tuple[Name, ...], ...] = ()
    seeds: Annotated[tuple[Seed, ...], BeforeValidator(_seeds), Field(min_length=1)] = (0, 1, 2)
    max_length: Annotated[int, Field(ge=4)] = 128
    new_tokens: PositiveCount = 64
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    tuning: TuningOptions = TuningOptions()
    classes: tuple[str, ...] = ()
    subword: Literal["first", "last"] = "first"
    measure: str | None = None
    keep_models: bool = False
    bad_rows: Share = 0.001

    @field_validator("classes", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return tuple(map(str, value)) if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _fits(self) -> LearnPlan:
        problems = [*self._unlike(), *self._disordered()]
        if twice := repeated([one.name for one in self.ways]):
            problems.append(f"ways: '{twice[0]}' stands twice: give each a 'name' of its own")
        doubled = [key for key in ("seeds", "classes") if len(set(getattr(self, key))) < len(getattr(self, key))]
        problems += [f"{key}: the same one is given twice" for key in doubled]
        if self.classes and (self.kind == "answers" or len(self.classes) < 2):
            problems.append("classes: give two or more, of tasks of kind classes or labelling; or leave them out")
        if self.measure is not None and self.measure not in MEASURES[self.kind]:
            problems.append(f"measure: '{self.measure}' is none of {', '.join(MEASURES[self.kind])}")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _unlike(self) -> list[str]:
        kinds = sorted({task.kind for task in self.tasks.values()})
        if len(kinds) > 1:
            return [f"tasks: kinds {' and '.join(kinds)} share no head: make a plan for each kind"]
        found = [
            f"ways: '{one.name}' learns {' and '.join(one.way.kinds)}, and these tasks are {self.kind}: leave it out"
            for one in self.ways
            if self.kind not in one.way.kinds
        ]
        for one in self.ways:
            try:
                one.way.check(len(self.tasks))
            except UserError as error:
                found.append(f"ways: '{one.name}': {error}")
        return found

    def _disordered(self) -> list[str]:
        wrong = [order for order in self.orders if sorted(order) != sorted(self.tasks)]
        found = [f"orders: [{', '.join(order)}] must name each of {', '.join(self.tasks)} once" for order in wrong]
        if len(set(self.orders)) < len(self.orders):
            found.append("orders: the same order is given twice")
        return found

    @property
    def kind(self) -> Kind:
        """What the tasks ask for."""
        return next(iter(self.tasks.values())).kind

    @property
    def all_orders(self) -> tuple[tuple[str, ...], ...]:
        """The orders; without any, the given one and its reverse."""
        given = tuple(self.tasks)
        return self.orders or (given, given[::-1])

    def resolved(self) -> dict[str, Any]:
        """The plan as plain values: every default filled in."""
        values = self.model_dump(mode="json", by_alias=True)
        values["ways"] = [{"name": one.name, **one.way.described()} for one in self.ways]
        values["tasks"] = {name: task.model_dump(mode="json") for name, task in self.tasks.items()}
        return values


def load(path: str | Path) -> LearnPlan:
    """The plan in a YAML file; UserError with every fault when it is wrong."""
    return from_values(read_yaml(path, "See docs/tasks.md, or write one with: rewarm recipe languages --small"))


def from_values(values: Mapping[str, Any]) -> LearnPlan:
    """The plan behind plain values; UserError with every fault when they are wrong."""
    return checked(LearnPlan, values)
