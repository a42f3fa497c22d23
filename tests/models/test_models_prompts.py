"""A pool of prompts: which keys are closest, whose they are, and a state that grows."""

from __future__ import annotations

import pytest
import torch

from rewarm.models.prompts import PromptPool
from rewarm.types import UserError


def pool() -> PromptPool:
    """Four keys in a plane at 0, 90, 180 and 270 degrees, of lengths 1 to 4; prompt i is made of two vectors of i."""
    made = PromptPool(2, 2)
    keys_KD = torch.tensor([[1.0, 0], [0, 2], [-3, 0], [0, -4]])
    prompts_KLD = torch.arange(4.0)[:, None, None].expand(4, 2, 2)
    made.add(keys_KD, prompts_KLD, [(0, 0), (0, 0), (1, 1), (1, 1)])
    return made


def test_the_closest_keys_are_chosen_by_their_angle_and_come_in_the_order_of_the_pool() -> None:
    query_BD = torch.tensor([[5.0, 1], [-0.1, -0.3], [-2, 1]])
    assert pool().closest(query_BD, 1).tolist() == [[0], [3], [2]]
    assert pool().closest(query_BD, 2).tolist() == [[0, 1], [2, 3], [1, 2]]
    assert pool().closest(query_BD, 9).tolist() == [[0, 1, 2, 3]] * 3


def test_likeness_is_the_cosine() -> None:
    found = pool().likeness(torch.tensor([[3.0, 4]]), torch.tensor([[0, 1, 2]]))
    assert found.tolist() == [pytest.approx([0.6, 0.8, -0.6])]


def test_prompts_stand_in_a_row_in_the_order_chosen() -> None:
    assert pool().vectors(torch.tensor([[2, 0], [1, 3]]))[:, :, 0].tolist() == [[2, 2, 0, 0], [1, 1, 3, 3]]


def test_an_empty_pool_gives_no_vector() -> None:
    empty = PromptPool(2, 5)
    assert empty.vectors(empty.closest(torch.ones(3, 2), 4)).shape == (3, 0, 2)


def test_keys_are_shared_from_the_end_of_what_is_a_tasks_own() -> None:
    made = pool()
    made.share(0, 1, 1)
    assert made.owners_K2.tolist() == [[0, 0], [0, 1], [1, 1], [1, 1]]
    assert made.assigned(0).tolist() == [0, 1]
    assert made.assigned(1).tolist() == [1, 2, 3]
    assert made.assigned(2).tolist() == []
    with pytest.raises(UserError, match="has 1 prompts of its own left and cannot share 2 with task 2"):
        made.share(0, 2, 2)


def test_what_is_added_leaves_the_rest_as_it_was_and_trains() -> None:
    made = pool()
    before = made.prompts_KLD.detach().clone()
    made.add(torch.ones(1, 2), torch.ones(1, 2, 2), [(2, 2)])
    assert torch.equal(made.prompts_KLD[:4], before)
    assert len(made) == 5
    assert [name for name, one in made.named_parameters() if one.requires_grad] == ["keys_KD", "prompts_KLD"]


def test_the_state_of_a_grown_pool_loads_into_one_of_any_size() -> None:
    grown = pool()
    for other in (PromptPool(2, 2), PromptPool(2, 2, keyed=False), pool()):
        other.add(torch.ones(1, 2), torch.ones(1, 2, 2), [(7, 7)])
        other.load_state_dict(grown.state_dict())
        assert {name: one.tolist() for name, one in other.state_dict().items()} == {
            name: one.tolist() for name, one in grown.state_dict().items()
        }
    assert [one.requires_grad for one in PromptPool(2, 2, keyed=False).parameters()] == [False, True]
    other.prompts_KLD.data.zero_()
    assert grown.prompts_KLD.any()
