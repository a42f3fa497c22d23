"""TWiki-Probes in tables of their own: `subject,relation,object` in files named `..._changed.csv` and the like."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from rewarm.corpora import paths
from rewarm.facts import reject
from rewarm.facts.files import rows, words
from rewarm.probes import Kind, Probe
from rewarm.probes.asking import Templates
from rewarm.probes.sets import NO_ANSWER, NO_QUESTION, NO_SUBJECT, FileProbeSet
from rewarm.types import BadRows, UserError

_COLUMNS = ("subject", "relation", "object")


class Temporalwiki(FileProbeSet):
    """Probes from tables of facts, whose names end in what became of the facts.

    They hold no sentences: a fact is asked for by a template, or as subject and relation side by side, as TemporalWiki
    does. A first row that names the fields is not read as a fact.
    """

    paper: ClassVar[str] = "TemporalWiki, arXiv 2204.14211"
    suffixes_read: ClassVar[frozenset[str]] = frozenset({".csv", ".tsv"})

    def _probes(self, templates: Templates, bad: BadRows) -> Iterator[Probe]:
        for file in self.files():
            kind = _kind(file)
            for row, place in rows([file], bad, _COLUMNS):
                subject, relation, text = (words(row[column]) for column in _COLUMNS)
                if (subject, relation, text) == _COLUMNS:
                    continue
                if not subject or not relation or not text:
                    reject(bad, NO_SUBJECT if not subject else NO_QUESTION if not relation else NO_ANSWER, place)
                    continue
                prompt, suffix = templates.ask(subject, relation)
                yield Probe(
                    place, kind, prompt, (text,), suffix=suffix, subject=subject, relation=relation, place=place
                )


def _kind(file: Path) -> Kind:
    stem = file.name.lower().removesuffix(
        file.suffix.lower() if paths.suffix_of(file.name) != file.suffix.lower() else ""
    )
    stem = stem.removesuffix(paths.suffix_of(file.name))
    for kind in ("unchanged", "changed", "new", "deleted"):
        if stem.endswith(kind):
            return kind
    raise UserError(f"'{file}': a name must end in what became of its facts, as 0801-0901_changed.csv. Rename it")
