"""Near duplicates: pairs of a similarity counted by hand, references, order, and what adds up."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from rewarm.selection.near_duplicates import near_duplicates
from rewarm.selection.sketches import PERMUTATIONS, RECALL, Sketches, SketchWriter, band_width
from rewarm.selection.word_grams import worded

Find = Callable[..., dict[str, tuple[str, float]]]


@pytest.fixture
def find(tmp_path: Path) -> Find:
    """A function: texts by id, references by id, threshold -> what each document that goes repeats, how similar."""
    count = 0

    def run(
        new: dict[str, str], references: dict[str, str] | None = None, threshold: float = 0.8, block: int = 7
    ) -> dict[str, tuple[str, float]]:
        nonlocal count
        count += 1
        folder = tmp_path / str(count)
        folder.mkdir()
        with SketchWriter(folder, threshold, 5) as writer:
            for number, documents in enumerate((new, references or {})):
                items = list(documents.items())
                for start in range(0, len(items), block):
                    part = items[start : start + block]
                    texts = [text for _, text in part]
                    writer.add(texts, worded(texts), [name for name, _ in part], number)
        sketches = Sketches(folder)
        found = near_duplicates(sketches, threshold)
        assert (found.of_D[len(new) :] == -1).all(), "a reference is never left out"
        return {
            sketches.id(document): (sketches.id(other), round(float(found.similarity_D[document]), 4))
            for document, other in enumerate(found.of_D.tolist())
            if other >= 0
        }

    return run


def text(seed: int, count: int = 104, changes: Sequence[int] = ()) -> str:
    """`count` different words, 100 runs of five for 104; each change far from the others takes five runs away."""
    words = [f"w{seed}x{place}" for place in range(count)]
    for place in changes:
        words[place] = f"other{seed}x{place}"
    return " ".join(words)


def test_pairs_above_the_threshold_go_and_pairs_below_stay(find: Find) -> None:
    two, three = [20, 60], [20, 60, 90]
    found = find({"a": text(1), "b": text(1, changes=two), "c": text(2), "d": text(2, changes=three)})
    assert len(found) == 1
    ((gone, (kept, similarity)),) = found.items()
    assert {gone, kept} == {"a", "b"}
    assert similarity == round(90 / 110, 4)
    assert find({"c": text(2), "d": text(2, changes=three)}, threshold=85 / 115) != {}


def test_case_and_punctuation_make_no_difference(find: Find) -> None:
    found = find({"a": "Caf\u00e9 au lait: ONE, two; three (four).", "b": "cafe\u0301 au lait one two three four"})
    assert [similarity for _, similarity in found.values()] == [1.0]


def test_short_texts_are_compared_whole_and_texts_without_a_word_repeat_nothing(find: Find) -> None:
    found = find({"a": "two words", "b": "Two words!", "c": "two other", "d": "", "e": "...", "f": "\u4e2d\u6587"})
    assert len(found) == 1
    assert set(found) <= {"a", "b"}


def test_what_is_near_a_reference_goes_and_what_is_only_near_that_stays(find: Find) -> None:
    """c is near b, which is near the reference: b goes, and takes nothing with it."""
    reference, b, c = text(1), text(1, changes=[20, 60]), text(1, changes=[20, 60, 80, 96])
    found = find({"b": b, "c": c, "copy of b": b}, {"r": reference, "s": text(5)})
    assert found == {"b": ("r", round(90 / 110, 4)), "copy of b": ("r", round(90 / 110, 4))}
    assert list(find({"b": b, "c": c})) in (["b"], ["c"])


def test_the_most_similar_reference_is_named(find: Find) -> None:
    nearer, further = text(1, changes=[20]), text(1, changes=[60, 90])
    assert find({"a": text(1)}, {"further": further, "nearer": nearer}) == {"a": ("nearer", round(95 / 105, 4))}


def test_references_are_kept_however_alike(find: Find) -> None:
    assert find({"a": text(1)}, {"r": text(3), "s": text(3)}) == {}


def test_order_and_blocks_decide_nothing(find: Find) -> None:
    new = {f"{seed}-{number}": text(seed, changes=range(9, 9 + number)) for seed in range(20) for number in range(4)}
    new |= {f"copy {seed}": text(seed) for seed in range(5)}
    references = {f"r{seed}": text(seed, changes=[50]) for seed in range(3)}
    wanted = find(new, references)
    assert len(wanted) == 3 * 4 + 2 * 4 + 15 * 3
    for seed in (1, 2):
        items = list(new.items())
        random.Random(seed).shuffle(items)
        assert find(dict(items), references, block=seed * 11) == wanted


def test_a_large_bucket_of_one_template_keeps_one(find: Find) -> None:
    found = find({str(number): text(1, 200, changes=[number]) for number in range(190)}, block=50)
    assert len(found) == 189
    assert len({kept for kept, _ in found.values()}) == 1


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9, 0.95])
def test_bands_let_few_pairs_at_the_threshold_escape(threshold: float) -> None:
    width = band_width(threshold)
    assert 1 - (1 - threshold**width) ** (PERMUTATIONS // width) >= RECALL
    assert 1 - (1 - threshold ** (width + 1)) ** (PERMUTATIONS // (width + 1)) < RECALL


def test_nearly_all_pairs_above_the_threshold_are_found(find: Find) -> None:
    """Of 200 pairs at similarity 90 / 110, the candidates miss a few in a hundred at most."""
    new = {f"{seed}{letter}": text(seed, changes=changes)
           for seed in range(200) for letter, changes in (("a", ()), ("b", (20, 60)))}  # fmt: skip
    assert 192 <= len(find(new, block=100)) <= 200
