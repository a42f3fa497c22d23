"""Rows of trees behind a prefix, as inputs of a model: the prefix's keys and values, and a mask of who sees whom.

Shapes: B rows, S positions of a row, P positions of a prefix, K = P + S positions that are attended to.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from rewarm.evaluation.prefixes import Ids, Row
from rewarm.objectives.packed_loss import ISOLATED
from rewarm.objectives.probing import probe_tokens


def reach(model: PreTrainedModel) -> float:
    """How far back every layer sees: the masks of trees know no sliding window or chunk."""
    config = model.config.get_text_config()
    sizes = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    return min((size for size in sizes if isinstance(size, int)), default=float("inf"))


class _Kept(DynamicLayer):
    """One layer's keys and values of a prefix, for any number of rows and passes; what a pass adds is not kept."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Keys and values of prefix and rows; the prefix is repeated for each row."""
        assert self.keys is not None
        assert self.values is not None
        repeated = (len(key_states), -1, -1, -1)
        keys = torch.cat([self.keys.expand(repeated), key_states], dim=-2)
        return keys, torch.cat([self.values.expand(repeated), value_states], dim=-2)


def keep(model: PreTrainedModel, prefix_P: Ids) -> Cache | None:
    """The keys and values of a prefix; None when the model keeps something else."""
    cache = DynamicCache()
    tokens_BP = torch.from_numpy(prefix_P)[None].to(model.device)
    model.base_model(input_ids=tokens_BP, past_key_values=cache, use_cache=True)
    layers: list[Any] = []
    for made in cache.layers:
        if not isinstance(made, DynamicLayer) or made.keys is None or made.values is None:
            return None
        layers.append(_Kept(made.keys, made.values))
    return Cache(layers=layers) if layers else None


def tree_inputs(rows: Sequence[Row], prefix: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """Tokens, positions and mask of rows of trees that follow a prefix, which all of them see."""
    width = max(len(row.ids_S) for row in rows)
    ids_BS = np.zeros((len(rows), width), np.int64)
    depths_BS = np.full((len(rows), width), prefix, np.int64)
    ends_BS = np.tile(np.arange(1, width + 1), (len(rows), 1))  # padding sees itself
    for index, row in enumerate(rows):
        ids_BS[index, : len(row.ids_S)] = row.ids_S
        depths_BS[index, : len(row.ids_S)] = row.depths_S
        ends_BS[index, : len(row.ids_S)] = row.ends_S
    at_S = torch.arange(width)
    seen_BSS = (at_S[None, None] <= at_S[None, :, None]) & (at_S[None, :, None] < torch.from_numpy(ends_BS)[:, None])
    mask_B1SK = torch.zeros((len(rows), 1, width, prefix + width), dtype=dtype)
    mask_B1SK[:, 0, :, prefix:].masked_fill_(~seen_BSS, torch.finfo(dtype).min)
    tokens, positions = torch.from_numpy(ids_BS), torch.from_numpy(depths_BS)
    return {"input_ids": tokens, "position_ids": positions, "attention_mask": mask_B1SK}


@torch.no_grad()
def shares_prefixes(model: PreTrainedModel) -> bool:
    """Whether a tree behind a kept prefix gives the logits of each of its queries alone.

    False for models without keys and values (recurrent ones), and for attention that follows no mask or position ids.
    """
    known = inspect.signature(model.base_model.forward).parameters
    if not {"past_key_values", "attention_mask", "position_ids"} <= known.keys():
        return False
    ids_T = probe_tokens(model, 8).cpu().numpy()
    first, second = ids_T[:6], ids_T[[0, 1, 2, 6, 7]]
    tree = Row(
        ids_S=ids_T[2:], depths_S=np.array([2, 3, 4, 5, 3, 4]), ends_S=np.array([6, 4, 4, 4, 6, 6]),
        places=[(0, [3]), (1, [5])],
    )  # fmt: skip
    if reach(model) < len(first):
        return False
    try:
        cache = keep(model, ids_T[:2])
        if cache is None:
            return False
        inputs = {name: value.to(model.device) for name, value in tree_inputs([tree], 2, model.dtype).items()}
        together = model(**inputs, past_key_values=cache, use_cache=True).logits[0, [3, 5]].float()
    except (ValueError, TypeError, RuntimeError, IndexError, AttributeError):
        return False  # how a model fails that was given a cache of another kind than its own
    alone = [model(input_ids=torch.from_numpy(ids)[None].to(model.device), use_cache=False) for ids in (first, second)]
    expected = torch.stack([output.logits[0, -1].float() for output in alone])
    return float((together - expected).abs().max()) <= ISOLATED * float(expected.abs().max())
