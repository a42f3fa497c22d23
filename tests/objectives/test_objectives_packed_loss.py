"""The loss: equal to torch's own in value and gradient, however it is cut, and blind to a document's neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForCausalLM

from rewarm.objectives.packed_loss import PackedLoss, check_isolation, has_plain_head
from rewarm.tokens.order import Segment
from rewarm.tokens.packing import NO_TARGET, pack
from rewarm.types import Batch, UserError

LENGTHS = (5, 1, 17, 30, 9, 2)
# Models whose logits are more than a linear map: capped (Gemma 2), scaled (Cohere, Granite).
CROOKED = {"gemma2"}


def documents(seed: int = 0) -> list[np.ndarray]:
    source = np.random.default_rng(seed)
    return [source.integers(0, 400, length) for length in LENGTHS]


def alone(ids: np.ndarray) -> Batch:
    return pack([[Segment(ids, len(ids))]], len(ids))


def packed(rows: list[list[np.ndarray]], length: int = 64) -> Batch:
    return pack([[Segment(ids, len(ids)) for ids in row] for row in rows], length)


def plain_losses(model: Any, ids: np.ndarray) -> torch.Tensor:
    """What the model itself says of one document: no packing, no positions, no chunks."""
    tokens = torch.from_numpy(ids)[None]
    logits = model(input_ids=tokens, use_cache=False).logits[0, :-1].float()
    return cross_entropy(logits, tokens[0, 1:], reduction="none")


def gradients(model: Any) -> dict[str, torch.Tensor]:
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}
    model.zero_grad()
    return found


def assert_same_gradients(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor], relative: float) -> None:
    assert first.keys() == second.keys()
    for name, grad in first.items():
        scale = float(second[name].abs().max())
        assert float((grad - second[name]).abs().max()) <= relative * scale + 1e-9, name


# Documents in a row do not know of each other


def test_packed_documents_lose_what_they_lose_alone(make_tiny: Any, family: str) -> None:
    model, texts = make_tiny(family), documents()
    batch = packed([texts[:4], texts[4:]])
    losses_BT = PackedLoss(model).token_losses(batch)
    places = [(0, sum(LENGTHS[:index])) for index in range(4)] + [(1, 0), (1, LENGTHS[4])]
    for ids, (row, start) in zip(texts, places, strict=True):
        with torch.no_grad():
            expected = plain_losses(model, ids)
        found = losses_BT[row, start : start + len(ids)]
        assert torch.allclose(found[:-1], expected, rtol=0, atol=1e-5)
        assert float(found[-1]) == 0.0
    assert (losses_BT[batch.targets_BT == NO_TARGET] == 0).all()
    assert (losses_BT[batch.targets_BT != NO_TARGET] > 0).all()


def test_logits_do_not_see_the_document_before(make_tiny: Any, family: str) -> None:
    model, (_, _, before, ids, *_) = make_tiny(family), documents()
    batch = packed([[before, ids]], len(before) + len(ids))
    with torch.no_grad():
        beside = model(input_ids=batch.tokens_BT, position_ids=batch.positions_BT, use_cache=False).logits
        single = model(input_ids=torch.from_numpy(ids)[None], use_cache=False).logits
        mixed = model(input_ids=batch.tokens_BT, use_cache=False).logits
    assert float((beside[:, len(before) :] - single).abs().max()) <= 1e-5
    assert float((mixed[:, len(before) :] - single).abs().max()) > 1e-3  # without positions they do see it


def test_a_row_that_begins_inside_a_document(make_tiny: Any, family: str) -> None:
    """The rest of a document is scored from where the row begins, and the cut loses no target."""
    model, ids = make_tiny(family), documents()[3]
    head, tail = Segment(ids[:13], 12), Segment(ids[12:], len(ids) - 12)
    losses = PackedLoss(model).token_losses(pack([[head], [tail]], 18))
    with torch.no_grad():
        assert torch.allclose(losses[0, :12], plain_losses(model, ids[:13]), rtol=0, atol=1e-5)
        assert torch.allclose(losses[1, :17], plain_losses(model, ids[12:]), rtol=0, atol=1e-5)


def test_packed_gradients_are_those_of_each_document(make_tiny: Any, family: str) -> None:
    model, texts = make_tiny(family), documents()
    objective = PackedLoss(model)
    objective.loss_sum(packed([texts[:4], texts[4:]])).backward()
    together = gradients(model)
    for ids in texts:
        if len(ids) > 1:
            plain_losses(model, ids).sum().backward()
    assert_same_gradients(together, gradients(model), 1e-4)


@pytest.mark.parametrize("name", ["opt", "bloom", "falcon", "mamba"])
def test_models_that_read_across_documents_are_refused(name: str) -> None:
    sizes = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    if name == "opt":
        sizes |= {"ffn_dim": 64, "word_embed_proj_dim": 32}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **sizes))
    with pytest.raises(UserError, match=r"reads across the documents of a packed row\. rewarm packs"):
        PackedLoss(model)


def test_models_without_positions_are_refused(make_tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_tiny("llama")
    whole = model.forward
    monkeypatch.setattr(model, "forward", lambda input_ids, use_cache: whole(input_ids=input_ids, use_cache=use_cache))
    with pytest.raises(UserError, match=r"LlamaForCausalLM takes no position_ids\."):
        check_isolation(model)


# The objective on whole models


def test_loss_sum_is_the_models_own_loss(make_tiny: Any, family: str) -> None:
    """Value and every gradient, the head's and the tied embedding's too."""
    model = make_tiny(family)
    batch = packed([documents(1)[:4], documents(2)[:4]])
    objective = PackedLoss(model)
    assert objective.chunked == (family not in CROOKED)
    loss = objective.loss_sum(batch)
    loss.backward()
    mine = gradients(model)
    logits = model(input_ids=batch.tokens_BT, position_ids=batch.positions_BT, use_cache=False).logits
    expected = cross_entropy(logits.flatten(0, 1), batch.targets_BT.flatten(), ignore_index=NO_TARGET, reduction="sum")
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert_same_gradients(mine, gradients(model), 1e-5)


def test_token_losses_add_up_to_loss_sum(make_tiny: Any, family: str) -> None:
    objective = PackedLoss(make_tiny(family))
    batch = packed([documents(3)[:4], documents(4)[2:]])
    losses_BT = objective.token_losses(batch)
    assert losses_BT.shape == batch.tokens_BT.shape
    assert losses_BT.dtype == torch.float32
    assert float(losses_BT.double().sum()) == pytest.approx(objective.loss_sum(batch).item(), rel=1e-6)


def test_the_path_over_whole_logits_is_the_same_loss(make_tiny: Any) -> None:
    objective = PackedLoss(make_tiny("llama"))
    batch = packed([documents()[:4]])
    results = []
    for objective.chunked in (True, False):
        loss = objective.loss_sum(batch)
        loss.backward()
        results.append((loss.item(), objective.token_losses(batch), gradients(objective.model)))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-6)
    assert torch.allclose(results[0][1], results[1][1], rtol=0, atol=1e-5)
    assert_same_gradients(results[0][2], results[1][2], 1e-5)


@pytest.mark.parametrize("micro_rows", [1, 2, 3])
def test_micro_batches_add_up_to_the_step(make_tiny: Any, micro_rows: int) -> None:
    """Sums over the global count: documents of unequal length weigh the same however the step is cut."""
    model = make_tiny("llama")
    objective = PackedLoss(model)
    texts = documents(5)
    rows = [[texts[3]], [texts[0], texts[4]], [texts[2], texts[5]], [texts[1]], [texts[4], texts[4]], [texts[2]]]
    count = packed(rows).num_targets
    (objective.loss_sum(packed(rows)) / count).backward()
    whole = gradients(model)
    for at in range(0, 6, micro_rows):
        (objective.loss_sum(packed(rows[at : at + micro_rows])) / count).backward()
    assert_same_gradients(gradients(model), whole, 1e-6)


def test_a_batch_without_targets_has_no_loss_and_no_gradient(make_tiny: Any, family: str) -> None:
    model = make_tiny(family)
    objective = PackedLoss(model)
    batch = packed([[np.array([5])]], 4)
    loss = objective.loss_sum(batch)
    loss.backward()
    assert loss.item() == 0.0
    assert all(float(grad.abs().max()) == 0.0 for grad in gradients(model).values())
    assert float(objective.token_losses(batch).abs().max()) == 0.0


def test_bf16_is_near_fp32(make_tiny: Any, family: str) -> None:
    model = make_tiny(family)
    objective = PackedLoss(model)
    batch = packed([documents(6)[:4]])
    exact = objective.loss_sum(batch)
    exact.backward()
    wanted = gradients(model)
    with torch.autocast("cpu", torch.bfloat16):
        loss = objective.loss_sum(batch)
        losses_BT = objective.token_losses(batch)
    loss.backward()
    assert loss.item() == pytest.approx(exact.item(), rel=2e-3)
    assert float(losses_BT.sum()) == pytest.approx(exact.item(), rel=2e-3)
    found = gradients(model)
    assert {grad.dtype for grad in found.values()} == {torch.float32}
    for name, grad in found.items():
        assert float((grad - wanted[name]).norm()) <= 0.1 * float(wanted[name].norm()) + 1e-4, name


# Which models have a plain head


@pytest.mark.parametrize(
    ("name", "options", "plain"),
    [
        ("llama", {}, True),
        ("gemma2", {"head_dim": 8}, False),
        ("gemma2", {"head_dim": 8, "final_logit_softcapping": None}, True),
        ("cohere", {}, False),
        ("granite", {"logits_scaling": 2.0}, False),
        ("granite", {"logits_scaling": 1.0}, True),
    ],
)
def test_capped_and_scaled_logits_are_no_plain_head(name: str, options: dict[str, Any], plain: bool) -> None:
    """Token 0 is padding with an all-zero embedding there, and logits of zero show neither a cap nor a scale."""
    sizes = {"vocab_size": 300, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "pad_token_id": 0}
    torch.manual_seed(0)
    config = AutoConfig.for_model(name, **sizes, num_attention_heads=4, num_key_value_heads=2, **options)
    assert has_plain_head(AutoModelForCausalLM.from_config(config)) is plain


def test_looking_at_a_model_leaves_it_as_it_was(make_tiny: Any) -> None:
    model = make_tiny("gpt2").train()
    state = torch.get_rng_state()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    PackedLoss(model)
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
    assert all(parameter.grad is None for parameter in model.parameters())
