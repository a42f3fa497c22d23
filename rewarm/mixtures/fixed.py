"""The plan's weights, the same from the first row to the last."""

from collections.abc import Mapping
from typing import ClassVar

from rewarm.mixtures import Mixture


class Fixed(Mixture):
    """Constant shares: each corpus has its weight of the tokens of every batch."""

    constant: ClassVar[bool] = True

    def shares(self, progress: float, weights: Mapping[str, float]) -> dict[str, float]:
        """The weights themselves."""
        return dict(weights)
