"""The stages of a plan: which text, how much of it, at what learning rate, and what is replayed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from rewarm.methods import Method, Options, build
from rewarm.quantities import Count, PositiveCount, Share

OLD, NEW, SELF, REPLAYED = "old", "new", "self", "replay"
"""Words for text: the plan's `old_corpus` (or what the stage replays), the stage's own data, samples of the model, and
rows of the stage's batches that are replay."""


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


class Portion(Options):
    """A corpus of a stage and its weight among the stage's corpora (weights count tokens, and are normalised)."""

    corpus: Name
    weight: Annotated[float, Field(gt=0)] = 1.0


class Replay(Options):
    """Old text mixed into a stage.

    `from` names a corpus, or is `self`: then `tokens` of text are sampled from the stage's starting model. With
    mode `substitutive` replay takes `share` of the token budget; with `additive` it comes on top of the budget, as
    `share` of the new tokens. `proxy` says that the corpus stands in for pre-training data that could not be had.
    """

    SYNONYMS: ClassVar[dict[str, str]] = {"ratio": "share", "weight": "share", "corpus": "from", "path": "from"}

    from_: Name = Field(alias="from")
    share: Annotated[Share, Field(gt=0, lt=1)] = 0.05
    mode: Literal["substitutive", "additive"] = "substitutive"
    proxy: bool = False
    tokens: PositiveCount = 200_000
    temperature: Annotated[float, Field(gt=0)] = 1.0


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


def _adapter(value: Any) -> Method | None:
    if isinstance(value, list | tuple):
        raise ValueError("a stage has one adapter: give its name or a mapping with 'type', and no list")
    return None if value in (None, "none") else build("adapters", value, "")


class Stage(Options):
    """One update: which text, how much of it, at what learning rate, and what is replayed."""

    SYNONYMS: ClassVar[dict[str, str]] = {
        "lr": "learning_rate", "peak": "learning_rate", "peak_lr": "learning_rate", "max_lr": "learning_rate",
        "lr_scheduler": "schedule", "lr_scheduler_type": "schedule", "budget": "tokens", "num_train_epochs": "epochs",
        "datasets": "data", "dataset": "data", "corpus": "data", "corpora": "data", "mix": "mixture",
        "replay_ratio": "replay", "peft": "adapter", "lora": "adapter", "regularizer": "retention",
        "regularization": "retention",
    }  # fmt: skip
    METHODS: ClassVar[dict[str, str]] = {
        "mixture": "mixtures", "schedule": "schedules", "retention": "retention", "adapter": "adapters",
    }  # fmt: skip

    name: Name
    data: Annotated[tuple[Portion, ...], BeforeValidator(by_corpus), Field(min_length=1)]
    tokens: Count | None = None
    epochs: Annotated[float, Field(gt=0)] | None = None
    max_epochs: Annotated[float, Field(gt=0)] = 4.0
    replay: Replay | None = None
    mixture: Annotated[SerializeAsAny[Method], _method("mixtures")] = Field(default="fixed", validate_default=True)
    schedule: Annotated[SerializeAsAny[Method], _method("schedules")] = Field(default="rewarm", validate_default=True)
    learning_rate: Annotated[float, Field(gt=0)]
    retention: Annotated[tuple[SerializeAsAny[Method], ...], BeforeValidator(_retention)] = ()
    adapter: Annotated[SerializeAsAny[Method] | None, BeforeValidator(_adapter)] = None
    optimizer_state: Literal["reset", "keep", "keep-second-moment"] = "reset"
    from_: Name | None = Field(default=None, alias="from")
    release: Release | None = None

    @model_validator(mode="after")
    def _one_budget_and_each_corpus_once(self) -> Stage:
        if (self.tokens is None) == (self.epochs is None):
            raise ValueError("give the stage's budget as either 'tokens' or 'epochs'")
        if self.tokens == 0:
            raise ValueError("a budget of 0 tokens trains nothing")
        for corpus in repeated([portion.corpus for portion in self.data]):
            raise ValueError(f"data names corpus '{corpus}' twice: name it once, with a weight")
        return self
