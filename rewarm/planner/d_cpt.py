"""D-CPT law: loss by mixture share and tokens, arXiv 2406.01375 (NeurIPS 2024).

Published, for the loss on one of two corpora, of which r is the share, N the parameters, D the tokens:

    L(N, D, r) = E + A / N^a + B r^eta / D^b + C / (r + eps)^g

Here N is that of one base, so A / N^a is part of E. The law has no learning rate: we put D (peak / reference)^k for D.
A learned rate-free law must not be asked for rates that no pilot had; the solver does not.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from rewarm.planner import Floats, Law, Parameter, Role, Settings


class DCpt(Law):
    """E + B r^eta / D^b + C / (r + shift)^g, with D = tokens x peak^k."""

    paper: ClassVar[str] = "arXiv 2406.01375"
    formula: ClassVar[str] = "E + B r^eta / D^b + C / (r + shift)^g, D = tokens x peak^k"
    uncertain: ClassVar[str] = "the shift of r is from memory; k, for the peak, is ours"

    shift: Annotated[float, Field(gt=0, lt=1)] = 0.01

    def parameters(self, role: Role) -> tuple[Parameter, ...]:
        """E, ln B, eta, b, ln C, g, k."""
        return (
            Parameter("E", -1.5 if role == "new" else 0.0, 1.5),
            Parameter("ln B", -0.7, 1.0),
            Parameter("eta", 0.3, 0.3, 0.0, 3.0),
            Parameter("b", 0.4, 0.3, 0.01, 3.0),
            Parameter("ln C", -1.5, 1.5),
            Parameter("g", 0.3, 0.3, 0.01, 3.0),
            Parameter("k", 0.8, 0.4, -1.0, 3.0),
        )

    def change(self, role: Role, theta_K: Floats, at: Settings) -> Floats:
        """The law's value less what is the base's loss, all over the scale: E takes both in."""
        level, log_b, eta, b, log_c, g, k = theta_K
        tokens = at.tokens_N * at.peak_N**k
        share = np.maximum(at.own(role), 1e-6)
        found: Floats = level + np.exp(log_b) * share**eta / tokens**b + np.exp(log_c) / (share + self.shift) ** g
        return found
