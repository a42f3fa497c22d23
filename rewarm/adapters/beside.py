"""Adapters that are no part of a plain Hugging Face model: children of the model, and files beside its weights.

Each is an item of the list `model.adapters`, with `described` as its method in a plan. Saving a model
(rewarm/models/load.py) writes them as `adapter.safetensors` and `adapter.json`; `load_with_adapters` attaches them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedModel

from rewarm.adapters import Adapter
from rewarm.methods import build
from rewarm.models.load import ADAPTER_JSON, ADAPTER_TENSORS, ADAPTERS, load_model
from rewarm.types import UserError


class Beside(nn.Module):
    """What an adapter adds to a model; `described` is the adapter as a plan writes it."""

    def __init__(self, described: dict[str, Any]) -> None:
        super().__init__()
        self.described = described


def attached(model: PreTrainedModel) -> list[Beside]:
    """The adapters beside a model's weights, oldest first."""
    return list(getattr(model, ADAPTERS, ()))


def add(model: PreTrainedModel, adapter: Beside) -> None:
    """Makes an adapter part of a model; from now on it alone trains."""
    if not hasattr(model, ADAPTERS):
        model.add_module(ADAPTERS, nn.ModuleList())
    model.requires_grad_(False)
    adapter.to(device=model.device, dtype=model.dtype).train(model.training)
    model.get_submodule(ADAPTERS).append(adapter)  # type: ignore[operator]


def load_with_adapters(name: str, revision: str | None = None, head: str = "causal") -> PreTrainedModel:
    """As `load_model`, with the adapters beside the weights of a folder attached; every parameter may train.

    UserError also when an adapter's tensors are not those the adapter has.
    """
    model = load_model(name, revision, with_adapters=True, head=head)
    file = Path(name) / ADAPTER_JSON
    if not file.is_file():
        return model
    for described in json.loads(file.read_text(encoding="utf-8")):
        adapter = build("adapters", described)
        assert isinstance(adapter, Adapter)  # it was built from the adapters folder
        adapter.attach(model, 0)
    saved = load_file(file.with_name(ADAPTER_TENSORS))
    own = {key: value for key, value in model.state_dict().items() if key.startswith(f"{ADAPTERS}.")}
    wrong = sorted(own.keys() ^ saved.keys()) or [key for key in own if own[key].shape != saved[key].shape]
    if wrong:
        raise UserError(
            f"'{file.with_name(ADAPTER_TENSORS)}' does not fit the adapter that {ADAPTER_JSON} names "
            f"({', '.join(wrong[:3])}). Restore the folder"
        )
    model.load_state_dict(saved, strict=False)
    model.requires_grad_(True)
    return model
