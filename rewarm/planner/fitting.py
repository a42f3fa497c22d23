"""A law fitted to pilots: least squares within bounds, with a weak pull of every parameter to its usual value.

The pull makes a fit of seven parameters to a dozen pilots well-posed; it costs as much as the pilots' noise, so what
pilots know they decide. Own code, because it is thirty lines and no library of the lock fits by least squares.
Shapes: N pilots, K parameters, B draws, G settings.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rewarm.planner import Floats, Law, Role, Settings

STEPS = 40
SMALLEST_NOISE = 0.01
"""Of the scale: no law is believed to fit better than this."""
_EVEN, _HIGHEST = 0.1, math.sqrt(10)
"""The noise of a peak of next to nothing, against that of the highest peak of the pilots, which is this many times the
reference."""


def weight(at: Settings) -> Floats:
    """How large errors are to be expected at some settings (N,), 1 at the highest peak: pilots at high rates differ
    much from seed to seed, and must not drown those at low ones, where little is forgotten."""
    return np.asarray(_EVEN + (1 - _EVEN) * np.minimum(1.0, at.peak_N / _HIGHEST))


@dataclass(frozen=True, slots=True)
class Fitted:
    """A law with its parameters for one corpus. `scale` is what changes were divided by, `noise` the standard deviation
    of what it leaves of them over their `weight`, in the same scaled units."""

    law: Law
    role: Role
    theta_K: Floats
    scale: float
    noise: float

    def predict(self, at: Settings) -> Floats:
        """Changes of loss (G,) as shares of the base's loss."""
        return self.scale * self.law.change(self.role, self.theta_K, at)

    def draws(self, seen: Settings, at: Settings, noise: float, count: int, seed: int) -> Floats:
        """Predictions (B, G) of fits to pilots made up by the law itself with this noise, as shares of the base's loss.

        The pulls are drawn anew, too: a parameter that pilots do not know is as uncertain as it was before them.
        """
        generator = np.random.default_rng(seed)
        usual = self.law.parameters(self.role)
        centres, spreads = (np.array([getattr(one, name) for one in usual]) for name in ("centre", "spread"))
        plain = self.law.change(self.role, self.theta_K, seen)
        found = []
        for _ in range(count):
            made = plain + noise * weight(seen) * generator.standard_normal(len(plain))
            pulled = self.theta_K + spreads * generator.standard_normal(len(centres))
            theta = _minimised(self.law, self.role, seen, made, noise, (self.theta_K, pulled), 6)
            found.append(self.law.change(self.role, theta, at))
        return self.scale * np.array(found)


def fit(law: Law, role: Role, seen: Settings, change_N: Floats, start: Fitted | None = None) -> Fitted:
    """The law that fits changes of loss (N,), shares of the base's loss, best; begun at `start` if it is given."""
    scale = max(float(np.abs(change_N).max()), 1e-9) if start is None else start.scale
    scaled = change_N / scale
    centres = np.array([one.centre for one in law.parameters(role)])
    theta, noise = (centres, 0.1) if start is None else (start.theta_K, start.noise)
    for _ in range(3 if start is None else 1):
        theta = _minimised(law, role, seen, scaled, noise, (theta, centres), STEPS)
        if start is None:
            left = (scaled - law.change(role, theta, seen)) / weight(seen)
            free = max(1.0, len(scaled) - len(centres) / 2)  # about half of what is pulled is decided by pilots
            noise = max(SMALLEST_NOISE, float(np.sqrt((left**2).sum() / free)))
    return Fitted(law, role, theta, scale, noise)


def _minimised(
    law: Law, role: Role, seen: Settings, scaled_N: Floats, noise: float, begin: tuple[Floats, Floats], steps: int
) -> Floats:
    """The parameters (K,) of least squares; `begin` holds where to begin, and where the pull draws to."""
    usual = law.parameters(role)
    low, high, spread = (np.array([getattr(one, name) for one in usual]) for name in ("low", "high", "spread"))

    def residuals(theta_K: Floats) -> Floats:
        return np.concatenate(
            [(law.change(role, theta_K, seen) - scaled_N) / (noise * weight(seen)), (theta_K - begin[1]) / spread]
        )  # fmt: skip

    return least_squares(residuals, np.clip(begin[0], low, high), (low, high), steps)


def least_squares(
    residuals: Callable[[Floats], Floats], start_K: Floats, bounds: tuple[Floats, Floats], steps: int = STEPS
) -> Floats:
    """The parameters (K,) within bounds that make the sum of squared residuals least, from `start_K`.

    Levenberg-Marquardt with differences for derivatives; steps are clipped to the bounds (More 1978).
    """
    theta, damping = start_K, 1e-2
    with np.errstate(all="ignore"):
        now = residuals(theta)
        cost = float(now @ now)
        for _ in range(steps):
            jacobian = _jacobian(residuals, theta, now, bounds)
            normal, slope = jacobian.T @ jacobian, jacobian.T @ now
            better = False
            for _ in range(8):
                step = np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-12), -slope)
                tried = np.clip(theta + step, *bounds)
                then = residuals(tried)
                found = float(then @ then)
                if np.isfinite(found) and found < cost:
                    better = True
                    break
                damping *= 4
            if not better:
                break
            gained, theta, now, cost, damping = cost - found, tried, then, found, max(damping / 5, 1e-9)
            if gained < 1e-9 * (1 + cost):
                break
    return theta


def _jacobian(
    residuals: Callable[[Floats], Floats], theta_K: Floats, now: Floats, bounds: tuple[Floats, Floats]
) -> Floats:
    columns = []
    for place, value in enumerate(theta_K):
        size = 1e-5 * max(1.0, abs(value))
        size = -size if value + size > bounds[1][place] else size
        moved = theta_K.copy()
        moved[place] += size
        columns.append((residuals(moved) - now) / size)
    found: Floats = np.nan_to_num(np.array(columns).T)
    return found
