"""The stack of decoder layers of a Hugging Face model, whatever its family calls it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from rewarm.types import UserError


def decoder_layers(model: PreTrainedModel) -> tuple[str, nn.ModuleList]:
    """The name, seen from the model, and the list of its layers; UserError when it has no such list."""
    count = int(model.config.get_text_config().num_hidden_layers)
    kinds = set(model._no_split_modules or ())
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count and type(module[0]).__name__ in kinds:
            return name, module
    raise UserError(
        f"{type(model).__name__} has no list of {count} decoder layers. Adapters and freezing need a decoder such "
        "as Llama, Qwen, Mistral, Gemma, OLMo, GPT-NeoX or GPT-2: train without them"
    )


def set_number(layer: nn.Module, number: int) -> None:
    """Tells every part of a layer its number, under which a cache holds its keys and values."""
    parts: Iterator[Any] = layer.modules()
    for part in parts:
        if hasattr(part, "layer_idx"):
            part.layer_idx = number


def per_layer(config: Any) -> dict[str, list[Any]]:
    """The entries of a configuration that hold a value for each layer, such as its kind of attention."""
    count = int(config.num_hidden_layers)
    return {
        key: value
        for key, value in config.to_dict().items()
        if "layer" in key and isinstance(value, list) and len(value) == count
    }


@contextmanager
def drawing(seed: int) -> Iterator[None]:
    """Meanwhile random numbers of the CPU come from `seed`; afterwards they go on as if nothing had been drawn."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed % (1 << 63))
        yield
