"""What encoders such as BERT and RoBERTa do in ways of their own: where their positions begin."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel


def first_position(model: PreTrainedModel) -> int:
    """The position of a text's first token: 0, but behind that of padding in families that reserve it one (RoBERTa)."""
    for name, module in model.base_model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return 0 if module.padding_idx is None else module.padding_idx + 1
    return 0


def longest_text(model: PreTrainedModel) -> int | None:
    """How many tokens the model has positions for; None where its configuration does not say."""
    held = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return held - first_position(model) if isinstance(held, int) and held > 0 else None
