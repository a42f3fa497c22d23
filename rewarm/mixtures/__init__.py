"""Which corpus gives the next row, by tokens. One file each; the class is its options.

Laws: the shares sum to 1 at any progress; the realised share over a stage is within 0.5 % of the planned one.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from rewarm.methods import Method


class Mixture(Method):
    """Slot: the share of tokens per corpus as a function of progress.

    A mixture is `constant` when its shares do not depend on progress; its draw is then found without asking each step.
    `replaces` are keys of the stage's replay that the mixture decides itself; a plan may not set them beside it.
    """

    constant: ClassVar[bool] = False
    replaces: ClassVar[frozenset[str]] = frozenset()

    def replayed(self, epochs: float | None) -> float | None:
        """Replayed tokens on top of each new one, for a mixture that decides it; None leaves it to the stage.

        `epochs` is the stage's budget, None where that counts tokens. UserError when the mixture cannot keep to it.
        """
        return None

    @abstractmethod
    def shares(self, progress: float, weights: Mapping[str, float]) -> dict[str, float]:
        """The share of each corpus at `progress` in [0, 1) of the stage, given the plan's weights (which sum to 1)."""


SLOT = Mixture
