"""Documents that nearly repeat another: by the Jaccard similarity of their sets of runs of a few words.

Candidates share a band of their MinHash signatures; each pair of them is then counted exactly, so a pair below the
threshold is never called near. A document near any reference (old text, replayed text, watched text, probes) goes; of
the others, those that hang together by pairs above the threshold are one group, whose first stays. First is meant in an
order of hashes, so that the order of files and shards decides nothing. References are never left out.

The group, and not only pairs with what stays, is the usual rule (Lee et al., arXiv 2107.06499); its price is that a
document at the end of a chain may be less like the one that stays than the threshold says. Its similarity is told.

Shapes: D documents, B members of a bucket.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewarm.selection.sketches import Sketches
from rewarm.types import Tell, silent

SIZE = 5
"""Words of a run."""
THRESHOLD = 0.8
ALL_PAIRS = 64
"""In larger buckets documents are compared with the first ones that are unlike each other, at most so many: a hundred
thousand copies of one template would be five billion pairs."""


@dataclass(frozen=True, slots=True)
class Repeats:
    """For each document (D,): the one it repeats, or -1, and how similar they are."""

    of_D: NDArray[np.int64]
    similarity_D: NDArray[np.float64]


_REFERENCE, _GONE, _NEW = 0, 1, 2


def near_duplicates(
    sketches: Sketches,
    threshold: float = THRESHOLD,
    new_sets: int = 1,
    gone_D: NDArray[np.bool_] | None = None,
    tell: Tell = silent,
) -> Repeats:
    """Which documents of the first `new_sets` sets repeat a reference (a document of another set) or another document
    of their own set.

    Those of `gone_D` are left out for another reason: nothing goes because it repeats one of them.
    """
    kind_D = np.where(sketches.sets_D < new_sets, sketches.sets_D.astype(np.int64) + _NEW, _REFERENCE)
    if gone_D is not None:
        kind_D[gone_D] = _GONE
    return _Search(sketches, threshold, kind_D, tell).repeats()


class _Search:
    """Three passes: equal sets of runs, which need no counting; documents near references; the groups of the rest."""

    def __init__(self, sketches: Sketches, threshold: float, kind_D: NDArray[np.int64], tell: Tell) -> None:
        self.sketches = sketches
        self.threshold = threshold
        self.tell = tell
        self.rank_D = sketches.rank()
        self.kind_D = kind_D
        self.parent_D = np.arange(len(sketches))
        self.of_D = np.full(len(sketches), -1, np.int64)
        self.similarity_D = np.zeros(len(sketches))

    def repeats(self) -> Repeats:
        """What repeats what."""
        found = self.sketches.counts_D > 0  # a text without a word repeats nothing
        firsts = self._equal_sets(np.flatnonzero(found))
        for bucket in self._buckets(firsts, "compare with references"):
            self._near_references(bucket)
        for kind in range(_NEW, int(self.kind_D.max(initial=0)) + 1):
            left = firsts[(self.kind_D[firsts] == kind) & (self.of_D[firsts] < 0)]
            for bucket in self._buckets(left, "compare with each other"):
                self._join(bucket)
        self._name_firsts(np.flatnonzero(found & (self.kind_D != _REFERENCE)))
        return Repeats(self.of_D, self.similarity_D)

    def _equal_sets(self, documents: NDArray[np.int64]) -> NDArray[np.int64]:
        """Joins documents of equal sets and one kind to the first of them; returns the firsts, and notes the reference
        of those that have one."""
        wholes, counts, kinds = (
            values[documents] for values in (self.sketches.wholes_D, self.sketches.counts_D, self.kind_D)
        )
        order = np.lexsort((self.rank_D[documents], kinds, counts, wholes))
        documents, wholes, counts, kinds = (values[order] for values in (documents, wholes, counts, kinds))
        other = np.ones(len(documents), bool)
        other[1:] = (wholes[1:] != wholes[:-1]) | (counts[1:] != counts[:-1])
        begins = other.copy()
        begins[1:] |= kinds[1:] != kinds[:-1]
        firsts = documents[begins]
        self.parent_D[documents] = np.repeat(firsts, np.diff(np.append(np.flatnonzero(begins), len(documents))))
        # References sort before the rest of an equal set.
        leads = np.repeat(documents[other], np.diff(np.append(np.flatnonzero(other), len(documents))))[begins]
        twins = (self.kind_D[leads] == _REFERENCE) & (self.kind_D[firsts] != _REFERENCE)
        self.of_D[firsts[twins]], self.similarity_D[firsts[twins]] = leads[twins], 1.0
        return firsts

    def _buckets(self, documents: NDArray[np.int64], label: str) -> Iterator[NDArray[np.int64]]:
        """Documents (B,) that share a band, two or more, in the stable order; band after band."""
        documents = documents[np.argsort(self.rank_D[documents])]
        for number in range(self.sketches.bands):
            self.tell(label, number, self.sketches.bands, "bands")
            values = self.sketches.band(number)[documents]
            order = np.argsort(values, kind="stable")
            ends = np.append(np.flatnonzero(values[order][1:] != values[order][:-1]) + 1, len(order))
            sizes = np.diff(ends, prepend=0)
            for end, size in zip(ends[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
                yield documents[order[end - size : end]]
        self.tell(label, self.sketches.bands, self.sketches.bands, "bands")

    def _near_references(self, bucket_B: NDArray[np.int64]) -> None:
        """Notes the most similar reference of each new document of a bucket, if one is near."""
        is_reference_B = self.kind_D[bucket_B] == _REFERENCE
        references = bucket_B[is_reference_B][:ALL_PAIRS].tolist()
        for document in bucket_B[~is_reference_B].tolist() if references else ():
            for reference in references:
                known = max(self.threshold, float(self.similarity_D[document]))
                found = self.sketches.similarity(document, reference, known)
                held = int(self.of_D[document])
                is_first = held < 0 or self.rank_D[reference] < self.rank_D[held]
                if found >= self.threshold and (found > self.similarity_D[document] or (found >= known and is_first)):
                    self.of_D[document], self.similarity_D[document] = reference, found

    def _join(self, bucket_B: NDArray[np.int64]) -> None:
        """Joins the documents of a bucket that are near each other."""
        leaders: list[int] = []
        compares_all = len(bucket_B) <= ALL_PAIRS
        for document in bucket_B.tolist():
            is_near = False
            for leader in leaders:
                if self._root(leader) == self._root(document):
                    is_near = True
                elif self.sketches.similarity(leader, document, self.threshold) >= self.threshold:
                    self._unite(leader, document)
                    is_near = True
                if is_near and not compares_all:
                    break
            if compares_all or (not is_near and len(leaders) < ALL_PAIRS):
                leaders.append(document)

    def _root(self, document: int) -> int:
        parent = self.parent_D
        while (above := int(parent[document])) != document:
            parent[document] = parent[above]
            document = int(parent[document])
        return document

    def _unite(self, first: int, second: int) -> None:
        """The root of a group is its first."""
        low, high = sorted((self._root(first), self._root(second)), key=lambda document: int(self.rank_D[document]))
        self.parent_D[high] = low

    def _name_firsts(self, documents: NDArray[np.int64]) -> None:
        """Gives every document that goes what it repeats: its group's reference, or the first of its group."""
        for document in documents[self.parent_D[documents] != documents].tolist():
            first = self._root(document)
            if self.of_D[first] >= 0 or self.kind_D[first] >= _NEW:
                self.of_D[document] = first if self.of_D[first] < 0 else self.of_D[first]
                self.similarity_D[document] = self.sketches.similarity(document, int(self.of_D[document]))
