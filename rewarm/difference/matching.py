"""Which items of two sequences correspond, in linear time.

`difflib.SequenceMatcher` alone takes time with the square of the sequences where items repeat (tables, lists of
results, log-like articles), and longest common subsequences by dynamic programming always do. Here the items that
occur once on both sides and in the same order are anchors (the patience method of Bram Cohen), found in O(n log n);
what lies between two anchors is treated alike, to a fixed depth; what then has no anchor is left to
`SequenceMatcher` only where it is small. The rest counts as replaced, which costs a label and no text: what is new is
decided by whether it occurs in the old article, not by this alignment.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

_DEPTH = 8
_CELLS = 4096
"""Products of lengths up to which `SequenceMatcher` is asked: its worst case is then some milliseconds."""


class Gap(NamedTuple):
    """Items `old_start:old_end` and `new_start:new_end` that stand in the same place and do not correspond."""

    old_start: int
    old_end: int
    new_start: int
    new_end: int


def gaps(old: Sequence[str], new: Sequence[str]) -> list[Gap]:
    """What is between corresponding items, at both ends too, in order; none where the sequences are equal.

    Everything outside the gaps corresponds one to one, in order. A gap may be empty on one side, never on both.
    """
    return [gap for gap in _gaps(old, new, Gap(0, len(old), 0, len(new)), _DEPTH) if gap[0] < gap[1] or gap[2] < gap[3]]


def _gaps(old: Sequence[str], new: Sequence[str], inside: Gap, depth: int) -> Iterator[Gap]:
    a, a_end, b, b_end = inside
    while a < a_end and b < b_end and old[a] == new[b]:
        a, b = a + 1, b + 1
    while a < a_end and b < b_end and old[a_end - 1] == new[b_end - 1]:
        a_end, b_end = a_end - 1, b_end - 1
    here = Gap(a, a_end, b, b_end)
    if a == a_end or b == b_end:
        yield here
        return
    anchors = _anchors(old, new, here) if depth else []
    if anchors:
        for place_old, place_new in anchors:
            yield from _gaps(old, new, Gap(a, place_old, b, place_new), depth - 1)
            a, b = place_old + 1, place_new + 1
        yield from _gaps(old, new, Gap(a, a_end, b, b_end), depth - 1)
    elif (a_end - a) * (b_end - b) <= _CELLS:
        matcher = SequenceMatcher(None, old[a:a_end], new[b:b_end], autojunk=False)
        for tag, first, last, new_first, new_last in matcher.get_opcodes():
            if tag != "equal":
                yield Gap(a + first, a + last, b + new_first, b + new_last)
    else:
        yield here


def _anchors(old: Sequence[str], new: Sequence[str], inside: Gap) -> list[tuple[int, int]]:
    """Places of the items that occur once on both sides, as many as keep their order."""
    a, a_end, b, b_end = inside
    counts_old, counts_new = Counter(old[a:a_end]), Counter(new[b:b_end])
    places = {old[place]: place for place in range(a, a_end) if counts_old[old[place]] == 1}
    pairs = [
        (places[new[place]], place) for place in range(b, b_end) if counts_new[new[place]] == 1 and new[place] in places
    ]
    return _ascending(pairs)


def _ascending(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """A longest part of `pairs` in which the first members ascend; the second ones do already."""
    ends: list[int] = []
    end_pairs: list[int] = []
    before: list[int] = []
    for number, (place, _) in enumerate(pairs):
        length = bisect_left(ends, place)
        before.append(end_pairs[length - 1] if length else -1)
        if length == len(ends):
            ends.append(place)
            end_pairs.append(number)
        else:
            ends[length], end_pairs[length] = place, number
    found = []
    number = end_pairs[-1] if end_pairs else -1
    while number >= 0:
        found.append(pairs[number])
        number = before[number]
    return found[::-1]
