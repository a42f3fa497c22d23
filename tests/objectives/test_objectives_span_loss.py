"""The loss of packed documents is the model's own of each; what cannot be trained so is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from rewarm.methods import build
from rewarm.objectives import Beginning
from rewarm.objectives.span_corruption import SpanCorruption
from rewarm.objectives.span_loss import SpanLoss
from rewarm.tokens.packing import NO_TARGET
from rewarm.tokens.spans import Example, Spans, lay
from rewarm.types import UserError

SPANS = Spans(tuple(range(3, 103)), (), 1)
BART = {
    "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 64,
}  # fmt: skip


def examples(lengths: list[int], seed: int = 0) -> list[Example]:
    source = np.random.default_rng(seed)
    found = [SPANS.example(source.integers(110, 490, length), length) for length in lengths]
    return [one for one in found if one is not None]


def own_nats(model: Any, example: Example) -> float:
    read_S, written_T = (torch.from_numpy(part)[None] for part in example)
    return float(model(input_ids=read_S, labels=written_T).loss.detach()) * written_T.shape[1]


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("t5", {}),
        ("t5", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
        ("mt5", {}),
        ("umt5", {}),
    ],
)
def test_packed_documents_have_the_models_own_loss(name: str, more: dict[str, Any], make_seq2seq: Any) -> None:
    model = make_seq2seq(name, **more)
    with torch.no_grad():  # positions that matter: T5 begins with small biases
        for weight_name, weight in model.named_parameters():
            if "relative_attention_bias" in weight_name:
                weight.normal_(std=1.0, generator=torch.Generator().manual_seed(1))
    rows = [examples([20, 7, 2]), examples([33, 12], 1), []]
    batch = lay(rows)
    loss = SpanLoss(model)
    wanted = [[own_nats(model, one) for one in row] for row in rows]
    assert float(loss.loss_sum(batch, 0.5).detach()) == pytest.approx(0.5 * sum(map(sum, wanted)), rel=1e-5)
    losses_BT = loss.token_losses(batch)
    assert losses_BT.sum(1).tolist() == pytest.approx([sum(row) for row in wanted], rel=1e-5)
    assert not losses_BT[batch.targets_BT == NO_TARGET].any()


def test_a_batch_without_targets_has_no_loss_and_no_gradient(make_seq2seq: Any) -> None:
    model = make_seq2seq("t5")
    value = SpanLoss(model).loss_sum(lay([[], []]))
    value.backward()
    assert float(value.detach()) == 0.0
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in model.parameters())


def test_another_number_format_gives_nearly_the_same(make_seq2seq: Any) -> None:
    loss, batch = SpanLoss(make_seq2seq("t5")), lay([examples([20, 7]), examples([33], 1)])
    with torch.autocast("cpu", torch.bfloat16):
        found = float(loss.loss_sum(batch).detach())
    assert found == pytest.approx(float(loss.loss_sum(batch).detach()), rel=2e-2)


def test_models_with_other_positions_or_no_start_are_refused(make_seq2seq: Any) -> None:
    with pytest.raises(UserError, match=r"BartForConditionalGeneration does not keep.*such as T5, mT5 or umT5"):
        SpanLoss(make_seq2seq("bart", **BART))
    model = make_seq2seq("t5")
    model.config.decoder_start_token_id = None
    with pytest.raises(UserError, match="names no decoder_start_token_id"):
        SpanLoss(model)


# Options


def test_words_of_other_libraries_lead_to_the_options() -> None:
    assert build("objectives", {"type": "span-corruption", "rate": 0.3}) == SpanCorruption(rate=0.3)
    for word, option in (("noise_density", "rate"), ("mean_noise_span_length", "mean_length")):
        with pytest.raises((UserError, ValueError), match=f"{word}.*Did you mean '{option}'"):
            build("objectives", {"type": "span-corruption", word: 3})


@pytest.mark.parametrize(
    ("option", "value"), [("rate", 0), ("rate", 1), ("rate", "many"), ("mean_length", 0.5), ("mean_length", -1)]
)
def test_bad_values_are_named(option: str, value: Any) -> None:
    with pytest.raises((UserError, ValueError), match=rf"{option}.*{value}|{option}(.|\n)*{value}"):
        build("objectives", {"type": "span-corruption", option: value})


def test_too_few_sentinels_are_told_before_a_leg_begins(
    begin: Callable[..., Beginning], make_seq2seq: Any, sentinel_tokenizer_folder: Any
) -> None:
    found = begin(make_seq2seq("t5"), tokenizer=sentinel_tokenizer_folder)
    SpanCorruption(rate=0.5, mean_length=1).check(found)
    SpanCorruption(rate=0.99, mean_length=1).check(found)
    with pytest.raises(UserError, match="has 0 of them"):
        SpanCorruption().check(begin(make_seq2seq("t5")))


def test_short_pieces_are_told(
    begin: Callable[..., Beginning], make_seq2seq: Any, sentinel_tokenizer_folder: Any
) -> None:
    objective = SpanCorruption()
    (note,) = objective.notes(objective.rows(begin(make_seq2seq("t5"), tokenizer=sentinel_tokenizer_folder)))
    assert "corpus pairs: " in note
    assert "a single token" in note
