"""What every layer of a model makes of a text: the mean over its tokens of the embeddings and of each layer's states.

Causal and masked models alike, and the encoders of models that have a decoder too: rows are padded behind their text
and padding is neither read nor averaged.

Shapes: N texts, B rows of a pass, T positions, L layers (the embeddings first), D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from rewarm.evaluation.passes import batch_tokens, length_batches
from rewarm.objectives.probing import evaluating
from rewarm.types import UserError

Ids = NDArray[np.unsignedinteger[Any]]
_LAYERS_WORTH = 4
"""The states of all layers are held at once, so that a pass is this much smaller than one that keeps the last."""


def layer_names(model: PreTrainedModel) -> list[str]:
    """`embeddings`, `layer 1`, ...: the order of `layer_means`."""
    count = int(model.config.get_text_config().num_hidden_layers)
    return ["embeddings", *(f"layer {number}" for number in range(1, count + 1))]


@torch.no_grad()
def layer_means(model: PreTrainedModel, rows: Sequence[Ids], precision: torch.dtype = torch.float32) -> Tensor:
    """Mean states (L, N, D) in float64 on the CPU, of rows of token ids; the last layer's after the final norm.

    UserError for a row without a token, or for a model that does not give the states of its layers.
    """
    if not all(len(row) for row in rows):
        raise UserError("a text without a token has no state: leave empty texts out")
    order = sorted(range(len(rows)), key=lambda row: -len(rows[row]))
    names, device = layer_names(model), model.device
    body = model.get_encoder() if model.config.is_encoder_decoder else model.base_model
    found: Tensor | None = None
    lengths = [len(rows[row]) for row in order]
    reduced = precision != torch.float32
    with evaluating(model), torch.autocast(device.type, precision, enabled=reduced):
        for start, end in length_batches(lengths, batch_tokens(model) // _LAYERS_WORTH):
            tokens_BT, mask_BT = _padded([rows[row] for row in order[start:end]])
            output = body(
                input_ids=tokens_BT.to(device), attention_mask=mask_BT.to(device), output_hidden_states=True,
                **({} if model.config.is_encoder_decoder else {"use_cache": False}),
            )  # fmt: skip
            states = getattr(output, "hidden_states", None)
            if states is None or len(states) != len(names):
                raise UserError(f"{type(model).__name__} does not give the states of its {len(names) - 1} layers")
            means = [_mean(state_BTD, mask_BT.to(device)) for state_BTD in states]
            if found is None:
                found = torch.empty(len(names), len(rows), means[0].shape[1], dtype=torch.float64)
            for layer, mean_BD in enumerate(means):
                found[layer, order[start:end]] = mean_BD.cpu()
    assert found is not None or not rows
    return torch.empty(len(names), 0, 0, dtype=torch.float64) if found is None else found


def _mean(state_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    total_BD = torch.einsum("btd,bt->bd", state_BTD.double(), mask_BT.double())
    return total_BD / mask_BT.sum(dim=1, keepdim=True)


def _padded(rows: Sequence[Ids]) -> tuple[Tensor, Tensor]:
    """Token ids (B, T) padded behind with each row's last token, and 1 where a token is real."""
    lengths_B1 = torch.tensor([len(row) for row in rows])[:, None]
    width = int(lengths_B1.max())
    tokens_BT = torch.stack(
        [torch.from_numpy(np.pad(np.asarray(row, np.int64), (0, width - len(row)), mode="edge")) for row in rows]
    )
    return tokens_BT, (torch.arange(width) < lengths_B1).long()
