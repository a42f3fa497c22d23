"""Cross-entropy of a linear head: torch's own in value and gradient, however it is cut and whatever came before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from rewarm.objectives import cross_entropy as module
from rewarm.objectives.cross_entropy import LinearCrossEntropy, Workspace, chunk_losses


def chunked_loss(hidden: Any, weight: Any, bias: Any, targets: Any, scale: float = 1.0) -> Any:
    return LinearCrossEntropy.apply(hidden, weight, bias, targets, scale, Workspace())


def torch_loss(hidden: Any, weight: Any, bias: Any, targets: Any) -> Any:
    return cross_entropy(torch.nn.functional.linear(hidden, weight, bias), targets, reduction="sum")


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize(("count", "rows"), [(12, 12), (12, 4), (12, 5), (12, 1), (12, 100), (1, 3)])
def test_value_and_gradients_for_any_chunk(
    monkeypatch: pytest.MonkeyPatch, count: int, rows: int, with_bias: bool
) -> None:
    monkeypatch.setattr(module, "chunk_rows", lambda count, vocabulary: min(count, rows))
    torch.manual_seed(count)
    made = [torch.randn(count, 8), torch.randn(50, 8), torch.randn(50) if with_bias else None]
    targets = torch.randint(0, 50, (count,))
    results = []
    for function in (chunked_loss, torch_loss):
        leaves = [None if tensor is None else tensor.clone().requires_grad_() for tensor in made]
        loss = function(*leaves, targets)
        (loss / 7).backward()
        results.append([loss.detach(), *(leaf.grad for leaf in leaves if leaf is not None)])
    for mine, theirs in zip(*results, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-5, atol=1e-6)


def test_a_loss_by_hand() -> None:
    """Logits 0 and log 3 for target 0: the loss is log 4, and the gradient of the logits is (-3/4, 3/4)."""
    hidden = torch.tensor([[1.0]], requires_grad=True)
    weight = torch.tensor([[0.0], [float(np.log(3))]], requires_grad=True)
    loss = chunked_loss(hidden, weight, None, torch.tensor([0]))
    loss.backward()
    assert loss.item() == pytest.approx(np.log(4), rel=1e-6)
    assert weight.grad is not None
    assert weight.grad.flatten().tolist() == pytest.approx([-0.75, 0.75], rel=1e-6)
    assert hidden.grad is not None
    assert hidden.grad.item() == pytest.approx(0.75 * np.log(3), rel=1e-6)


def test_extreme_logits_stay_finite() -> None:
    hidden = torch.tensor([[1e4, -1e4]], requires_grad=True)
    weight = torch.eye(2, requires_grad=True)
    loss = chunked_loss(hidden, weight, None, torch.tensor([1]))
    loss.backward()
    assert loss.item() == 2e4
    assert hidden.grad is not None
    assert hidden.grad.tolist() == [[1.0, -1.0]]


@pytest.mark.parametrize("frozen", ["weight", "bias", "hidden"])
def test_what_is_frozen_gets_no_gradient(frozen: str) -> None:
    torch.manual_seed(0)
    leaves = {"hidden": torch.randn(6, 8), "weight": torch.randn(20, 8), "bias": torch.randn(20)}
    for name, leaf in leaves.items():
        leaf.requires_grad_(name != frozen)
    chunked_loss(*leaves.values(), torch.arange(6)).backward()
    mine = {name: leaf.grad for name, leaf in leaves.items()}
    assert mine[frozen] is None
    for leaf in leaves.values():
        leaf.grad = None
    torch_loss(*leaves.values(), torch.arange(6)).backward()
    for name, leaf in leaves.items():
        if name != frozen:
            assert torch.allclose(mine[name], leaf.grad, rtol=1e-5, atol=1e-6)


def test_bf16_products_are_summed_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    """1024 chunks of one row: a bf16 sum would stop growing at about 256 times its parts."""
    monkeypatch.setattr(module, "chunk_rows", lambda count, vocabulary: 1)
    hidden = torch.ones(1024, 1, dtype=torch.bfloat16)
    weight = torch.zeros(2, 1, requires_grad=True)
    chunked_loss(hidden, weight, None, torch.zeros(1024, dtype=torch.long)).backward()
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32
    assert weight.grad.flatten().tolist() == [-512.0, 512.0]


def test_chunks_are_bounded_in_bytes_and_never_tiny() -> None:
    for count, vocabulary in ((10**6, 400), (10**6, 8192), (10**6, 256_000), (10, 8192), (0, 8192)):
        rows = module.chunk_rows(count, vocabulary)
        assert 1 <= rows <= max(1, count)
        assert rows * vocabulary * 4 <= max(module.CHUNK_BYTES, module.MIN_ROWS * vocabulary * 4)
        assert rows >= min(count, module.MIN_ROWS)


@pytest.mark.parametrize("scale", [1 / 7, 3.0, 0.0])
@pytest.mark.parametrize("upstream", [1.0, -0.5])
def test_the_scale_is_in_the_gradients(scale: float, upstream: float) -> None:
    """With what comes from above it multiplies: -0.5 x scale x the sum, in the loss and in every gradient."""
    torch.manual_seed(0)
    made = [torch.randn(12, 8), torch.randn(50, 8), torch.randn(50)]
    results = []
    for scaled in (True, False):
        leaves = [tensor.clone().requires_grad_() for tensor in made]
        loss = (
            chunked_loss(*leaves, torch.arange(12), scale) if scaled else scale * torch_loss(*leaves, torch.arange(12))
        )
        (upstream * loss).backward()
        results.append([loss.detach(), *(leaf.grad for leaf in leaves)])
    for mine, theirs in zip(*results, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-5, atol=1e-6)


# Memory that is used again


def made(count: int, vocabulary: int, dtype: torch.dtype, seed: int) -> list[Tensor]:
    """Hidden states, a head and a bias in fp32, and targets; the hidden states in `dtype`."""
    source = torch.Generator().manual_seed(seed)
    hidden, head, bias = (
        torch.randn(shape, generator=source) for shape in ((count, 8), (vocabulary, 8), (vocabulary,))
    )
    return [hidden.to(dtype), head, bias, torch.randint(0, vocabulary, (count,), generator=source)]


def passed(workspace: Workspace, hidden: Tensor, head: Tensor, bias: Tensor, targets: Tensor) -> list[Tensor]:
    leaves = [tensor.clone().requires_grad_() for tensor in (hidden, head, bias)]
    loss: Tensor = LinearCrossEntropy.apply(*leaves, targets, 0.5, workspace)
    loss.backward()
    return [loss.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


def test_what_was_computed_before_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """One workspace for sizes and types in turn, larger and smaller: bit for bit what a new one gives."""
    monkeypatch.setattr(module, "MIN_ROWS", 5)
    monkeypatch.setattr(module, "CHUNK_BYTES", 1)
    used = Workspace()
    float32, bfloat16, float64 = torch.float32, torch.bfloat16, torch.float64
    for seed, (count, vocabulary, dtype) in enumerate(
        [
            (12, 50, float32),
            (3, 400, bfloat16),
            (12, 20, float32),
            (7, 50, bfloat16),
            (9, 70, float64),
            (12, 50, float32),
        ]
    ):
        batch = made(count, vocabulary, dtype, seed)
        found = passed(used, *batch)
        for mine, theirs in zip(found, passed(Workspace(), *batch), strict=True):
            assert torch.equal(mine, theirs)
        exact = cross_entropy(batch[0].double() @ batch[1].double().T + batch[2], batch[3], reduction="sum")
        assert float(found[0]) == pytest.approx(0.5 * float(exact), rel=2e-2 if dtype == bfloat16 else 1e-6)


def test_memory_is_asked_for_once() -> None:
    workspace, head = Workspace(), torch.zeros(50, 8)
    first = workspace.chunk(12, head, torch.float32)
    assert first.shape == (12, 50)
    assert workspace.chunk(5, head, torch.float32).data_ptr() == first.data_ptr()
    half = workspace.chunk(12, head, torch.bfloat16)
    assert (half.dtype, half.shape) == (torch.bfloat16, (12, 50))
    assert half.data_ptr() != first.data_ptr()
    assert workspace.chunk(12, head, torch.float32).data_ptr() == first.data_ptr()


def test_a_loss_is_whole_before_its_gradient_is_asked_for() -> None:
    """Two losses through one workspace, both forward before either backward: neither disturbs the other."""
    workspace = Workspace()
    batches = [made(12, 50, torch.float32, seed) for seed in (0, 1)]
    leaves = [[tensor.clone().requires_grad_() for tensor in batch[:3]] for batch in batches]
    losses = [
        LinearCrossEntropy.apply(*own, batch[3], 0.5, workspace) for own, batch in zip(leaves, batches, strict=True)
    ]
    for loss, own, batch in zip(losses, leaves, batches, strict=True):
        loss.backward()
        for leaf, wanted in zip(own, passed(Workspace(), *batch)[1:], strict=True):
            assert leaf.grad is not None
            assert torch.equal(leaf.grad, wanted)


def test_numerators_and_denominators_make_the_softmax() -> None:
    """The three logits 0, log 2, log 5 for target 1: numerators 1/5, 2/5, 1, their sum 8/5, the loss log 4."""
    head = torch.tensor([[0.0], [float(np.log(2))], [float(np.log(5))]])
    losses_N1, numerators_NV, sums_N1 = chunk_losses(torch.ones(1, 1), head, None, torch.tensor([[1]]), Workspace())
    assert losses_N1.item() == pytest.approx(np.log(4), rel=1e-6)
    assert numerators_NV.flatten().tolist() == pytest.approx([0.2, 0.4, 1.0], rel=1e-6)
    assert sums_N1.item() == pytest.approx(1.6, rel=1e-6)


# Asked for more than once


def test_a_second_backward_doubles_the_gradient() -> None:
    hidden, head, bias, targets = made(12, 50, torch.float32, 0)
    leaves = [tensor.requires_grad_() for tensor in (hidden, head, bias)]
    loss = chunked_loss(*leaves, targets)
    loss.backward(retain_graph=True)
    once = [leaf.grad.clone() for leaf in leaves if leaf.grad is not None]
    loss.backward()
    for leaf, grad in zip(leaves, once, strict=True):
        assert leaf.grad is not None
        assert torch.equal(leaf.grad, 2 * grad)


def test_what_was_scaled_in_place_is_not_given_twice() -> None:
    """A factor from above is multiplied into the kept gradients: torch then refuses to use them again."""
    hidden, head, bias, targets = made(12, 50, torch.float32, 0)
    loss = 2 * chunked_loss(hidden.requires_grad_(), head, bias, targets)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_there_is_no_gradient_of_the_gradient() -> None:
    hidden, head, bias, targets = made(12, 50, torch.float32, 0)
    loss = chunked_loss(hidden.requires_grad_(), head, bias, targets).square()
    (slope,) = torch.autograd.grad(loss, hidden, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        slope.sum().backward()
