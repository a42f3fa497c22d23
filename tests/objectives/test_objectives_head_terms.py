"""Terms on the head's logits: blocks cover every target once and stop at edges; a term may take labels away."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from rewarm.objectives import head_terms
from rewarm.objectives.cross_entropy import LinearCrossEntropy, Workspace
from rewarm.objectives.head_terms import block_losses, blocks


@dataclass
class Tilt:
    """A gradient of 1 on id 0 from target `begins` on, where there are no labels. Its value is 10."""

    begins: int
    seen: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.edges = [0, self.begins]

    def is_labelled(self, first: int) -> bool:
        return first < self.begins

    def slopes(self, first: int, shifted_NV: Tensor) -> Tensor | None:
        if first < self.begins:
            return None
        self.seen += range(first, first + len(shifted_NV))
        assert shifted_NV.amax(1).tolist() == [0.0] * len(shifted_NV)
        return torch.nn.functional.one_hot(torch.zeros(len(shifted_NV), dtype=torch.long), shifted_NV.shape[1]).float()

    @property
    def value(self) -> Tensor:
        return torch.tensor(10.0)


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_blocks_cover_all_and_end_at_edges(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(head_terms, "BLOCK_BYTES", rows * 4 * 50)
    found = list(blocks(4, 20, 50, False, [Tilt(9), Tilt(13), Tilt(20), Tilt(2)]))
    assert [target for part in found for target in range(part.start, part.stop)] == list(range(4, 20))
    assert {9, 13} <= {part.start for part in found}
    assert max(part.stop - part.start for part in found) == min(rows, 7)


def test_a_block_by_hand() -> None:
    """Logits 0 and log 3: sums 1/3 + 1 once the largest is 0, cross-entropy log 4 of target 0, gradient (-3/4, 3/4)."""
    logits = torch.tensor([[0.0, float(torch.tensor(3.0).log())]])
    losses, sums = block_losses(logits, torch.tensor([[0]]), 0, [])
    assert losses is not None
    assert losses.item() == pytest.approx(1.3862944, rel=1e-6)
    assert (logits / sums).tolist()[0] == pytest.approx([-0.75, 0.75], rel=1e-6)
    unlabelled = torch.tensor([[0.0, 1.0]])
    nothing, sums = block_losses(unlabelled, torch.tensor([[0]]), 0, [Tilt(0)])
    assert nothing is None
    assert (unlabelled / sums).tolist()[0] == pytest.approx([1.0, 0.0], rel=1e-6)


def test_a_term_acts_on_its_targets_and_takes_their_labels_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Targets 5 and 6 of 7 in chunks of 2: value 0.5 x (cross-entropy of the first five + 10), one tilt for each."""
    monkeypatch.setattr("rewarm.objectives.cross_entropy.chunk_rows", lambda count, vocabulary: 2)
    torch.manual_seed(0)
    hidden, head = torch.randn(7, 4, requires_grad=True), torch.randn(9, 4)
    targets, term = torch.arange(7), Tilt(5)
    loss = LinearCrossEntropy.apply(hidden, head, None, targets, 0.5, Workspace(), term)  # type: ignore[no-untyped-call]
    loss.backward()
    plain = hidden.detach().clone().requires_grad_()
    half = 0.5 * torch.nn.functional.cross_entropy(plain[:5] @ head.t(), targets[:5], reduction="sum")
    (half + 0.5 * (plain[5:] @ head[0]).sum()).backward()
    assert loss.item() == pytest.approx(half.item() + 5.0, rel=1e-6)
    assert term.seen == [5, 6]
    assert hidden.grad is not None
    assert plain.grad is not None
    assert torch.allclose(hidden.grad, plain.grad, rtol=1e-5, atol=1e-6)
