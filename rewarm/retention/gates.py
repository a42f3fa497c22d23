"""How important units are: how strongly a loss answers to a gate of 1 on what each of them computes.

Michel et al., arXiv 1905.10650; as in DAS, arXiv 2302.03241, equation 3: the mean over samples of |d loss / d gate|.
Gates are hooks that are gone after the pass: no model is rebuilt, and no parameter gets a gradient.

Shapes: B rows, T positions, V vocabulary, U units of one kind in one layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from rewarm.objectives.attention import NAME
from rewarm.objectives.documents import document_bounds
from rewarm.objectives.packed_loss import PackedLoss
from rewarm.objectives.probing import evaluating
from rewarm.retention import Scene, Tensors
from rewarm.retention.units import Units
from rewarm.tokens.packing import NO_TARGET
from rewarm.types import Batch, UserError

Norm = Literal["one-sided", "paper", "rank"]


@contextmanager
def gated(units: Sequence[Units], gates: Mapping[str, Tensor]) -> Iterator[None]:
    """Meanwhile what each unit computes is multiplied by its gate: `gates[name]` (U), one for each of `units`."""
    with ExitStack() as hooks:
        for some in units:
            gate_U = gates[some.name]
            if some.after:
                handle = some.module.register_forward_hook(partial(_gate_output, gate_U))
            else:
                handle = some.module.register_forward_pre_hook(partial(_gate_input, gate_U))
            hooks.callback(handle.remove)
        yield


def _gate_input(gate_U: Tensor, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return _multiplied(inputs[0], gate_U), *inputs[1:]


def _gate_output(gate_U: Tensor, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    return _multiplied(output, gate_U)


def _multiplied(value: Tensor, gate_U: Tensor) -> Tensor:
    width = value.shape[-1] // len(gate_U)
    # In the value's own format, so that gates of 1 change nothing.
    return value * gate_U.to(value.dtype).repeat_interleave(width)


@contextmanager
def dropped(units: Sequence[Units], probability: float) -> Iterator[None]:
    """Meanwhile what attention and feed-forward modules add to the residual stream goes through dropout."""
    with ExitStack() as hooks:
        for module in dict.fromkeys(some.module for some in units):
            hooks.callback(module.register_forward_hook(partial(_drop_output, probability)).remove)
        yield


def _drop_output(probability: float, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    return functional.dropout(output, probability, training=True)


def inputs_of(model: PreTrainedModel, batch: Batch) -> dict[str, Any]:
    """What a model is called with for packed rows, documents kept apart."""
    found: dict[str, Any] = {
        "input_ids": batch.tokens_BT.to(model.device),
        "position_ids": batch.positions_BT.to(model.device),
        "use_cache": False,
    }
    # Any other attention makes a mask over pairs of positions from the positions alone, which is slower.
    if model.config._attn_implementation == NAME:
        found["attention_mask"] = document_bounds(batch.positions_BT).to(model.device)
    return found


def importance(
    units: Sequence[Units], samples: Iterator[Batch], loss: Callable[[Batch], Tensor], tell: Callable[[int], None]
) -> Tensors:
    """The mean over samples, a batch each, of |d loss / d gate|, by name of the units: (U) each, in fp32.

    The absolute value is taken per sample, as the paper writes it: over a batch, gradients of both signs would cancel.
    `tell` is given the number of samples done.
    """
    gates = {some.name: torch.ones(some.count, device=_device(some), requires_grad=True) for some in units}
    sums = {name: torch.zeros_like(gate, requires_grad=False) for name, gate in gates.items()}
    seen = 0
    with gated(units, gates):
        for done, batch in enumerate(samples, start=1):
            if batch.num_targets:
                slopes = torch.autograd.grad(loss(batch), list(gates.values()))
                for total_U, slope_U in zip(sums.values(), slopes, strict=True):
                    total_U += slope_U.abs()
                seen += 1
            tell(done)
    return {name: total_U / max(1, seen) for name, total_U in sums.items()}


def _device(some: Units) -> torch.device:
    return next(some.module.parameters()).device


def text_importance(scene: Scene, units: Sequence[Units], text: str, rows: int) -> Tensors:
    """Importance for predicting a text: cross-entropy, nats per target of each row. The model's own dropout is off."""
    objective = PackedLoss(scene.model)

    def loss(batch: Batch) -> Tensor:
        return objective.loss_sum(batch, 1 / batch.num_targets)

    return _measured(scene, units, text, rows, loss)


def dropout_importance(scene: Scene, units: Sequence[Units], text: str, rows: int, probability: float) -> Tensors:
    """Importance for what a model predicts, whatever the text: DAS's stand-in for text it was trained on (equation 4).

    The loss is KL(first || second) of the next-token distributions of two passes that differ in their dropout, in nats
    per target of each row; the gates see both. The model's own dropout is off, and `probability` is injected on what
    layers add to the residual stream, since most models come without any. UserError when two passes are equal: the
    gradient would be rounding, which standardising blows up into an importance.
    """
    model = scene.model

    def log_likelihoods(batch: Batch) -> Tensor:
        with dropped(units, probability):
            logits_BTV = model(**inputs_of(model, batch)).logits
        return torch.log_softmax(logits_BTV[batch.targets_BT.to(logits_BTV.device) != NO_TARGET].float(), -1)

    def loss(batch: Batch) -> Tensor:
        first_NV, second_NV = log_likelihoods(batch), log_likelihoods(batch)
        divergence = (first_NV.exp() * (first_NV - second_NV)).sum(-1).mean()
        if float(divergence.detach()) == 0:
            raise UserError(
                f"two passes with dropout {probability} predict exactly the same, so that no importance can be read "
                "from their difference. Give a dropout above 0, or measure general knowledge on a text (general: text)"
            )
        return divergence

    return _measured(scene, units, text, rows, loss)


def _measured(scene: Scene, units: Sequence[Units], text: str, rows: int, loss: Callable[[Batch], Tensor]) -> Tensors:
    """Importance without a trace in the model's mode or in the random numbers of training."""
    device = scene.model.device
    with (
        evaluating(scene.model),
        torch.random.fork_rng([device] if device.type == "cuda" else []),
        torch.autocast(device.type, scene.precision, enabled=scene.precision != torch.float32),
    ):
        torch.manual_seed(scene.seed)
        return importance(
            units, scene.rows(text, rows), loss, lambda done: scene.tell("importance of units", done, rows, "rows")
        )


def normalised(found: Mapping[str, Tensor], norm: Norm) -> Tensors:
    """Importance made comparable between layers: from 0, not protected, to 1, within each layer and kind.

    `one-sided`: max(0, tanh z), z being standardised, so that what is below the mean is free. `paper`: |tanh z|, which
    protects the least important units as much as the most important ones. `rank`: the share of others that matter less.
    """
    return {name: _normalised(value_U, norm) for name, value_U in found.items()}


def _normalised(value_U: Tensor, norm: Norm) -> Tensor:
    if norm == "rank":
        return torch.searchsorted(value_U.sort().values, value_U).float() / max(1, len(value_U) - 1)
    away_U, spread = value_U - value_U.mean(), value_U.std(correction=0)
    # Units that are all alike differ by rounding only.
    bare = spread <= torch.finfo(value_U.dtype).eps * value_U.abs().max()
    squashed_U = torch.zeros_like(value_U) if bare else torch.tanh(away_U / spread)
    return squashed_U.abs() if norm == "paper" else squashed_U.clamp(min=0)
