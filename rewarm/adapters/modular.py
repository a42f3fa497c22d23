"""Modular: a small model of the same family beside the frozen one, whose last hidden states are added to its own.

Shapes: B rows, T positions, D width of the large model.
"""

from __future__ import annotations

import copy
from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicCache

from rewarm.adapters import Adapter
from rewarm.adapters.beside import Beside, add
from rewarm.models.decoder import decoder_layers, drawing, per_layer
from rewarm.quantities import Share


class Modular(Adapter):
    """h + scale x W h_small: the small model reads the same tokens, and W, a map to the large one's width, begins at 0.

    Jang et al., arXiv 2110.03215 (CKL), scale 0.05. There a published T5-small of half the width and a quarter of the
    layers stands beside a T5-large; here the small model is new, of `width` times the heads and inner width (heads
    keep their size) and `depth` times the layers. W beginning at 0, so that a fresh adapter changes nothing, is ours.

    It cannot be folded into a plain model: the stage's folder holds the frozen weights and the adapter beside them,
    and AutoModelForCausalLM alone loads the model without it.
    """

    several: ClassVar[bool] = True
    paper: ClassVar[str] = "arXiv 2110.03215"
    cost: ClassVar[str] = "a small model in every pass; gradients for it alone, none through the frozen one"
    merges: ClassVar[bool] = False

    width: Annotated[Share, Field(gt=0)] = 0.5
    depth: Annotated[Share, Field(gt=0)] = 0.25
    scale: Annotated[float, Field(gt=0)] = 0.05

    def attach(self, model: PreTrainedModel, seed: int) -> None:
        """Adds the small model and the map from its width, and a hook that runs it after the large one."""
        decoder_layers(model)
        config = self.smaller(model.config)
        kind: Any = type(model.base_model)
        with drawing(seed):
            module = _Module(self.described(), kind(config), int(model.config.hidden_size), self.scale)
        add(model, module)
        model.base_model.register_forward_hook(module.adds, with_kwargs=True)

    def smaller(self, config: PretrainedConfig) -> PretrainedConfig:
        """The configuration of the small model. Heads stay as wide as they are, of each kind at least one."""
        small: Any = copy.deepcopy(config)
        heads = max(1, round(self.width * config.num_attention_heads))
        kinds = int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)
        layers = max(1, round(self.depth * config.num_hidden_layers))
        small.num_attention_heads = heads
        small.hidden_size = heads * (config.hidden_size // config.num_attention_heads)
        if getattr(config, "num_key_value_heads", None):
            most = max(1, round(self.width * kinds))
            small.num_key_value_heads = max(count for count in range(1, most + 1) if heads % count == 0)
        for name in ("intermediate_size", "n_inner"):
            if getattr(config, name, None):
                setattr(small, name, max(1, round(self.width * getattr(config, name))))
        for key, values in per_layer(config).items():
            setattr(small, key, values[:layers])
        small.num_hidden_layers = layers
        found: PretrainedConfig = small
        return found


class _Module(Beside):
    """The small model and the map of its hidden states."""

    def __init__(self, described: dict[str, Any], small: PreTrainedModel, width: int, scale: float) -> None:
        super().__init__(described)
        self.small = small
        self.map = nn.Linear(int(small.config.hidden_size), width, bias=False)
        nn.init.zeros_(self.map.weight)
        self.scale = scale

    def adds(self, body: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """The hook of the model's body: the small model makes the same pass, with a cache of its own."""
        own = {**kwargs, "past_key_values": None}
        cache = output.past_key_values
        if cache is not None:
            # It travels with the large model's, so that each text that is being continued has one.
            if not hasattr(cache, "beside"):
                cache.beside = {}
            own["past_key_values"] = cache.beside.setdefault(id(self), DynamicCache(config=self.small.config))
        hidden_BTD = self.small(*args, **own).last_hidden_state
        output.last_hidden_state = output.last_hidden_state + self.scale * self.map(hidden_BTD)
