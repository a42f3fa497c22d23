"""Laws of continual pre-training, one file each, and the planner that fits them to short pilots.

A law says how the loss on one watched corpus changes with the peak learning rate, the replay share and the tokens of an
update. All laws speak the same units, so that what is fitted is of the order of 1: changes are shares of the base's
loss over `Setting.scale`, peaks and tokens are over a reference. None of the published ones has all three; what was
added to it is said in its file.
Shapes: N settings, K parameters of a law.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewarm.methods import Method

Role = Literal["old", "new"]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Settings:
    """Updates, as a law sees them. `peak_N` and `tokens_N` are over a reference, `replay_N` is the share of old text.

    `area_N` is the sum of the learning rates of all steps (S1 of arXiv 2408.11029), `annealed_N` the annealing area
    (its S2), both over the reference peak and the reference number of steps.
    """

    peak_N: Floats
    replay_N: Floats
    tokens_N: Floats
    area_N: Floats
    annealed_N: Floats

    def own(self, role: Role) -> Floats:
        """The share (N,) of the tokens that are of the corpus whose loss is asked for."""
        return self.replay_N if role == "old" else 1 - self.replay_N

    def take(self, places: NDArray[Any]) -> Settings:
        """The settings at some places, by numbers or by a mask."""
        return Settings(*(column[places] for column in self.columns()))

    def columns(self) -> tuple[Floats, ...]:
        """Its five columns."""
        return self.peak_N, self.replay_N, self.tokens_N, self.area_N, self.annealed_N


class Parameter(NamedTuple):
    """A parameter of a law: where its value is expected, how far from it values are usual (the weak pull of a fit: one
    such distance costs as much as one standard deviation of the noise), and its bounds."""

    name: str
    centre: float
    spread: float
    low: float = -20.0
    high: float = 20.0


class Law(Method):
    """Slot: the change of loss of one corpus at some settings. `baseline` laws are nobody's: published ones must beat
    them. `uncertain` names what of the published form we could not check."""

    baseline: ClassVar[bool] = False
    formula: ClassVar[str]
    uncertain: ClassVar[str] = ""

    @abstractmethod
    def parameters(self, role: Role) -> tuple[Parameter, ...]:
        """Its parameters (K of them), in the order that `change` takes them."""

    @abstractmethod
    def change(self, role: Role, theta_K: Floats, at: Settings) -> Floats:
        """The scaled change of loss (N,); below 0 is better than the base."""


SLOT = Law
