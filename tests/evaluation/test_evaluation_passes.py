"""Rows of nearly equal length go together; what padding costs is bounded."""

from __future__ import annotations

import pytest

from rewarm.evaluation.passes import length_batches


@pytest.mark.parametrize(
    ("lengths", "tokens", "expected"),
    [
        ([], 100, []),
        ([500], 100, [(0, 1)]),  # a row is never cut
        ([50, 50, 50, 50], 100, [(0, 2), (2, 4)]),
        ([500, 480, 460, 100], 2048, [(0, 3), (3, 4)]),  # 60 of 1500 are padding; 100 beside them would add 400
        ([1000, 920], 2048, [(0, 2)]),  # 80 of 2000
        ([1000, 790], 2048, [(0, 1), (1, 2)]),  # 210 of 2000
    ],
)
def test_runs_end_where_the_room_or_the_likeness_does(
    lengths: list[int], tokens: int, expected: list[tuple[int, int]]
) -> None:
    assert list(length_batches(lengths, tokens)) == expected


def test_a_little_padding_is_cheaper_than_a_pass() -> None:
    assert list(length_batches([40, 20, 4], 2048)) == [(0, 3)]  # 56 of 120
    assert list(length_batches([40, 20, 4, 4], 2048)) == [(0, 3), (3, 4)]  # 92 of 160
