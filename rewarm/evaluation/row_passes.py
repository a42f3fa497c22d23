"""A model's readings of rows that each hold one document, from its beginning: last hidden states, and losses.

As every row is one document, attention needs no mask, and what pads a row is read after it; models that could not keep
packed documents apart can be asked, too. Nothing here waits for a GPU.

Shapes: B rows, T positions, N = B x T tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from rewarm.objectives.attention import can_name_documents, rows_are_documents
from rewarm.objectives.cross_entropy import Workspace, chunk_nats, chunk_rows
from rewarm.objectives.packed_loss import has_plain_head
from rewarm.objectives.probing import evaluating, probe_tokens, probing
from rewarm.objectives.products import use_fastest
from rewarm.types import UserError

CPU_LOGITS = 8 << 20
CPU_ROWS = 256
"""Bytes of logits made at a time on a CPU, so that they stay in its cache, unless that is fewer rows than these, which
would read the head too often. Measured on 2 cores: faster than the plain product into fresh memory."""


class RowReader:
    """A model that is asked about rows: causal with its head where `losses` are wanted, otherwise any of one stack.

    `precision` is that of the passes; losses are made in fp32 from them. UserError for a model that cannot do it.
    """

    def __init__(self, model: PreTrainedModel, precision: torch.dtype, losses: bool) -> None:
        if model.device.type == "cpu":
            use_fastest()
        self.model = model
        self.precision = precision
        self.losses = losses
        self.causal = _is_causal(model)
        self.width = int(model.config.get_text_config().hidden_size)
        self._has_plain_head = losses and _has_checked_head(model, self.causal)
        self._rows_named = self.causal and can_name_documents(model)
        self._workspace = Workspace()
        self._factor_VD: Tensor | None = None

    @contextmanager
    def passes(self) -> Iterator[None]:
        """What calls of `read` share, several of which stand in it: weights are cast once, and kept until its end."""
        is_cast = self.precision != torch.float32
        device = self.model.device.type
        with evaluating(self.model), torch.no_grad(), torch.autocast(device, self.precision, enabled=is_cast):
            if self._has_plain_head:
                weight_VD: Tensor = self._head.weight
                self._factor_VD = weight_VD.to(self.precision) if is_cast else weight_VD
            try:
                yield
            finally:
                self._factor_VD = None

    @property
    def _head(self) -> Any:
        return self.model.get_output_embeddings()

    def read(self, tokens_BT: Tensor, real_BT: Tensor | None, targets_BT: Tensor) -> tuple[Tensor, Tensor | None]:
        """Last hidden states (B, T, D); and nats (B, T) in fp32 of `targets_BT`, each after its token, if wanted.

        `real_BT` tells tokens from padding, None where there is none. What stands in padding means nothing.
        """
        hidden_BTD, logits_BTV = self._pass(tokens_BT, real_BT)
        if not self.losses:
            return hidden_BTD, None
        inner_BTX = hidden_BTD if logits_BTV is None else logits_BTV
        return hidden_BTD, self._nats(inner_BTX.flatten(0, 1), targets_BT.flatten()).view_as(targets_BT)

    def _pass(self, tokens_BT: Tensor, real_BT: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Last hidden states, and logits where the head is more than a product."""
        inputs: dict[str, Any] = {"input_ids": tokens_BT}
        if self._rows_named:
            inputs["attention_mask"] = rows_are_documents(tokens_BT.device)
        elif real_BT is not None and not self.causal:
            inputs["attention_mask"] = real_BT.long()
        if self.causal:
            inputs["use_cache"] = False
        if self.losses and not self._has_plain_head:
            found = self.model(**inputs, output_hidden_states=True)
            return found.hidden_states[-1], found.logits
        return self.model.base_model(**inputs).last_hidden_state, None

    def _nats(self, inner_NX: Tensor, targets_N: Tensor) -> Tensor:
        """Nats (N,) of targets, from the hidden states before a plain head, or from logits."""
        vocabulary = len(self._head.weight)
        rows = chunk_rows(len(inner_NX), vocabulary)
        if not inner_NX.is_cuda:
            rows = min(rows, max(CPU_ROWS, CPU_LOGITS // (4 * vocabulary)))
        parts = zip(inner_NX.split(rows), targets_N[:, None].split(rows), strict=True)
        if (factor_VD := self._factor_VD) is None:
            return torch.cat([cross_entropy(x.float(), y[:, 0], reduction="none") for x, y in parts])
        bias_V, held = self._head.bias, self._workspace
        return torch.cat([chunk_nats(x.to(factor_VD.dtype), factor_VD, bias_V, y, held)[:, 0] for x, y in parts])


def _is_causal(model: PreTrainedModel) -> bool:
    """Whether what a model makes of a token depends on nothing behind it. UserError for a model of two stacks."""
    if model.config.is_encoder_decoder:
        raise UserError(
            f"{type(model).__name__} reads with one stack and writes with another, so a document has no one state. "
            "Give a causal model, or an encoder such as the result of its get_encoder()"
        )
    start = probe_tokens(model, 12)
    with probing(model):
        hidden_BTD = model.base_model(torch.stack([start[:8], start[[0, 1, 2, 3, 8, 9, 10, 11]]])).last_hidden_state
    first, second = hidden_BTD[:, :4].float()
    return bool((first - second).abs().max() <= 1e-4 * first.abs().max())


def _has_checked_head(model: PreTrainedModel, is_causal: bool) -> bool:
    """Whether the head of a model is a plain product. UserError for a model that has none to predict with."""
    if not is_causal or model.get_output_embeddings() is None:
        why = "has no language-model head" if is_causal else "reads what comes after a token, too"
        raise UserError(
            f"{type(model).__name__} {why}, so it gives a document no loss. Ask for states only (losses=False), or "
            "give a causal language model"
        )
    return has_plain_head(model)
