"""The stages of a plan: which text, how much of it, at what learning rate, and what is replayed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from math import inf
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from rewarm.methods import Method, Options, build, checked
from rewarm.quantities import Count, PositiveCount, Share, parse_share

OLD, NEW, SELF, REPLAYED, EARLIER = "old", "new", "self", "replay", "earlier"
"""Words for text: the plan's `old_corpus` (or what the stage replays), the stage's own data, samples of the model,
rows of the stage's batches that are replay, and what the stages before it learned."""


def parse_name(value: Any) -> str:
    """A name from a plan; a year or a date that YAML reads as a number or a date is one too. ValueError otherwise."""
    if isinstance(value, date) or (isinstance(value, int) and not isinstance(value, bool)):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError(f"give a name; this reads as {value!r}, so put it in quotes if it is one")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}", value):
        raise ValueError(
            "a name is made of letters, digits, '.', '_' and '-', begins with a letter or digit, and is at most 60 long"
        )
    return value


def repeated(names: Sequence[str]) -> list[str]:
    """The names that occur more than once, sorted."""
    return sorted({name for name in names if names.count(name) > 1})


Name = Annotated[str, BeforeValidator(parse_name)]
"""A name of the user's, which also names files."""


HalfLife = Annotated[float, Field(ge=0)]
Names = Annotated[tuple[Name, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]
"""Several names, or one alone."""


class Spikes(Options):
    """Which updates are left out: those of a loss or gradient that is not finite, and of a loss above the mean of the
    last `window` steps by more than `sigma` of their standard deviations. More than `most` of a stage stop the run."""

    sigma: Annotated[float, Field(gt=0)] = 6.0
    window: Annotated[int, Field(ge=8, le=1_000_000)] = 128
    most: Annotated[int, Field(ge=1, le=1_000_000)] = 10


class Portion(Options):
    """A corpus of a stage and its weight among the stage's corpora (weights count tokens, and are normalised)."""

    corpus: Name
    weight: Annotated[float, Field(gt=0)] = 1.0


def _replayed_share(value: Any) -> float | str:
    """A share above 0, or the words 1/t."""
    if value == "1/t":
        return "1/t"
    share = parse_share(value)
    if not 0 < share < inf:
        raise ValueError("give a share above 0, or 1/t")
    return share


class Replay(Options):
    """Old text mixed into a stage.

    `from` names a corpus, or several. `earlier` is what the stages before this one learned, each corpus a source;
    `self` is text sampled from the stage's starting model, `tokens` of it. With mode `substitutive` replay takes
    `share` of the token budget, with `additive` it comes on top, as `share` of the new tokens (1 is as many). A share
    of `1/t` leaves new text one part of t, t - 1 being the number of sources. Sources share replay equally, or by age:
    the weight of one that was last learned `age` stages ago is 2^(-age / half_life), where `half_life` (in stages) is
    one number or one for each source (a source without one does not fade; 0 is never replayed). `stale` names probe
    sets of the plan, or is true for those of this stage and earlier ones: a replayed document that states a fact they
    call changed is left out. `proxy` says that the text stands in for pre-training data that could not be had.
    """

    SYNONYMS: ClassVar[dict[str, str]] = {
        "ratio": "share", "weight": "share", "corpus": "from", "path": "from", "stale_filter": "stale",
        "decay": "half_life",
    }  # fmt: skip

    from_: Name | Annotated[tuple[Name, ...], Field(min_length=1)] = Field(alias="from")
    share: Annotated[float | Literal["1/t"], BeforeValidator(_replayed_share)] = 0.05
    mode: Literal["substitutive", "additive"] = "substitutive"
    half_life: HalfLife | dict[Name, HalfLife] | None = None
    stale: bool | Names = False
    proxy: bool = False
    tokens: PositiveCount = 200_000
    temperature: Annotated[float, Field(gt=0)] = 1.0

    @model_validator(mode="after")
    def _sources_and_share_agree(self) -> Replay:
        for name in repeated(self.sources):
            raise ValueError(f"from names '{name}' twice: name each source once")
        if self.share == "1/t" and self.mode == "additive":
            raise ValueError("a share of 1/t divides the stage's tokens: it goes with mode substitutive only")
        if self.mode == "substitutive" and not isinstance(self.share, str) and self.share >= 1:
            raise ValueError(
                f"a share of {self.share:g} leaves no token for new text: give one below 1, or mode additive"
            )
        return self

    @property
    def sources(self) -> tuple[str, ...]:
        """What `from` names."""
        return (self.from_,) if isinstance(self.from_, str) else self.from_

    @property
    def named(self) -> list[str]:
        """The corpora that `from` names, without words."""
        return [name for name in self.sources if name not in (SELF, EARLIER)]

    def weight(self, source: str, age: int) -> float:
        """How much of a source that was last learned `age` stages ago is replayed, against one that does not fade.

        A name of `half_life` stands for the source of that name, or those of a stream: `wiki` for `wiki-2021-09`.
        """
        lives = self.half_life
        if isinstance(lives, dict):
            owner = next((name for name in (source, *_streams(source)) if name in lives), None)
            life = None if owner is None else lives[owner]
        else:
            life = lives
        return 1.0 if life is None else 0.0 if life == 0 else 2.0 ** (-age / life)


def _streams(source: str) -> list[str]:
    """The names that a corpus of a stream could have got its own from, the longest first."""
    return [source[:place] for place in range(len(source) - 1, 0, -1) if source[place] == "-"]


class Release(Options):
    """A branch annealed for release at the end of a stage, while the trunk goes on from before the anneal."""

    tokens: PositiveCount
    shape: Literal["exponential", "linear", "one-minus-sqrt"] = "exponential"
    floor: Share = 0.1


def by_corpus(value: Any) -> Any:
    """A list of mappings from one or several of them, each of which may be the name of a corpus alone."""
    items = value if isinstance(value, list | tuple) else [value]
    return [item if isinstance(item, Mapping | Options) else {"corpus": item} for item in items]


def _method(folder: str) -> BeforeValidator:
    return BeforeValidator(lambda value: build(folder, value, ""))


def _retention(value: Any) -> tuple[Method, ...]:
    """Methods from one of them or a list, by name or as mappings; `none` stands for none."""
    items = value if isinstance(value, list | tuple) else [value]
    found = [build("retention", item, "") for item in items if item not in (None, "none")]
    for name in repeated([method.method_name() for method in found]):
        raise ValueError(f"'{name}' is given twice: a stage holds each retention method once")
    return tuple(found)


def _objective(value: Any) -> Method:
    if isinstance(value, list | tuple):
        raise ValueError("a stage has one objective: give its name or a mapping with 'type', and no list")
    return build("objectives", value, "")


def _adapter(value: Any) -> Method | None:
    if isinstance(value, list | tuple):
        raise ValueError("a stage has one adapter: give its name or a mapping with 'type', and no list")
    return None if value in (None, "none") else build("adapters", value, "")


class Select(Options):
    """Which documents of its own data a stage learns: a method's options, and these beside them.

    Before it trains, the stage's starting model scores the documents of each corpus of its data, and `share` of that
    corpus's tokens is chosen by rank, or drawn where it is `soft`. `task` names a corpus like which the model is to
    become good, for a method that compares with one.
    """

    method: SerializeAsAny[Method]
    share: Annotated[Share, Field(gt=0)]
    soft: bool = False
    gamma: Annotated[float, Field(gt=0)] = 1.0
    task: Name | None = None

    @model_validator(mode="after")
    def _a_task_where_it_is_compared_with(self) -> Select:
        if "task" in getattr(self.method, "reads", frozenset)() and self.task is None:
            raise ValueError(f"{self.method.method_name()} compares with a task's text: name a corpus of it, as task")
        return self

    def described(self) -> dict[str, Any]:
        """As a plan writes it: the method with its options, and these."""
        return {**self.method.described(), **self.model_dump(mode="json", exclude={"method"})}


def _select(value: Any) -> Select | None:
    if value is None or isinstance(value, Select):
        return value
    options = {"type": value} if isinstance(value, str) else value
    if not isinstance(options, Mapping):
        raise ValueError("give a mapping with a method's 'type', its options and a 'share'")
    own = {key: item for key, item in options.items() if key in Select.model_fields and key != "method"}
    method = build("selection", {key: item for key, item in options.items() if key not in own}, "")
    return checked(Select, {"method": method, **own})


class Stage(Options):
    """One update: which text, how much of it, at what learning rate, and what is replayed.

    `objective` is what it minimises. `select` is which of its documents it learns. `date` is that of its text
    (`2021-09`), for a stream of dated updates.
    """

    SYNONYMS: ClassVar[dict[str, str]] = {
        "lr": "learning_rate", "peak": "learning_rate", "peak_lr": "learning_rate", "max_lr": "learning_rate",
        "lr_scheduler": "schedule", "lr_scheduler_type": "schedule", "budget": "tokens", "num_train_epochs": "epochs",
        "datasets": "data", "dataset": "data", "corpus": "data", "corpora": "data", "mix": "mixture",
        "replay_ratio": "replay", "peft": "adapter", "lora": "adapter", "regularizer": "retention",
        "regularization": "retention", "loss": "objective",
    }  # fmt: skip
    METHODS: ClassVar[dict[str, str]] = {
        "mixture": "mixtures", "schedule": "schedules", "retention": "retention", "adapter": "adapters",
        "objective": "objectives", "select": "selection",
    }  # fmt: skip

    name: Name
    data: Annotated[tuple[Portion, ...], BeforeValidator(by_corpus), Field(min_length=1)]
    tokens: Count | None = None
    epochs: Annotated[float, Field(gt=0)] | None = None
    max_epochs: Annotated[float, Field(gt=0)] = 4.0
    select: Annotated[Select | None, BeforeValidator(_select)] = None
    replay: Replay | None = None
    mixture: Annotated[SerializeAsAny[Method], _method("mixtures")] = Field(default="fixed", validate_default=True)
    schedule: Annotated[SerializeAsAny[Method], _method("schedules")] = Field(default="rewarm", validate_default=True)
    objective: Annotated[SerializeAsAny[Method], BeforeValidator(_objective)] = Field(
        default="causal", validate_default=True
    )
    learning_rate: Annotated[float, Field(gt=0)]
    retention: Annotated[tuple[SerializeAsAny[Method], ...], BeforeValidator(_retention)] = ()
    adapter: Annotated[SerializeAsAny[Method] | None, BeforeValidator(_adapter)] = None
    optimizer_state: Literal["reset", "keep", "keep-second-moment"] = "reset"
    from_: Name | None = Field(default=None, alias="from")
    release: Release | None = None
    date: Name | None = None

    @model_validator(mode="after")
    def _one_budget_and_each_corpus_once(self) -> Stage:
        if (self.tokens is None) == (self.epochs is None):
            raise ValueError("give the stage's budget as either 'tokens' or 'epochs'")
        if self.tokens == 0:
            raise ValueError("a budget of 0 tokens trains nothing")
        for corpus in repeated([portion.corpus for portion in self.data]):
            raise ValueError(f"data names corpus '{corpus}' twice: name it once, with a weight")
        return self
