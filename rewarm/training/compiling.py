"""torch.compile where it pays: decided from the work ahead, tried on a batch before it is trusted, kept for later runs.

Measured on 2 cores (docs/performance.md): compiling takes 15 to 30 s the first time and 4 s when an earlier run left
its work in the cache folder; after that a step is 3 to 8 % faster where the model is narrow, and no faster where a
large vocabulary is most of the work. On GPUs it saves more.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from transformers import PreTrainedModel

from rewarm.objectives import Loss
from rewarm.objectives.products import measured
from rewarm.training.machine import flops_per_token, has_compiler, matmul_rate
from rewarm.types import Batch, UserError

PAYS_SECONDS = 600.0
"""Legs that take less than this are not compiled by themselves: at 5 % they would hardly earn back the half minute."""
REACHED = 0.5
"""Share of the rate of plain matrix products that training reaches, for the estimate of how long a leg takes."""
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 1e-2}
"""Largest relative difference of loss and gradient norm between compiled and eager passes."""

Asked = bool | Literal["auto"]


def pays(asked: Asked, model: PreTrainedModel, tokens: int, seq_len: int, precision: torch.dtype) -> bool:
    """Whether a leg of so many tokens is to be compiled: as the plan says, or where it will be long enough."""
    if asked != "auto":
        return asked
    if not has_compiler():
        return False
    if model.device.type == "cpu":
        rate = measured()["rates"]["bf16"] if precision == torch.bfloat16 else measured()["fp32"]
    else:
        rate = matmul_rate(4096, 1024, precision)
    return bool(tokens * flops_per_token(model, seq_len) / (REACHED * rate) >= PAYS_SECONDS)


def try_compiling(objective: Loss, batch: Batch, precision: torch.dtype, asked: Asked, notes: list[str]) -> None:
    """Compiles the objective's passes if they then give the eager loss and gradient on `batch`; a note if they do not.

    Weights and random state are as before, and there are no gradients. UserError where compiling fails and the plan
    insists on it.
    """
    # Here, because they take a second to import.
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import InductorError

    wanted = _look(objective, batch, precision)
    try:
        objective.compile()
        found = _look(objective, batch, precision)
        fault = (
            None if _agree(found, wanted, TOLERANCE[precision]) else f"gave {found} where eager passes give {wanted}"
        )
    except (TorchDynamoException, InductorError, RuntimeError) as error:
        fault = f"failed: {(str(error).strip() or type(error).__name__).splitlines()[0]}"
    if fault is None:
        return
    objective.run_eagerly()
    if asked is True:
        raise UserError(f"compile: true cannot be had for {type(objective.model).__name__}: torch.compile {fault}")
    notes.append(f"not compiled: torch.compile {fault}")


def _agree(found: tuple[float, float], wanted: tuple[float, float], tolerance: float) -> bool:
    """Also where both are no numbers: that is for the loop to say, and no fault of the compiler."""
    return bool(np.allclose(found, wanted, rtol=tolerance, atol=0.0, equal_nan=True))


def _look(objective: Loss, batch: Batch, precision: torch.dtype) -> tuple[float, float]:
    """Mean loss of the batch, and the norm of its gradient."""
    model = objective.model
    was_training = model.training
    model.train()
    devices = [model.device] if model.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices):
            with torch.autocast(model.device.type, precision, enabled=precision != torch.float32):
                loss = objective.loss_sum(batch, 1 / max(1, batch.num_targets))
            loss.backward()
        grads = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        return float(loss.detach()), float(torch.nn.utils.get_total_norm(grads))
    finally:  # also when compiling fails halfway: the head has its gradient by then
        model.zero_grad(set_to_none=True)
        model.train(was_training)
