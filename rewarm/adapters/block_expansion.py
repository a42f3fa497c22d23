"""LLaMA-Pro's block expansion: new decoder layers between the old ones, which begin as the identity."""

from __future__ import annotations

import copy
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel

from rewarm.adapters import Adapter
from rewarm.adapters.beside import attached
from rewarm.models.decoder import decoder_layers, per_layer, set_number
from rewarm.objectives.probing import probe_tokens, probing
from rewarm.types import UserError

OUTPUTS = frozenset(
    {"o_proj", "out_proj", "dense", "c_proj", "wo", "down_proj", "dense_4h_to_h", "fc2", "fc_out", "w2"}
)
"""What families call the last product of attention and of the inner layer."""


class BlockExpansion(Adapter):
    """After every L / blocks decoder layers, a copy of the last of them whose two output projections begin at 0.

    Wu et al., arXiv 2401.02415. What a new layer adds to the residual stream is 0 at the start, so the model computes
    exactly what it did; that is looked at, and a model for which it does not hold is refused. Old layers are frozen
    and the new ones train (`train: new`), or everything does (`all`). The result is a plain model with more layers;
    as each growth costs time for good, one expansion serves the whole run unless `one_for: stage` asks otherwise.
    Being the identity at the start keeps nothing in place later.

    In families that normalise what a branch puts out (Gemma 2, OLMo 2) the norm scales the least output up, so that
    new layers speak up at once: there about a tenth of the learning rate does what it does elsewhere. Starting those
    norms at 0 instead was tried; it needs thirty times the rate, and ends at the same trade of old text for new.
    """

    several: ClassVar[bool] = True
    paper: ClassVar[str] = "arXiv 2401.02415"
    cost: ClassVar[str] = "more layers for good: a quarter more time to train and to use; gradients for the new ones"

    one_for: Literal["stage", "run"] = "run"
    blocks: Annotated[int, Field(gt=0)] | None = None
    train: Literal["new", "all"] = "new"

    def attach(self, model: PreTrainedModel, seed: int) -> None:
        """Inserts the layers. `seed` is not used: they are copies. UserError when the logits would not stay equal."""
        if attached(model):
            raise UserError(
                "block-expansion: the model has another adapter beside its weights, whose layers it would renumber. "
                "Put the stage with block-expansion before the one with that adapter"
            )
        name, layers = decoder_layers(model)
        after = self.places(len(layers))
        # A plan is checked with a model that has no weights to compute with.
        before_BTV = None if model.device.type == "meta" else _logits(model)
        model.requires_grad_(self.train == "all")
        grown: list[nn.Module] = []
        for number, layer in enumerate(layers):
            grown.append(layer)
            if number in after:
                grown.append(_identity(layer, model))
        _renumber(model, grown, [number for number in range(len(layers)) for _ in range(1 + (number in after))])
        model.set_submodule(name, nn.ModuleList(grown))
        if before_BTV is not None and not torch.equal(before_BTV, _logits(model)):
            raise UserError(
                f"block-expansion: new layers of {type(model).__name__} do not begin as the identity, so the model "
                "would not be what it was. Use lora or k-adapter"
            )

    def places(self, layers: int) -> set[int]:
        """The numbers, from 0, of the old layers after which a new one comes."""
        blocks = self.blocks if self.blocks is not None else max(1, layers // 4)
        if blocks > layers:
            raise UserError(
                f"block-expansion: blocks {blocks} are more than the model's {layers} layers. Give {layers} or fewer"
            )
        return {(number * layers) // blocks - 1 for number in range(1, blocks + 1)}


def _logits(model: PreTrainedModel) -> Tensor:
    with probing(model):
        found: Tensor = model(input_ids=probe_tokens(model, 32)[None], use_cache=False).logits
    return found


def _identity(layer: nn.Module, model: PreTrainedModel) -> nn.Module:
    """A copy of a layer that adds nothing to what goes in."""
    # Parts of a layer read how attention is to be made from the model's one configuration, so it is not copied.
    shared = {id(part.config): part.config for part in layer.modules() if hasattr(part, "config")}
    made = copy.deepcopy(layer, shared).requires_grad_(True)
    zeroed = [value for name, value in made.named_parameters() if OUTPUTS.intersection(name.split("."))]
    if not zeroed:
        raise UserError(
            f"block-expansion: no output projection is known in the layers of {type(model).__name__} (of "
            f"{', '.join(sorted(OUTPUTS))}). Use lora or k-adapter"
        )
    with torch.no_grad():
        for value in zeroed:
            value.zero_()
    return made


def _renumber(model: PreTrainedModel, layers: list[nn.Module], sources: list[int]) -> None:
    """Tells layers and configuration of the new numbers; `sources` holds the old number of each layer's original."""
    config = model.config.get_text_config()
    for number, layer in enumerate(layers):
        set_number(layer, number)
    for key, values in per_layer(config).items():
        setattr(config, key, [values[source] for source in sources])
    config.num_hidden_layers = len(layers)
