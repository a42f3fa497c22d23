"""Settings such as pilots have, and corpora whose pilots follow a known law."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rewarm.planner import Floats, Law, Settings
from rewarm.planner.design import Point, design

BUDGET = 100_000


def settings(peaks: list[float], shares: list[float], tokens: list[float]) -> Settings:
    """As laws see them, with a schedule whose area is proportional to peak times tokens."""
    peak, share, parts = np.array(peaks) / 1e-3, np.array(shares), np.array(tokens) / BUDGET
    return Settings(peak, share, parts, peak * parts, 0.4 * peak * parts)


@pytest.fixture(scope="session")
def points() -> list[Point]:
    """The pilots of a base that says its peak, the long one among them."""
    made = design(BUDGET, 15, sweeps=False)
    return [*made.grid(3e-3), Point(15, "long", 2e-3, 0.15, made.long)]


@pytest.fixture(scope="session")
def seen(points: list[Point]) -> Settings:
    """Those pilots as laws see them."""
    return settings([one.peak for one in points], [one.share for one in points], [one.tokens for one in points])


@pytest.fixture(scope="session")
def target() -> Settings:
    """The whole budget, at two settings that no pilot had."""
    return settings([2e-3, 1e-3], [0.15, 0.3], [BUDGET, BUDGET])


@pytest.fixture(scope="session")
def usual() -> Callable[[Law, str], Floats]:
    """A function: law, role -> parameters a third of their usual spread away from where a fit begins."""

    def make(law: Law, role: str) -> Floats:
        known = law.parameters(role)  # type: ignore[arg-type]
        signs = np.array([1, -1] * 4)[: len(known)]
        away = np.array([one.centre + sign * one.spread / 3 for one, sign in zip(known, signs, strict=True)])
        return np.clip(away, [one.low for one in known], [one.high for one in known])

    return make
