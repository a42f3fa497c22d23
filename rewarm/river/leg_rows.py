"""The rows that a leg trains on: what of each corpus is its turn, made into batches by the leg's objective."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from transformers import PreTrainedModel

from rewarm.hashing import seed_of
from rewarm.mixtures import Mixture
from rewarm.mixtures.draw import draw
from rewarm.objectives import Beginning, Objective, Rows
from rewarm.river.beside import micro_rows
from rewarm.river.directory import RunDirectory
from rewarm.river.inputs import Inputs
from rewarm.river.legs import BASE, LegPlan
from rewarm.river.starts import start_model
from rewarm.tokens.loader import Source
from rewarm.training.activations import Passes
from rewarm.training.machine import choose_precision
from rewarm.training.world import current
from rewarm.types import Tell, UserError


def objective_of(leg: LegPlan) -> Objective:
    """What the leg minimises."""
    assert isinstance(leg.objective, Objective)  # the plan built it from the objectives folder
    return leg.objective


def leg_rows(
    inputs: Inputs, run: RunDirectory, planned: Sequence[LegPlan], leg: LegPlan, passes: Passes,
    model: PreTrainedModel, tell: Tell,
) -> Rows:  # fmt: skip
    """The leg's rows, with `model` as the leg starts from it. A corpus goes on where the legs on the path before this
    one left it. UserError when an objective can make no step of them."""

    def before() -> PreTrainedModel:
        if leg.kind == "stage":
            return model
        stage = next(other for other in planned if other.kind == "stage" and other.stage == leg.stage)
        return start_model(inputs, run, planned, stage)

    found = beginning(inputs, run, leg, _rows_used(run, leg), before)
    most = min(found.micro_rows, passes.micro_batch_tokens // found.seq_len)
    most = micro_rows(most, found.micro_rows, current())
    return objective_of(leg).rows(dataclasses.replace(found, micro_rows=most, tell=tell))


def check_legs(inputs: Inputs, run: RunDirectory, planned: Sequence[LegPlan]) -> None:
    """UserError when some leg to come could make no step of its text; one that samples of the model are part of is
    not looked at."""

    def none_yet() -> PreTrainedModel:
        raise RuntimeError("there is no model before the first leg")

    for leg in planned:
        if leg.name not in run.finished() and all(name in inputs.stores for name in leg.shares):
            try:
                objective_of(leg).check(beginning(inputs, run, leg, {}, none_yet))
            except UserError as error:
                raise UserError(f"{leg.name}: {error}") from None


def beginning(
    inputs: Inputs, run: RunDirectory, leg: LegPlan, used: Mapping[str, int], before: Callable[[], PreTrainedModel]
) -> Beginning:
    """The rows a leg begins with, `used` ones of its corpora being gone; a micro-batch is a step. `before` is asked for
    the model as it was before the leg's stage, by objectives that have need of it."""
    plan = inputs.plan
    per_step = plan.batch_tokens // plan.seq_len
    assert isinstance(leg.mixture, Mixture)  # the plan built it from the mixtures folder
    return Beginning(
        sources=[Source(name, inputs.stream(name, leg.stage), used.get(name, 0)) for name in leg.shares],
        source_SR=draw(leg.mixture, leg.shares, leg.steps, per_step, seed_of(plan.seed, leg.name)),
        seq_len=plan.seq_len,
        micro_rows=per_step,
        seed=plan.seed,
        precision=choose_precision(plan.precision),
        before=before,
        kept=run.root / "references",
        tokenizer=inputs.tokenizer,
    )


def _rows_used(run: RunDirectory, leg: LegPlan) -> Counter[str]:
    """Rows of each corpus on the path from the base to this leg, as the ledger counted them."""
    finished = run.finished()
    used: Counter[str] = Counter()
    start = leg.start
    while start != BASE:
        used.update(finished[start]["rows"])
        start = finished[start]["start"]
    return used
