"""The causal language-model loss of packed rows, summed over targets.

Shapes: B rows, T positions, N tokens (those with a target, after the body), D width, V vocabulary.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rewarm.objectives import documents
from rewarm.objectives.attention import can_name_documents
from rewarm.objectives.cross_entropy import (
    LinearCrossEntropy,
    LinearTargetLosses,
    Workspace,
    chunk_logits,
    chunk_losses,
    chunk_rows,
)
from rewarm.objectives.head_terms import HeadTerm, LogitLosses
from rewarm.objectives.probing import probe_tokens, probing
from rewarm.objectives.products import cache_folder, use_fastest
from rewarm.tokens.packing import NO_TARGET
from rewarm.types import Batch, UserError

ISOLATED = 1e-4
"""Hidden values of a document may differ by this much (relative) with what precedes it in its row; rounding only."""

_ISOLATING = (
    "rewarm packs documents into rows and needs a model that keeps them apart by position_ids, as Llama, Qwen, "
    "Mistral, Gemma, OLMo, Phi, GPT-NeoX and GPT-2 do; an encoder (BERT, RoBERTa) has objective: masked"
)


def has_plain_head(model: PreTrainedModel) -> bool:
    """Whether the logits are exactly a linear map of the last hidden state (no capping, scaling or extra layer)."""
    head = model.get_output_embeddings()
    if not isinstance(head, torch.nn.Linear) or model.base_model is model:
        return False
    tokens_BT = probe_tokens(model, 32)[None]
    with probing(model):
        whole_BTV = model(input_ids=tokens_BT, use_cache=False).logits
        parts_BTV = head(model.base_model(input_ids=tokens_BT, use_cache=False).last_hidden_state)
    return bool(torch.equal(whole_BTV, parts_BTV))


def check_isolation(model: PreTrainedModel) -> None:
    """UserError when a document's logits depend on the document before it in a packed row.

    Recurrent models, and families whose attention does not follow `position_ids` (OPT, BLOOM, MPT, Falcon), do so.
    """
    document = probe_tokens(model, 7)
    tokens_BT = torch.stack(
        [torch.cat([document[:4], document[4:]]), torch.cat([document[[4, 4, 4, 4]], document[4:]])]
    )
    positions_BT = torch.tensor([[0, 1, 2, 3, 0, 1, 2]] * 2, device=model.device)
    try:
        with probing(model):
            first, second = model(input_ids=tokens_BT, position_ids=positions_BT, use_cache=False).logits[:, 4:].float()
    except TypeError as error:
        raise UserError(f"{type(model).__name__} takes no position_ids. {_ISOLATING}") from error
    if float((first - second).abs().max()) > ISOLATED * float(first.abs().max()):
        raise UserError(f"{type(model).__name__} reads across the documents of a packed row. {_ISOLATING}")


def _sent(value: Tensor, device: torch.device) -> Tensor:
    """To the device. A copy to a GPU is asynchronous from pinned memory only."""
    return value.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else value.to(device)


@dataclass(slots=True)
class Logits:
    """Logits of the tokens with a target, in their order, made a chunk at a time when they are asked for.

    A model whose head is not plain has made them whole: then `hidden_ND` are the logits themselves.
    """

    hidden_ND: Tensor
    head_VD: Tensor | None
    bias_V: Tensor | None
    workspace: Workspace
    _made: range = range(0)
    _chunk_NV: Tensor | None = None

    def __getitem__(self, part: slice) -> Tensor:
        """(N, V) at least in fp32, to be looked at only, and until another part is asked for. Best in rising order."""
        if self.head_VD is None:
            return self.hidden_ND[part].float()
        if self._chunk_NV is None or part.start not in self._made or part.stop > self._made.stop:
            rows = max(part.stop - part.start, chunk_rows(len(self.hidden_ND), len(self.head_VD)))
            self._made = range(part.start, min(len(self.hidden_ND), part.start + rows))
            hidden = self.hidden_ND[self._made.start : self._made.stop]
            self._chunk_NV = chunk_logits(hidden, self.head_VD, self.bias_V, self.workspace)
        return self._chunk_NV[part.start - self._made.start : part.stop - self._made.start]


class PackedLoss:
    """The loss of a batch under a model: nats summed over its targets.

    A model whose head is not plain falls back to its own logits, at the memory that costs; one whose attention cannot
    be given documents, to a mask over pairs of positions. UserError for a model that mixes packed documents.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        if model.device.type == "cpu":
            use_fastest()
        check_isolation(model)
        self.model = model
        self.chunked = has_plain_head(model)
        self.names_documents = can_name_documents(model)
        self._workspace = Workspace()
        self.run_eagerly()

    def join(self, total: Callable[[Tensor], Tensor]) -> None:
        """Nothing: a loss is a sum over batches, whoever makes them."""

    def begin_step(self) -> None:
        """Nothing: the loss itself is all there is to read of a step."""

    def readings(self) -> dict[str, float]:
        """None but the loss."""
        return {}

    def run_eagerly(self) -> None:
        """From now on passes run as the model is written."""
        self.compiled = False
        self._whole: Callable[..., Any] = self.model
        # Sharded models (rewarm/training/sharding.py) put their weights together in a method of their own.
        self._body: Callable[..., Any] = getattr(self.model, "read_body", self.model.base_model)

    def compile(self) -> None:
        """From now on passes go through torch.compile, which needs a C++ compiler on CPUs; the first one is slow."""
        # torch's cache does not see that an operator of ours changed, so that each version has its own.
        version = hashlib.sha256(Path(documents.__file__).read_bytes()).hexdigest()[:8]
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / f"compiled-{version}"))
        self.compiled = True
        # Dropout draws what it draws eagerly: otherwise compiled passes could not be told from wrong ones.
        options: dict[str, Any] = {"fallback_random": True}
        if self.chunked:
            self._body = torch.compile(self.model.base_model, options=options)
        else:
            self._whole = torch.compile(self.model, options=options)

    def _inputs(self, batch: Batch) -> dict[str, Any]:
        device = self.model.device
        found: dict[str, Any] = {
            "input_ids": _sent(batch.tokens_BT, device),
            "position_ids": _sent(batch.positions_BT, device),
            "use_cache": False,
        }
        if self.names_documents:
            bounds = _sent(documents.document_bounds(batch.positions_BT), device)
            if self.compiled:  # the one size that changes from batch to batch: not worth compiling for each
                torch._dynamo.maybe_mark_dynamic(bounds, 3)
            found["attention_mask"] = bounds
        return found

    def loss_sum(self, batch: Batch, scale: float = 1.0, terms: Sequence[HeadTerm] = ()) -> Tensor:
        """`scale` x (the nats summed over the batch's targets, plus the values of `terms`), a scalar with its gradient.

        A term acts on the same logits, and may leave targets out of the cross-entropy.
        """
        if not self.chunked and terms:
            logits_NV, targets_N = self._whole_logits(batch)
            found: Tensor = LogitLosses.apply(logits_NV, targets_N, scale, terms)  # type: ignore[no-untyped-call]
            return found
        if not self.chunked:
            targets_N = _sent(batch.targets_BT, self.model.device).flatten()
            logits_BTV = self._whole(**self._inputs(batch)).logits
            return scale * torch.nn.functional.cross_entropy(
                logits_BTV.flatten(0, 1).float(), targets_N, ignore_index=NO_TARGET, reduction="sum"
            )
        hidden_ND, head_VD, bias_V, targets_N, _ = self._before_head(batch)
        result: Tensor = LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
            hidden_ND, head_VD, bias_V, targets_N, scale, self._workspace, *terms
        )
        return result

    def target_losses(self, batch: Batch) -> Tensor:
        """Nats of every target (N,) in fp32 in the order of the batch, with their gradients."""
        if not self.chunked:
            logits_NV, targets_N = self._whole_logits(batch)
            return torch.nn.functional.cross_entropy(logits_NV.float(), targets_N, reduction="none")
        hidden_ND, head_VD, bias_V, targets_N, _ = self._before_head(batch)
        found: Tensor = LinearTargetLosses.apply(  # type: ignore[no-untyped-call]
            hidden_ND, head_VD, bias_V, targets_N, self._workspace
        )
        return found

    @torch.no_grad()
    def logits(self, batch: Batch) -> Logits:
        """The logits of the tokens with a target, without gradients."""
        if not self.chunked:
            return Logits(self._whole_logits(batch)[0], None, None, self._workspace)
        hidden_ND, head_VD, bias_V, _, _ = self._before_head(batch)
        return Logits(hidden_ND, head_VD.to(hidden_ND.dtype), bias_V, self._workspace)

    def _whole_logits(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits (N, V) that the model has made itself, and the targets."""
        targets_N, chosen_N = self._targets(batch)
        return self._whole(**self._inputs(batch)).logits.flatten(0, 1).index_select(0, chosen_N), targets_N

    def _targets(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The targets, and the places of the tokens that have one.

        Which ones do is asked on the CPU: the answer of a GPU would have to be waited for.
        """
        every_N = batch.targets_BT.flatten()
        chosen = (every_N != NO_TARGET).nonzero()[:, 0]
        return _sent(every_N[chosen], self.model.device), _sent(chosen, self.model.device)

    def _before_head(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None, Tensor, Tensor]:
        """Hidden states of the tokens with a target, the head's weight and bias, the targets, and where they are."""
        targets_N, chosen_N = self._targets(batch)
        hidden_ND = self._body(**self._inputs(batch)).last_hidden_state.flatten(0, 1).index_select(0, chosen_N)
        # What follows is not cast by autocast; without this the head would be the one fp32 product left.
        if torch.is_autocast_enabled(hidden_ND.device.type):
            hidden_ND = hidden_ND.to(torch.get_autocast_dtype(hidden_ND.device.type))
        head: torch.nn.Linear = self.model.get_output_embeddings()
        return hidden_ND, head.weight, head.bias, targets_N, chosen_N

    @torch.no_grad()
    def token_losses(self, batch: Batch) -> Tensor:
        """Nats of every target (B, T) in fp32; 0 where there is none."""
        device = self.model.device
        if not self.chunked:
            targets_N = _sent(batch.targets_BT, device).flatten()
            logits_NV = self._whole(**self._inputs(batch)).logits.flatten(0, 1).float()
            losses_N = torch.nn.functional.cross_entropy(logits_NV, targets_N, ignore_index=NO_TARGET, reduction="none")
            return losses_N.view_as(batch.targets_BT)
        losses_N = torch.zeros(batch.targets_BT.numel(), dtype=torch.float32, device=device)
        hidden_ND, head_VD, bias_V, targets_N, chosen_N = self._before_head(batch)
        factor_VD = head_VD.to(hidden_ND.dtype)
        rows = chunk_rows(len(chosen_N), len(head_VD))
        parts = (value_N.split(rows) for value_N in (chosen_N, hidden_ND, targets_N[:, None]))
        for part_N, hidden, targets_N1 in zip(*parts, strict=True):
            found_N1, _, _ = chunk_losses(hidden, factor_VD, bias_V, targets_N1, self._workspace)
            losses_N[part_N] = found_N1[:, 0].float()
        return losses_N.view_as(batch.targets_BT)
