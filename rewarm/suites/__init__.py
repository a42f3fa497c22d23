"""Suites of tasks asked of every model of a run: what it can do besides predicting text. One file per kind of suite;
the class is its options.

A suite belongs to an ability, and what continual pre-training does to an ability is the mean change over its suites
(X-Delta of TRACE, arXiv 2310.06762; the survey arXiv 2402.01364 calls it cross-stage forgetting): GAD for general
ability, IFD for following instructions, SD for safety.

Laws (tests/suites/test_suites_laws.py): the same model gives the same answers; every row of the files is an item, left
out with a reason, or bad with a reason; a limit chooses the same items for every model of a run.

Shapes: N items.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rewarm.methods import Method
from rewarm.types import Tell, UserError, silent

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from rewarm.tokens.tokenizer import TextTokenizer

Values = NDArray[np.float64]
Ability = Literal["general", "instruction", "safety", "domain"]
ABILITIES: tuple[Ability, ...] = get_args(Ability)


@dataclass(frozen=True, slots=True)
class Asked:
    """The model that is asked, and what goes with it.

    `base` loads the untouched base of the run anew, on the model's device. `seq_len` is the plan's, in tokens;
    `precision` the number format of its passes. `seed` chooses items where a suite asks only some.
    """

    model: PreTrainedModel
    tokenizer: TextTokenizer
    base: Callable[[], PreTrainedModel]
    seq_len: int
    seed: int
    precision: torch.dtype
    tell: Tell = silent


@dataclass(frozen=True, slots=True)
class Measure:
    """One number per item; the measure of a model is the sum of `values_N` over that of `weights_N` (None: 1 each).

    An item without this measure is NaN. `unit` is what the number is: a share (0 to 1), nats per byte, ...
    """

    values_N: Values
    weights_N: Values | None = None
    better: Literal["higher", "lower"] = "higher"
    unit: str = "share"

    @property
    def asked_N(self) -> NDArray[np.bool_]:
        """Which items have the measure."""
        return ~np.isnan(self.values_N)

    @property
    def weights(self) -> Values:
        """The weight of every item (N,)."""
        return np.ones_like(self.values_N) if self.weights_N is None else self.weights_N

    @property
    def value(self) -> float:
        """The measure of the model; NaN when no item has it."""
        asked_N = self.asked_N
        return float(self.values_N[asked_N].sum() / self.weights[asked_N].sum()) if asked_N.any() else float("nan")


@dataclass(frozen=True, slots=True)
class Answers:
    """What a suite found of one model: `measures` by name, the headline first, each over the items `ids`.

    Measures of two models are held against each other item by item, so `ids` are the same for every model of a run.
    `written` is what the model wrote for each item, where it writes. `extra` holds other findings as JSON values.
    """

    ids: tuple[str, ...]
    measures: Mapping[str, Measure]
    left_out: Mapping[str, int] = field(default_factory=dict)
    bad_rows: Mapping[str, int] = field(default_factory=dict)
    written: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """UserError when a measure has not one value per item."""
        for name, measure in self.measures.items():
            shapes = {measure.values_N.shape, measure.weights.shape}
            if shapes != {(len(self.ids),)}:
                raise UserError(
                    f"measure '{name}' has the shapes {shapes} for {len(self.ids)} items: give one value each"
                )

    def as_json(self) -> dict[str, Any]:
        """Plain values, from which `from_json` makes the same answers."""
        return {
            "ids": list(self.ids),
            "measures": {name: _measure_json(measure) for name, measure in self.measures.items()},
            "left_out": dict(self.left_out),
            "bad_rows": dict(self.bad_rows),
            "written": list(self.written),
            "extra": dict(self.extra),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Answers:
        """The answers behind what `as_json` gave."""
        return cls(
            ids=tuple(values["ids"]),
            measures={name: _measure(one) for name, one in values["measures"].items()},
            left_out=values["left_out"],
            bad_rows=values["bad_rows"],
            written=tuple(values["written"]),
            extra=values["extra"],
        )


def _measure_json(measure: Measure) -> dict[str, Any]:
    return {
        "values": _numbers(measure.values_N),
        "weights": None if measure.weights_N is None else _numbers(measure.weights_N),
        "better": measure.better,
        "unit": measure.unit,
    }


def _numbers(values_N: Values) -> list[float | str | None]:
    """JSON has no word for what is no finite number: NaN is null, infinity is its name."""
    return [value if np.isfinite(value) else None if np.isnan(value) else str(value) for value in values_N.tolist()]


def _measure(values: Mapping[str, Any]) -> Measure:
    weights = values["weights"]
    return Measure(
        _array(values["values"]), None if weights is None else _array(weights), values["better"], values["unit"]
    )


def _array(numbers: list[float | str | None]) -> Values:
    return np.array([np.nan if number is None else float(number) for number in numbers], np.float64)


class Suite(Method):
    """Slot: a suite of tasks. `ability` is what it is a measure of; `headline` the measure that stands for the suite
    in the mean over an ability's suites (None: the first that it gives)."""

    asks_causal_models: ClassVar[bool] = False
    """Whether it asks what follows a text, which other models than causal language models cannot say."""

    executes: ClassVar[bool] = False
    """Whether it runs programs that a model wrote, which only the user may allow (rewarm/sandbox/permission.py)."""

    ability: Ability = "general"
    headline: str | None = None

    @abstractmethod
    def files(self) -> list[Path]:
        """The files read, sorted, none when it needs none; UserError when one is missing."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash of everything it asks: its options and what its files hold, wherever they lie."""

    def check(self, name: str, bad_limit: float) -> None:
        """UserError, before any work, when the suite that the plan calls `name` cannot ask: more bad rows than the
        share `bad_limit`, no item, or a library that is not installed."""

    def cost(self, bytes_per_token: float) -> float:
        """About how many tokens a model reads to be asked once; one that it writes counts as two. 0: unknown."""
        return 0.0

    @abstractmethod
    def answer(self, asked: Asked) -> Answers:
        """Asks a model; the same model gives the same answers, whatever was asked before."""


SLOT = Suite
