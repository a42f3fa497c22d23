"""What each leg trains, before any work: models without weights, through every adapter of a plan."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from rewarm.adapters import Adapter
from rewarm.models.load import UNREADABLE
from rewarm.river.legs import BASE, LegPlan, trained_before
from rewarm.types import UserError


def base_shape(
    name: str, revision: str | None = None, kind: Any = AutoModelForCausalLM, words: str = "causal language model"
) -> PreTrainedModel:
    """A base without its weights (on the meta device), from its configuration; `kind` is one of transformers' Auto
    classes, said in `words`.

    UserError when it is no such model, or a folder whose weights are missing or cut short.
    """
    if Path(name).is_dir():
        _check_weights(Path(name))
    try:
        config = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False)
        with torch.device("meta"):
            return kind.from_config(config, trust_remote_code=False)  # type: ignore[no-any-return]
    # RuntimeError: a size that no tensor can have.
    except (*UNREADABLE, RuntimeError, StrictDataclassError) as error:
        raise UserError(f"base '{name}' is no {words} that could be read: {error}") from error


def _check_weights(folder: Path) -> None:
    """UserError unless the folder holds every file of its weights, whole: a broken download is seen before any work."""
    files = set(folder.glob("*.safetensors"))
    if not files:
        raise UserError(
            f"base '{folder}' holds no weights: rewarm reads *.safetensors, and never pickles. Save the model again "
            "with save_pretrained"
        )
    for index in folder.glob("*.safetensors.index.json"):
        try:
            named = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        except (ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
            raise UserError(f"base '{folder}': {index.name} is damaged ({error!r}): download it again") from error
        if missing := sorted({folder / str(name) for name in named} - files):
            raise UserError(f"base '{folder}' lacks {', '.join(file.name for file in missing[:3])}: download it again")
    for file in sorted(files):
        try:
            # Opening compares the header with the size of the file, and reads no weight.
            with safe_open(file, "pt"):
                pass
        except SafetensorError as error:
            raise UserError(f"base '{folder}': {file.name} is damaged ({error}): download it again") from error


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
