"""From scores to a choice: exact budgets, ties, copies, soft draws with the promised weights. By hand."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rewarm.hashing import fraction
from rewarm.selection import Judged, quantiles
from rewarm.selection.budget import COPY, OVER_BUDGET, TOO_LONG, Budget, Choice, choose, gumbel
from rewarm.types import UserError


def chosen(
    scores: list[float], tokens: list[int], budget: Budget, seed: int = 0, hashes: list[int] | None = None
) -> Choice:
    hashes_D = np.array(hashes or range(1, len(scores) + 1), np.uint64)
    judged = Judged.of(np.array(scores, np.float64))
    return choose(judged, hashes_D, np.array(tokens, np.int64), fraction(hashes_D, seed), budget)


def test_ranks_go_from_0_to_1_and_ties_share_their_mean() -> None:
    aside_D = np.array([0, 0, 0, 1, 0, 0], np.uint8)
    found = quantiles(np.array([5.0, 1.0, 3.0, 99.0, 3.0, 9.0]), aside_D)
    assert found.tolist() == [0.75, 0.0, 0.375, 0.0, 0.375, 1.0]
    assert quantiles(np.array([2.0]), np.zeros(1, np.uint8)).tolist() == [1.0]


def test_the_highest_are_taken_up_to_the_first_that_does_not_fit() -> None:
    """By score: 40, 30, then 50, which does not fit into 100; the 10 behind it would, and is not taken instead."""
    found = chosen([9, 1, 7, 8], [40, 10, 50, 30], Budget(tokens=100))
    assert found.documents.tolist() == [0, 3]
    assert (found.tokens, found.budget, found.of_tokens) == (70, 100, 130)
    assert found.rank_D.tolist() == [0, 3, 2, 1]
    assert found.counts() == {
        "chosen": 2, "the budget ends before it": 2, "a copy of a text that stands before it": 0,
        "longer than the whole budget": 0,
    }  # fmt: skip


def test_a_share_is_one_of_the_tokens_and_a_whole_one_takes_all() -> None:
    assert chosen([9, 1, 7, 8], [40, 10, 50, 30], Budget(share=0.54)).documents.tolist() == [0, 3]
    assert chosen([9, float("nan"), 7, 8], [40, 10, 50, 30], Budget(share=1)).documents.tolist() == [0, 1, 2, 3]


def test_a_text_longer_than_the_budget_does_not_end_it() -> None:
    found = chosen([9, 1, 7], [400, 10, 50], Budget(tokens=60))
    assert found.documents.tolist() == [1, 2]
    assert found.why_D.tolist() == [TOO_LONG, 0, 0]


def test_what_is_set_aside_comes_last() -> None:
    found = chosen([float("nan"), 1, 7], [10, 10, 10], Budget(tokens=20))
    assert found.documents.tolist() == [1, 2]
    assert found.rank_D.tolist() == [2, 1, 0]


def test_a_text_is_chosen_once_and_its_copies_count_for_nothing() -> None:
    found = chosen([5, 9, 5, 1], [10, 10, 10, 10], Budget(tokens=20), hashes=[7, 8, 7, 9])
    assert found.documents.tolist() == [0, 1]
    assert found.why_D.tolist() == [0, 0, COPY, OVER_BUDGET]
    assert (found.of_tokens, found.quantile_D.tolist()) == (30, [0.5, 1.0, 0.0, 0.0])
    with pytest.raises(UserError, match="40 tokens is more than the 30"):
        chosen([5, 9, 5, 1], [10, 10, 10, 10], Budget(tokens=40), hashes=[7, 8, 7, 9])


def test_a_budget_that_holds_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="5 tokens holds no document: of 2 documents the shortest has 10"):
        chosen([5, 9], [10, 20], Budget(tokens=5))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-5, 5), st.integers(1, 60)), min_size=2, max_size=40),
    st.integers(0, 5),
    st.booleans(),
    st.floats(0.1, 1.0),
)
def test_laws(documents: list[tuple[float, int]], seed: int, soft: bool, share: float) -> None:
    """A subset in order, at most the budget and within a document of it, nothing twice; drops add up; seeded."""
    scores, tokens = [score for score, _ in documents], [size for _, size in documents]
    budget = Budget(tokens=max(max(tokens), round(share * sum(tokens))), soft=soft)
    found = chosen(scores, tokens, budget, seed)
    taken = found.documents.tolist()
    assert taken == sorted(set(taken))
    assert found.tokens == sum(tokens[number] for number in taken) <= found.budget
    assert len(taken) == len(tokens) or found.budget - found.tokens < max(tokens)
    assert sum(found.counts().values()) == len(tokens)
    assert sorted(found.rank_D.tolist()) == list(range(len(tokens)))
    assert chosen(scores, tokens, budget, seed).documents.tolist() == taken


@pytest.mark.parametrize("soft", [False, True])
def test_the_order_of_shards_changes_nothing(soft: bool) -> None:
    source = np.random.default_rng(0)
    hashes = source.integers(0, 1 << 63, 500, dtype=np.uint64)
    scores, tokens = source.integers(0, 20, 500).astype(np.float64), source.integers(5, 80, 500)
    order = source.permutation(500)

    def kept(places: NDArray[np.int64]) -> set[int]:
        own = hashes[places]
        budget = Budget(share=0.2, soft=soft, gamma=2)
        found = choose(Judged.of(scores[places]), own, tokens[places], fraction(own, 3), budget)
        return set(own[found.documents].tolist())

    assert kept(np.arange(500)) == kept(order)
    assert len(kept(order)) > 50


def test_a_large_gamma_is_hard_ties_and_all() -> None:
    source = np.random.default_rng(1)
    scores = source.integers(0, 30, 300).astype(float).tolist()
    tokens = source.integers(1, 9, 300).tolist()
    hard = chosen(scores, tokens, Budget(share=0.3), 5)
    assert chosen(scores, tokens, Budget(share=0.3, soft=True, gamma=1e7), 5).rank_D.tolist() == hard.rank_D.tolist()
    soft = chosen(scores, tokens, Budget(share=0.3, soft=True), 5)
    assert soft.documents.tolist() != hard.documents.tolist()


def test_seeds_draw_differently() -> None:
    found = {
        tuple(chosen(list(range(50)), [1] * 50, Budget(tokens=10, soft=True), seed).documents) for seed in range(8)
    }
    assert len(found) == 8


@pytest.mark.parametrize("gamma", [1.0, 3.0])
def test_soft_draws_with_the_weights_it_promises(gamma: float) -> None:
    """Of 5 documents the first drawn is each with probability w / sum w, and the second with w / (sum w - w of it)."""
    weights = (np.array([0, 0.25, 0.5, 0.75, 1]) + 1e-3) ** gamma
    draws = 4000
    first, second = np.zeros(5), np.zeros((5, 5))
    for seed in range(draws):
        found = chosen([1, 2, 3, 4, 5], [1] * 5, Budget(tokens=2, soft=True, gamma=gamma), seed)
        order = np.argsort(found.rank_D)
        first[order[0]] += 1
        second[order[0], order[1]] += 1
    expected = weights / weights.sum()
    assert np.abs(first / draws - expected).max() < 4 * np.sqrt(0.25 / draws)
    after = second[4] / second[4].sum()
    assert np.abs(after - np.append(weights[:4], 0) / weights[:4].sum()).max() < 4 * np.sqrt(0.25 / second[4].sum())


def test_the_noise_is_gumbel() -> None:
    noise = gumbel(fraction(np.arange(200_000, dtype=np.uint64), 1))
    assert noise.mean() == pytest.approx(0.5772, abs=0.01)  # Euler's constant
    assert noise.var() == pytest.approx(np.pi**2 / 6, abs=0.03)
    assert np.isfinite(gumbel(np.array([0.0, 1 - 2**-53]))).all()


def test_a_million_documents_take_tens_of_bytes_each() -> None:
    count = 300_000
    hashes = fraction(np.arange(count, dtype=np.uint64), 7).view(np.uint64)
    scores, tokens = fraction(hashes, 1), np.full(count, 10, np.int64)
    draw = fraction(hashes, 2)
    tracemalloc.start()
    found = choose(Judged.of(scores), hashes, tokens, draw, Budget(share=0.1, soft=True))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found.documents) == count // 10
    assert peak / count < 120
