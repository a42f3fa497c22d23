"""CMR law: the change of loss with tokens at one mixture, arXiv 2407.17467 (EMNLP 2024).

Published, for each mixture ratio on its own, T being the tokens:

    domain   dL = a1 T^s1 + b1
    general  dL = a2 T^s2 + a3 T^s3 + b2          (rises, then falls)

Here all mixtures share the exponents, and so that one fit speaks of any share: T of the domain is that of its own
tokens; the rise of general loss is divided by (r + shift)^g, r being its share. As in our D-CPT law, T stands for
tokens x peak^k.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from rewarm.planner import Floats, Law, Parameter, Role, Settings


class Cmr(Law):
    """new: a1 T^s1 + b1; old: a2 T^s2 / (r + shift)^g + a3 T^s3 + b2, with T = tokens x peak^k."""

    paper: ClassVar[str] = "arXiv 2407.17467"
    formula: ClassVar[str] = "new: a1 T^s1 + b1; old: a2 T^s2 / (r + shift)^g + a3 T^s3 + b2; T = tokens x peak^k"
    uncertain: ClassVar[str] = (
        "published for each ratio on its own: how a and T depend on the ratio and the peak is ours"
    )

    shift: Annotated[float, Field(gt=0, lt=1)] = 0.01

    def parameters(self, role: Role) -> tuple[Parameter, ...]:
        """a1, s1, b1, k of new text; ln a2, s2, g, a3, s3, b2, k of old."""
        peak = Parameter("k", 0.8, 0.4, -1.0, 3.0)
        if role == "new":
            return (
                Parameter("a1", 0.7, 0.7),
                Parameter("s1", -0.4, 0.3, -3.0, -0.01),
                Parameter("b1", -1.5, 1.0),
                peak,
            )
        return (
            Parameter("ln a2", -1.0, 1.0),
            Parameter("s2", 0.3, 0.3, 0.0, 3.0),
            Parameter("g", 0.3, 0.3, 0.0, 3.0),
            Parameter("a3", -0.3, 0.7),
            Parameter("s3", 0.7, 0.3, 0.0, 3.0),
            Parameter("b2", 0.0, 0.3),
            peak,
        )

    def change(self, role: Role, theta_K: Floats, at: Settings) -> Floats:
        """The law's value over the scale."""
        tokens = at.tokens_N * at.peak_N ** theta_K[-1]
        if role == "new":
            a1, s1, b1, _ = theta_K
            return np.asarray(a1 * (np.maximum(at.own(role), 1e-6) * tokens) ** s1 + b1)
        log_a2, s2, g, a3, s3, b2, _ = theta_K
        rise = np.exp(log_a2) * tokens**s2 / (at.replay_N + self.shift) ** g
        return np.asarray(rise + a3 * tokens**s3 + b2)
