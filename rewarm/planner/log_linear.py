"""Straight lines between pilots in the logarithms of peak, tokens and share: what published laws must beat."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from rewarm.planner import Floats, Law, Parameter, Role, Settings


class LogLinear(Law):
    """c0 + c1 ln peak + c2 ln tokens + c3 ln(r + shift)."""

    paper: ClassVar[str] = "a baseline of this toolkit"
    baseline: ClassVar[bool] = True
    formula: ClassVar[str] = "c0 + c1 ln peak + c2 ln tokens + c3 ln(r + shift)"

    shift: Annotated[float, Field(gt=0, lt=1)] = 0.01

    def parameters(self, role: Role) -> tuple[Parameter, ...]:
        """c0 to c3."""
        return (
            Parameter("c0", -1.0 if role == "new" else 0.0, 1.0),
            Parameter("c1", 0.0, 0.5),
            Parameter("c2", 0.0, 0.5),
            Parameter("c3", 0.0, 0.5),
        )

    def change(self, role: Role, theta_K: Floats, at: Settings) -> Floats:
        """The law's value over the scale."""
        c0, c1, c2, c3 = theta_K
        logs = c1 * np.log(at.peak_N) + c2 * np.log(at.tokens_N) + c3 * np.log(at.own(role) + self.shift)
        return np.asarray(c0 + logs)
