"""Looking at what kind of model one is, by a few tokens: without a trace in the model or in random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedModel


@contextmanager
def evaluating(model: PreTrainedModel) -> Iterator[None]:
    """Meanwhile the model is in evaluation mode, without dropout; then in the mode it was in, whatever happened."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@contextmanager
def probing(model: PreTrainedModel) -> Iterator[None]:
    """Meanwhile the model has no dropout, no gradients and its own number format."""
    with evaluating(model), torch.no_grad(), torch.autocast(model.device.type, enabled=False):
        yield


def probe_tokens(model: PreTrainedModel, count: int) -> Tensor:
    """Ids from all over the vocabulary: a single one may be padding, whose embedding is zero in some families."""
    vocabulary = int(model.get_input_embeddings().weight.shape[0])  # type: ignore[index]
    return torch.arange(1, count + 1, device=model.device) * max(1, vocabulary // (count + 1)) % vocabulary
