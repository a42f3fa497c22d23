"""Hashes and draws are frozen: a change here would reorder the rows of every old run and move its held-out split."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rewarm.hashing import chunks, fraction, scrambled, seed_of, shuffled, shuffled_lean, text_hash, text_hashes
from rewarm.tokens.order import _HOLDOUT_SEED

GOLDEN: dict[str, object] = {
    "empty": 13020603013274838756,
    "rewarm": 448284283192968716,
    "unicode": 15039700228499126392,
    "surrogate": 7497787021708494914,
    "seed": 3729226901534583287,
    "holdout": 15266583301116714976,
    "scrambled": [17909611376780542444, 8196980753821780235, 7862637804313477842],
    "shuffled": [8, 4, 2, 0, 1, 7, 9, 5, 3, 6],
    "fraction": [0.7523070158382239, 0.44631372071427877],
}


def words64(*values: int) -> np.ndarray:
    return np.array(values, np.uint64)


def test_golden_values() -> None:
    assert text_hash("") == GOLDEN["empty"]
    assert text_hash("rewarm") == GOLDEN["rewarm"]
    assert text_hash("größer ✓") == GOLDEN["unicode"]
    assert text_hash("\ud800") == GOLDEN["surrogate"]
    assert seed_of(7, "draw") == GOLDEN["seed"]
    assert GOLDEN["holdout"] == _HOLDOUT_SEED
    assert scrambled(words64(0, 1, 2**64 - 1), 3).tolist() == GOLDEN["scrambled"]
    assert shuffled(np.arange(10, dtype=np.uint64), 42).tolist() == GOLDEN["shuffled"]
    assert fraction(words64(5, 6), 1).tolist() == GOLDEN["fraction"]


def test_splitmix64_as_published() -> None:
    """The first outputs of SplitMix64 seeded with 0 (Steele, Lea & Flood 2014): state 0, step by the golden gamma."""
    gamma = 0x9E3779B97F4A7C15
    states = words64(0, gamma, (2 * gamma) % 2**64)
    assert scrambled(states, 0).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_parts_of_a_seed_do_not_run_together() -> None:
    assert len({seed_of(1, "23"), seed_of(12, "3"), seed_of("123"), seed_of("1", "2", "3")}) == 4
    assert seed_of(1, "a") == seed_of("1", "a")


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_scrambling_is_one_to_one(seed: int, first: int) -> None:
    values = (np.arange(200, dtype=np.uint64) * np.uint64(0x5851F42D4C957F2D)) + np.uint64(first)
    assert len(set(scrambled(values, seed).tolist())) == len(set(values.tolist())) == 200


def test_a_shuffle_depends_on_keys_and_seed_only() -> None:
    keys = np.array([text_hash(str(number)) for number in range(300)], np.uint64)
    order = shuffled(keys, 1)
    assert sorted(order.tolist()) == list(range(300))
    back = shuffled(keys[::-1].copy(), 1)
    assert keys[order].tolist() == keys[::-1][back].tolist()
    assert order.tolist() != shuffled(keys, 2).tolist()
    assert shuffled(words64(9, 9, 9), 5).tolist() == [0, 1, 2]


def test_fractions_are_even() -> None:
    places = fraction(np.arange(100_000, dtype=np.uint64), 11)
    assert places.min() >= 0.0
    assert places.max() < 1.0
    counts = np.histogram(places, bins=20, range=(0, 1))[0]
    assert np.all(np.abs(counts - 5000) < 5 * np.sqrt(5000))


def test_hashes_of_many_texts_are_the_hashes_of_each() -> None:
    texts = ["", "ba", "größer ✓", "\ud800"]
    hashes, sizes = text_hashes(texts)
    assert hashes.tolist() == [text_hash(text) for text in texts]
    assert sizes.tolist() == [0, 2, 12, 3]
    assert [column.tolist() for column in text_hashes([])] == [[], []]


def test_chunks_cover_every_place_once() -> None:
    assert list(chunks(7, 3)) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert list(chunks(0)) == []


@given(st.lists(st.sampled_from([0, 1, 2, 2**40, 2**40 + 1, 2**64 - 1]), min_size=1), st.integers(0, 2**64 - 1))
def test_the_lean_shuffle_is_the_shuffle(keys: list[int], seed: int) -> None:
    """Also where keys are the same; places and numbers need not be."""
    words = np.array(keys, np.uint64)
    for dtype in (np.int32, np.int64):
        numbers = np.arange(len(keys), dtype=dtype) * 3 + 1
        found = shuffled_lean(lambda places: words[places], numbers, seed)
        assert found.dtype == dtype
        assert found.tolist() == numbers[shuffled(words, seed)].tolist()


def test_keys_whose_upper_bits_agree_are_ordered_by_all_their_bits() -> None:
    """2**18 keys leave 46 bits of each: 100 pairs that differ below them are found among the rest."""
    random = np.random.default_rng(0)
    mixed = random.integers(0, 2**64, 1 << 18, dtype=np.uint64)
    twins = random.permutation(1 << 18)[:200]
    mixed[twins[:100]] = mixed[twins[100:]] ^ random.integers(1, 2**17, 100, dtype=np.uint64)
    keys = unscrambled(mixed, 5)
    assert np.array_equal(scrambled(keys, 5), mixed)
    numbers = np.arange(1 << 18, dtype=np.int32)
    assert np.array_equal(shuffled_lean(lambda places: keys[places], numbers, 5), np.argsort(mixed, kind="stable"))


def unscrambled(words: np.ndarray, seed: int) -> np.ndarray:
    """The inverse of `scrambled`: each step of SplitMix64 undone in turn."""
    mixed = words ^ (words >> np.uint64(31)) ^ (words >> np.uint64(62))
    mixed = mixed * np.uint64(pow(0x94D049BB133111EB, -1, 2**64))
    mixed = mixed ^ (mixed >> np.uint64(27)) ^ (mixed >> np.uint64(54))
    mixed = mixed * np.uint64(pow(0xBF58476D1CE4E5B9, -1, 2**64))
    mixed = mixed ^ (mixed >> np.uint64(30)) ^ (mixed >> np.uint64(60))
    return np.asarray(mixed - np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64))
