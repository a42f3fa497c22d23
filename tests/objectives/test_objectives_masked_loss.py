"""The loss of hidden tokens: what each document loses alone, in every family, packed or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from rewarm.methods import build
from rewarm.models.encoder import first_position, longest_text
from rewarm.models.load import check_length
from rewarm.objectives.masked_loss import MaskedLoss
from rewarm.objectives.packed_loss import PackedLoss
from rewarm.tokens.masking import Masking
from rewarm.tokens.order import Segment
from rewarm.tokens.packing import NO_TARGET, pack
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import Batch, UserError

SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
MORE: dict[str, dict[str, Any]] = {
    "bert": {},
    "roberta": {},
    "electra": {"embedding_size": 32},
    "albert": {"embedding_size": 16},
    "modernbert": {"local_attention": 4, "layer_types": ["full_attention", "sliding_attention"]},
}
LENGTHS = (9, 4, 17, 30, 2)
Make = Callable[..., Any]


def documents(seed: int = 0) -> list[np.ndarray]:
    source = np.random.default_rng(seed)
    return [np.array([0, *source.integers(4, 400, length), 1]) for length in LENGTHS]


def hidden(texts: list[np.ndarray], folder: Path, length: int = 80) -> Batch:
    """One packed row with tokens hidden, and padding at its end."""
    masking = Masking.of(TextTokenizer(folder), probability=0.4)
    made = [masking.masked(ids, 5 + number) for number, ids in enumerate(texts)]
    packed = pack([[Segment(read, len(read)) for read, _ in made]], length, padding=2)
    targets = np.concatenate([wanted for _, wanted in made])
    targets_BT = torch.full((1, length), NO_TARGET)
    targets_BT[0, : len(targets)] = torch.from_numpy(targets)
    return Batch(packed.tokens_BT, targets_BT, packed.positions_BT, int((targets_BT != NO_TARGET).sum()))


def naive(model: Any, batch: Batch) -> torch.Tensor:
    """The model's own loss of each document by itself, summed: no packing, no padding."""
    starts = [*(batch.positions_BT[0] == 0).nonzero()[:, 0].tolist()]
    ends = [*starts[1:], batch.tokens_BT.shape[1]]
    parts = []
    for start, end in zip(starts, ends, strict=True):
        targets_T = batch.targets_BT[0, start:end]
        if (targets_T != NO_TARGET).any():
            logits_TV = model(input_ids=batch.tokens_BT[:, start:end]).logits[0]
            parts.append(cross_entropy(logits_TV, targets_T, ignore_index=NO_TARGET, reduction="sum"))
    return torch.stack(parts).sum()


@pytest.mark.parametrize("name", MORE)
def test_the_loss_is_that_of_each_document_alone(name: str, make_masked: Make, masked_tokenizer_folder: Path) -> None:
    model = make_masked(name, **MORE[name])
    batch = hidden(documents(), masked_tokenizer_folder)
    loss = MaskedLoss(model)
    assert loss.packs == (name != "modernbert")
    wanted = naive(model, batch)
    wanted.backward()
    gradients = {key: value.grad.clone() for key, value in model.named_parameters() if value.grad is not None}
    model.zero_grad()
    found = loss.loss_sum(batch, scale=0.5)
    found.backward()
    assert found.item() == pytest.approx(0.5 * wanted.item(), rel=1e-5)
    for key, value in model.named_parameters():
        if key in gradients:
            assert value.grad is not None
            assert torch.allclose(2 * value.grad, gradients[key], rtol=1e-3, atol=1e-5), key
    losses_BT = loss.token_losses(batch)
    assert float(losses_BT.sum()) == pytest.approx(wanted.item(), rel=1e-5)
    assert ((losses_BT != 0) == (batch.targets_BT != NO_TARGET)).all()


@pytest.mark.parametrize("name", ["bert", "modernbert"])
def test_a_document_does_not_see_its_neighbours(name: str, make_masked: Make, masked_tokenizer_folder: Path) -> None:
    model, texts = make_masked(name, **MORE[name]), documents()
    other = [documents(1)[0], *texts[1:]]
    loss, inside = MaskedLoss(model), slice(len(texts[0]), None)
    one, two = (loss.token_losses(hidden(some, masked_tokenizer_folder)) for some in (texts, other))
    assert torch.allclose(one[0, inside], two[0, inside], atol=1e-5)
    assert not torch.allclose(one[0, : len(texts[0])], two[0, : len(texts[0])], atol=1e-3)


def test_both_ways_of_reading_agree(make_masked: Make, masked_tokenizer_folder: Path) -> None:
    batch = hidden(documents(), masked_tokenizer_folder)
    for name in ("bert", "roberta"):
        loss = MaskedLoss(make_masked(name))
        packed_BT = loss.token_losses(batch)
        loss.packs = False
        assert torch.allclose(packed_BT, loss.token_losses(batch), atol=1e-5)
        loss._head = None
        assert torch.allclose(packed_BT, loss.token_losses(batch), atol=1e-5)


def test_roberta_counts_positions_behind_that_of_padding(make_masked: Make) -> None:
    bert, roberta = make_masked("bert"), make_masked("roberta")
    assert (first_position(bert), longest_text(bert)) == (0, 128)
    assert (first_position(roberta), longest_text(roberta)) == (3, 125)
    check_length(bert, 128)
    with pytest.raises(UserError, match="Set seq_len to 125 or less"):
        check_length(roberta, 126)


def test_the_padding_of_a_base_from_scratch_is_the_tokenizers(make_masked: Make) -> None:
    for name in ("bert", "roberta"):
        assert make_masked(name).config.pad_token_id == 2


def test_a_step_that_hides_nothing_has_no_loss(make_masked: Make) -> None:
    ids = documents()[0]
    batch = pack([[Segment(ids, len(ids))]], len(ids))
    empty = Batch(batch.tokens_BT, torch.full_like(batch.targets_BT, NO_TARGET), batch.positions_BT, 0)
    loss = MaskedLoss(make_masked("bert")).loss_sum(empty)
    loss.backward()
    assert loss.item() == 0.0


def test_an_encoder_is_refused_by_the_causal_loss(make_masked: Make) -> None:
    with pytest.raises(UserError, match="has objective: masked"):
        PackedLoss(make_masked("bert"))


def test_shares_above_one_are_refused() -> None:
    with pytest.raises(UserError, match="sum to more than 1"):
        build("objectives", {"type": "masked", "replace": 0.8, "random": 0.3})
    with pytest.raises(UserError, match="probability"):
        build("objectives", {"type": "masked", "probability": 0})
