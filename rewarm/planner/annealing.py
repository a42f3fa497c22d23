"""The CPT law: annealing and a shift between two hidden loss curves, arXiv 2505.07796 (ICML 2025) on 2408.11029.

    L = L0 + A (S1_before + S1)^-alpha - C S2 + B (1 - (1 + E S1)^-beta)

S1 is the sum of the learning rates, S2 the annealing area, sum over steps i of sum over k <= i of
(rate_(k-1) - rate_k) lambda^(i - k). It is the only one of the three with a learning rate of its own. B depends on the
replay ratio; how is not in our notes, so it is made linear in ln(r + shift), r being the corpus's own share. S2 counts
falls of the rate only: with the re-warming of an annealed base it would else be nearly -S1. S1 before the update is not
known of most bases, and is fitted. Where all pilots have one shape of schedule, S2 is nearly a multiple of S1, and C is
hardly known: the weak pull to 0 decides.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from rewarm.planner import Floats, Law, Parameter, Role, Settings


class Annealing(Law):
    """A ((S0 + S1)^-alpha - S0^-alpha) - C S2 + (B0 + B1 ln(r + shift)) (1 - (1 + E S1)^-beta)."""

    paper: ClassVar[str] = "arXiv 2505.07796, arXiv 2408.11029"
    formula: ClassVar[str] = "A ((S0 + S1)^-alpha - S0^-alpha) - C S2 + (B0 + B1 ln(r + shift)) (1 - (1 + E S1)^-beta)"
    uncertain: ClassVar[str] = "the form is from memory; how B depends on the replay share is ours"

    shift: Annotated[float, Field(gt=0, lt=1)] = 0.01

    def parameters(self, role: Role) -> tuple[Parameter, ...]:
        """ln A, ln S0, alpha, C, B0, B1, ln E, beta."""
        new = role == "new"
        return (
            Parameter("ln A", -2.0, 1.0),
            Parameter("ln S0", 0.7, 1.0, -4.0, 6.0),
            Parameter("alpha", 0.4, 0.2, 0.05, 2.0),
            Parameter("C", 0.0, 0.2),
            Parameter("B0", -1.5 if new else -0.5, 1.0),
            Parameter("B1", -0.3, 0.5),
            Parameter("ln E", 1.5, 1.5, -5.0, 8.0),
            Parameter("beta", 0.4, 0.2, 0.05, 3.0),
        )

    def change(self, role: Role, theta_K: Floats, at: Settings) -> Floats:
        """The law's value over the scale."""
        log_a, log_before, alpha, c, b0, b1, log_e, beta = theta_K
        before = np.exp(log_before)
        hidden = np.exp(log_a) * ((before + at.area_N) ** -alpha - before**-alpha)
        shift = (b0 + b1 * np.log(at.own(role) + self.shift)) * (1 - (1 + np.exp(log_e) * at.area_N) ** -beta)
        return np.asarray(hidden - c * at.annealed_N + shift)
