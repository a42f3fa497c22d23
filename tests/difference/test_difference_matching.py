"""What corresponds in two sequences: edits at any place, and never more than linear work."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewarm.difference import matching
from rewarm.difference.matching import Gap, gaps

ITEMS = st.lists(st.sampled_from("abcdefgh"), max_size=30)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("abc", "abc", []),
        ("", "ab", [Gap(0, 0, 0, 2)]),
        ("ab", "", [Gap(0, 2, 0, 0)]),
        ("abc", "xabc", [Gap(0, 0, 0, 1)]),
        ("abc", "abcx", [Gap(3, 3, 3, 4)]),
        ("abc", "xbc", [Gap(0, 1, 0, 1)]),
        ("abc", "abx", [Gap(2, 3, 2, 3)]),
        ("abcde", "abxyde", [Gap(2, 3, 2, 4)]),
        ("abcde", "xyz", [Gap(0, 5, 0, 3)]),
        ("abrcr", "xabrcrr", [Gap(0, 0, 0, 1), Gap(4, 4, 5, 6)]),
    ],
)
def test_gaps_at_every_place(old: str, new: str, expected: list[Gap]) -> None:
    assert gaps(old, new) == expected


def test_a_line_that_repeats_is_no_anchor() -> None:
    """The published generator jumps back to the first "r" and calls old lines new."""
    assert gaps("arbrcr", "arXrcr") == [Gap(2, 3, 2, 3)]


@given(ITEMS, ITEMS)
def test_what_is_outside_the_gaps_is_equal_and_the_gaps_are_in_order(old: list[str], new: list[str]) -> None:
    found = gaps(old, new)
    place_old = place_new = 0
    for gap in found:
        assert gap.old_start - place_old == gap.new_start - place_new >= 0
        assert old[place_old : gap.old_start] == new[place_new : gap.new_start]
        assert gap.old_end - gap.old_start + gap.new_end - gap.new_start > 0
        place_old, place_new = gap.old_end, gap.new_end
    assert old[place_old:] == new[place_new:]


def test_items_that_repeat_are_not_compared_with_each_other_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 x 10,000 equal items without an anchor: SequenceMatcher is never asked."""
    monkeypatch.setattr(matching, "SequenceMatcher", None)
    old, new = ["a", "b"] * 5_000, ["b", "a"] * 5_000
    assert gaps(old, new) == [Gap(0, 10_000, 0, 10_000)]


def test_anchors_split_what_is_between_them() -> None:
    assert gaps("1aa2bb3", "1ac2db3") == [Gap(2, 3, 2, 3), Gap(4, 5, 4, 5)]
