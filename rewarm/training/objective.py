"""The causal language-model loss of packed rows, summed over targets.

Shapes: B rows, T positions, N tokens (those with a target, after the body), D width, V vocabulary.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rewarm.tokens.packing import NO_TARGET
from rewarm.training import documents
from rewarm.training.attention import can_name_documents
from rewarm.training.cross_entropy import LinearCrossEntropy, Workspace, chunk_losses, chunk_rows
from rewarm.training.products import cache_folder, use_fastest
from rewarm.types import Batch, UserError

ISOLATED = 1e-4
"""Hidden values of a document may differ by this much (relative) with what precedes it in its row; rounding only."""

_ISOLATING = (
    "rewarm packs documents into rows and needs a model that keeps them apart by position_ids, as Llama, Qwen, "
    "Mistral, Gemma, OLMo, Phi, GPT-NeoX and GPT-2 do"
)


@contextmanager
def _probing(model: PreTrainedModel) -> Iterator[None]:
    was_training = model.training
    model.eval()
    with torch.no_grad(), torch.autocast(model.device.type, enabled=False):
        yield
    model.train(was_training)


def _probe_tokens(model: PreTrainedModel, count: int) -> Tensor:
    """Ids from all over the vocabulary: a single one may be padding, whose embedding is zero in some families."""
    vocabulary = int(model.get_input_embeddings().weight.shape[0])  # type: ignore[index]
    return torch.arange(1, count + 1, device=model.device) * max(1, vocabulary // (count + 1)) % vocabulary


def has_plain_head(model: PreTrainedModel) -> bool:
    """Whether the logits are exactly a linear map of the last hidden state (no capping, scaling or extra layer)."""
    head = model.get_output_embeddings()
    if not isinstance(head, torch.nn.Linear) or model.base_model is model:
        return False
    tokens_BT = _probe_tokens(model, 32)[None]
    with _probing(model):
        whole_BTV = model(input_ids=tokens_BT, use_cache=False).logits
        parts_BTV = head(model.base_model(input_ids=tokens_BT, use_cache=False).last_hidden_state)
    return bool(torch.equal(whole_BTV, parts_BTV))


def check_isolation(model: PreTrainedModel) -> None:
    """UserError when a document's logits depend on the document before it in a packed row.

    Recurrent models, and families whose attention does not follow `position_ids` (OPT, BLOOM, MPT, Falcon), do so.
    """
    document = _probe_tokens(model, 7)
    tokens_BT = torch.stack(
        [torch.cat([document[:4], document[4:]]), torch.cat([document[[4, 4, 4, 4]], document[4:]])]
    )
    positions_BT = torch.tensor([[0, 1, 2, 3, 0, 1, 2]] * 2, device=model.device)
    try:
        with _probing(model):
            first, second = model(input_ids=tokens_BT, position_ids=positions_BT, use_cache=False).logits[:, 4:].float()
    except TypeError as error:
        raise UserError(f"{type(model).__name__} takes no position_ids. {_ISOLATING}") from error
    if float((first - second).abs().max()) > ISOLATED * float(first.abs().max()):
        raise UserError(f"{type(model).__name__} reads across the documents of a packed row. {_ISOLATING}")


class Objective:
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

    def run_eagerly(self) -> None:
        """From now on passes run as the model is written."""
        self.compiled = False
        self._whole: Callable[..., Any] = self.model
        self._body: Callable[..., Any] = self.model.base_model

    def compile(self) -> None:
        """From now on passes go through torch.compile, which needs a C++ compiler on CPUs; the first one is slow."""
        # torch's cache does not see that an operator of ours changed, so that each version has its own.
        version = hashlib.sha256(Path(documents.__file__).read_bytes()).hexdigest()[:8]
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / f"compiled-{version}"))
        self.compiled = True
        if self.chunked:
            self._body = torch.compile(self.model.base_model)
        else:
            self._whole = torch.compile(self.model)

    def _inputs(self, batch: Batch) -> dict[str, Any]:
        device = self.model.device
        found: dict[str, Any] = {
            "input_ids": batch.tokens_BT.to(device, non_blocking=True),
            "position_ids": batch.positions_BT.to(device, non_blocking=True),
            "use_cache": False,
        }
        if self.names_documents:
            bounds = documents.document_bounds(batch.positions_BT).to(device, non_blocking=True)
            if self.compiled:  # the one size that changes from batch to batch: not worth compiling for each
                torch._dynamo.maybe_mark_dynamic(bounds, 3)
            found["attention_mask"] = bounds
        return found

    def loss_sum(self, batch: Batch, scale: float = 1.0) -> Tensor:
        """`scale` x the nats summed over the batch's targets, a scalar with its gradient."""
        targets_N = batch.targets_BT.to(self.model.device, non_blocking=True).flatten()
        if not self.chunked:
            logits_BTV = self._whole(**self._inputs(batch)).logits
            return scale * torch.nn.functional.cross_entropy(
                logits_BTV.flatten(0, 1).float(), targets_N, ignore_index=NO_TARGET, reduction="sum"
            )
        hidden_ND, head_VD, bias_V, chosen_N = self._before_head(batch, targets_N)
        result: Tensor = LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
            hidden_ND, head_VD, bias_V, targets_N.index_select(0, chosen_N), scale, self._workspace
        )
        return result

    def _before_head(self, batch: Batch, targets_N: Tensor) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
        """Hidden states of the tokens with a target, the head's weight and bias, and which tokens those are."""
        hidden_ND = self._body(**self._inputs(batch)).last_hidden_state.flatten(0, 1)
        chosen_N = (targets_N != NO_TARGET).nonzero()[:, 0]
        hidden_ND = hidden_ND.index_select(0, chosen_N)
        # What follows is not cast by autocast; without this the head would be the one fp32 product left.
        if torch.is_autocast_enabled(hidden_ND.device.type):
            hidden_ND = hidden_ND.to(torch.get_autocast_dtype(hidden_ND.device.type))
        head: torch.nn.Linear = self.model.get_output_embeddings()
        return hidden_ND, head.weight, head.bias, chosen_N

    @torch.no_grad()
    def token_losses(self, batch: Batch) -> Tensor:
        """Nats of every target (B, T) in fp32; 0 where there is none."""
        targets_N = batch.targets_BT.to(self.model.device).flatten()
        if not self.chunked:
            logits_NV = self._whole(**self._inputs(batch)).logits.flatten(0, 1).float()
            losses_N = torch.nn.functional.cross_entropy(logits_NV, targets_N, ignore_index=NO_TARGET, reduction="none")
            return losses_N.view_as(batch.targets_BT)
        losses_N = torch.zeros(targets_N.shape, dtype=torch.float32, device=targets_N.device)
        hidden_ND, head_VD, bias_V, chosen_N = self._before_head(batch, targets_N)
        factor_VD = head_VD.to(hidden_ND.dtype)
        rows = chunk_rows(len(chosen_N), len(head_VD))
        for part_N, hidden in zip(chosen_N.split(rows), hidden_ND.split(rows), strict=True):
            logits = self._workspace.logits(len(hidden), head_VD)
            found_N1, _ = chunk_losses(logits, hidden, factor_VD, bias_V, targets_N[part_N, None])
            losses_N[part_N] = found_N1[:, 0].float()
        return losses_N.view_as(batch.targets_BT)
