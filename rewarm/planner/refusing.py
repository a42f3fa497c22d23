"""When not to train at all, and what would serve instead: an answer like any other, with its reason."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from rewarm.planner.asked import Asked
from rewarm.planner.judging import Corpus
from rewarm.planner.pilots import Pilot
from rewarm.planner.solving import Solved
from rewarm.quantities import short
from rewarm.river.forecast import Forecast

RETRIEVAL = (
    "Retrieval would serve: the text is looked up when it is asked for, and the base stays as it is. To have it in the "
    "weights all the same, have it written in many ways first (paraphrases, questions), and plan again"
)
ADAPTER = (
    "A small adapter (LoRA) that is left out where it is not wanted keeps the base whole; so does retrieval. Otherwise "
    "give old text that is nearer to what the base was trained on, a smaller budget, or a looser --max-forget"
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no plan is written (`text`), and what would serve instead (`advice`)."""

    kind: str
    text: str
    advice: str

    def with_adapter(self, tried: Sequence[Pilot], asked: Asked, corpora: Sequence[Corpus]) -> Refusal:
        """The refusal with what a short pilot of LoRA showed."""
        if not tried:
            return dataclasses.replace(self, advice=f"{self.advice}. A pilot with LoRA diverged.")
        pilot = tried[0]
        highs = {one.name: pilot.changes[one.name] + 1.96 * pilot.documents[one.name] for one in corpora}
        holds = all(highs[one.name] <= asked.max_forget for one in corpora if one.role == "old")
        gains = all(-highs[one.name] >= max(asked.min_gain, 1e-9) for one in corpora if one.role == "new")
        changes = ", ".join(f"{one.name} {100 * pilot.changes[one.name]:+.2f} %" for one in corpora)
        part = 100 * pilot.tokens / asked.budget
        verdict = "meets" if holds and gains else "does not meet"
        return dataclasses.replace(
            self,
            advice=f"{self.advice}. A pilot with LoRA over {pilot.tokens:,} tokens ({part:.0f}% of the budget; one "
            f"run, no forecast) {verdict} the limits: {changes}.",
        )


def too_small(asked: Asked, foreseen: Forecast) -> Refusal | None:
    """Where the new text is too small to be learned by training on it as it is; None where it is large enough."""
    learned = {portion.corpus for stage in asked.plan.stages for portion in stage.data}
    held = [one for one in foreseen.corpora if one.name in learned]
    if not all(one.known for one in held):
        return None
    tokens, least = sum(one.trainable for one in held), asked.least(foreseen.parameters)
    if tokens >= least:
        return None
    return Refusal(
        "small",
        f"the new text has {short(tokens)} tokens to train on, less than {short(least)}. That is a rule, not measured "
        "here: a model of 8B parameters answered worse, not better, after 1.3M tokens of raw text (arXiv 2409.07431). "
        "--min-tokens sets another threshold",
        RETRIEVAL,
    )


def only_divergence(left_out: Sequence[str]) -> Refusal:
    """Where no pilot of the sweep ended with a loss that is a number, or one at the lowest peak did not."""
    return Refusal("diverged", f"at no peak did all pilots end with a finite loss ({'; '.join(left_out)})", ADAPTER)


def no_share_holds(asked: Asked, solved: Solved, corpora: Sequence[Corpus]) -> Refusal:
    """Where nothing that was tried keeps forgetting below the limit for sure."""
    worst = max((one for one in corpora if one.role == "old"), key=lambda one: _high(solved, one))
    here = solved.forecasts[worst.name]
    return Refusal(
        "forgets",
        f"no peak, replay share and length that was tried keeps {worst.name} within {100 * asked.max_forget:g} % for "
        f"sure: the nearest (peak {solved.peak:.2g}, replay {100 * solved.share:.0f} %, {solved.tokens:,} tokens) is "
        f"forecast at {100 * float(here.point_G[0]):+.2f} %, its upper bound {100 * _high(solved, worst):+.2f} %",
        ADAPTER,
    )


def gains_too_little(asked: Asked, solved: Solved, corpora: Sequence[Corpus]) -> Refusal | None:
    """Where the gain is below what is wanted, or cannot be told from none; None where every new corpus gains enough."""
    for one in (one for one in corpora if one.role == "new"):
        here = solved.forecasts[one.name]
        gain, sure = -float(here.point_G[0]), -_high(solved, one)
        said = (
            f"{one.name} would gain {100 * gain:.2f} % (for sure {100 * sure:.2f} %) at the best settings that forget "
            "little enough"
        )
        if asked.min_gain and gain < asked.min_gain:
            return Refusal("gain", f"{said}, and {100 * asked.min_gain:g} % were asked for", RETRIEVAL)
        if sure <= 0:
            return Refusal("noise", f"{said}, which cannot be told from no gain", RETRIEVAL)
    return None


def _high(solved: Solved, one: Corpus) -> float:
    return float(solved.forecasts[one.name].high_G[0])
