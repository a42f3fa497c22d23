"""Rows for new tokens in a model's embedding and head, made from the rows that are there.

Shapes: V old tokens, N new ones, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rewarm.models.merging import vocabulary_rows
from rewarm.types import UserError

Init = Literal["mean", "multivariate", "subword-mean", "first-piece"]
INITS: tuple[Init, ...] = get_args(Init)
SPREAD = 0.1
"""Of the old rows' covariance: so far do rows drawn by `multivariate` lie around the mean."""
_DRAWN = 64
"""Rows drawn at a time: each takes a number for every old row."""


def add_rows(
    model: PreTrainedModel, first_id: int, pieces: Sequence[Sequence[int]], ways: tuple[Init, Init], seed: int = 0
) -> dict[str, int]:
    """Gives token `first_id` + i a row, in place; what was done: rows `grown`, `initialised` and in the `head`.

    `pieces[i]` are the old ids that spell the token; `ways` those for the embedding and for the head, of which the
    second does not matter where the two are tied. Rows of old ids, and a tied head, stay as they are bit for bit.
    Rows between `first_id` and the end of a padded matrix are used before it grows. UserError when old ids have no row.
    """
    rows, needed = vocabulary_rows(model), first_id + len(pieces)
    if rows < first_id:
        raise UserError(f"the model has {rows} embedding rows, and its tokenizer gives ids up to {first_id - 1}")
    before = [end.weight.detach()[:first_id].clone() for end in _ends(model)]
    if needed > rows:
        model.resize_token_embeddings(needed, mean_resizing=False)
    source = torch.Generator().manual_seed(seed)
    ends = _ends(model)
    assert len(ends) == len(before), "growing has tied or untied the head"
    with torch.no_grad():
        for end, old_VD, way in zip(ends, before, ways, strict=False):
            end.weight[:first_id] = old_VD
            end.weight[first_id:needed] = new_rows(old_VD, pieces, way, source).to(end.weight.dtype)
        head: Any = model.get_output_embeddings()
        if getattr(head, "bias", None) is not None:
            old_V1 = head.bias[:first_id, None].clone()
            head.bias[first_id:needed] = new_rows(old_V1, pieces, ways[-1], source)[:, 0].to(head.bias.dtype)
    return {
        "grown": max(0, needed - rows),
        "initialised": len(pieces),
        "head": len(pieces) if len(ends) > 1 else 0,
    }


def new_rows(old_VD: Tensor, pieces: Sequence[Sequence[int]], way: Init, source: torch.Generator) -> Tensor:
    """Rows (N, D) in fp64 on the old ones' device.

    `mean`: that of all old rows; `multivariate`: drawn around it, with `SPREAD` times their covariance;
    `subword-mean`: that of the rows that spell the token; `first-piece`: the row of the first of these.
    """
    exact_VD: Tensor = old_VD.double()
    if way == "subword-mean":
        return torch.stack([exact_VD[list(ids)].mean(0) for ids in pieces])
    if way == "first-piece":
        return exact_VD[[ids[0] for ids in pieces]]
    mean_D = exact_VD.mean(0)
    if way == "mean":
        return mean_D.expand(len(pieces), -1)
    # Sums of centred rows, each times a normal number, have their covariance, whatever its rank.
    centred_VD = exact_VD - mean_D
    parts = []
    for start in range(0, len(pieces), _DRAWN):
        size = min(_DRAWN, len(pieces) - start), len(exact_VD)
        drawn_NV = torch.randn(size, generator=source, dtype=torch.float64).to(old_VD.device)
        parts.append(mean_D + (SPREAD / len(exact_VD)) ** 0.5 * drawn_NV @ centred_VD)
    return torch.cat(parts)


def _ends(model: PreTrainedModel) -> list[Any]:
    """The embedding, and the head if its matrix is another."""
    embedding: Any = model.get_input_embeddings()
    head: Any = model.get_output_embeddings()
    return [embedding] if head is None or head.weight is embedding.weight else [embedding, head]
