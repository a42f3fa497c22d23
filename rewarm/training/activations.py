"""What a training pass holds in memory, and what to do where that is too much: smaller micro-batches, then recomputing.

A layer keeps values for its backward pass. Counted as Korthikanti et al. (arXiv 2205.05198) count them, without the
matrices of attention, which document attention never makes: about 34 bytes per token and width in bf16. With activation
checkpointing a layer keeps its input only and computes the rest again, at the price of one more forward pass (about a
third more time).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from rewarm.objectives.attention import NAME
from rewarm.objectives.cross_entropy import chunk_rows
from rewarm.plan import Plan
from rewarm.training.machine import WRITTEN, choose_precision, micro_batches
from rewarm.training.memory import memory_available
from rewarm.types import UserError

FEWEST = {"cpu": 512, "cuda": 2048}
"""Micro-batches of fewer tokens are not made where recomputing would do: their products are too small to be fast."""
USABLE = 0.9
"""Share of the memory that a pass is planned to fill: allocators round up and leave gaps."""
_ONE_KERNEL = {"gelu", "relu", "silu", "swish", "tanh", "gelu_pytorch_tanh"}
_BEYOND_SOFTMAX = ("attn_logit_softcapping", "attention_chunk_size", "relative_attention_num_buckets")
_BEYOND_LINEAR = ("final_logit_softcapping", "logit_scale", "logits_scaling")


class OutOfMemory(RuntimeError):
    """The device had too little memory for a training step; what was computed before it is saved. Exit code 1."""


@dataclass(frozen=True, slots=True)
class Passes:
    """How a leg's passes are made: tokens of each, and whether layers compute their activations twice."""

    micro_batch_tokens: int
    checkpointed: bool


def choose(plan: Plan, model: PreTrainedModel, room: int) -> Passes:
    """The fastest passes that fit into `room` bytes, of those the plan allows; the smallest where none does.

    Micro-batches are made smaller first, which costs little; below `FEWEST` tokens layers are checkpointed instead.
    UserError when the plan asks for checkpointing and the model cannot do it.
    """
    asked = plan.gradient_checkpointing
    if asked is True and not is_supported(model):
        raise UserError(
            f"gradient_checkpointing: true cannot be had: {type(model).__name__} does not support it. Set it to auto "
            "or false, and lower micro_batch_tokens or seq_len where memory is short"
        )
    sizes = [plan.micro_batch_tokens] if plan.micro_batch_tokens is not None else micro_batches(plan)
    fewest = FEWEST["cuda" if torch.cuda.is_available() else "cpu"]
    large = [tokens for tokens in sizes if tokens >= fewest] or sizes[:1]
    if asked != "auto" or not is_supported(model):
        ways = [Passes(tokens, asked is True) for tokens in sizes]
    else:
        ways = [Passes(tokens, False) for tokens in large] + [Passes(tokens, True) for tokens in sizes]
    return next((way for way in ways if sum(needed(plan, model, way).values()) <= USABLE * room), ways[-1])


def needed(plan: Plan, model: PreTrainedModel, passes: Passes) -> dict[str, int]:
    """Bytes of training by what holds them, retention left out where no stage has any. `model` may lie on meta.

    State: 16 bytes per parameter (weight, gradient, two moments), and 2 more for its copy in bf16. Activations: what
    the layers keep (`kept_bytes`), and as much as one layer keeps while its gradient is made. Logits: two chunks of
    them beside the gradient of the head; three times all of them for a model whose head is not plain; four times all of
    them, which are a quarter as many, for one whose decoder writes spans.
    """
    precision, tokens = choose_precision(plan.precision), passes.micro_batch_tokens
    parameters = sum(parameter.numel() for parameter in model.parameters())
    embedding: torch.Tensor = model.get_input_embeddings().weight  # type: ignore[assignment]
    vocabulary = int(embedding.shape[0])
    if model.config.is_encoder_decoder:
        logits = round(4 * 4 * WRITTEN * tokens * vocabulary)
    elif any(getattr(model.config, name, None) for name in _BEYOND_LINEAR):
        logits = 3 * 4 * tokens * vocabulary
    else:
        logits = 2 * 4 * chunk_rows(tokens, vocabulary) * vocabulary + 4 * embedding.numel()
    working = 0 if passes.checkpointed else _layer_bytes(model, plan.seq_len, precision)
    copies = max(sum(getattr(method, "copies", 0.0) for method in stage.retention) for stage in plan.stages)
    held = {"retention": round(4 * copies * parameters)} if copies else {}
    return {
        "weights and optimizer": (16 if precision == torch.float32 else 18) * parameters,
        "activations": tokens * (kept_bytes(model, plan.seq_len, precision, passes.checkpointed) + working),
        "logits": logits,
        **held,
    }


def kept_bytes(model: PreTrainedModel, seq_len: int, precision: torch.dtype, checkpointed: bool) -> int:
    """Bytes kept for the backward pass by each token of a micro-batch, from the embedding to the last norm.

    When checkpointed: the input of each layer, and all of the one layer that is being computed again. A layer of a
    decoder beside an encoder is counted as a third: it reads a quarter as many tokens, and attends twice.
    """
    config = _shape(model)
    layer = _layer_bytes(model, seq_len, precision)
    each = 4 * int(config.hidden_size) if checkpointed else layer
    layers = int(config.num_hidden_layers) * each * (4 if config.is_encoder_decoder else 3) // 3
    mask = 0 if _names_documents(config) else 4 * seq_len
    return layers + 3 * 4 * int(config.hidden_size) + mask + (layer if checkpointed else 0)


def _layer_bytes(model: PreTrainedModel, seq_len: int, precision: torch.dtype) -> int:
    """Of each token in one layer.

    Always fp32: input and normalised input of two norms (16 bytes per width). In the format of the passes: inputs of
    the products and of attention, 6 values, or 9 where casting makes a copy for each product; on CPUs, where attention
    is made in fp32, 10 bytes more. The inner layer keeps 4 values per inner width when it is gated and 2 when not; an
    activation made of several operations keeps 3 more. Where scores are made one by one, 3 of each are kept.
    """
    config = _shape(model)
    width, inner, item = int(config.hidden_size), _inner_width(config), precision.itemsize
    of_width = 16 + (24 if item == 4 else 9 * item + (0 if torch.cuda.is_available() else 10))
    names = ("hidden_activation", "hidden_act", "activation_function")
    activation = next((found for name in names if (found := getattr(config, name, None))), None)
    of_inner = (4 if _is_gated(model, _inner_width(config)) else 2) + (0 if activation in _ONE_KERNEL else 3)
    scores = 0 if _names_documents(config) and not _drops_scores(config) else 3 * seq_len * config.num_attention_heads
    experts = int(getattr(config, "num_experts_per_tok", None) or 1)
    return width * of_width + item * inner * of_inner * experts + 4 * int(scores)


def _shape(model: PreTrainedModel) -> Any:
    return model.config.get_text_config()


def _inner_width(config: Any) -> int:
    names = ("moe_intermediate_size", "intermediate_size", "d_ff")
    return next((int(found) for name in names if (found := getattr(config, name, None))), 4 * int(config.hidden_size))


def _is_gated(model: PreTrainedModel, inner: int) -> bool:
    """Whether the inner layer has two inputs: three matrices of its width, or one of twice that."""
    shapes = [weight.shape[-2:] for weight in model.parameters() if weight.ndim >= 2]
    return sum(inner in shape for shape in shapes) >= 3 * int(_shape(model).num_hidden_layers) or any(
        2 * inner in shape for shape in shapes
    )


def _names_documents(config: Any) -> bool:
    """Whether attention is given documents (rewarm/objectives/attention.py), as far as a configuration tells."""
    return config._attn_implementation in ("sdpa", NAME) and not any(
        getattr(config, name, None) for name in _BEYOND_SOFTMAX
    )


def _drops_scores(config: Any) -> bool:
    """Whether attention has dropout, for which CPUs make every score."""
    names = ("attention_dropout", "attn_pdrop", "attention_probs_dropout_prob")
    return any(getattr(config, name, None) for name in names) and not torch.cuda.is_available()


def room_for(model: PreTrainedModel) -> int:
    """Bytes that training this model may fill on its device: what is free there, and what its weights hold already."""
    held = sum(parameter.nbytes for parameter in model.parameters() if parameter.device.type != "meta")
    if not torch.cuda.is_available():
        return memory_available() + held
    free, _ = torch.cuda.mem_get_info()
    # What torch took from the device and holds for later allocations is free for this one.
    return int(free) + torch.cuda.memory_reserved() - torch.cuda.memory_allocated() + held


def is_supported(model: PreTrainedModel) -> bool:
    """Whether the model's layers can be checkpointed."""
    return bool(model.supports_gradient_checkpointing) and any(
        hasattr(module, "gradient_checkpointing") for module in model.modules()
    )


def checkpoint_layers(model: PreTrainedModel) -> None:
    """From now on layers keep their inputs only, while the model trains, and compute the rest again: the same numbers.

    Random numbers of dropout are restored for it. The variant that is not reentrant works with torch.compile, too.
    """
    with warnings.catch_warnings():
        # The new name came in the middle of transformers 5; the old one is there in all of it.
        warnings.simplefilter("ignore", FutureWarning)
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    # For adapters on frozen weights; a model that is trained whole needs no gradient of its input.
    model.disable_input_require_grads()


def described(passes: Passes, plan: Plan) -> str | None:
    """A sentence when memory asked for other passes than those that are usual here; None otherwise."""
    said = []
    if passes.checkpointed and plan.gradient_checkpointing == "auto":
        said.append("layers compute their activations twice (gradient_checkpointing)")
    if plan.micro_batch_tokens is None and passes.micro_batch_tokens < micro_batches(plan)[0]:
        said.append(f"a pass takes {passes.micro_batch_tokens} tokens instead of {micro_batches(plan)[0]}")
    return f"to fit into memory, {' and '.join(said)}" if said else None


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turns torch's error of a device without memory into OutOfMemory, which says what to lower."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(
            f"{name}: out of memory: {str(error).strip().splitlines()[0]}\nSet gradient_checkpointing: true or lower "
            "micro_batch_tokens in the plan, and run the same command again: it goes on from the last whole step"
        ) from error


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a device, or the host (for which torch has no type of error), had no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(error)
