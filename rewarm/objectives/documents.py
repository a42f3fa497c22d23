"""Causal attention inside documents, without a mask over pairs of positions.

A packed row holds many documents. As a mask that costs T x T values a row and the work of every pair; here each
document is handed to the kernel by itself, so that cost and memory follow the documents' own lengths. Documents are
named by their bounds: where they begin in the flattened batch, as an int32 tensor of shape (1, 1, 1, documents + 1),
padded at the end with the number of tokens.

Shapes: B rows, T positions, N = B x T tokens, H heads, K key heads, E width of a head, G documents, L their length.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from rewarm.objectives.products import as_torch_does

SHORT = 128
"""Documents below this length are computed together, padded to a multiple of `STEP`: a call costs more than they do."""
STEP = 32
_PADDED_TO = 64

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def document_bounds(positions_BT: Tensor) -> Tensor:
    """Where documents begin, (1, 1, 1, documents + 1 and padding) int32 on the CPU: where positions do not go on."""
    begins_BT = torch.ones_like(positions_BT, dtype=torch.bool)
    begins_BT[:, 1:] = positions_BT.diff() != 1
    starts = begins_BT.flatten().nonzero()[:, 0].to(torch.int32)
    size = -(-(len(starts) + 1) // _PADDED_TO) * _PADDED_TO
    bounds = torch.full((size,), positions_BT.numel(), dtype=torch.int32)
    bounds[: len(starts)] = starts
    return bounds[None, None, None]


def _groups(bounds: bytes) -> list[Tensor]:
    """Token indices (G, L) of documents computed together; -1 - i where token i, a document's last, is padding."""
    starts = np.frombuffer(bounds, np.int32)
    starts = starts[: int(np.searchsorted(starts, starts[-1])) + 1].astype(np.int64)
    lengths = np.diff(starts)
    sizes = np.where((lengths < SHORT) & (lengths > 1), -(-lengths // STEP) * STEP, lengths)
    groups = []
    for size in np.unique(sizes):
        chosen = np.flatnonzero(sizes == size)
        offsets_L = np.arange(size)
        last_G1 = lengths[chosen, None] - 1
        index_GL = starts[chosen, None] + np.minimum(offsets_L, last_G1)
        groups.append(torch.from_numpy(np.where(offsets_L <= last_G1, index_GL, -1 - index_GL)))
    return groups


class _Group:
    """Documents computed together: takes their tokens out of a flat tensor, and puts them back."""

    def __init__(self, index_GL: Tensor) -> None:
        self.shape = index_GL.shape
        self.real = index_GL >= 0
        self.padded = not bool(self.real.all())
        first = int(index_GL[0, 0])
        # Tokens that lie side by side need no copy.
        self.slice = slice(first, first + index_GL.numel()) if self._is_run(index_GL, first) else None
        self.index = torch.where(self.real, index_GL, -1 - index_GL).flatten()
        self.kept = self.index[self.real.flatten()] if self.padded else self.index

    def _is_run(self, index_GL: Tensor, first: int) -> bool:
        return not self.padded and int(index_GL[-1, -1]) - first + 1 == index_GL.numel()

    def take(self, flat_NHE: Tensor) -> Tensor:
        """(G, H, L, E) of a flat (N, H, E); padding repeats the document's last token."""
        chosen = flat_NHE[self.slice] if self.slice else flat_NHE.index_select(0, self.index)
        return chosen.view(*self.shape, *chosen.shape[1:]).transpose(1, 2)

    def put(self, flat_NHE: Tensor, value_GHLE: Tensor) -> None:
        """Writes the real tokens of a (G, H, L, E) into the flat tensor."""
        value_GLHE = value_GHLE.transpose(1, 2)
        if self.slice:
            flat_NHE[self.slice].unflatten(0, self.shape).copy_(value_GLHE)
        elif self.padded:
            flat_NHE.index_copy_(0, self.kept, value_GLHE[self.real])
        else:
            flat_NHE.index_copy_(0, self.index, value_GLHE.flatten(0, 1))

    def slopes(self, flat_NHE: Tensor) -> Tensor:
        """As `take`, for gradients: padding has none."""
        taken_GHLE = self.take(flat_NHE)
        return taken_GHLE * self.real[:, None, :, None] if self.padded else taken_GHLE


@lru_cache(maxsize=16)
def _plan(bounds: bytes) -> list[_Group]:
    """Cached: every layer asks for the same groups, forward and backward."""
    return [_Group(index_GL) for index_GL in _groups(bounds)]


def _plan_of(bounds_1111: Tensor) -> list[_Group]:
    return _plan(bounds_1111.numpy().tobytes())


def _flat(value_BHTE: Tensor) -> Tensor:
    flat_NHE = value_BHTE.transpose(1, 2).flatten(0, 1)
    # The kernel does not look whether a head's values lie side by side: it reads on as if they did.
    return flat_NHE if flat_NHE.stride(-1) == 1 else flat_NHE.contiguous()


def _rows(flat_NHE: Tensor, shape_BHTE: torch.Size) -> Tensor:
    batch, _, length, _ = shape_BHTE
    return flat_NHE.view(batch, length, *flat_NHE.shape[1:]).transpose(1, 2)


@torch.library.custom_op("rewarm::document_attention", mutates_args=())
def grouped(query: Tensor, key: Tensor, value: Tensor, bounds: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Attention (B, H, T, E) in fp32 on the CPU, and the log of its normalisers (N, H). One head count for all."""
    flat = [_flat(tensor) for tensor in (query, key, value)]
    out_NHE = torch.empty_like(flat[0], memory_format=torch.contiguous_format)
    logs_NH = query.new_empty(out_NHE.shape[:2])
    with as_torch_does():
        for group in _plan_of(bounds):
            out, logs = _flash(*(group.take(tensor) for tensor in flat), 0.0, True, scale=scale)
            group.put(out_NHE, out)
            group.put(logs_NH[..., None], logs[..., None])
    return _rows(out_NHE, query.shape), logs_NH


@grouped.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, bounds: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    batch, heads, length, width = query.shape
    out = query.new_empty(batch, length, heads, width).transpose(1, 2)
    return out, query.new_empty(batch * length, heads)


@torch.library.custom_op("rewarm::document_attention_backward", mutates_args=())
def _grouped_backward(
    grad: Tensor, saved: list[Tensor], logs_NH: Tensor, bounds: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and value; `saved` are these and the output."""
    flat = [_flat(tensor) for tensor in saved]
    grad_NHE = _flat(grad)
    results = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in flat[:3]]
    with as_torch_does():
        for group in _plan_of(bounds):
            logs = group.take(logs_NH[..., None])[..., 0]
            taken = [group.take(tensor) for tensor in flat]
            found = _flash_backward(group.slopes(grad_NHE), *taken, logs, 0.0, True, scale=scale)
            for result, part in zip(results, found, strict=True):
                group.put(result, part)
    query_grad, key_grad, value_grad = (_rows(result, grad.shape) for result in results)
    return query_grad, key_grad, value_grad


@_grouped_backward.register_fake
def _(
    grad: Tensor, saved: list[Tensor], logs_NH: Tensor, bounds: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    batch, heads, length, width = grad.shape
    made = [grad.new_empty(batch, length, heads, width).transpose(1, 2) for _ in range(3)]
    return made[0], made[1], made[2]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    query, key, value, bounds, ctx.scale = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(query, key, value, *output, bounds)


def _gradients(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    query, key, value, out, logs_NH, bounds = ctx.saved_tensors
    return *_grouped_backward(grad, [query, key, value, out], logs_NH, bounds, ctx.scale), None, None


grouped.register_autograd(_gradients, setup_context=_keep)


def band(length: int, window: int, device: torch.device) -> Tensor:
    """What each position of a document sees (L, L): itself and the `window` - 1 before it."""
    distance = torch.arange(length, device=device)[:, None] - torch.arange(length, device=device)
    return (distance >= 0) & (distance < window)


@torch.compiler.disable  # type: ignore[untyped-decorator]
def one_by_one(
    heads: tuple[Tensor, Tensor, Tensor], bounds: Tensor, scale: float, dropout: float, window: int | None
) -> Tensor:
    """Document after document, for what the grouped kernel cannot do: dropout, windows, fp32 on a GPU."""
    lengths = [length for length in bounds.flatten().diff().tolist() if length]
    parts = []
    for query, key, value in zip(*(_flat(tensor).split(lengths) for tensor in heads), strict=True):
        length = len(query)
        seen = None if window is None or length <= window else band(length, window, query.device)
        query, key, value = (part.transpose(0, 1)[None] for part in (query, key, value))
        out = scaled_dot_product_attention(query, key, value, seen, dropout, is_causal=seen is None, scale=scale)
        parts.append(out[0].transpose(0, 1))
    return _rows(torch.cat(parts), heads[0].shape)


def on_gpu(heads: tuple[Tensor, Tensor, Tensor], bounds: Tensor, scale: float, window: int | None) -> Tensor:
    """Flash attention over the flattened batch, which knows documents and windows by itself; half precision only."""
    from torch.nn.attention.varlen import varlen_attn

    query, key, value = (_flat(tensor) for tensor in heads)
    longest = heads[0].shape[2]
    starts = bounds.flatten()
    out = varlen_attn(
        query, key, value, starts, starts, longest, longest, scale=scale,
        window_size=(-1 if window is None else window - 1, 0), enable_gqa=query.shape[1] != key.shape[1],
    )  # fmt: skip
    assert isinstance(out, Tensor)
    return _rows(out, heads[0].shape)
