"""CKA: the estimate by hand, its invariances, and how it ranks equal, changed and independent models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, RobertaConfig, RobertaForMaskedLM

from rewarm.evaluation.cka import Similarity, batch_hsic, hsic, same_depth, similarity
from rewarm.evaluation.layer_states import layer_means, layer_names
from rewarm.types import UserError


def gram(*pairs: tuple[int, int]) -> torch.Tensor:
    """A Gram matrix of four texts with 1 at these places and 9 on the diagonal, which must not matter."""
    found = 9 * torch.eye(4, dtype=torch.float64)
    for one, other in pairs:
        found[one, other] = found[other, one] = 1
    return found


def test_the_unbiased_estimate_by_hand() -> None:
    """Of four texts: (tr KL + 4 x 4 / 6 - 2 x 4 / 2) / 4, where tr KL is 4 for the same pairs and 0 for others."""
    assert hsic(gram((0, 1), (2, 3)), gram((0, 1), (2, 3))) == pytest.approx((4 + 16 / 6 - 4) / 4)
    assert hsic(gram((0, 1), (2, 3)), gram((0, 2), (1, 3))) == pytest.approx((0 + 16 / 6 - 4) / 4)


def test_three_texts_are_too_few() -> None:
    with pytest.raises(UserError, match="at least 4 texts, got 3"):
        hsic(torch.eye(3), torch.eye(3))


def cka(first_BD: torch.Tensor, second_BD: torch.Tensor) -> float:
    return float(Similarity(("layer",), np.array([[batch_hsic(first_BD, second_BD)]])).cka_L[0])


def test_rotations_scales_and_offsets_do_not_matter_and_other_maps_do() -> None:
    source = torch.Generator().manual_seed(0)
    states_BD = torch.randn(64, 8, generator=source, dtype=torch.float64)
    rotation_DD, _ = torch.linalg.qr(torch.randn(8, 8, generator=source, dtype=torch.float64))
    assert cka(states_BD, states_BD) == pytest.approx(1)
    assert cka(states_BD, 3 * states_BD @ rotation_DD + 5) == pytest.approx(1)
    stretch_D = torch.tensor([20.0, *[1.0] * 7], dtype=torch.float64)
    assert cka(states_BD, states_BD * stretch_D) < 0.7


def test_the_estimate_has_no_bias_where_states_are_unrelated() -> None:
    """Wide states of few texts: the plain estimate of CKA would be near 1; this one is 0 on average."""
    source = torch.Generator().manual_seed(1)
    pairs = torch.randn(200, 2, 16, 64, generator=source, dtype=torch.float64)
    found = Similarity(("layer",), np.array([[batch_hsic(*pair)] for pair in pairs]))
    assert abs(found.cka_L[0]) < 0.01
    low_L, high_L = found.interval()
    assert low_L[0] < 0 < high_L[0]


def test_states_that_do_not_vary_have_no_similarity() -> None:
    constant_BD = torch.full((5, 3), 0.1)
    assert np.isnan(cka(constant_BD, torch.randn(5, 3, generator=torch.Generator().manual_seed(0))))


def test_layers_are_paired_by_depth() -> None:
    assert same_depth(5, 5) == [0, 1, 2, 3, 4]
    assert same_depth(3, 5) == [0, 2, 4]


def rows(count: int, seed: int = 0) -> list[Any]:
    source = np.random.default_rng(seed)
    return [source.integers(3, 400, int(source.integers(5, 30))).astype(np.uint16) for _ in range(count)]


def masked(kind: str, seed: int = 0) -> Any:
    """A tiny BERT or RoBERTa over 400 ids, in evaluation mode."""
    configs, models = {"bert": BertConfig, "roberta": RobertaConfig}, {"bert": BertForMaskedLM}
    config = configs[kind](
        vocab_size=400, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=64,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return models.get(kind, RobertaForMaskedLM)(config).eval()


@pytest.fixture
def make(make_tiny: Any) -> Any:
    return lambda kind, seed=0: masked(kind, seed) if kind in ("bert", "roberta") else make_tiny(kind, seed)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2", "gpt-neox", "bert", "roberta"])
def test_a_model_is_itself_near_what_it_was_and_far_from_another(make: Any, kind: str) -> None:
    model, near, other = make(kind), make(kind), make(kind, seed=9)
    source = torch.Generator().manual_seed(0)
    for weight in near.parameters():
        weight.data += 0.1 * weight.data.std() * torch.randn(weight.shape, generator=source) if weight.ndim > 1 else 0
    batches = [rows(24, seed) for seed in range(4)]
    same, close, apart = (similarity(model, one, batches).cka_L for one in (model, near, other))
    assert layer_names(model) == ["embeddings", "layer 1", "layer 2"]
    assert same == pytest.approx(1)
    assert (close < 0.9999).all()
    assert (apart < close - 0.05).all()


@pytest.mark.parametrize("kind", ["llama", "bert", "roberta"])
def test_means_do_not_depend_on_the_texts_beside(make: Any, kind: str) -> None:
    """Padding is neither read nor averaged: each text alone gives what all of them together give."""
    model, texts = make(kind), rows(6)
    together_LND = layer_means(model, texts)
    for number, text in enumerate(texts):
        alone_LD = layer_means(model, [text])[:, 0]
        assert torch.allclose(together_LND[:, number], alone_LD, atol=1e-5)


def test_embedding_means_by_hand(make: Any) -> None:
    model = make("llama")
    wanted_D = model.get_input_embeddings().weight[[5, 7, 7]].mean(dim=0)
    found_LND = layer_means(model, [np.array([5, 7, 7], np.uint16)])
    assert torch.allclose(found_LND[0, 0], wanted_D.detach().double(), atol=1e-6)


def test_one_batch_has_no_interval_and_nothing_has_no_similarity(make: Any) -> None:
    model = make("llama")
    low_L, high_L = similarity(model, model, [rows(5)]).interval()
    assert np.isinf([*low_L, *high_L]).all()
    with pytest.raises(UserError, match="got none"):
        similarity(model, model, [])
    with pytest.raises(UserError, match="without a token"):
        layer_means(model, [np.zeros(0, np.uint16)])
