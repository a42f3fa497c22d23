"""The loss of packed rows in which tokens are hidden, under a model that reads both ways.

Documents of a row are kept apart by a mask over pairs of positions, which BERT, RoBERTa and their kin take as it is;
that is looked at by numbers, and a model that does not (windows of attention, attention of its own) reads every
document as a row of its own, padded. Logits are made only where something is hidden.

Shapes: B rows, T positions, N hidden tokens, D width, V vocabulary, G documents, L positions of the longest of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from rewarm.models.encoder import first_position
from rewarm.objectives.head_terms import HeadTerm
from rewarm.objectives.probing import probe_tokens, probing
from rewarm.objectives.products import use_fastest
from rewarm.objectives.uncompiled import Uncompiled
from rewarm.tokens.packing import NO_TARGET
from rewarm.types import Batch, UserError

EQUAL = 1e-4
"""Logits of a document alone and beside another may differ by this much (relative to the largest); rounding only."""
_WINDOWS = ("sliding_window", "local_attention", "attention_window")
"""What configurations call attention inside a window, which a mask over pairs would replace without a word."""
_HEADS = ("cls", "lm_head", "predictions")


class MaskedLoss(Uncompiled):
    """The loss of a batch under a model: nats summed over its hidden tokens.

    UserError for a model in which a text's logits depend on the padding behind it: it could not keep texts apart.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        if model.device.type == "cpu":
            use_fastest()
        self.model = model
        self._first = first_position(model)
        self._pad = int(model.config.get_text_config().pad_token_id or 0)
        self.packs = self._keeps_apart(self._packed)
        if not self.packs and not self._keeps_apart(self._alone):
            raise UserError(
                f"{type(model).__name__} reads across texts, or into padding, so that documents cannot be kept apart. "
                "A masked objective needs a model such as BERT, RoBERTa, DistilBERT, ELECTRA or ModernBERT"
            )
        if not self.packs and hasattr(model, "read_body"):  # taken apart (rewarm/training/sharding.py)
            raise UserError(
                f"{type(model).__name__} reads each document as a row of its own, and so in passes that differ between "
                "processes, which weights in parts do not allow. Set sharding: none"
            )
        self._head = _head_of(model)

    def loss_sum(self, batch: Batch, scale: float = 1.0, terms: Sequence[HeadTerm] = ()) -> Tensor:
        """`scale` x the nats summed over the batch's hidden tokens, a scalar with its gradient.

        Terms are never asked for: a plan that has some is refused.
        """
        targets_X = batch.targets_BT.flatten().to(self.model.device)
        parts = [
            cross_entropy(logits_NV.float(), targets_X[places_N], reduction="sum")
            for logits_NV, places_N in self._logits(batch)
        ]
        return scale * torch.stack(parts).sum()

    @torch.no_grad()
    def token_losses(self, batch: Batch) -> Tensor:
        """Nats of every hidden token (B, T) in fp32; 0 elsewhere."""
        targets_X = batch.targets_BT.flatten().to(self.model.device)
        losses_X = torch.zeros(targets_X.shape, dtype=torch.float32, device=self.model.device)
        for logits_NV, places_N in self._logits(batch):
            losses_X[places_N] = cross_entropy(logits_NV.float(), targets_X[places_N], reduction="none")
        return losses_X.view_as(batch.targets_BT)

    def _logits(self, batch: Batch) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits (N, V) of hidden tokens, and their places (N,) in the flattened batch."""
        wanted_X = batch.targets_BT.flatten() != NO_TARGET
        if self.packs:
            places_N = wanted_X.nonzero()[:, 0].to(self.model.device)
            yield self._read(self._packed(batch.tokens_BT, batch.positions_BT), places_N), places_N
            return
        starts_G = (batch.positions_BT.flatten() == 0).nonzero()[:, 0]
        lengths_G = torch.diff(starts_G, append=torch.tensor([batch.tokens_BT.numel()]))
        # Documents of nearly one length together: one long one would pad all others to its own.
        sizes_G = torch.ceil(torch.log2(lengths_G.double())).long()
        for size in sizes_G.unique():
            inner_L = torch.arange(int(lengths_G[sizes_G == size].max()))
            real_GL = inner_L < lengths_G[sizes_G == size, None]
            index_GL = torch.where(real_GL, starts_G[sizes_G == size, None] + inner_L, 0)
            asked_GL = real_GL & wanted_X[index_GL]
            inputs = self._rows(batch.tokens_BT.flatten()[index_GL], real_GL)
            places_N = asked_GL.flatten().nonzero()[:, 0].to(self.model.device)
            yield self._read(inputs, places_N), index_GL[asked_GL].to(self.model.device)

    def _read(self, inputs: dict[str, Any], places_N: Tensor) -> Tensor:
        """Logits (N, V) at places of the flattened inputs."""
        if self._head is None:
            whole: Tensor = self.model(**inputs).logits.flatten(0, 1).index_select(0, places_N)
            return whole
        # As in PackedLoss: sharded models put their weights together in a method of their own.
        hidden_BTD = getattr(self.model, "read_body", self.model.base_model)(**inputs).last_hidden_state
        made: Tensor = self._head(hidden_BTD.flatten(0, 1).index_select(0, places_N))
        return made

    def _packed(self, tokens_BT: Tensor, positions_BT: Tensor) -> dict[str, Any]:
        """Rows as they are, with a mask: a token sees those of its own document. Padding sees itself alone."""
        device = self.model.device
        document_BT = (positions_BT == 0).cumsum(1).to(device)
        return {
            "input_ids": tokens_BT.to(device),
            "position_ids": positions_BT.to(device) + self._first,
            "attention_mask": (document_BT[:, :, None] == document_BT[:, None, :])[:, None],
        }

    def _rows(self, tokens_GL: Tensor, real_GL: Tensor) -> dict[str, Any]:
        """Rows of one document each, and which of their tokens are real."""
        device = self.model.device
        return {
            "input_ids": torch.where(real_GL, tokens_GL, self._pad).to(device),
            "attention_mask": real_GL.long().to(device),
        }

    def _alone(self, tokens_BT: Tensor, positions_BT: Tensor) -> dict[str, Any]:
        """The first row of a batch as if its documents were rows, for the look at the model."""
        starts = [*(positions_BT[0] == 0).nonzero()[:, 0].tolist(), tokens_BT.shape[1]]
        parts = [tokens_BT[0, start:end] for start, end in pairwise(starts)]
        tokens_GL = nn.utils.rnn.pad_sequence(parts, batch_first=True)
        lengths = torch.tensor([len(part) for part in parts])
        return self._rows(tokens_GL, torch.arange(tokens_GL.shape[1]) < lengths[:, None])

    def _keeps_apart(self, read: Callable[[Tensor, Tensor], dict[str, Any]]) -> bool:
        """Whether two documents read in that way have the logits that each has by itself."""
        config = self.model.config.get_text_config()
        if read == self._packed and (
            config._attn_implementation != "sdpa" or any(getattr(config, name, None) for name in _WINDOWS)
        ):
            return False
        tokens_T = probe_tokens(self.model, 12).cpu()
        first, second = tokens_T[:5], tokens_T[5:]
        positions_BT = torch.cat([torch.arange(5), torch.arange(7)])[None]
        try:
            with probing(self.model):
                wanted = [self.model(input_ids=part[None].to(self.model.device)).logits[0] for part in (first, second)]
                found = self.model(**read(tokens_T[None], positions_BT)).logits
        except (TypeError, ValueError, RuntimeError, IndexError, AttributeError):
            return False
        own = [found[0, :5], found[0, 5:]] if len(found) == 1 else [found[0, :5], found[1, :7]]
        return all(
            bool((one - other).abs().max() <= EQUAL * other.abs().max()) for one, other in zip(own, wanted, strict=True)
        )


def _head_of(model: PreTrainedModel) -> Callable[[Tensor], Tensor] | None:
    """What makes logits of last hidden states, where that is one module of the model; None otherwise."""
    tokens_BT = probe_tokens(model, 12)[None]
    for name in _HEADS:
        head = getattr(model, name, None)
        if not isinstance(head, nn.Module) or model.base_model is model:
            continue
        try:
            with probing(model):
                whole_BTV = model(input_ids=tokens_BT).logits
                made_BTV = head(model.base_model(input_ids=tokens_BT).last_hidden_state)
        except (TypeError, RuntimeError, AttributeError):
            continue
        if made_BTV.shape == whole_BTV.shape and torch.equal(made_BTV, whole_BTV):
            return head
    return None
