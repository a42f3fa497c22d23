"""K-Adapter: a few further decoder layers that read the frozen model's hidden states and add to its last one.

Shapes: B rows, T positions, D width.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache

from rewarm.adapters import Adapter
from rewarm.adapters.beside import Beside, add, attached
from rewarm.models.decoder import decoder_layers, drawing, set_number
from rewarm.types import UserError


class KAdapter(Adapter):
    """a_i = Block_i(h_l_i + a_(i-1)), and scale x LN(a_k) is added to the last hidden state; the model is frozen.

    Wang et al., arXiv 2002.01808, as Jang et al. (CKL, arXiv 2110.03215) used it: whole layers of the model's own
    class, 2 of them, scale 0.1. h_l is what decoder layer l (from 1) puts out; without `layers` the blocks are spread
    from the first to the last. In a later stage a second adapter comes beside the first. It departs from the paper in
    one thing: the last norm begins at 0, so that a fresh adapter changes nothing.

    It cannot be folded into a plain model: the stage's folder holds the frozen weights and the adapter beside them,
    and AutoModelForCausalLM alone loads the model without it.
    """

    several: ClassVar[bool] = True
    paper: ClassVar[str] = "arXiv 2002.01808"
    cost: ClassVar[str] = "its blocks in every pass; gradients for these alone, none through the frozen layers"
    merges: ClassVar[bool] = False

    blocks: Annotated[int, Field(gt=0)] = 2
    layers: tuple[Annotated[int, Field(gt=0)], ...] | None = None
    scale: Annotated[float, Field(gt=0)] = 0.1

    def places(self, count: int) -> tuple[int, ...]:
        """The decoder layers, from 1, whose output the blocks read; UserError when there are not so many."""
        if self.layers is None:
            step = (count - 1) / max(1, self.blocks - 1)
            chosen = tuple(round(1 + number * step) if self.blocks > 1 else count for number in range(self.blocks))
        else:
            chosen = self.layers
        if not chosen or list(chosen) != sorted(set(chosen)) or chosen[-1] > count:
            raise UserError(
                f"k-adapter: blocks at layers {', '.join(map(str, chosen)) or 'none'} cannot be had in a model of "
                f"{count}. Give layers from 1 to {count} in rising order, each once, or at most {count} blocks"
            )
        return chosen

    def attach(self, model: PreTrainedModel, seed: int) -> None:
        """Adds the blocks, and hooks that pass the frozen layers' outputs, masks and positions on to them."""
        _, layers = decoder_layers(model)
        config = model.config.get_text_config()
        places = self.places(len(layers))
        number = len(layers) + sum(len(other.blocks) for other in attached(model) if isinstance(other, _Chain))
        with drawing(seed):
            made = [_block(model, layers[place - 1], place - 1, number + own) for own, place in enumerate(places)]
        chain = _Chain(self.described(), made, config, number, self.scale)
        add(model, chain)
        for own, place in enumerate(places):
            layers[place - 1].register_forward_hook(partial(chain.read, own, place - 1), with_kwargs=True)
        model.base_model.register_forward_hook(chain.adds)


def _block(model: PreTrainedModel, layer: nn.Module, place: int, number: int) -> nn.Module:
    """A new layer of the kind that a model makes at `place`, with a number of its own."""
    block: nn.Module = type(layer)(model.config.get_text_config(), layer_idx=place)
    for part in block.modules():
        model._init_weights(part)
    set_number(block, number)
    return block


class _Chain(Beside):
    """The blocks of one adapter, and what the last of them put out in the pass that is under way.

    `number` is that of the first block. Hooks are methods, so that a copy of the model has hooks of its own.
    """

    def __init__(
        self, described: dict[str, Any], blocks: list[nn.Module], config: Any, number: int, scale: float
    ) -> None:
        super().__init__(described)
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(int(config.hidden_size))
        nn.init.zeros_(self.norm.weight)
        self.config = config
        self.number = number
        self.scale = scale
        self._last_BTD: Tensor | None = None

    def read(
        self, own: int, place: int, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], hidden_BTD: Tensor
    ) -> None:
        """The hook of a frozen layer: its output goes through block `own`, in the way it was made itself."""
        cache = next((value for value in (*args, *kwargs.values()) if isinstance(value, Cache)), None)
        # A cache made for the frozen layers gets a layer for each block, of the kind that the layer it reads has.
        while cache is not None and len(cache.layers) <= self.number + own:
            cache.layers.append(DynamicCache(config=self.config).layers[place])
        entering_BTD = hidden_BTD if self._last_BTD is None or own == 0 else hidden_BTD + self._last_BTD
        self._last_BTD = self.blocks[own](entering_BTD, *args[1:], **kwargs)

    def adds(self, body: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """The hook of the model's body: its last hidden state gets what the blocks have to add."""
        assert self._last_BTD is not None  # the layers have been passed just now
        output.last_hidden_state = output.last_hidden_state + self.scale * self.norm(self._last_BTD)
        self._last_BTD = None
