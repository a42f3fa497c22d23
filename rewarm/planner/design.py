"""Which pilots to run: a sweep of peaks where the base's are not known, an orthogonal grid of three peaks, three replay
shares and three lengths (Taguchi's L9: every pair of levels occurs once), one repeat, and one long pilot where the
fitted laws would go, which is chosen when the others are done.

Lengths follow from the tokens that all pilots together may take; every pilot has a seed of its own, so that what laws
miss holds the noise of seeds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from rewarm.types import UserError

SHARES = (0.02, 0.1, 0.4)
PEAK_STEP = math.sqrt(10)
SWEEP = (0.1, 0.3, 1.0, 3.0)
LENGTHS = (1 / 3, math.sqrt(1 / 3), 1.0)
LONG_SHARE = 0.4
"""Of the pilots' tokens, for the one long pilot."""
FEWEST_STEPS = 12
"""Of the shortest pilot: below it, a schedule is hardly one."""
_L9 = ((0, 0, 0), (0, 1, 1), (0, 2, 2), (1, 0, 1), (1, 1, 2), (1, 2, 0), (2, 0, 2), (2, 1, 0), (2, 2, 1))
"""Level of the peak, of the share, of the length."""

Why = Literal["sweep", "grid", "repeat", "long", "adapter"]


@dataclass(frozen=True, slots=True)
class Point:
    """One pilot to run. `number` is what its seed is counted from; `tokens` are those of all its stages."""

    number: int
    why: Why
    peak: float
    share: float
    tokens: int

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.number:02d}-{self.why}-{self.peak:.2g}-{self.share:.3g}-{self.tokens}"


@dataclass(frozen=True, slots=True)
class Design:
    """The lengths of a plan's pilots, in tokens: of the three levels of the grid, and of the long one."""

    lengths: tuple[int, int, int]
    long: int
    sweeps: bool
    repeats: bool

    @property
    def pilots(self) -> int:
        """How many pilots there are."""
        return len(_L9) + 1 + (len(SWEEP) if self.sweeps else 0) + self.repeats

    @property
    def tokens(self) -> int:
        """Tokens of all of them."""
        grid = len(_L9) // 3 * sum(self.lengths)
        return grid + self.long + (len(SWEEP) if self.sweeps else 0) * self.lengths[0] + self.repeats * self.lengths[1]

    def sweep(self, peak: float) -> list[Point]:
        """Short pilots at peaks around a guess; none where the base's peak is known."""
        if not self.sweeps:
            return []
        return [
            Point(place, "sweep", peak * factor, SHARES[1], self.lengths[0]) for place, factor in enumerate(SWEEP, 1)
        ]

    def grid(self, highest: float) -> list[Point]:
        """The grid below a highest peak, and its repeat."""
        peaks = [highest / PEAK_STEP**2, highest / PEAK_STEP, highest]
        first = len(SWEEP) + 1
        found = [
            Point(first + place, "grid", peaks[peak], SHARES[share], self.lengths[length])
            for place, (peak, share, length) in enumerate(_L9)
        ]
        repeat = Point(first + len(_L9), "repeat", peaks[0], SHARES[1], self.lengths[1])
        return [*found, *([repeat] if self.repeats else [])]


def design(tokens: int, most_pilots: int, sweeps: bool) -> Design:
    """The pilots that take so many tokens together; UserError when so few pilots cannot decide anything."""
    fewest = len(_L9) + 1 + (len(SWEEP) if sweeps else 0)
    if most_pilots < fewest:
        finding = f", and {len(SWEEP)} to find the peaks of a base that does not say its own" if sweeps else ""
        raise UserError(
            f"--max-pilots {most_pilots}: at least {fewest} are needed: {len(_L9)} for three peaks, shares and "
            f"lengths, one long one{finding}"
        )
    repeats = most_pilots > fewest
    short = (1 - LONG_SHARE) * tokens
    levels = len(_L9) // 3 * sum(LENGTHS) + (len(SWEEP) if sweeps else 0) * LENGTHS[0] + repeats * LENGTHS[1]
    unit = short / levels
    first, second, third = (max(1, int(unit * level)) for level in LENGTHS)
    return Design((first, second, third), max(third + 1, int(LONG_SHARE * tokens)), sweeps, repeats)
