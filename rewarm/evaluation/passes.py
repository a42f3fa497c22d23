"""How scoring is cut into forward passes: rows of nearly equal length, of a size that suits the processor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from transformers import PreTrainedModel

_CPU_TOKENS = 2048
"""Larger passes leave the cache: measured no faster (192x6 and 512x6 models, 2 cores), and they hold more memory."""
_GPU_TOKENS = 16_384
_PASS_WORTH = 64
"""Tokens of padding that cost less than another pass."""


def batch_tokens(model: PreTrainedModel) -> int:
    """Tokens of one pass on the device a model lies on."""
    return _CPU_TOKENS if model.device.type == "cpu" else _GPU_TOKENS


def length_batches(lengths: Sequence[int], tokens: int) -> Iterator[tuple[int, int]]:
    """Bounds of runs of rows, given longest first, whose padded size is at most `tokens` (or a single row).

    A run ends where padding would be more than a tenth of it, unless it is too little to be worth a pass.
    """
    start = 0
    while start < len(lengths):
        end, real = start + 1, lengths[start]
        while end < len(lengths):
            padded = lengths[start] * (end + 1 - start)
            padding = padded - real - lengths[end]
            if padded > tokens or padding > max(_PASS_WORTH, padded // 10):
                break
            real += lengths[end]
            end += 1
        yield start, end
        start = end
