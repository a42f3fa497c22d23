"""Which texts state what is no longer so: a sentence that gives an old answer, in a line or under a title that names
what was asked.

Names are found all at once (Aho and Corasick, CACM 18(6), 1975), so time grows with the text and not with the number
of facts. Nearly all texts are ruled out by that; only those that hold a subject and one of its old answers are looked
at line by line.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from ahocorasick_rs import BytesAhoCorasick

from rewarm.difference.sentences import sentences
from rewarm.probes.outdated import Claim
from rewarm.probes.wording import pattern, searchable, whole, worded


class Matcher:
    """Finds claims in texts. `claims` are numbered in the order in which they are given."""

    def __init__(self, claims: Sequence[Claim]) -> None:
        self.claims = claims
        self._answers = _Names([claim.answer for claim in claims])
        self._subjects = _Names([claim.subject for claim in claims])
        self._answer_of = [self._answers.number[pattern(claim.answer)] for claim in claims]
        self._of_subject: dict[int, list[int]] = {}
        for number, claim in enumerate(claims):
            self._of_subject.setdefault(self._subjects.number[pattern(claim.subject)], []).append(number)

    def stated(self, text: str, title: str = "") -> list[int]:
        """The claims that a text makes, by number, ascending. Its title is `title` and its first line.

        A claim is made by a sentence that holds the old answer and none that came in its place, if the subject stands
        in the same line or in the title. A name inside a longer one of these does not count: `Oxford` in `University of
        Oxford`.
        """
        searched = searchable(text)
        answers = self._answers.within(searched)
        if not answers:
            return []
        possible = self._possible(self._subjects.within(searched + searchable(title)), answers)
        if not possible:
            return []
        lines = text.split("\n")
        titles = [f" {worded(line)} " for line in (title, next((line for line in lines if line.strip()), ""))]
        found: set[int] = set()
        for line in lines:
            waiting = [
                number
                for answer in self._answers.within(searchable(line))
                for number in possible.get(answer, ())
                if number not in found
            ]
            if waiting:
                whole_line = f" {worded(line)} "
                parts = [f" {worded(part)} " for part in sentences(line)]
                found.update(number for number in waiting if _makes(self.claims[number], whole_line, parts, titles))
        return sorted(found)

    def _possible(self, subjects: Iterable[int], answers: Collection[int]) -> dict[int, list[int]]:
        """The claims whose subject and whose answer stand somewhere, by the answer."""
        found: dict[int, list[int]] = {}
        for subject in subjects:
            for number in self._of_subject[subject]:
                if self._answer_of[number] in answers:
                    found.setdefault(self._answer_of[number], []).append(number)
        return found


class _Names:
    """Distinct names, found as whole words."""

    def __init__(self, names: Sequence[str]) -> None:
        self.number: dict[bytes, int] = {}
        for name in names:
            self.number.setdefault(pattern(name), len(self.number))
        self._automaton = BytesAhoCorasick(list(self.number))

    def within(self, searched: bytes) -> set[int]:
        """The numbers of the names that stand in a `searchable` text."""
        return {match[0] for match in self._automaton.find_matches_as_indexes(searched, overlapping=True)}


def _makes(claim: Claim, line: str, parts: Sequence[str], titles: Sequence[str]) -> bool:
    """Whether a line, `worded` with blanks around it as its sentences `parts` and the titles are, makes a claim."""
    named = any(_stands(claim.subject, text, (claim.answer,)) for text in (line, *titles))
    if not named:
        return False
    others = (claim.subject, *claim.current)
    # A sentence may be cut inside a name (St. Petersburg): then the line is the sentence.
    stating = [part for part in parts if whole(claim.answer) in part] or [line]
    return any(
        _stands(claim.answer, part, others)
        and not any(_stands(name, part, (claim.subject, claim.answer)) for name in claim.current)
        for part in stating
    )


def _stands(name: str, text: str, others: Sequence[str]) -> bool:
    """Whether a name stands in a text elsewhere than inside a longer one of `others`."""
    bounded = whole(name)
    if bounded not in text:
        return False
    for other in _longer(bounded, others):
        while other in text:  # neighbours share a blank, and one pass replaces every second of them
            text = text.replace(other, " \0 ")
    return bounded in text


def _longer(bounded: str, others: Sequence[str]) -> Iterator[str]:
    return (other for other in map(whole, others) if other != bounded and bounded in other)
