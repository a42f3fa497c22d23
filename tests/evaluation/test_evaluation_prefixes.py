"""Every query is planned once, shared tokens are computed once, and a row's tree says who sees whom."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from rewarm.evaluation import prefixes
from rewarm.evaluation.prefixes import Group, Query, plan


def query(*ids: int, scored: int = 1) -> Query:
    return Query(np.array(ids), scored)


def read_back(groups: list[Group], number: int) -> list[list[int]]:
    """The tokens that each scored position of a query sees, by the rows' own description."""
    for group in groups:
        for row in group.rows:
            for at, places in row.places:
                if at == number:
                    seen = [[j for j in range(place + 1) if place < row.ends_S[j]] for place in places]
                    assert [row.depths_S[places[i]] for i in range(len(places))] == [
                        len(group.prefix_P) + len(ancestors) - 1 for ancestors in seen
                    ]
                    return [[*group.prefix_P.tolist(), *row.ids_S[ancestors].tolist()] for ancestors in seen]
    raise AssertionError(f"query {number} is in no group")


def test_answers_to_one_question_are_one_tree() -> None:
    queries = [query(1, 2, 3, 4, scored=2), query(1, 2, 3), query(1, 2, 3, 5, 6, scored=3)]
    groups, alone = plan(queries)
    assert alone == []
    assert len(groups) == 1
    assert groups[0].prefix_P.tolist() == []
    assert groups[0].length == 5
    (row,) = groups[0].rows
    assert row.ids_S.tolist() == [1, 2, 3, 4, 5, 6]
    assert row.depths_S.tolist() == [0, 1, 2, 3, 3, 4]
    assert row.ends_S.tolist() == [6, 6, 6, 4, 6, 6]
    assert sorted(row.places) == [(0, [2, 3]), (1, [2]), (2, [2, 4, 5])]


def test_a_long_prefix_is_kept_and_each_question_is_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten shared tokens; two questions of two tokens with two answers each; rows of seven tokens."""
    monkeypatch.setattr(prefixes, "ROW_TOKENS", 7)
    shots = list(range(10, 20))
    queries = [query(*shots, question, 9, answer) for question in (1, 2) for answer in (3, 4)]
    groups, alone = plan(queries)
    assert alone == []
    (group,) = groups
    assert group.prefix_P.tolist() == shots
    assert [row.ids_S.tolist() for row in group.rows] == [[1, 9, 3, 4], [2, 9, 3, 4]]
    assert [row.depths_S.tolist() for row in group.rows] == [[10, 11, 12, 12]] * 2
    assert sorted(group.queries()) == [0, 1, 2, 3]
    for number, asked in enumerate(queries):
        assert read_back(groups, number) == [asked.ids_T.tolist()]


def test_what_is_asked_for_lies_behind_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first answer token is predicted by the last token of the context, which so is no part of the prefix."""
    monkeypatch.setattr(prefixes, "ROW_TOKENS", 6)
    queries = [query(*range(20), answer, scored=2) for answer in range(30, 40)]
    (group,), alone = plan(queries)
    assert alone == []
    assert group.prefix_P.tolist() == list(range(19))
    assert [row.ids_S.tolist() for row in group.rows] == [[19, *range(30, 35)], [19, *range(35, 40)]]


def test_nothing_shared_is_computed_alone() -> None:
    queries = [query(*range(start, start + 10)) for start in (0, 20, 40)]
    assert plan(queries) == ([], [2, 1, 0])
    assert plan(queries[:1]) == ([], [0])
    assert plan([]) == ([], [])


def test_one_beginning_token_is_not_worth_a_mask() -> None:
    """BOS in front of everything saves 2 of 30 tokens."""
    groups, alone = plan([query(0, *range(start, start + 9)) for start in (10, 30, 50)])
    assert groups == []
    assert sorted(alone) == [0, 1, 2]


def test_any_mixture_is_planned_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random queries over few words: each is in one place, and sees exactly itself."""
    monkeypatch.setattr(prefixes, "ROW_TOKENS", 40)
    source = np.random.default_rng(0)
    stems = [source.integers(0, 3, length) for length in (0, 3, 12, 30)]
    queries = []
    for _ in range(200):
        ids = np.concatenate([stems[source.integers(4)], source.integers(0, 3, source.integers(1, 12))])
        queries.append(Query(ids, int(source.integers(1, len(ids) + 1))))
    groups, alone = plan(queries)
    grouped = [number for group in groups for number in group.queries()]
    assert sorted([*grouped, *alone]) == list(range(200))
    assert len(grouped) > 100
    for number in grouped:
        asked = queries[number]
        ends = range(len(asked.ids_T) - asked.scored + 1, len(asked.ids_T) + 1)
        assert read_back(groups, number) == [asked.ids_T[:end].tolist() for end in ends]
    computed = sum(len(group.prefix_P) + sum(len(row.ids_S) for row in group.rows) for group in groups)
    assert computed < 0.75 * sum(len(queries[number].ids_T) for number in grouped)
    for group in groups:
        assert all(first != second for first, second in pairwise(sorted(group.queries())))
