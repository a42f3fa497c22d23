"""What each leg trains, before any work: models without weights, through every adapter of a plan."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import torch
from transformers import PreTrainedModel

from rewarm.adapters import Adapter
from rewarm.river.legs import BASE, LegPlan, trained_before
from rewarm.types import UserError


def shapes(base: PreTrainedModel, planned: Sequence[LegPlan]) -> Iterator[tuple[LegPlan, PreTrainedModel]]:
    """Each leg with the model it trains, its adapter attached, on the meta device as `base` is.

    UserError, naming the leg, when an adapter cannot be attached to what the legs before it leave.
    """
    plain = {BASE: base}
    for leg in planned:
        model = copy.deepcopy(plain[_origin(planned, leg)])
        if leg.adapter is not None:
            assert isinstance(leg.adapter, Adapter)  # the plan built it from the adapters folder
            try:
                with torch.device("meta"):
                    leg.adapter.attach(model, seed=0)
            except UserError as error:
                raise UserError(f"{leg.name}: {error}") from None
        yield leg, model
        if leg.adapter is not None:
            leg.adapter.merge(model)
        # What one leg's retention takes out of training is back in the next one's.
        plain[leg.name] = model.requires_grad_(True)


def _origin(planned: Sequence[LegPlan], leg: LegPlan) -> str:
    """Where the leg's adapter was attached; a leg without one is its own."""
    before = [] if leg.adapter is None else trained_before(planned, leg)
    return (*before, leg)[0].start
