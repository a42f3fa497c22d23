"""The model a leg starts from, with its adapter, and what of the adapter the leg leaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file
from transformers import PreTrainedModel

from rewarm.adapters import Adapter
from rewarm.adapters.beside import load_with_adapters
from rewarm.hashing import seed_of
from rewarm.models.load import check_length, check_vocabulary, make_model, save_model, weights_hash
from rewarm.plan import Plan, Scratch
from rewarm.river.directory import RunDirectory
from rewarm.river.inputs import Inputs
from rewarm.river.legs import BASE, LegPlan, trained_before
from rewarm.training import checkpoint
from rewarm.training.machine import on_device
from rewarm.types import UserError


def base_model(plan: Plan, inputs: Inputs, run: RunDirectory) -> PreTrainedModel:
    """The untouched base, checked against the tokenizer and the row length. A base from scratch is saved once."""
    if isinstance(plan.base, Scratch):
        if not run.base.is_dir():
            made = make_model(plan.base.config, inputs.tokenizer, plan.seed, plan.head)
            save_model(made, run.tokenizer, run.base)
        model = load_with_adapters(str(run.base), head=plan.head)
    else:
        model = load_with_adapters(plan.base, plan.revision, plan.head)
    check_vocabulary(model, inputs.tokenizer)
    check_length(model, plan.seq_len)
    return on_device(model)


def start_model(inputs: Inputs, run: RunDirectory, planned: Sequence[LegPlan], leg: LegPlan) -> PreTrainedModel:
    """The model a leg starts from, its adapter attached.

    An adapter that goes on from the leg before is attached to the model that leg attached it to, with the weights it
    ended with. UserError when a finished leg's folder no longer holds the weights it was given.
    """
    before = [] if leg.adapter is None else trained_before(planned, leg)
    first = (*before, leg)[0]
    origin = first.start
    if origin == BASE:
        model = base_model(inputs.plan, inputs, run)
    else:
        model = load_with_adapters(str(run.model(origin)), head=inputs.plan.head)
        if weights_hash(model) != run.finished()[origin]["weights_sha256"]:
            raise UserError(
                f"the weights in '{run.model(origin)}' are not those that {origin} ended with, so {leg.name} cannot "
                "start from them. Restore the folder, or delete it to train that leg again"
            )
        model = on_device(model)
    if leg.adapter is not None:
        assert isinstance(leg.adapter, Adapter)  # the plan built it from the adapters folder
        leg.adapter.attach(model, seed_of(inputs.plan.seed, first.name, "adapter"))
        # Of each leg, because one that froze parts of the adapter kept only what it trained.
        for trained in before:
            _load(model, _file(run, trained.name))
    return model


def _file(run: RunDirectory, leg: str) -> Path:
    return run.training(leg) / "kept" / "adapter.safetensors"


def _load(model: PreTrainedModel, file: Path) -> None:
    """Copies what a leg trained of an adapter into a model with the same one attached; UserError when it is gone."""
    if not file.is_file():
        raise UserError(f"'{file}' is gone, and the adapter goes on from it. Delete the leg's model to train it again")
    own = dict(model.named_parameters())
    for name, value in load_file(file).items():
        own[name].data.copy_(value)


def merge(run: RunDirectory, leg: LegPlan, model: PreTrainedModel) -> None:
    """Keeps the trained parameters of a leg's adapter, and folds the adapter into the weights where that can be."""
    if leg.adapter is None:
        return
    assert isinstance(leg.adapter, Adapter)  # the plan built it from the adapters folder
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    checkpoint.write_tensors(_file(run, leg.name), trained)
    leg.adapter.merge(model)
    if not leg.adapter.merges:
        text = (
            f"{leg.name}: its adapter ({leg.adapter.method_name()}) lies beside the weights and is no part of them. "
            "rewarm loads both; AutoModelForCausalLM alone loads the model without the adapter"
        )
        run.record("note", leg=leg.name, text=text)
