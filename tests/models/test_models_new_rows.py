"""New rows: made as they say, old logits bit for bit as they were, padded matrices used, tied heads tied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from rewarm.models.merging import vocabulary_rows
from rewarm.models.new_rows import INITS, SPREAD, add_rows, new_rows
from rewarm.types import UserError

PIECES = ((3, 4), (5,), (6, 7, 8))


def made(way: Any, old: torch.Tensor, pieces: Any = PIECES) -> torch.Tensor:
    return new_rows(old, pieces, way, torch.Generator().manual_seed(0))


def test_rows_by_hand() -> None:
    old = torch.tensor([[0.0, 2], [2, 0], [4, 4]])
    assert made("mean", old, [(0,), (1, 2)]).tolist() == [[2, 2], [2, 2]]
    assert made("subword-mean", old, [(0,), (1, 2)]).tolist() == [[0, 2], [3, 2]]
    assert made("first-piece", old, [(0,), (2, 1)]).tolist() == [[0, 2], [4, 4]]


def test_drawn_rows_have_the_mean_and_a_tenth_of_the_covariance() -> None:
    old = torch.randn(50, 3, generator=torch.Generator().manual_seed(1)) @ torch.tensor(
        [[2.0, 1, 0], [0, 1, 0], [0, 0, 0]]
    )
    drawn = made("multivariate", old, [(0,)] * 40_000)
    torch.testing.assert_close(drawn.mean(0), old.double().mean(0), atol=0.02, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), SPREAD * old.double().T.cov(correction=0), atol=0.02, rtol=0.03)


@pytest.mark.parametrize("way", INITS)
def test_old_logits_stay_bit_for_bit(family: str, way: Any, make_tiny: Callable[..., Any]) -> None:
    """Also of a head that is tied, and of one that is not, whatever the family."""
    model = make_tiny(family)
    rows = vocabulary_rows(model)
    tokens_BT = torch.arange(1, 13)[None]
    with torch.no_grad():
        before = model(tokens_BT).logits
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    done = add_rows(model, rows, PIECES, (way, way))
    with torch.no_grad():
        after = model(tokens_BT).logits
    assert after.shape[-1] == rows + 3 == model.config.get_text_config().vocab_size
    assert after[..., :rows].equal(before)
    assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == tied
    assert done == {"grown": 3, "initialised": 3, "head": 0 if tied else 3}


def test_a_padded_matrix_is_used_before_it_grows(make_tiny: Callable[..., Any]) -> None:
    model = make_tiny("llama")
    rows = vocabulary_rows(model)
    spare = model.get_input_embeddings().weight.detach().clone()
    assert add_rows(model, rows - 3, PIECES, ("mean", "mean"))["grown"] == 0
    weight = model.get_input_embeddings().weight.detach()
    assert len(weight) == rows  # never smaller, either
    assert weight[:-3].equal(spare[:-3])
    torch.testing.assert_close(weight[-3:], spare[:-3].mean(0).expand(3, -1))  # without the rows that were spare


def test_input_and_output_rows_are_made_apart(make_tiny: Callable[..., Any], tiny_configs: dict[str, Any]) -> None:
    name = next(
        one
        for one in tiny_configs
        if (model := make_tiny(one)).get_output_embeddings().weight is not model.get_input_embeddings().weight
    )
    model = make_tiny(name)
    rows = vocabulary_rows(model)
    add_rows(model, rows, PIECES, ("subword-mean", "first-piece"))
    inner, outer = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    torch.testing.assert_close(inner[rows], inner[[3, 4]].mean(0))
    assert outer[rows].equal(outer[3])


def test_ids_without_rows_are_refused(make_tiny: Callable[..., Any]) -> None:
    model = make_tiny("llama")
    with pytest.raises(UserError, match="embedding rows, and its tokenizer gives ids up to"):
        add_rows(model, vocabulary_rows(model) + 1, PIECES, ("mean", "mean"))
