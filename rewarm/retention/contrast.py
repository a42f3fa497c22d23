"""DAS's contrast of what a model represents as a whole with what its important units alone represent.

Ke et al., arXiv 2302.03241, equation 6. A sample is a document of a packed row (or the part of one that lies in it).

Shapes: B rows, T positions, N documents, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rewarm.tokens.packing import NO_TARGET
from rewarm.types import Batch


def document_means(hidden_BTD: Tensor, batch: Batch) -> Tensor:
    """The mean hidden state (N, D) of each document of a batch, in fp32; padding is no document."""
    places_BT, targets_BT = batch.positions_BT.to(hidden_BTD.device), batch.targets_BT.to(hidden_BTD.device)
    # Padding stands alone at position 0 and has no target; so does a document of one token, which says nothing. The
    # first token of a conversation has no target either, but its document goes on.
    goes_on_BT = functional.pad(places_BT[:, 1:] > 0, (0, 1))
    is_text = ((targets_BT != NO_TARGET) | (places_BT > 0) | goes_on_BT).flatten()
    _, number_N = ((places_BT == 0).flatten().cumsum(0)[is_text]).unique_consecutive(return_inverse=True)
    text_ND = hidden_BTD.flatten(0, 1)[is_text].float()
    count = int(number_N.max()) + 1 if len(number_N) else 0
    sums_ND = text_ND.new_zeros(count, text_ND.shape[-1]).index_add(0, number_N, text_ND)
    return sums_ND / torch.bincount(number_N, minlength=count)[:, None]


def contrast(full_ND: Tensor, positive_ND: Tensor, negative_ND: Tensor, temperature: float) -> Tensor:
    """The mean over n of -log(e(full_n, positive_n) / sum over j of (e(full_n, positive_j) + e(full_n, negative_j))).

    e(a, b) = exp(cosine(a, b) / temperature); row n of each is the same document. A scalar, in nats.
    """
    full_ND, others_MD = functional.normalize(full_ND), functional.normalize(torch.cat([positive_ND, negative_ND]))
    with torch.autocast(full_ND.device.type, enabled=False):
        similar_NM = full_ND @ others_MD.t() / temperature
    return functional.cross_entropy(similar_NM, torch.arange(len(full_ND), device=full_ND.device))


@contextmanager
def without_recomputing(model: nn.Module) -> Iterator[None]:
    """Meanwhile layers keep their activations: recomputed in the backward pass, they would miss hooks that are gone."""
    layers: list[Any] = [module for module in model.modules() if getattr(module, "gradient_checkpointing", False)]
    for layer in layers:
        layer.gradient_checkpointing = False
    try:
        yield
    finally:
        for layer in layers:
            layer.gradient_checkpointing = True
