"""LAMA: facts with sentences in which the object is masked (arXiv 1909.01066)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from rewarm.corpora.sources import Name
from rewarm.facts import reject
from rewarm.facts.files import InFiles, rows, several, words
from rewarm.probes import Kind, Probe
from rewarm.probes.asking import Templates, asked, cut
from rewarm.probes.sets import NO_ANSWER, NO_QUESTION, NO_SUBJECT, FileProbeSet
from rewarm.types import BadRows


class Lama(FileProbeSet):
    """Probes from rows with `sub_label`, `obj_label` and `predicate_id`.

    The sentence is, in this order: the `template` of the relation in `relations_file` (LAMA's `relations.jsonl`), the
    first of `masked_sentences` with one [MASK], a template of the package, subject and relation side by side. LAMA does
    not say what became of its facts: `kind` does.
    """

    paper: ClassVar[str] = "LAMA, arXiv 1909.01066"
    suffixes_read: ClassVar[frozenset[str]] = frozenset({".jsonl", ".ndjson", ".json"})

    kind: Kind = "unchanged"
    relations_file: Name | None = None

    def _probes(self, templates: Templates, bad: BadRows) -> Iterator[Probe]:
        sentences = self._sentences()
        for row, place in rows(self.files(), bad):
            subject, text = words(row.get("sub_label") or row.get("sub")), words(row.get("obj_label") or row.get("obj"))
            relation = words(row.get("predicate_id") or row.get("pred"))
            parts = _parts(row, subject, relation, sentences, templates)
            if not text or parts is None:
                reject(bad, NO_ANSWER if not text else NO_QUESTION if subject else NO_SUBJECT, place)
                continue
            prompt, suffix = parts
            name = words(row.get("uuid") or row.get("id")) or place
            yield Probe(
                name, self.kind, prompt, (text,), suffix=suffix, subject=subject, relation=relation, place=place
            )

    def _sentences(self) -> dict[str, str]:
        if self.relations_file is None:
            return {}
        files = InFiles(path=self.relations_file).files()
        return {words(row.get("relation")): words(row.get("template")) for row, _ in rows(files, BadRows())}


def _parts(
    row: Mapping[str, Any], subject: str, relation: str, sentences: Mapping[str, str], templates: Templates
) -> tuple[str, str] | None:
    if subject and sentences.get(relation):
        return asked(sentences[relation], subject)
    for sentence in several(row.get("masked_sentences")):
        found = cut(words(sentence))
        if found is not None:
            return found
    return templates.ask(subject, relation) if subject and relation else None
