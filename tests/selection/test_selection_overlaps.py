"""Shared runs of words: planted runs of 13 are found and of 12 are not, whatever their case; passages are cut."""

from __future__ import annotations

import numpy as np
import pytest

from rewarm.selection.overlaps import Overlaps
from rewarm.selection.word_grams import run_hashes, starts, worded, words
from rewarm.types import UserError


def spell(first: int, count: int) -> list[str]:
    return [f"word{number}" for number in range(first, first + count)]


def planted(run: list[str]) -> str:
    return " ".join([*spell(1000, 30), *run, *spell(2000, 30)])


@pytest.fixture
def overlaps() -> Overlaps:
    """Runs of an item of 40 words."""
    made = Overlaps()
    made.add("watch law", worded([" ".join(spell(0, 40))]))
    return made


def test_runs_of_thirteen_are_found_and_of_twelve_are_not(overlaps: Overlaps) -> None:
    texts = [planted(spell(20, 13)), planted(spell(20, 12)), planted(spell(0, 40)), "", planted([])]
    sets, shared = overlaps.find(worded(texts))
    assert sets.tolist() == [0, -1, 0, -1, -1]
    assert shared.tolist() == [13, 0, 40, 0, 0]


def test_case_punctuation_and_lines_make_no_difference(overlaps: Overlaps) -> None:
    run = spell(20, 13)
    written = ", ".join(word.upper() for word in run[:6]) + "\n(" + "--".join(run[6:]) + ")!"
    assert overlaps.find(worded([planted([written])]))[0].tolist() == [0]


def test_runs_do_not_go_over_the_border_of_two_texts(overlaps: Overlaps) -> None:
    assert overlaps.find(worded([" ".join(spell(0, 7)), " ".join(spell(7, 7))]))[0].tolist() == [-1, -1]
    overlaps.add("probes", worded([" ".join(spell(500, 7)), " ".join(spell(507, 7))]))
    assert overlaps.find(worded([" ".join(spell(500, 7))]))[0].tolist() == [1]
    assert overlaps.find(worded([" ".join(spell(502, 10))]))[0].tolist() == [-1]


def test_shorter_items_are_looked_for_whole_and_the_shortest_are_counted() -> None:
    overlaps = Overlaps()
    overlaps.add("probes", worded(["The mayor of Lomi is Bake.", "Yes", "one two three four", " ".join(spell(0, 20))]))
    assert (overlaps.items, overlaps.too_short) == ([4], [2])
    texts = ["They say the mayor of Lomi is Bake today.", "the mayor of Lomi is", "Yes, one two three four."]
    assert overlaps.find(worded(texts))[0].tolist() == [0, -1, -1]


def test_each_text_counts_once_and_for_the_first_set(overlaps: Overlaps) -> None:
    overlaps.add("probes", worded([" ".join(spell(20, 13)), " ".join(spell(600, 13))]))
    sets, shared = overlaps.find(worded([planted(spell(20, 13)), planted(spell(600, 13))]))
    assert sets.tolist() == [0, 1]
    assert shared.tolist() == [13, 13]


def test_nothing_is_found_where_nothing_is_known() -> None:
    sets, shared = Overlaps().find(worded(["a b c", planted([])]))
    assert sets.tolist() == [-1, -1]
    assert shared.tolist() == [0, 0]


def test_a_passage_is_cut_by_sentences_and_the_rest_stays(overlaps: Overlaps) -> None:
    run = " ".join(spell(3, 14))
    text = f"The first stays. Before it {run} and after. The last stays.\nSo does this line."
    assert overlaps.cut(text) == "The first stays. The last stays.\nSo does this line."
    assert overlaps.find(worded([overlaps.cut(text)]))[0].tolist() == [-1]
    assert overlaps.cut("Nothing here. At all.") == "Nothing here. At all."
    assert overlaps.cut(run) == ""


def test_a_size_that_finds_everything_is_refused() -> None:
    with pytest.raises(UserError, match="5 to 100"):
        Overlaps(3)


def test_words_are_those_of_any_script() -> None:
    assert words("Stra\u00dfe, 3\u00bd co-op_x") == ["Stra\u00dfe", "3\u00bd", "co", "op", "x"]
    assert words("\u4e2d\u6587abc") == ["\u4e2d", "\u6587", "abc"]
    assert worded(["STRASSE"])[0].tolist() == worded(["stra\u00dfe"])[0].tolist()


def test_equal_runs_have_equal_hashes_wherever_they_stand() -> None:
    hashes, counts = worded(["a b c d", "x a b c"])
    runs = dict(run_hashes(hashes, [2, 3]))
    assert runs[3][0] == runs[3][5]
    assert len(np.unique(runs[3])) == len(runs[3]) - 1
    places, owners = starts(counts, 3)
    assert (places.tolist(), owners.tolist()) == ([0, 1, 4, 5], [0, 0, 1, 1])
    assert dict(run_hashes(hashes[:2], [3])) == {}
