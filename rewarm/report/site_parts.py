"""What a site of many runs is made of: a little of each run, so that hundreds fit in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rewarm.report.part import Verdict
from rewarm.report.wording import Change, counted

State = Literal["finished", "running", "stopped", "failed", "unreadable"]
Role = Literal["old", "new"]


@dataclass(frozen=True, slots=True)
class TextKey:
    """What must be the same for two losses to be of the same text: the digest of the prepared text, the held-out
    documents (how many, and their bytes), what is measured, and the tokens of a row."""

    digest: str
    documents: int
    bytes: int
    measure: str
    seq_len: int

    @property
    def known(self) -> bool:
        """Whether the text is recorded; without a digest nothing says that two texts are the same."""
        return bool(self.digest)

    def differs(self, other: TextKey) -> str:
        """In words, what keeps losses on the two from being compared; empty where nothing does."""
        if not (self.known and other.known):
            return "no digest of the text is recorded"
        found = ["other prepared text"] if self.digest != other.digest else []
        if not found and (self.documents, self.bytes) != (other.documents, other.bytes):
            found.append("other held-out documents")
        found += [f"rows of {self.seq_len} and {other.seq_len} tokens"] if self.seq_len != other.seq_len else []
        found += [f"{self.measure} and {other.measure}"] if self.measure != other.measure else []
        return ", ".join(found)


@dataclass(frozen=True, slots=True)
class Watched:
    """A watched corpus of one run, under the run's own name for it."""

    name: str
    role: Role
    key: TextKey


@dataclass(frozen=True, slots=True)
class Score:
    """One model on one corpus: nats per byte, and its change against the base of its own run."""

    loss: float
    change: Change
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Model:
    """The base of a run, or what a stage left. `weights` is its digest ("" if none is recorded), `date` the month its
    text is of or the day it was finished, `tokens` those trained since the base."""

    name: str
    weights: str
    date: str
    tokens: int
    scores: Mapping[str, Score]


@dataclass(frozen=True, slots=True)
class Gate:
    """What the gate said; `passed` is None where the run could not be judged."""

    passed: bool | None
    sentences: Sequence[str]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """One run of the site. With a `fault` it has no page and no numbers, and the fault says why.

    `models` are the base and the models along the run's own stages, the last one handed over. `lines` are the mean
    changes on old and on new text while it trained, as (tokens, change) points. `folder` is where its files lie.
    """

    slug: str
    name: str
    folder: Path
    state: State
    about: str
    fault: str = ""
    digest: str = ""
    rewarm: str = ""
    created: str = ""
    base: str = ""
    base_weights: str = ""
    stages: Sequence[str] = ()
    planned: int = 0
    tokens: int = 0
    old: Change | None = None
    new: Change | None = None
    gate: Gate | None = None
    watched: Sequence[Watched] = ()
    models: Sequence[Model] = ()
    lines: Mapping[Role, Sequence[tuple[int, float]]] = field(default_factory=dict)

    @property
    def page(self) -> str:
        """Its page from the top of the site; empty without one."""
        return "" if self.fault else f"runs/{self.slug}/index.html"

    @property
    def final(self) -> Model:
        """The model the run hands over; the base of a run that has finished no stage."""
        return self.models[-1]

    def watches(self, key: TextKey) -> Watched | None:
        """The run's own watched corpus of that text."""
        return next((one for one in self.watched if one.key == key), None)

    def lacks(self, name: str, key: TextKey) -> str:
        """Why the run has no loss on a text that others call `name`: it watches nothing of that name, or what it
        watches under it differs, and by what."""
        same = next((one for one in self.watched if one.name == name), None)
        said = "not watched" if same is None else same.key.differs(key)
        return "other text" if said.startswith("other") else said


@dataclass(frozen=True, slots=True)
class Difference:
    """A run's final model less the reference's on the same documents, over the base's loss; or why there is none."""

    change: Change | None
    verdict: Verdict | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A text that at least two runs of a comparison watch, under the name the first of them gives it."""

    name: str
    role: Role
    key: TextKey


def labels(columns: Sequence[Column]) -> list[str]:
    """The names of some columns, in order; texts of one name are told apart by the first thing they differ in."""
    return [_label(column, [one.key for one in columns if one.name == column.name]) for column in columns]


def _label(column: Column, alike: Sequence[TextKey]) -> str:
    if len(alike) == 1:
        return column.name

    def told(key: TextKey) -> tuple[str, ...]:
        return counted(key.documents, "document"), f"rows of {key.seq_len}", key.measure, key.digest[:8]

    own = told(column.key)
    apart = [said for place, said in enumerate(own) if len({told(key)[place] for key in alike}) == len(alike)]
    return f"{column.name}, {(apart or [', '.join(own)])[0]}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs of one base. Differences are against `reference`, by slug and column: the oldest finished run that shares
    most texts with others. `apart` names what of a run cannot be compared, and why."""

    slug: str
    base: str
    weights: str
    runs: Sequence[RunFacts]
    columns: Sequence[Column]
    reference: RunFacts
    differences: Mapping[str, Sequence[Difference]]
    apart: Sequence[tuple[RunFacts, str, str]]

    @property
    def page(self) -> str:
        """Its page from the top of the site."""
        return f"compare/{self.slug}.html"


@dataclass(frozen=True, slots=True)
class Moment:
    """A model of a history, the run it is of, and the tokens trained since the history's first base."""

    run: RunFacts
    model: Model
    tokens: int


@dataclass(frozen=True, slots=True)
class Line:
    """A watched text through a history. `changes` are against its loss under the first model that was scored on it, at
    the place `start`; None where a model was not scored, and without an interval where `paired` says so."""

    column: Column
    start: int
    losses: Sequence[float | None]
    changes: Sequence[Change | None]
    paired: Sequence[bool]


@dataclass(frozen=True, slots=True)
class History:
    """Models one after another: the stages of a run, and of the runs that went on from what it left."""

    slug: str
    runs: Sequence[RunFacts]
    moments: Sequence[Moment]
    lines: Sequence[Line]
    notes: Sequence[str]

    @property
    def page(self) -> str:
        """Its page from the top of the site."""
        return f"history/{self.slug}.html"


@dataclass(frozen=True, slots=True)
class Site:
    """Everything the pages say. `alone` are runs that are in no comparison, with the reason."""

    runs: Sequence[RunFacts]
    comparisons: Sequence[Comparison]
    alone: Sequence[tuple[RunFacts, str]]
    histories: Sequence[History]
    limits: str
