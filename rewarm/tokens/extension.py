"""New pieces for an existing BPE tokenizer: its training goes on, on new text, from where it ended.

Merges are appended, so old ids keep their meaning, every new piece is two older ones joined, and text without the new
merges is cut as before. Memory grows with the number of different words, not with the text.
"""

from __future__ import annotations

import heapq
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from rewarm.types import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SEEN_TWICE = 2
"""A pair that occurs less often makes no piece."""
_PARTS = re.compile("▁*[^▁]+|▁+")

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Extension:
    """`tokenizer` is the whole tokenizer.json. Piece i has the id `first_id + i`; `pieces[i]` are the old ids that the
    old tokenizer cuts it into, and `names[i]` what the vocabulary calls it."""

    tokenizer: dict[str, Any]
    first_id: int
    pieces: tuple[tuple[int, ...], ...]
    names: tuple[str, ...]


def count_words(tokenizer: Tokenizer, texts: Iterable[str]) -> Counter[str]:
    """How often each word occurs, as the tokenizer normalises text and cuts it before it merges."""
    found: Counter[str] = Counter()
    for text in texts:
        normal = tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text
        if tokenizer.pre_tokenizer is None:
            found.update(_PARTS.findall(normal))
        else:
            found.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal))
    return found


def extend(tokenizer: Tokenizer, words: Mapping[str, int], count: int) -> Extension:
    """Up to `count` pieces more, the commonest pair first; fewer when no further pair occurs twice.

    UserError for a tokenizer that does not merge pairs (Unigram, WordPiece), or that marks continued words.
    """
    values: dict[str, Any] = json.loads(tokenizer.to_str())
    model = values["model"]
    if model.get("type") != "BPE" or model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        raise UserError(
            f"the tokenizer is a {model.get('type')} model that cannot be gone on with: pieces are appended as merges "
            "of byte-pair encoding (without marks at word ends). Train on the old vocabulary, or take a base with a BPE"
        )
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    first_id = max(vocabulary.values()) + 1
    merges = _Merging(tokenizer, words).merges(vocabulary, first_id, count)
    names = {number: name for name, number in vocabulary.items()}
    spelled: dict[int, tuple[int, ...]] = {}
    for number, (left, right) in enumerate(merges, first_id):
        spelled[number] = spelled.get(left, (left,)) + spelled.get(right, (right,))
        names[number] = names[left] + names[right]
    # Added tokens too: a token that the model does not know gets the first free id when the file is read.
    model["vocab"] = vocabulary | {names[number]: number for number in spelled}
    as_lists = not model["merges"] or isinstance(model["merges"][0], list)
    new = [[names[left], names[right]] for left, right in merges]
    model["merges"] += new if as_lists else [" ".join(pair) for pair in new]
    return Extension(values, first_id, tuple(spelled.values()), tuple(names[number] for number in spelled))


class _Merging:
    """Words as runs of pieces, and how often each pair of neighbours occurs in them."""

    def __init__(self, tokenizer: Tokenizer, words: Mapping[str, int]) -> None:
        ordered = sorted(words.items())
        self.counts = [count for _, count in ordered]
        self.runs = [[token.id for token in tokenizer.model.tokenize(word)] for word, _ in ordered]
        self.pairs: Counter[Pair] = Counter()
        self.places: defaultdict[Pair, set[int]] = defaultdict(set)
        for place in range(len(self.runs)):
            self._tally(place, 1)

    def merges(self, vocabulary: Mapping[str, int], first_id: int, count: int) -> list[Pair]:
        """Pairs in the order of merging; the first one's piece has the id `first_id`, the next one's follow."""
        names = {number: name for name, number in vocabulary.items()}
        taken = set(vocabulary)
        heap = [(-often, pair) for pair, often in self.pairs.items()]
        heapq.heapify(heap)
        found: list[Pair] = []
        while heap and len(found) < count:
            often, pair = heapq.heappop(heap)
            name = names[pair[0]] + names[pair[1]]
            if -often != self.pairs[pair] or -often < SEEN_TWICE or name in taken:
                continue
            new = first_id + len(found)
            names[new] = name
            taken.add(name)
            found.append(pair)
            for changed in self._merge(pair, new):
                if self.pairs[changed] >= SEEN_TWICE:
                    heapq.heappush(heap, (-self.pairs[changed], changed))
        return found

    def _merge(self, pair: Pair, new: int) -> set[Pair]:
        """Joins the pair wherever it stands; the pairs whose count has changed."""
        changed: set[Pair] = set()
        for place in sorted(self.places.pop(pair, ())):
            changed |= self._tally(place, -1)
            self.runs[place] = _joined(self.runs[place], pair, new)
            changed |= self._tally(place, 1)
        self.pairs.pop(pair, None)
        return changed - {pair}

    def _tally(self, place: int, sign: int) -> set[Pair]:
        run = self.runs[place]
        pairs = set()
        for pair in pairwise(run):
            self.pairs[pair] += sign * self.counts[place]
            pairs.add(pair)
        for pair in pairs:
            (self.places[pair].add if sign > 0 else self.places[pair].discard)(place)
        return pairs


def _joined(run: Sequence[int], pair: Pair, new: int) -> list[int]:
    found: list[int] = []
    at = 0
    while at < len(run):
        is_pair = at + 1 < len(run) and (run[at], run[at + 1]) == pair
        found.append(new if is_pair else run[at])
        at += 2 if is_pair else 1
    return found
