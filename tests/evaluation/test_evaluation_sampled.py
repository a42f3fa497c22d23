"""What is drawn follows from the seed and the place of a prompt, and ends where it should."""

from __future__ import annotations

from typing import Any

import torch

from rewarm.evaluation.decoding import decode
from rewarm.evaluation.sampled import Drawing, sample

PROMPTS = [[5, 9, 17], [8], [30, 31]]


def test_the_same_seed_draws_the_same_and_another_does_not(make_tiny: Any) -> None:
    model = make_tiny("llama")
    before = torch.random.get_rng_state()
    first, again, other = (sample(model, PROMPTS, 6, (1,), Drawing(4, 1.0, 0.95, seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first == again
    assert first != other
    assert [len(several) for several in first] == [4, 4, 4]
    assert len({tuple(one.ids) for several in first for one in several}) > 6
    # Another last prompt changes nothing before it.
    assert sample(model, [*PROMPTS[:2], [44]], 6, (1,), Drawing(4, 1.0, 0.95, 0))[:2] == first[:2]


def test_the_smallest_part_of_the_probability_is_the_likeliest_token(make_tiny: Any) -> None:
    model = make_tiny("llama")
    found = sample(model, PROMPTS, 6, (1,), Drawing(2, 1.0, 1e-6, 0))
    assert found == [[one, one] for one in decode(model, PROMPTS, 6, (1,))]


def test_an_end_is_left_out_and_said(make_tiny: Any) -> None:
    ends = tuple(range(3, 400))
    found = sample(make_tiny("llama"), [[5]], 6, ends, Drawing(3, 1.0, 0.9, 0))
    assert all(one.stopped == (len(one.ids) < 6) for one in found[0])
    assert not any(token in ends for one in found[0] for token in one.ids)
