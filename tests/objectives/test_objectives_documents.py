"""Attention inside documents against a plain softmax over an explicit block-diagonal mask, in double precision.

Shapes: B rows, T positions, N = B x T tokens, H heads, E width of a head.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from rewarm.objectives import documents
from rewarm.objectives.documents import SHORT, STEP, document_bounds, grouped, on_gpu, one_by_one

HEADS, WIDTH, SCALE = 2, 8, 0.37
Rows = list[list[int]]
# Lengths at the limits of groups, single tokens (as padding is), and anything between.
LENGTH = st.sampled_from([1, 2, STEP - 1, STEP, STEP + 1, SHORT - 1, SHORT, SHORT + 1]) | st.integers(1, SHORT + 40)


@st.composite
def packed_rows(draw: Callable[[Any], Any]) -> Rows:
    """Rows as lengths of their documents, all rows equally long; the last document of a row is cut to fit."""
    total = draw(st.integers(1, SHORT + 60))
    rows: Rows = []
    for _ in range(draw(st.integers(1, 3))):
        row: list[int] = []
        while sum(row) < total:
            row.append(min(draw(LENGTH), total - sum(row)))
        rows.append(row)
    return rows


def positions(rows: Rows) -> Tensor:
    return torch.stack([torch.cat([torch.arange(length) for length in row]) for row in rows])


def may_see(rows: Rows, window: int | None = None) -> Tensor:
    """Whether a position (B, T, 1) may look at another (B, 1, T), from nothing but the lengths."""
    total = sum(rows[0])
    seen_BTT = torch.zeros(len(rows), total, total, dtype=torch.bool)
    for row, lengths in enumerate(rows):
        for end, length in zip(itertools.accumulate(lengths), lengths, strict=True):
            inside = torch.ones(length, length, dtype=torch.bool).tril()
            if window is not None:
                inside &= ~torch.ones(length, length, dtype=torch.bool).tril(-window)
            seen_BTT[row, end - length : end, end - length : end] = inside
    return seen_BTT


def weights(query: Tensor, key: Tensor, seen_BTT: Tensor, scale: float = SCALE) -> Tensor:
    """Softmax (B, H, T, T) in double precision."""
    scores_BHTT = query.double() @ key.double().transpose(-1, -2) * scale
    return scores_BHTT.masked_fill(~seen_BTT[:, None], float("-inf")).softmax(-1)


def drawn(rows: Rows, count: int, seed: int = 0) -> list[Tensor]:
    torch.manual_seed(seed)
    return [torch.randn(len(rows), HEADS, sum(rows[0]), WIDTH) for _ in range(count)]


def assert_same(found: Callable[..., Tensor], heads: list[Tensor], upstream: Tensor, seen_BTT: Tensor) -> None:
    """Values and the gradients of query, key and value are those of the plain softmax."""
    leaves = [head.detach().requires_grad_() for head in heads]
    exact = [head.detach().double().requires_grad_() for head in heads]
    out, wanted = found(*leaves), weights(exact[0], exact[1], seen_BTT) @ exact[2]
    pairs = [
        (out, wanted),
        *zip(
            torch.autograd.grad(out, leaves, upstream),
            torch.autograd.grad(wanted, exact, upstream.double()),
            strict=True,
        ),
    ]
    for mine, theirs in pairs:
        assert mine.dtype == torch.float32
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-5, atol=1e-5)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(packed_rows())
@example([[SHORT + 40]])  # a whole row
@example([[1]])
@example([[STEP] * 3, [STEP] * 3])  # of one length and side by side: no copy
@example([[STEP, 3, STEP], [STEP + 3, STEP]])  # of one length, apart
@example([[40, 20, *[1] * 9]])  # a row that ends in padding
@example([[SHORT - 1, SHORT, SHORT + 1]])
def test_values_and_gradients_are_those_of_a_block_diagonal_softmax(rows: Rows) -> None:
    *heads, upstream = drawn(rows, 4)
    bounds = document_bounds(positions(rows))
    assert_same(lambda *leaves: grouped(*leaves, bounds, SCALE)[0], heads, upstream, may_see(rows))


@pytest.mark.parametrize("window", [1, 3, 20, 500])
def test_a_window_is_counted_inside_the_document(window: int) -> None:
    """The window of 20 is longer than some documents and shorter than others."""
    rows = [[7, 30, 2, 21], [45, *[1] * 15]]
    *heads, upstream = drawn(rows, 4)
    bounds = document_bounds(positions(rows))
    assert_same(lambda *leaves: one_by_one(leaves, bounds, SCALE, 0.0, window), heads, upstream, may_see(rows, window))


@pytest.mark.parametrize("rows", [[[32, 32]], [[5, 59]], [[32, 32], [64]]], ids=["run", "padded", "rows"])
def test_heads_may_lie_in_memory_in_any_way(rows: Rows) -> None:
    """The kernel takes for granted that a head's values lie side by side; here positions do, or all are one value."""
    apart = [head.transpose(-1, -2).contiguous().transpose(-1, -2) for head in drawn(rows, 3)]
    bounds = document_bounds(positions(rows))
    for upstream in (torch.ones(()).expand_as(apart[0]), drawn(rows, 1, seed=1)[0].transpose(-1, -2).contiguous().mT):
        assert_same(lambda *leaves: grouped(*leaves, bounds, SCALE)[0], apart, upstream, may_see(rows))


def test_a_document_has_no_gradient_at_all_from_another() -> None:
    """Exactly zero, not nearly: for documents that share a kernel call, with and without padding, and their rows."""
    rows = [[5, 30, 32, 32, 1], [64, 36]]
    heads = [head.requires_grad_() for head in drawn(rows, 3)]
    out = grouped(*heads, document_bounds(positions(rows)), SCALE)[0]
    for row, lengths in enumerate(rows):
        for end, length in zip(itertools.accumulate(lengths), lengths, strict=True):
            grads = torch.autograd.grad(out[row, :, end - length : end].square().sum(), heads, retain_graph=True)
            assert float(grads[2][row, :, end - length : end].abs().sum()) > 0
            for grad in grads:
                grad[row, :, end - length : end] = 0.0
                assert not bool(grad.any())


def test_dropout_drops_weights_and_scales_the_others() -> None:
    """With one-hot values the output is the weights themselves: each is 0 or weight / (1 - dropout)."""
    rows, dropout = [[8, 3, 5], [16]], 0.25
    query, key, _ = (head.repeat(1, 20, 1, 1) for head in drawn(rows, 3))
    value = torch.eye(16).expand(2, 40, 16, 16)
    out = one_by_one((query, key, value), document_bounds(positions(rows)), SCALE, dropout, None).double()
    full = weights(query, key, may_see(rows))
    kept = out != 0
    torch.testing.assert_close(out * (1 - dropout), full * kept, rtol=1e-5, atol=1e-6)
    possible = may_see(rows)[:, None].expand_as(kept)
    assert not bool((kept & ~possible).any())
    assert float(kept[possible].double().mean()) == pytest.approx(1 - dropout, abs=0.02)  # of 8,320 weights


def test_documents_begin_where_positions_do_not_go_on() -> None:
    """By hand: the second row ends in padding, the third begins inside a document, as does what follows its jump."""
    bounds = document_bounds(torch.tensor([[0, 1, 2, 0, 1], [0, 1, 0, 0, 0], [3, 4, 8, 9, 0]]))
    assert bounds.shape == (1, 1, 1, 64)
    assert bounds.dtype == torch.int32
    assert bounds.flatten().tolist() == [0, 3, 5, 7, 8, 9, 10, 12, 14] + [15] * 55
    assert document_bounds(torch.zeros(1, 63, dtype=torch.long)).shape[-1] == 64
    assert document_bounds(torch.zeros(1, 64, dtype=torch.long)).shape[-1] == 128


def test_short_documents_share_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """60 documents of 1 to 60 tokens: one call for the single token, one padded to 32, one to 64; long ones alone."""
    shapes: list[tuple[int, int]] = []
    kernel = documents._flash

    def counted(query: Tensor, *more: Any, **named: Any) -> Any:
        shapes.append((query.shape[0], query.shape[2]))
        return kernel(query, *more, **named)

    monkeypatch.setattr(documents, "_flash", counted)
    rows = [[*range(1, 61), 130, 131]]
    grouped(*drawn(rows, 3), document_bounds(positions(rows)), SCALE)
    assert shapes == [(1, 1), (31, 32), (28, 64), (1, 130), (1, 131)]


@pytest.mark.parametrize("rows", [[[7, 1, 40], [48]], [[16, 16, 16]]])
def test_operators_keep_what_they_promise_to_torch(rows: Rows) -> None:
    """Schema, shapes and strides without data, gradients, and tracing with changing sizes."""
    heads = [head.transpose(1, 2).contiguous().transpose(1, 2) for head in drawn(rows, 4)]
    bounds = document_bounds(positions(rows))
    leaves = [head.clone().requires_grad_() for head in heads[:3]]
    torch.library.opcheck(torch.ops.rewarm.document_attention.default, (*leaves, bounds, SCALE))
    out, logs_NH = grouped(*heads[:3], bounds, SCALE)
    saved = [*heads[:3], out]
    torch.library.opcheck(
        torch.ops.rewarm.document_attention_backward.default, (heads[3], saved, logs_NH, bounds, SCALE)
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="the kernel is one for GPUs")
@pytest.mark.parametrize("window", [None, 5])
def test_the_kernel_of_gpus_gives_the_same(window: int | None) -> None:
    rows = [[7, 30, 27], [50, *[1] * 14]]
    torch.manual_seed(0)
    query = torch.randn(2, 4, 64, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    key, value = (torch.randn(2, 2, 64, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True) for _ in range(2))
    out = on_gpu((query, key, value), document_bounds(positions(rows)).cuda(), 0.125, window)
    repeated = [head.double().repeat_interleave(2, 1) for head in (key, value)]
    wanted = weights(query, repeated[0], may_see(rows, window).cuda(), 0.125) @ repeated[1]
    torch.testing.assert_close(out.double(), wanted, rtol=0.02, atol=0.02)
    found, expected = (torch.autograd.grad(each.sum(), (query, key, value)) for each in (out, wanted))
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0.05, atol=0.05)
