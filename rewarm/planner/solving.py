"""The best settings that forget little enough: the largest gain whose interval is sure, over what pilots have seen.

Peaks and shares are never outside those of the pilots; tokens go up to the budget. Shapes: G settings tried.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rewarm.planner import Floats, Settings
from rewarm.planner.judging import Corpus, Interval

_PEAKS, _SHARES, _PARTS = 13, 15, (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class Tried:
    """The settings (G,) that are tried, in their own units: learning rates, shares, tokens."""

    peak_G: Floats
    share_G: Floats
    tokens_G: Floats


@dataclass(frozen=True, slots=True)
class Solved:
    """One of the settings, and what is forecast there for each corpus. `met` says whether every old corpus keeps below
    the limit with its upper bound; if none did, this is the one that came nearest. `beyond` of the `tried` settings
    were left out, because a law forecast no loss or less there."""

    peak: float
    share: float
    tokens: int
    met: bool
    forecasts: dict[str, Interval]
    beyond: int = 0
    tried: int = 0


def tried(
    peaks: tuple[float, float], shares: tuple[float, float], budget: int, room: Callable[[float], float]
) -> Tried:
    """A grid within these bounds; `room` gives the most tokens that the corpora hold at a share of replay."""
    peak, share, part = np.meshgrid(
        np.geomspace(*peaks, _PEAKS), np.geomspace(*shares, _SHARES), np.array(_PARTS), indexing="ij"
    )
    tokens = part.ravel() * budget
    held = np.array([room(one) for one in share.ravel()])
    fits = tokens <= held
    return Tried(peak.ravel()[fits], share.ravel()[fits], tokens[fits])


@dataclass(frozen=True, slots=True)
class Wanted:
    """What settings must keep to: the largest rise of loss on every old corpus, the smallest fall on every new one."""

    max_forget: float
    min_gain: float = 0.0


def solve(corpora: Sequence[Corpus], at: Tried, settings: Settings, wanted: Wanted, reaching: bool = True) -> Solved:
    """The settings with the surest gain on new corpora among those whose forgetting is sure to keep below the limit.

    `settings` are those of `at` as laws see them. Surest: the mean over new corpora of the upper bounds of the change
    is lowest; among those at which every new corpus gains, and enough, where there are any. Settings at which a law
    forecasts no loss or less are left out. Without `reaching`, intervals leave out what lies beyond the longest pilot.
    """
    forecasts = {one.name: one.forecast(settings, reaching) for one in corpora}
    worst_old = np.max([forecasts[one.name].high_G for one in corpora if one.role == "old"], axis=0)
    beyond = np.any([one.beyond_G for one in forecasts.values()], axis=0)
    if not beyond.all():
        worst_old = np.where(beyond, np.inf, worst_old)
    new = [forecasts[one.name] for one in corpora if one.role == "new"]
    gains = np.mean([one.high_G for one in new], axis=0)
    allowed = worst_old <= wanted.max_forget
    met = bool(allowed.any())
    enough = allowed & np.all([(one.high_G < 0) & (one.point_G <= -wanted.min_gain) for one in new], axis=0)
    allowed = enough if enough.any() else allowed
    best = int(np.where(allowed, gains, np.inf).argmin()) if met else int(worst_old.argmin())
    here = {name: one.at(best) for name, one in forecasts.items()}
    return Solved(
        float(at.peak_G[best]), float(at.share_G[best]), int(at.tokens_G[best]), met, here,
        int(beyond.sum()), len(beyond),
    )  # fmt: skip
