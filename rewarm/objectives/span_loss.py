"""The loss of packed rows whose spans are taken out, under a model of an encoder and a decoder.

Documents of a row are kept apart by masks over pairs of positions: in the encoder, in the decoder, and between them.
Relative positions (T5, mT5, umT5) need nothing else. That a model does so is looked at by numbers at the start.

Shapes: B rows, S positions of the encoder, T of the decoder, X, Y positions of either, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from rewarm.objectives.head_terms import HeadTerm
from rewarm.objectives.probing import probe_tokens, probing
from rewarm.objectives.products import use_fastest
from rewarm.objectives.uncompiled import Uncompiled
from rewarm.tokens.packing import NO_TARGET
from rewarm.tokens.spans import SpanBatch, lay
from rewarm.types import Batch, UserError

EQUAL = 1e-4
"""Logits of a document alone and beside another may differ by this much (relative to the largest); rounding only."""


class SpanLoss(Uncompiled):
    """The loss of a batch (a `SpanBatch`) under a model: nats summed over all that the decoder is to write.

    UserError for a model in which a document's logits depend on what stands beside it, or that does not say what its
    decoder starts from.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        if model.device.type == "cpu":
            use_fastest()
        self.model = model
        start = model.config.decoder_start_token_id
        if start is None:
            raise UserError(
                f"the configuration of this {type(model).__name__} names no decoder_start_token_id, so nobody knows "
                "what its decoder starts from: set it in config.json (T5 starts from its padding token)"
            )
        self._start = int(start)
        if not self._keeps_apart():
            raise UserError(
                f"{type(model).__name__} does not keep the documents of a row apart: its positions are not relative, "
                "or it takes no mask over pairs of positions. span-corruption needs a model such as T5, mT5 or umT5"
            )

    def loss_sum(self, batch: Batch, scale: float = 1.0, terms: Sequence[HeadTerm] = ()) -> Tensor:
        """`scale` x the nats summed over the batch's targets, a scalar with its gradient.

        Terms are never asked for: a plan that has some is refused.
        """
        targets_X = batch.targets_BT.flatten().to(self.model.device)
        logits_XV = self._logits(batch).flatten(0, 1)
        return scale * cross_entropy(logits_XV.float(), targets_X, reduction="sum", ignore_index=NO_TARGET)

    @torch.no_grad()
    def token_losses(self, batch: Batch) -> Tensor:
        """Nats of every target (B, T) in fp32; 0 where there is none."""
        targets_X = batch.targets_BT.flatten().to(self.model.device)
        logits_XV = self._logits(batch).flatten(0, 1)
        losses_X = cross_entropy(logits_XV.float(), targets_X, reduction="none", ignore_index=NO_TARGET)
        return losses_X.view_as(batch.targets_BT)

    def _logits(self, batch: Batch) -> Tensor:
        """Logits (B, T, V) of all that the decoder writes."""
        assert isinstance(batch, SpanBatch)  # the objective makes no others
        assert batch.written_BT is not None
        device = self.model.device
        read_BS, written_BT = _documents(batch.positions_BT).to(device), _documents(batch.written_BT).to(device)
        ordered_TT = torch.ones(written_BT.shape[1], written_BT.shape[1], dtype=torch.bool, device=device).tril()
        encoded_BSD = self.model.get_encoder()(
            input_ids=batch.tokens_BT.to(device), attention_mask=_same(read_BS, read_BS)
        ).last_hidden_state
        logits_BTV: Tensor = self.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded_BSD),
            attention_mask=_same(written_BT, read_BS),
            decoder_input_ids=self._shifted(batch.targets_BT, batch.written_BT).to(device),
            decoder_attention_mask=_same(written_BT, written_BT) & ordered_TT,
            use_cache=False,
        ).logits
        return logits_BTV

    def _shifted(self, targets_BT: Tensor, written_BT: Tensor) -> Tensor:
        """What the decoder reads: in each place what it was to write in the one before, and first its start."""
        before_BT = targets_BT.roll(1, dims=1)
        return torch.where((written_BT == 0) | (before_BT == NO_TARGET), self._start, before_BT)

    def _keeps_apart(self) -> bool:
        """Whether two documents in a row have the logits that each has by itself, without any mask."""
        ids = probe_tokens(self.model, 21).cpu().numpy().astype(np.int64)
        examples = [(ids[:5], ids[5:8]), (ids[8:15], ids[15:])]
        try:
            with probing(self.model):
                wanted = [self._plainly(*example) for example in examples]
                found_TV = self._logits(lay([examples]))[0]
        except (TypeError, ValueError, RuntimeError, IndexError, AttributeError):
            return False
        return all(
            bool((one - other).abs().max() <= EQUAL * other.abs().max())
            for one, other in zip((found_TV[:3], found_TV[3:]), wanted, strict=True)
        )

    def _plainly(self, tokens_S: Any, targets_T: Any) -> Tensor:
        """Logits (T, V) of a document as the model itself makes them."""
        tokens_BS, targets_BT = (torch.from_numpy(part)[None].to(self.model.device) for part in (tokens_S, targets_T))
        logits_BTV: Tensor = self.model(input_ids=tokens_BS, labels=targets_BT, use_cache=False).logits
        return logits_BTV[0]


def _documents(places_BX: Tensor) -> Tensor:
    """The number of the document that each place belongs to, from 1; each padding is one by itself."""
    return (places_BX == 0).cumsum(1)


def _same(asking_BX: Tensor, asked_BY: Tensor) -> Tensor:
    """A mask (B, 1, X, Y): who belongs to the same document."""
    return (asking_BX[:, :, None] == asked_BY[:, None, :])[:, None]
