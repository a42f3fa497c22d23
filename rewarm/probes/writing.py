"""Probes as lines of JSON, the form that `rewarm corpus probes` writes and the reader `jsonl` reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import orjson

from rewarm.facts.sorting import SEPARATOR
from rewarm.probes import KINDS, Kind
from rewarm.probes.asking import Templates, asked, is_last
from rewarm.probes.candidates import Asked

_MOST_FREQUENT = 5


@dataclass(frozen=True)
class Wording:
    """How facts are asked for.

    `paraphrases` is the largest number of sentences for a fact; `as_published` compares as TemporalWiki does, and makes
    a probe of each object. `dates` are those of the two snapshots.
    """

    templates: Templates = field(default_factory=Templates)
    paraphrases: int = 1
    as_published: bool = False
    dates: tuple[str, str] = ("", "")
    source: str = ""


def identity(found: Asked, one_object: bool) -> str:
    """The id of a probe, the same in every build that makes a probe of the same subject, relation and kind."""
    parts = (found.kind, found.subject_id, found.relation, found.objects[0] if one_object else "")
    return blake2b(SEPARATOR.join(parts).encode("utf-8", "replace"), digest_size=10).hexdigest()


def write_probes(found: Iterable[Asked], how: Wording, write: Callable[[bytes], Any]) -> dict[str, Any]:
    """Writes the rows of probes; how many facts and rows there are of each kind, and what they are about most."""
    facts: Counter[Kind] = Counter()
    probes: Counter[Kind] = Counter()
    relations: dict[Kind, Counter[str]] = {kind: Counter() for kind in KINDS}
    not_last = without_template = 0
    for one in found:
        facts[one.kind] += len(one.numbers)
        sentences = how.templates.of(one.relation)[: how.paraphrases]
        for number, sentence in enumerate(sentences):
            prompt, suffix = asked(sentence, one.subject)
            write(orjson.dumps(_row(one, number, prompt, suffix, how), option=orjson.OPT_APPEND_NEWLINE))
            probes[one.kind] += 1
            relations[one.kind][one.relation] += 1
            not_last += not is_last(suffix)
            without_template += not how.templates.knows(one.relation)
    return {
        "facts": {kind: facts[kind] for kind in KINDS},
        "probes": {kind: probes[kind] for kind in KINDS},
        "relations": {kind: dict(counts.most_common(_MOST_FREQUENT)) for kind, counts in relations.items()},
        "object_not_last": not_last,
        "without_template": without_template,
    }


def _row(one: Asked, number: int, prompt: str, suffix: str, how: Wording) -> dict[str, Any]:
    row = {
        "id": identity(one, how.as_published) + (f":{number + 1}" if number else ""),
        "subject": one.subject,
        "relation": one.relation,
        "object": None if one.kind == "deleted" else _one_or_all(one.objects),
        "object_old": _one_or_all(one.objects if one.kind == "deleted" else one.old),
        "label": one.kind,
        "prompt": prompt,
        "suffix": suffix,
        "date_old": how.dates[0],
        "date": how.dates[1],
        "source": how.source,
    }
    return {name: value for name, value in row.items() if value not in (None, "") or name in ("prompt", "suffix")}


def _one_or_all(texts: Sequence[str]) -> str | list[str] | None:
    return texts[0] if len(texts) == 1 else list(texts) or None
