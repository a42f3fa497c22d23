"""What sets of probes in files have in common: relations chosen, sentences for facts without one, unique ids."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rewarm.corpora import faults
from rewarm.corpora.rows import SeenIds
from rewarm.corpora.sources import Name
from rewarm.facts import leave_out, reject
from rewarm.facts.files import InFiles, several, words
from rewarm.probes import Probe, ProbeSet
from rewarm.probes.asking import Templates, cut
from rewarm.types import BadRows

ANOTHER_RELATION = "another relation"
NO_SUBJECT = "no subject"
NO_ANSWER = "no answer"
NO_QUESTION = "no question"
NO_LABEL = "no label"
NO_BLANK = "no blank, or several"


class FileProbeSet(InFiles, ProbeSet):
    """Probes in files, of which `relations` are the only ones taken, and `without_relations` are not.

    `templates` is a YAML file of sentences for facts that come without one: the name of a relation, then a sentence
    with [X] for the subject and [Y] for the object.
    """

    relations: tuple[Name, ...] = ()
    without_relations: tuple[Name, ...] = ()
    templates: Name | None = None

    def read(self, bad: BadRows) -> Iterator[Probe]:
        """Every good probe in the order of the files; bad rows and the number of rows seen are counted in `bad`.

        A row is what gives one probe: `bad.rows` is probes, rows left out (a `Tally` has the reasons) and bad rows.
        """
        seen = SeenIds()
        for probe in self._probes(Templates(Path(self.templates) if self.templates else None), bad):
            if (self.relations and probe.relation not in self.relations) or probe.relation in self.without_relations:
                leave_out(bad, ANOTHER_RELATION)
            elif not seen.add(probe.id):
                reject(bad, faults.DUPLICATE_ID, probe.place)
            else:
                bad.rows += 1
                yield probe

    @abstractmethod
    def _probes(self, templates: Templates, bad: BadRows) -> Iterator[Probe]:
        """Every good probe, not counted; counts what is bad or left out."""


def names(value: Any) -> tuple[str, ...]:
    """The texts of a field that holds one or a list, each once, without empty ones."""
    return unique(words(one) for one in several(value))


def unique(texts: Iterable[str]) -> tuple[str, ...]:
    """The texts in order, each once, without empty ones."""
    return tuple(dict.fromkeys(text for text in texts if text))


def question(text: str) -> str:
    """A prompt whose continuation answers a question."""
    return f"Question: {text}\nAnswer:"


def cloze_or_question(text: str) -> tuple[str, str] | None:
    """Prompt and suffix of a sentence with a blank, or of a question; None for several blanks or nothing at all."""
    found = cut(text)
    if found is None and text.rstrip().endswith("?"):
        return question(text), ""
    return found
