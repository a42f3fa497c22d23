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
    """

    constant: ClassVar[bool] = False

    @abstractmethod
    def shares(self, progress: float, weights: Mapping[str, float]) -> dict[str, float]:
        """The share of each corpus at `progress` in [0, 1) of the stage, given the plan's weights (which sum to 1)."""


SLOT = Mixture
