"""A plain power law in tokens and peak that begins at the base: what published laws must beat."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from rewarm.planner import Floats, Law, Parameter, Role, Settings


class Power(Law):
    """(c0 + c1 ln(r + shift)) tokens^b peak^k: no change after no token."""

    paper: ClassVar[str] = "a baseline of this toolkit"
    baseline: ClassVar[bool] = True
    formula: ClassVar[str] = "(c0 + c1 ln(r + shift)) tokens^b peak^k"

    shift: Annotated[float, Field(gt=0, lt=1)] = 0.01

    def parameters(self, role: Role) -> tuple[Parameter, ...]:
        """c0, c1, b, k."""
        return (
            Parameter("c0", -1.0 if role == "new" else -0.5, 1.0),
            Parameter("c1", -0.3, 0.5),
            Parameter("b", 0.3, 0.3, 0.0, 3.0),
            Parameter("k", 0.3, 0.3, -1.0, 3.0),
        )

    def change(self, role: Role, theta_K: Floats, at: Settings) -> Floats:
        """The law's value over the scale."""
        c0, c1, b, k = theta_K
        return np.asarray((c0 + c1 * np.log(at.own(role) + self.shift)) * at.tokens_N**b * at.peak_N**k)
