"""The KL of a teacher: torch's own in value and gradient, whole or in its largest parts, however the head is cut."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, linear

from rewarm.objectives import cross_entropy as module
from rewarm.objectives import head_terms
from rewarm.objectives.cross_entropy import LinearCrossEntropy, Workspace
from rewarm.objectives.head_terms import LogitLosses
from rewarm.objectives.packed_loss import Logits
from rewarm.retention.distillation import KLTerm, Span
from rewarm.retention.teacher import Buffers, Largest, Teaching, Whole, swap

COUNT, WIDTH, VOCABULARY = 23, 8, 50
EVERY = [Span(0, 0, True)]
# Targets 0 to 4 are labelled only, 5 to 13 taught only, 14 to 22 both; the teacher was asked of the latter two.
MIXED = [Span(0, None, True), Span(5, 0, False), Span(14, 9, True)]


def made(seed: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    source = torch.Generator().manual_seed(seed)
    shapes = ((COUNT, WIDTH), (VOCABULARY, WIDTH), (VOCABULARY,))
    return [torch.randn(shape, generator=source, dtype=dtype) for shape in shapes]


def targets(seed: int = 9) -> Tensor:
    return torch.randint(0, VOCABULARY, (COUNT,), generator=torch.Generator().manual_seed(seed))


def whole(parts: list[Tensor], temperature: float, swapped: Tensor | None = None) -> Whole:
    return Whole(Logits(*parts, Workspace()), temperature, swapped, Buffers())


def term_of(teaching: Teaching, spans: list[Span], temperature: float, strength: float = 0.7) -> KLTerm:
    return KLTerm(spans, teaching, strength, temperature, torch.zeros(4, dtype=torch.float64))


def brute_force(student: Tensor, teacher: Tensor, wanted: Tensor, temperature: float, spans: list[Span]) -> Tensor:
    """Cross-entropy of labelled targets and 0.7 x T^2 KL of taught ones, from whole logits."""
    total = student.new_zeros(())
    ends = [span.first for span in spans[1:]] + [COUNT]
    for span, end in zip(spans, ends, strict=True):
        here = slice(span.first, end)
        if span.is_labelled:
            total = total + cross_entropy(student[here], wanted[here], reduction="sum")
        if span.taught_first is not None:
            there = slice(span.taught_first, span.taught_first + end - span.first)
            logs = [(logits / temperature).log_softmax(-1) for logits in (student[here], teacher[there])]
            total = total + 0.7 * temperature**2 * kl_div(*logs, reduction="sum", log_target=True)
    return total


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
@pytest.mark.parametrize("spans", [EVERY, MIXED])
@pytest.mark.parametrize("rows", [COUNT, 7, 1])
@pytest.mark.parametrize("with_bias", [True, False])
def test_value_and_gradients_are_torchs(
    monkeypatch: pytest.MonkeyPatch, temperature: float, spans: list[Span], rows: int, with_bias: bool
) -> None:
    monkeypatch.setattr(module, "chunk_rows", lambda count, vocabulary: min(count, rows))
    monkeypatch.setattr(head_terms, "BLOCK_BYTES", 3 * 4 * VOCABULARY)
    student, teacher = made(0), made(1)
    if not with_bias:
        student[2] = teacher[2] = None  # type: ignore[call-overload]
    results = []
    for chunked in (True, False):
        leaves: list[Any] = [None if part is None else part.clone().requires_grad_() for part in student]
        if chunked:
            term = term_of(whole(teacher, temperature), spans, temperature)
            loss = LinearCrossEntropy.apply(*leaves, targets(), 0.3, Workspace(), term)
        else:
            loss = 0.3 * brute_force(linear(*leaves), linear(*teacher), targets(), temperature, spans)
        loss.backward()
        results.append([loss.detach().double(), *(leaf.grad for leaf in leaves if leaf is not None)])
    for mine, theirs in zip(*results, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("spans", [EVERY, MIXED])
def test_a_model_that_makes_its_own_logits_has_the_same_term(spans: list[Span]) -> None:
    teacher = linear(*made(1))
    results = []
    for mine in (True, False):
        leaf = linear(*made(0)).requires_grad_()
        if mine:
            given = Whole(Logits(teacher, None, None, Workspace()), 2.0, None, Buffers())
            loss = LogitLosses.apply(leaf, targets(), 0.3, [term_of(given, spans, 2.0)])  # type: ignore[no-untyped-call]
        else:
            loss = 0.3 * brute_force(leaf, teacher.float().double(), targets(), 2.0, spans)
        loss.backward()
        results.append([loss.detach().double(), leaf.grad])
    for first, second in zip(*results, strict=True):
        assert torch.allclose(first, second, rtol=1e-6, atol=1e-9)


def largest_of(logits: Tensor, temperature: float, kept: int) -> Largest:
    """By brute force: the `kept` largest probabilities, and the rest added up."""
    probabilities = (logits / temperature).softmax(-1)
    values, ids = probabilities.sort(-1, descending=True)
    rest = values[:, kept:].sum(-1, keepdim=True).clamp_min(1e-37)
    return Largest(ids[:, :kept], torch.cat([values[:, :kept], rest], 1).log(), temperature, Buffers())


@pytest.mark.parametrize("kept", [1, 4, VOCABULARY])
def test_the_largest_probabilities_and_the_rest_as_one(kept: int) -> None:
    """KL and gradient of kept + 1 things, by autograd through a sum over the rest; whole where all are kept."""
    teacher = linear(*made(1))
    leaf = linear(*made(0)).requires_grad_()
    given = largest_of(teacher, 2.0, kept)
    logs = (leaf / 2.0).log_softmax(-1)
    others = torch.ones(COUNT, VOCABULARY, dtype=torch.bool).scatter_(1, given.ids_NK, False)
    student = torch.cat([logs.gather(1, given.ids_NK), logs.masked_fill(~others, -1e9).logsumexp(1, keepdim=True)], 1)
    things = kept + 1 if kept < VOCABULARY else kept
    expected = kl_div(student[:, :things], given.logs_NK1[:, :things], reduction="none", log_target=True).sum(1)
    expected.sum().backward()
    shifted = (leaf - leaf.amax(1, keepdim=True)).detach()
    found, slopes = given.against(slice(0, COUNT), shifted, 0.5)  # d KL / d z = (p - q) / T
    assert leaf.grad is not None
    assert torch.allclose(found, expected.detach(), rtol=1e-9)
    assert torch.allclose(slopes, leaf.grad, rtol=1e-9, atol=1e-12)
    if kept == VOCABULARY:
        exact, exact_slopes = whole(made(1), 2.0).against(slice(0, COUNT), shifted, 0.5)
        assert torch.allclose(found, exact, rtol=1e-9)
        assert torch.allclose(slopes, exact_slopes, rtol=1e-9, atol=1e-12)


def test_by_hand() -> None:
    """Teacher logits 0 and 2 log 3 at T = 2: q = 1/4, 3/4; student even: KL = log 2 - H(q). The loss has T^2 = 4."""
    shifted = torch.zeros(1, 2)
    teacher = Whole(Logits(torch.tensor([[0.0, 2 * math.log(3)]]), None, None, Workspace()), 2.0, None, Buffers())
    term = term_of(teacher, EVERY, 2.0, strength=1.0)
    slopes = term.slopes(0, shifted)
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert slopes is not None
    assert float(term.value) == pytest.approx(4 * (math.log(2) - entropy), rel=1e-6)
    assert slopes.tolist()[0] == pytest.approx([2 * (0.5 - 0.25), 2 * (0.5 - 0.75)], rel=1e-6)


def test_logits_are_swapped_where_the_teacher_is_wrong() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0]])
    swap(logits, torch.tensor([1, 0]))
    assert logits.tolist() == [[1.0, 3.0, 2.0], [3.0, 1.0, 2.0]]


def test_a_swapped_teacher_is_likeliest_right() -> None:
    wanted = targets()
    swapped = linear(*made(1))
    swap(swapped, wanted)
    assert (swapped.argmax(1) == wanted).all()
    shifted = linear(*made(0))
    shifted = shifted - shifted.amax(1, keepdim=True)
    found, _ = whole(made(1), 2.0, wanted).against(slice(3, COUNT), shifted[3:], 1.0)
    logs = [(logits / 2.0).log_softmax(-1)[3:] for logits in (shifted, swapped)]
    assert torch.allclose(found, kl_div(*logs, reduction="none", log_target=True).sum(1), rtol=1e-9)


@pytest.mark.parametrize("is_whole", [True, False])
def test_extreme_logits_stay_finite(is_whole: bool) -> None:
    """The student gives no weight that fp32 can hold to what the teacher is sure of."""
    teacher = torch.tensor([[500.0, 0.0, 0.0]])
    given: Teaching = (
        Whole(Logits(teacher, None, None, Workspace()), 1.0, None, Buffers())
        if is_whole
        else Largest(torch.tensor([[0]]), torch.tensor([[0.0, -87.0]]), 1.0, Buffers())
    )
    found, slopes = given.against(slice(0, 1), torch.tensor([[-500.0, 0.0, 0.0]]), 1.0)
    assert 80 < float(found) < 501
    assert slopes.tolist()[0] == pytest.approx([-1.0, 0.5, 0.5], abs=1e-6)
