"""Caps: no subject, relation or object has more than its share of the probes kept, exactly.

The share is of what is kept, so a cap that drops probes lowers itself. Probes are taken in an order that a hash gives,
as long as the caps of a wished total allow; if fewer are taken than wished, that number is the next wish. It ends at a
total that its own caps allow. TWiki-Probes caps subjects at 1 %, relations and objects at 5 % (arXiv 2204.14211; its
code caps no objects).
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import floor

CAPPED = ("subject", "relation", "object")


class Capped:
    """The probes of one kind, by what is capped: about 60 bytes of memory for each.

    `shares` holds a share for each of "subject", "relation" and "object" that has a cap.
    """

    def __init__(self, shares: Mapping[str, float]) -> None:
        self._shares = [Fraction(str(shares.get(name, 1))) for name in CAPPED]
        self._keys, self._weights = array("Q"), array("Q")
        self._starts, self._words, self._columns = array("Q", [0]), array("Q"), bytearray()

    def add(self, key: int, words: Sequence[tuple[int, int]], weight: int) -> None:
        """A probe that makes `weight` rows: `key` gives its place in the order, `words` its columns and hashes."""
        self._keys.append(key)
        self._weights.append(weight)
        for column, word in words:
            self._columns.append(column)
            self._words.append(word)
        self._starts.append(len(self._words))

    def distinct(self, name: str) -> int:
        """How many different subjects, relations or objects there are."""
        column = CAPPED.index(name)
        return len({word for word, own in zip(self._words, self._columns, strict=True) if own == column})

    def over(self) -> list[str]:
        """For each probe the cap that drops it, "" if it is kept."""
        order = sorted(range(len(self._keys)), key=lambda number: (self._keys[number], number))
        wished = sum(self._weights)
        while True:
            reasons = self._taken(order, [floor(share * wished) for share in self._shares])
            taken = sum(weight for weight, reason in zip(self._weights, reasons, strict=True) if not reason)
            if taken >= wished or not taken:
                return reasons
            wished = taken

    def _taken(self, order: Sequence[int], caps: Sequence[int]) -> list[str]:
        """Takes in order what the caps allow; for each probe the cap that it would break."""
        counts: Counter[tuple[int, int]] = Counter()
        reasons = [""] * len(order)
        for number in order:
            span = slice(self._starts[number], self._starts[number + 1])
            held = list(zip(self._columns[span], self._words[span], strict=True))
            weight = self._weights[number]
            over = next((column for column, word in held if counts[column, word] + weight > caps[column]), None)
            if over is None:
                for pair in held:
                    counts[pair] += weight
            else:
                reasons[number] = CAPPED[over]
        return reasons
