"""The model a leg starts from, with its adapter, and what of the adapter the leg leaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from rewarm.adapters import Adapter
from rewarm.models.load import check_length, check_vocabulary, load_model, make_model, save_model, weights_hash
from rewarm.plan import Plan, Scratch
from rewarm.river.directory import RunDirectory
from rewarm.river.inputs import Inputs
from rewarm.river.legs import BASE, LegPlan
from rewarm.tokens.hashing import seed_of
from rewarm.training.machine import on_device
from rewarm.types import UserError


def base_model(plan: Plan, inputs: Inputs, run: RunDirectory) -> PreTrainedModel:
    """The untouched base, checked against the tokenizer and the row length. A base from scratch is saved once."""
    if isinstance(plan.base, Scratch):
        if not run.base.is_dir():
            made = make_model(plan.base.config, inputs.tokenizer, plan.seed)
            save_model(made, run.tokenizer, run.base)
        model = load_model(str(run.base))
    else:
        model = load_model(plan.base, plan.revision)
    check_vocabulary(model, inputs.tokenizer)
    check_length(model, plan.seq_len)
    return on_device(model)


def start_model(inputs: Inputs, run: RunDirectory, planned: Sequence[LegPlan], leg: LegPlan) -> PreTrainedModel:
    """The model a leg starts from, its adapter attached.

    An adapter that goes on from the leg before is attached to the model that leg attached it to, with the weights it
    ended with. UserError when a finished leg's folder no longer holds the weights it was given.
    """
    origin, continued = _origin(planned, leg)
    if origin == BASE:
        model = base_model(inputs.plan, inputs, run)
    else:
        model = load_model(str(run.model(origin)))
        if weights_hash(model) != run.finished()[origin]["weights_sha256"]:
            raise UserError(
                f"the weights in '{run.model(origin)}' are not those that {origin} ended with, so {leg.name} cannot "
                "start from them. Restore the folder, or delete it to train that leg again"
            )
        model = on_device(model)
    if leg.adapter is not None:
        assert isinstance(leg.adapter, Adapter)  # the plan built it from the adapters folder
        leg.adapter.attach(model, seed_of(inputs.plan.seed, leg.name, "adapter"))
        if continued is not None:
            _load(model, _file(run, continued))
    return model


def _origin(planned: Sequence[LegPlan], leg: LegPlan) -> tuple[str, str | None]:
    """The leg whose model this leg's adapter is attached to, and the leg that trained the adapter before, if any."""
    before = next((other for other in planned if other.name == leg.start), None)
    goes_on = leg.kind == "release" or getattr(leg.adapter, "one_for", None) == "run"
    if leg.adapter is None or before is None or before.adapter != leg.adapter or not goes_on:
        return leg.start, None
    return _origin(planned, before)[0], before.name


def _file(run: RunDirectory, leg: str) -> Path:
    return run.training(leg) / "kept" / "adapter.safetensors"


def _load(model: PreTrainedModel, file: Path) -> None:
    """Copies a leg's adapter into a model that has the same one attached; UserError when it is gone."""
    if not file.is_file():
        raise UserError(f"'{file}' is gone, and the adapter goes on from it. Delete the leg's model to train it again")
    saved = load_file(file)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.data.copy_(saved[name])


def merge(run: RunDirectory, leg: LegPlan, model: PreTrainedModel) -> None:
    """Keeps the trained parameters of a leg's adapter, and folds the adapter into the weights."""
    if leg.adapter is None:
        return
    assert isinstance(leg.adapter, Adapter)  # the plan built it from the adapters folder
    file = _file(run, leg.name)
    file.parent.mkdir(parents=True, exist_ok=True)
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    save_file({name: value.detach().cpu().contiguous() for name, value in trained.items()}, file)
    leg.adapter.merge(model)
