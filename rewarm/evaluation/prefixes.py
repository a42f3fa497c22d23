"""Which queries share which beginnings: a plan of forward passes in which shared tokens are computed once.

Queries are sorted, so that those with a common beginning stand together; then every run of them either becomes a tree
(all tokens of the run in one row, each attending to its own ancestors only), or a long prefix whose keys and values are
kept while rows of trees are hung on it, or it is cut where its members part.

Shapes: N queries, T tokens of a query, S positions of a row, P positions of a prefix.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]

ROW_TOKENS = 256
"""A row of trees: longer ones pay more for attention to what they must not see than larger passes give back."""
MIN_PREFIX = 8
MIN_SAVED = 0.2
"""Sharing must save this share of the tokens, or a plain batch, which needs no mask, is as fast."""


@dataclass(frozen=True, slots=True)
class Query:
    """Tokens that a model reads; the logits at the last `scored` of them (at least 1) are asked for."""

    ids_T: Ids
    scored: int


@dataclass(frozen=True, slots=True)
class Row:
    """Trees end to end, each token after its parent: position j is an ancestor of i when j <= i < ends_S[j].

    `depths_S` counts from the start of the query, so the prefix's length is part of it. `places` gives, for each query
    (by its number) in the row, the positions whose logits are asked for.
    """

    ids_S: Ids
    depths_S: Ids
    ends_S: Ids
    places: list[tuple[int, list[int]]]


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that all go on from one prefix, which may be empty. `length`: tokens of the longest query."""

    prefix_P: Ids
    rows: list[Row]
    length: int

    def queries(self) -> Iterator[int]:
        """The numbers of the queries in it."""
        return (query for row in self.rows for query, _ in row.places)


@dataclass(slots=True)
class _Growing:
    """A row while it is filled with sorted queries."""

    prefix: int
    ids: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    path: list[int] = field(default_factory=list)
    places: list[tuple[int, list[int]]] = field(default_factory=list)

    def add(self, number: int, query: Query, shared: int) -> None:
        """Adds a query whose first `shared` tokens are the path of the one added last."""
        self._close(shared - self.prefix)
        fresh = query.ids_T[shared:].tolist()
        self.path += range(len(self.ids), len(self.ids) + len(fresh))
        self.ids += fresh
        self.depths += range(shared, shared + len(fresh))
        self.ends += [0] * len(fresh)
        self.places.append((number, self.path[-query.scored :]))

    def _close(self, kept: int) -> None:
        for position in self.path[kept:]:
            self.ends[position] = len(self.ids)
        del self.path[kept:]

    def finished(self) -> Row:
        self._close(0)
        return Row(np.array(self.ids), np.array(self.depths), np.array(self.ends), self.places)


def plan(queries: Sequence[Query]) -> tuple[list[Group], list[int]]:
    """Groups that share tokens, and the numbers of the queries that are best computed alone. Each query is in one."""
    if not queries:
        return [], []
    return _Planner(queries).plan()


class _Planner:
    def __init__(self, queries: Sequence[Query]) -> None:
        # Big-endian bytes sort as the ids themselves do.
        keys = [query.ids_T.astype(">u4").tobytes() for query in queries]
        self.order = sorted(range(len(queries)), key=keys.__getitem__)
        self.queries = [queries[number] for number in self.order]
        self.lengths_N = np.array([len(query.ids_T) for query in self.queries])
        self.unscored_N = self.lengths_N - [query.scored for query in self.queries]
        self.shared_N = np.array([0, *map(_shared, self.queries, self.queries[1:])])
        self.trees: list[Row] = []
        self.groups: list[Group] = []
        self.alone: list[int] = []

    def plan(self) -> tuple[list[Group], list[int]]:
        pending = [(0, len(self.queries))]
        while pending:
            first, last = pending.pop()
            if last - first == 1:
                self.alone.append(self.order[first])
            elif not self._placed(first, last):
                pending += self._children(first, last)
        if self.trees:
            longest = max(int(row.depths_S.max()) for row in self.trees) + 1
            self.groups.append(Group(np.zeros(0, np.int64), self.trees, longest))
        return self.groups, self.alone

    def _placed(self, first: int, last: int) -> bool:
        """Whether the run was worth a tree or a prefix of its own."""
        total = int(self.lengths_N[first:last].sum())
        saved = int(self.shared_N[first + 1 : last].sum())
        if total - saved <= ROW_TOKENS and saved >= MIN_SAVED * total:
            self.trees += self._rows(first, last, 0)
            return True
        # What is asked for must lie behind the prefix: only the rows' logits are looked at.
        prefix = min(int(self.shared_N[first + 1 : last].min()), int(self.unscored_N[first:last].min()))
        if prefix >= MIN_PREFIX and prefix * (last - first - 1) >= MIN_SAVED * total:
            ids_P = self.queries[first].ids_T[:prefix]
            longest = int(self.lengths_N[first:last].max())
            self.groups.append(Group(ids_P, self._rows(first, last, prefix), longest))
            return True
        return False

    def _children(self, first: int, last: int) -> list[tuple[int, int]]:
        """The run cut everywhere where no more is shared than by all of it."""
        inner_N = self.shared_N[first + 1 : last]
        cuts = [first, *(first + 1 + np.flatnonzero(inner_N == inner_N.min())).tolist(), last]
        return list(pairwise(cuts))

    def _rows(self, first: int, last: int, prefix: int) -> list[Row]:
        """The run as rows behind a prefix; a child is kept in one row when it fits."""
        rows = []
        row = _Growing(prefix)
        for start, end in self._children(first, last):
            size = int(self.lengths_N[start:end].sum() - self.shared_N[start:end].sum())
            room = ROW_TOKENS - len(row.ids)
            for at in range(start, end):
                fresh = int(self.lengths_N[at] - self.shared_N[at])
                if row.ids and (size > room if at == start else len(row.ids) + fresh > ROW_TOKENS):
                    rows.append(row.finished())
                    row = _Growing(prefix)
                row.add(self.order[at], self.queries[at], int(self.shared_N[at]) if row.ids else prefix)
        return [*rows, row.finished()]


def _shared(first: Query, second: Query) -> int:
    length = min(len(first.ids_T), len(second.ids_T))
    different = np.flatnonzero(first.ids_T[:length] != second.ids_T[:length])
    return int(different[0]) if len(different) else length
