"""What this machine is and how fast: device, number format, matrix-product rate, sizes that fit."""

from __future__ import annotations

import os
import platform
import shutil
import time
from pathlib import Path

import psutil
import torch
from torch import Tensor
from transformers import PreTrainedModel

from rewarm.objectives import products
from rewarm.plan import Plan
from rewarm.training import journal
from rewarm.training.world import current
from rewarm.types import UserError

CPU_MICRO_TOKENS = 4096
GPU_MICRO_TOKENS = 16384
WRITTEN = 0.25
"""Tokens that the decoder of a model with an encoder writes for each token of text: 15 % in spans of 3 are 0.15 and a
third of that in sentinels, and documents have ends."""


def choose_device() -> torch.device:
    """This process's CUDA device if there is one (the first, for a process alone), otherwise the CPU."""
    return torch.device("cuda", current().local_rank) if torch.cuda.is_available() else torch.device("cpu")


def on_device(model: PreTrainedModel) -> PreTrainedModel:
    """The model, moved to the chosen device."""
    model.to(choose_device())  # type: ignore[arg-type]
    return model


def choose_precision(asked: str) -> torch.dtype:
    """The number format of the forward and backward pass: what the plan asks, or bf16 where the hardware has it.

    On CPUs that is measured, once for a machine. Weights, moments and losses are fp32 in any case.
    """
    if asked == "fp32":
        return torch.float32
    if asked == "bf16":
        return torch.bfloat16
    if torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = products.measured()["bf16"]
    return torch.bfloat16 if fast else torch.float32


def has_compiler() -> bool:
    """Whether torch.compile can work here: on CPUs it needs a C++ compiler."""
    return choose_device().type != "cpu" or any(shutil.which(name) for name in ("g++", "c++", "clang++"))


def check_compiler() -> None:
    """UserError when `compile: true` cannot work here."""
    if not has_compiler():
        raise UserError("compile: true needs a C++ compiler (g++, clang++) on CPUs. Install one, or set compile: false")


def micro_batches(plan: Plan) -> list[int]:
    """Tokens that one forward pass may take: divisors of the batch in whole rows, from a usual size here to one row."""
    most = GPU_MICRO_TOKENS if torch.cuda.is_available() else CPU_MICRO_TOKENS
    rows = plan.batch_tokens // plan.seq_len
    fitting = [count for count in range(rows, 0, -1) if rows % count == 0 and count * plan.seq_len <= most]
    return [count * plan.seq_len for count in fitting or [1]]


def micro_batch_tokens(plan: Plan) -> int:
    """Tokens of one forward pass: the plan's, or what is usual here; memory may ask for less (activations.py)."""
    return plan.micro_batch_tokens or micro_batches(plan)[0]


def matmul_parameters(model: PreTrainedModel) -> int:
    """Weights in matrix products for every token: all matrices but the input embedding, plus the head.

    Those of a decoder beside an encoder count for the share of tokens that it writes.
    """
    embedding: Tensor = model.get_input_embeddings().weight  # type: ignore[assignment]
    head = model.get_output_embeddings()
    matrices = [weight for weight in model.parameters() if weight.ndim == 2 and weight is not embedding]
    tied = head is not None and head.weight is embedding
    total = sum(weight.numel() for weight in matrices) + (embedding.numel() if tied else 0)
    if not model.config.is_encoder_decoder:
        return total
    reading = {id(weight) for weight in model.get_encoder().parameters()}
    read = sum(weight.numel() for weight in matrices if id(weight) in reading)
    return read + round(WRITTEN * (total - read))


def flops_per_token(model: PreTrainedModel, seq_len: int) -> float:
    """Floating-point operations of training on one token: 6 per weight in a matrix product, and attention's own.

    Attention counts 12 * layers * width * positions / 2 (causal), forward and backward (Kaplan et al., 2001.08361).
    """
    config = model.config
    layers = int(getattr(config, "num_hidden_layers", 0))
    width = int(getattr(config, "hidden_size", 0))
    return 6.0 * matmul_parameters(model) + 6.0 * layers * width * seq_len


def matmul_rate(rows: int, width: int, precision: torch.dtype, seconds: float = 0.3) -> float:
    """FLOP/s of a plain matrix product (rows x width times width x 4 width): the limit training is held against."""
    device = choose_device()
    source = torch.Generator(device).manual_seed(0)  # its own: dropout goes on as if nothing had been measured
    left = torch.randn(rows, width, generator=source, device=device, dtype=precision)
    right = torch.randn(width, 4 * width, generator=source, device=device, dtype=precision)
    out = left @ right
    best = 0.0
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        start = time.perf_counter()
        for _ in range(8):
            torch.mm(left, right, out=out)
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = max(best, 8 * 2.0 * rows * width * 4 * width / (time.perf_counter() - start))
    return best


def seconds_of(folder: Path) -> float:
    """Seconds a leg trained, over all its runs, from its journal: tokens of each entry over its rate."""
    total, before = 0.0, 0
    for entry in journal.read(folder / "journal.jsonl"):
        if entry["tokens_per_second"]:
            total += (entry["tokens"] - before) / entry["tokens_per_second"]
        before = entry["tokens"]
    return total


def describe() -> dict[str, str]:
    """The machine in words: processor, cores, memory, device, who makes fp32 products on it, library versions."""
    import transformers

    device = choose_device()
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "memory_gib": f"{psutil.virtual_memory().total / 2**30:.0f}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "products": "oneDNN" if device.type == "cpu" and products.measured()["onednn"] else "as torch does",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
