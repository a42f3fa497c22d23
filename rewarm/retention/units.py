"""Where the units of a decoder layer lie in its weights: attention heads, feed-forward neurons, feed-forward outputs.

Read off the names that projections have in their module, for whatever family; sizes come from the weights themselves.
Queries, keys and values may be apart or fused, weights stored by outputs (Linear) or by inputs (GPT-2's Conv1D).

Shapes: R rows of a projection (its outputs) or columns (its inputs), G units that share a row, H heads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from rewarm.types import UserError


class Layout(NamedTuple):
    """The projections of a module by name: those into the units, and the one out of them."""

    into: tuple[str, ...]
    out: str
    interleaved: bool = False


ATTENTION = (
    Layout(("q_proj", "k_proj", "v_proj"), "o_proj"),
    Layout(("q_proj", "k_proj", "v_proj"), "dense"),
    Layout(("q_proj", "k_proj", "v_proj"), "out_proj"),
    Layout(("qkv_proj",), "o_proj"),
    Layout(("c_attn",), "c_proj"),
    Layout(("query_key_value",), "dense", interleaved=True),
)
"""Fused rows are all queries, all keys, all values; interleaved ones query, key and value of a head, head by head."""
FEED_FORWARD = (
    Layout(("gate_proj", "up_proj"), "down_proj"),
    Layout(("gate_up_proj",), "down_proj"),
    Layout(("dense_h_to_4h",), "dense_4h_to_h"),
    Layout(("c_fc",), "c_proj"),
    Layout(("fc1",), "fc2"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Covered:
    """A parameter that units lie in: `units_RG` numbers the units that slice r along `axis` belongs to."""

    parameter: nn.Parameter
    axis: int
    units_RG: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """The units of one kind (`heads`, `neurons`, `outputs`) in one layer; the name is `<kind>.<layer>`.

    They are the features that go into `module`, or come out of it where `after` is true; each has as many in a row.
    """

    name: str
    count: int
    module: nn.Module
    after: bool
    covered: tuple[Covered, ...]


def find_units(model: PreTrainedModel, down_columns: bool = False) -> list[Units]:
    """Every unit of a model, layer by layer; where parameters do not train, they are covered all the same.

    Heads cover their rows of the query, key and value projections (a key or value row belongs to every query head that
    reads it) and their columns of the output projection; neurons, their rows of the projections up, and with
    `down_columns` their columns of the one down; outputs, their rows of the projection down. Biases go with rows.
    UserError naming what was not found, for a model whose layers are built otherwise.
    """
    attentions = list(_matching(model, ATTENTION))
    feed_forwards = list(_matching(model, FEED_FORWARD))
    if not attentions or len(attentions) != len(feed_forwards):
        lacking = ATTENTION if len(attentions) <= len(feed_forwards) else FEED_FORWARD
        known = "; ".join(f"{', '.join(layout.into)} with {layout.out}" for layout in lacking)
        raise UserError(
            f"{type(model).__name__}: found {len(attentions)} attention and {len(feed_forwards)} feed-forward modules, "
            f"and every layer needs one of each. Looked for {known}. Units are known in dense decoders such as Llama, "
            "Qwen, OLMo, GPT-NeoX and GPT-2: choose another retention method for this model"
        )
    units = []
    for layer, (attention, feed_forward) in enumerate(zip(attentions, feed_forwards, strict=True)):
        units += [_heads(model, layer, *attention), *_neurons(layer, *feed_forward, down_columns)]
    return units


def masks(units: Sequence[Units], values: Mapping[str, Tensor]) -> dict[nn.Parameter, Tensor]:
    """The values of units (by name, one each) laid over the parameters that train, in a shape that broadcasts.

    Where several units share a weight, it gets the largest of their values.
    """
    found: dict[nn.Parameter, Tensor] = {}
    for some in units:
        for covered in some.covered:
            parameter = covered.parameter
            if not parameter.requires_grad:
                continue
            shape = [-1 if axis == covered.axis else 1 for axis in range(parameter.ndim)]
            held = values[some.name].to(parameter)[covered.units_RG.to(parameter.device)].amax(1).view(shape)
            found[parameter] = torch.maximum(found[parameter], held) if parameter in found else held
    return found


def _matching(model: nn.Module, layouts: Sequence[Layout]) -> Iterator[tuple[nn.Module, Layout]]:
    """The modules whose direct parts have the names of a layout, in the order of the layers."""
    for module in model.modules():
        parts = {name for name, _ in module.named_children()}
        layout = next((layout for layout in layouts if {*layout.into, layout.out} <= parts), None)
        if layout is not None:
            yield module, layout


def _heads(model: PreTrainedModel, layer: int, attention: nn.Module, layout: Layout) -> Units:
    config = getattr(attention, "config", model.config).get_text_config()
    heads, out = int(config.num_attention_heads), attention.get_submodule(layout.out)
    features = _inputs(out)
    width = features // heads
    covered: list[Covered] = []
    for name in layout.into:
        projection = attention.get_submodule(name)
        rows = _outputs(projection)
        units_RG = _head_rows(rows, heads, width, layout)
        if features % heads or len(units_RG) != rows:
            raise UserError(
                f"{type(model).__name__}: '{name}' of layer {layer} has {rows} rows, which do not divide among {heads} "
                f"heads of width {width}. Choose another retention method for this model"
            )
        covered += _rows(projection, units_RG)
    columns = Covered(*_columns(out), torch.arange(heads).repeat_interleave(width)[:, None])
    return Units(f"heads.{layer}", heads, out, False, (*covered, columns))


def _head_rows(rows: int, heads: int, width: int, layout: Layout) -> Tensor:
    """The query heads (R, G) that each row of a projection belongs to; of another length where they do not fit."""
    own_H1 = torch.arange(heads)[:, None]
    if layout.interleaved:
        return own_H1.repeat_interleave(3 * width, 0)
    fused = len(layout.into) == 1
    kept = max(1, rows // width)
    keys = max(1, (kept - heads) // 2) if fused else kept
    if heads % keys:
        return own_H1[:0]
    groups = own_H1.view(keys, heads // keys)
    if fused:
        groups = torch.cat([own_H1.expand(heads, heads // keys), groups, groups])
    return groups.repeat_interleave(width, 0)


def _neurons(layer: int, feed_forward: nn.Module, layout: Layout, down_columns: bool) -> tuple[Units, Units]:
    """The hidden neurons of a feed-forward module, and its outputs."""
    down = feed_forward.get_submodule(layout.out)
    neurons, outputs = _inputs(down), _outputs(down)
    own_R1 = torch.arange(neurons)[:, None]
    covered: list[Covered] = []
    for name in layout.into:
        up = feed_forward.get_submodule(name)
        # A gate fused with its projection up: first all rows of the gate, then all of the other.
        covered += _rows(up, own_R1.repeat(_outputs(up) // neurons, 1))
    if down_columns:
        covered.append(Covered(*_columns(down), own_R1))
    rows = _rows(down, torch.arange(outputs)[:, None])
    return (
        Units(f"neurons.{layer}", neurons, down, False, tuple(covered)),
        Units(f"outputs.{layer}", outputs, down, True, tuple(rows)),
    )


def _plain(module: nn.Module) -> tuple[nn.Parameter, nn.Parameter | None, int]:
    """The weight, bias and axis of outputs of a projection, also of one that an adapter has wrapped."""
    inner = getattr(module, "base_layer", module)
    if not isinstance(inner, nn.Linear | Conv1D):
        raise UserError(
            f"a projection is a {type(inner).__name__}, and units are known in Linear and Conv1D ones only. "
            "Load the model unquantised"
        )
    own = dict(inner.named_parameters(recurse=False))
    return own["weight"], own.get("bias"), 0 if isinstance(inner, nn.Linear) else 1


def _outputs(module: nn.Module) -> int:
    weight, _, axis = _plain(module)
    return int(weight.shape[axis])


def _inputs(module: nn.Module) -> int:
    weight, _, axis = _plain(module)
    return int(weight.shape[1 - axis])


def _columns(module: nn.Module) -> tuple[nn.Parameter, int]:
    weight, _, axis = _plain(module)
    return weight, 1 - axis


def _rows(module: nn.Module, units_RG: Tensor) -> list[Covered]:
    weight, bias, axis = _plain(module)
    found = [Covered(weight, axis, units_RG)]
    return found if bias is None else [*found, Covered(bias, 0, units_RG)]
