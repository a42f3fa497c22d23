"""Every merging method on tensors small enough for a sheet of paper, then on whole models of every family."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import tensor

from rewarm.models.load import weights_hash
from rewarm.models.merging import (
    Recipe,
    blend,
    chat_vector,
    check_mergeable,
    combine,
    dare,
    interpolated,
    mean,
    ties,
    vocabulary_parameters,
)
from rewarm.types import UserError


def same_bytes(first: torch.Tensor, second: torch.Tensor) -> bool:
    return torch.equal(first.view(torch.uint8), second.view(torch.uint8))


def parameters(model: Any) -> dict[str, torch.Tensor]:
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def test_interpolation_is_a_weighted_mean_and_keeps_its_ends() -> None:
    base, stage = tensor([1.0, -0.0, 3.0]), tensor([5.0, 2.0, -1.0])
    assert interpolated(base, stage, 0.25).tolist() == [2.0, 0.5, 2.0]
    # a sum with 0 times the stage would turn -0.0 into 0.0
    assert same_bytes(interpolated(base, stage, 0), base)
    assert same_bytes(interpolated(base, stage, 1), stage)


def test_sums_of_bf16_are_made_in_fp32() -> None:
    """256 + 1 is 256 in bf16, so sums made there would lose both ones: (256 + 1 + 1) / 3 = 86, not 85.5."""
    parts = [tensor([value], dtype=torch.bfloat16) for value in (256.0, 1.0, 1.0)]
    assert mean(parts).dtype == torch.bfloat16
    assert mean(parts).item() == 86.0
    # (1 + 258) / 2 = 129.5 rounds to 130; the difference of 257 would round to 256 in bf16, and give 129
    halfway = interpolated(tensor([1.0], dtype=torch.bfloat16), tensor([258.0], dtype=torch.bfloat16), 0.5)
    assert halfway.item() == 130.0


def test_a_soup_is_the_mean_and_of_one_model_that_model() -> None:
    assert mean([tensor([1.0, 2.0]), tensor([3.0, 0.0]), tensor([5.0, 1.0])]).tolist() == [3.0, 1.0]
    alone = tensor([-0.0, 0.1])
    assert same_bytes(mean([alone]), alone)


def test_ties_trims_elects_a_sign_and_averages_those_who_have_it() -> None:
    """Task vectors [4, -1, 3, 0.5] and [-1, -3, 2, 0.2]; half is kept: [4, 0, 3, 0] and [0, -3, 2, 0].

    Signs elected: +, -, +, none. Means of those who have it: 4 (one), -3 (one), 2.5 (both), 0.
    """
    base = tensor([1.0, 1.0, 1.0, 1.0])
    models = [base + tensor([4.0, -1.0, 3.0, 0.5]), base + tensor([-1.0, -3.0, 2.0, 0.2])]
    assert ties(base, models, 1.0, 0.5).tolist() == [5.0, -2.0, 3.5, 1.0]
    assert ties(base, models, 0.5, 0.5).tolist() == [3.0, -0.5, 2.25, 1.0]
    assert same_bytes(ties(base, models, 0, 0.5), base)


def test_the_larger_sum_elects_the_sign() -> None:
    """Nothing is trimmed. Entry 0: +1, +1, -3 sum to -1, so the lone -3 wins over two; entry 1: 2 and 1 against -2."""
    base = torch.zeros(2)
    models = [tensor([1.0, 2.0]), tensor([1.0, 1.0]), tensor([-3.0, -2.0])]
    assert ties(base, models, 1.0, 1.0).tolist() == [-3.0, 1.5]


def test_dare_keeps_the_expectation_and_is_the_same_for_a_seed() -> None:
    base, model = torch.full((100_000,), 0.5), torch.full((100_000,), 0.75)
    merged = dare(base, [model], 1.0, 0.25, seed=3)
    # a kept entry is 0.5 + 0.25 / 0.25, a dropped one the base's
    assert sorted(set(merged.tolist())) == [0.5, 1.5]
    # a quarter is kept: 25,000, standard deviation sqrt(100,000 * 0.25 * 0.75) = 137
    assert abs(int((merged == 1.5).sum()) - 25_000) < 5 * 137
    assert torch.equal(merged, dare(base, [model], 1.0, 0.25, seed=3))
    assert not torch.equal(merged, dare(base, [model], 1.0, 0.25, seed=4))
    # the same entries at another weight
    assert torch.equal(dare(base, [model], 0.5, 0.25, seed=3) == 1.0, merged == 1.5)
    assert same_bytes(dare(base, [model], 0, 0.25, seed=3), base)


def test_dare_at_density_1_is_task_arithmetic_and_leaves_the_random_state_alone() -> None:
    before = torch.get_rng_state()
    models = [tensor([2.0, 1.0]), tensor([1.0, 4.0])]
    assert dare(torch.ones(2), models, 0.5, 1.0, seed=0).tolist() == [1.5, 2.5]
    dare(torch.ones(2), models, 0.5, 0.5, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_task_vectors_of_one_parameter_are_dropped_apart_from_each_other_and_from_other_parameters() -> None:
    tensors = [torch.zeros(64), torch.ones(64), torch.ones(64)]
    recipe = Recipe("dare", 1.0, density=0.5)
    merged = combine(recipe, "a", tensors)
    assert set(merged.tolist()) == {0.0, 2.0, 4.0}  # none, one or both kept
    assert torch.equal(merged, combine(recipe, "a", tensors))
    assert not torch.equal(merged, combine(recipe, "b", tensors))


def test_a_chat_vector_is_added_by_weight() -> None:
    stage, base, chat = tensor([1.0, -0.0]), tensor([0.0, 1.0]), tensor([2.0, 5.0])
    assert chat_vector(stage, base, chat, 0.5).tolist() == [2.0, 2.0]
    assert same_bytes(chat_vector(stage, base, chat, 0), stage)
    # training that changed nothing, and the whole vector: the chat model
    assert chat_vector(base, base, chat, 1.0).tolist() == chat.tolist()


def test_rows_of_a_grown_vocabulary() -> None:
    """The base and the chat model have 4 rows, the stage 5. Rows 1, 3 and 4 are of special tokens: of them the chat
    model changed row 1, which is its own at any weight; row 3 it left as it was, so that stays as the stage has it."""
    base = tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    chat = tensor([[1.0, 0.0], [9.0, 9.0], [2.0, 4.0], [3.0, 3.0]])
    stage = tensor([[5.0, 5.0], [6.0, 6.0], [7.0, 7.0], [4.0, 4.0], [8.0, 8.0]])
    merged = chat_vector(stage, base, chat, 0.5, special_rows=(1, 3, 4))
    assert merged.tolist() == [[5.5, 5.0], [9.0, 9.0], [7.0, 8.0], [4.0, 4.0], [8.0, 8.0]]
    assert same_bytes(chat_vector(stage, base, chat, 0, special_rows=(1,)), stage)
    assert stage[1].tolist() == [6.0, 6.0]  # the stage itself is left alone


def test_rows_that_only_the_chat_model_has_are_added() -> None:
    base, stage = tensor([[0.0], [1.0]]), tensor([[5.0], [6.0]])
    chat = tensor([[2.0], [1.0], [7.0]])
    assert chat_vector(stage, base, chat, 0.5).tolist() == [[6.0], [6.0], [7.0]]


def test_special_rows_are_for_vocabularies_that_differ() -> None:
    base, chat, stage = tensor([[0.0], [1.0]]), tensor([[1.0], [3.0]]), tensor([[5.0], [6.0]])
    assert chat_vector(stage, base, chat, 0.5, special_rows=(1,)).tolist() == [[5.5], [7.0]]


def test_whole_models_of_every_family_merge_by_name(make_tiny: Any, family: str) -> None:
    base, stage = make_tiny(family, 0), make_tiny(family, 1)
    made = copy.deepcopy(stage)
    buffers = {name: buffer.clone() for name, buffer in made.named_buffers()}
    parts = [parameters(base), parameters(stage)]
    for weight, end in ((0.0, base), (1.0, stage)):
        blend(made, parts, Recipe("wise-ft", weight))
        assert weights_hash(made) == weights_hash(end)
    blend(made, parts, Recipe("wise-ft", 0.5))
    halfway = parameters(made)
    assert halfway.keys() == parts[0].keys()
    for name, merged in halfway.items():
        torch.testing.assert_close(merged, (parts[0][name] + parts[1][name]) / 2)
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in made.named_buffers())
    tokens = torch.arange(12)[None]
    assert math.isfinite(made(input_ids=tokens, labels=tokens).loss.item())
    tied = made.config.tie_word_embeddings
    assert (made.get_input_embeddings().weight is made.get_output_embeddings().weight) == tied
    assert len(vocabulary_parameters(made)) == (1 if tied else 2)


def test_models_that_cannot_be_merged_are_refused(make_tiny: Any) -> None:
    llama = make_tiny("llama")
    check_mergeable(llama, make_tiny("llama", 1), ("a", "b"), free_rows=False)
    with pytest.raises(UserError, match=r"'b' cannot be merged with 'a': it has another architecture .*qwen2 instead"):
        check_mergeable(llama, make_tiny("qwen2"), ("a", "b"), free_rows=True)
    grown = make_tiny("llama")
    grown.resize_token_embeddings(404, mean_resizing=False)
    check_mergeable(llama, grown, ("a", "b"), free_rows=True)
    with pytest.raises(UserError, match=r"its vocabulary has 404 rows instead of 400\. Only chat-vector"):
        check_mergeable(llama, grown, ("a", "b"), free_rows=False)


def test_the_same_shapes_with_another_meaning_are_refused(make_tiny: Any) -> None:
    llama, other = make_tiny("llama-tied"), make_tiny("llama-tied")
    other.config.hidden_act = "relu"
    with pytest.raises(UserError, match="hidden_act relu instead of silu"):
        check_mergeable(llama, other, ("a", "b"), free_rows=False)
    wide = make_tiny("llama-tied")
    wide.model.layers[0].mlp.up_proj.weight = torch.nn.Parameter(torch.zeros(80, 32))
    with pytest.raises(UserError, match=r"parameters differ in name or shape: model\.layers\.0\.mlp\.up_proj\.weight"):
        check_mergeable(llama, wide, ("a", "b"), free_rows=True)
