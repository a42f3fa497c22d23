"""New text -> the documents of it that repeat nothing and quote nothing that a model is scored on, as a file of rows.

The text is read twice: once to compare, once to be written with all fields of its rows.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from rewarm.corpora import Corpus
from rewarm.corpora.faults import check_budget
from rewarm.corpora.rows import EVERY
from rewarm.corpora.sources import FieldCorpus
from rewarm.engines import Engine
from rewarm.engines.local import Here
from rewarm.engines.parts import kept
from rewarm.probes import ProbeSet, load_set
from rewarm.river.cleaning import items_of
from rewarm.selection.cleaning import Cleaned, Doing, Dropped, Reference, Settings, Texts, clean
from rewarm.storage import replaced, write_json
from rewarm.types import BadRows, Document, Tell, UserError, silent

SUFFIX = ".jsonl.zst"
EMPTIED = "nothing is left after the cut"
_TOLD_EVERY = 4096


@dataclass(frozen=True, slots=True)
class Deduplicate:
    """A job. `old` is text that new documents may not nearly repeat; of what is `watched` and asked, they may not hold
    a run of words either. Kept documents go to `out`, a line on each other one beside it, counts to a third file."""

    new: Corpus
    old: Mapping[str, Corpus]
    watched: Mapping[str, Corpus]
    probes: Mapping[str, ProbeSet]
    settings: Settings
    out: Path
    bad_rows: float = 0.001
    dropped: Path = field(init=False)
    summary: Path = field(init=False)

    def __post_init__(self) -> None:
        """UserError for a file of another kind, or one that is to be read."""
        if not self.out.name.endswith(SUFFIX) or self.out.name == SUFFIX:
            raise UserError(f"--out {self.out}: the file is packed; give a name that ends with {SUFFIX}")
        stem = self.out.name.removesuffix(SUFFIX)
        object.__setattr__(self, "dropped", self.out.with_name(f"{stem}.dropped{SUFFIX}"))
        object.__setattr__(self, "summary", self.out.with_name(f"{stem}.json"))
        every = [self.new, *self.old.values(), *self.watched.values()]
        if self.out.resolve() in [file.resolve() for corpus in every for file in corpus.files()]:
            raise UserError(f"--out {self.out} is one of the files that are read: give another name")

    def run(self, tell: Tell = silent, dry: bool = False, engine: Engine | None = None) -> dict[str, Any]:
        """Compares and writes; the counts, which are also written. With `dry`, nothing stays on disk.

        Stopped, it goes on with what was found of the text. The engine (None: this process) decides nothing about the
        result. UserError for text that cannot be read; StorageError when the disk is full.
        """
        folder = None if dry else self.out.with_name(f"{self.out.name.removesuffix(SUFFIX)}.parts")
        with kept(folder) as parts:
            return self._run(tell, dry, Doing(engine or Here(), parts))

    def _run(self, tell: Tell, dry: bool, doing: Doing) -> dict[str, Any]:
        bad = BadRows()
        work = Path(tempfile.gettempdir()) if dry else self.out.parent
        work.mkdir(parents=True, exist_ok=True)
        cleaned = clean({"new": _texts(self.new, bad)}, self._references(), self.settings, work, tell, doing)
        check_budget("NEW", bad, self.bad_rows)
        if cleaned.documents["new"] == 0:
            raise UserError(f"NEW holds no document ({bad.rows:,} rows read): give another file")
        found: dict[str, Any] = {
            "documents": cleaned.documents["new"], "kept": 0, "cut": Counter(), "dropped": Counter(),
            "looked_for": {name: count - cleaned.too_short[name] for name, count in cleaned.items.items()},
            "too_short_to_look_for": cleaned.too_short, "bad_rows": dict(bad.counts),
        }  # fmt: skip
        with ExitStack() as stack:
            files = [] if dry else [stack.enter_context(replaced(file)) for file in (self.out, self.dropped)]
            for document, text, why in self._judged(cleaned, tell):
                found["kept"] += text is not None
                if why is not None:
                    found["dropped" if text is None else "cut"][why.reason] += 1
                if files and text is not None:
                    files[0].write(_row(self.new, document, text))
                if files and why is not None:
                    line = asdict(why) | ({"text": document.text} if text is None else {"cut": True})
                    files[1].write(orjson.dumps(line) + b"\n")
        found |= {key: dict(found[key].most_common()) for key in ("cut", "dropped")}
        if not dry:
            write_json(self.summary, {**found, "job": self.described()})
        return found

    def described(self) -> dict[str, Any]:
        """What decides about the result."""
        return {
            "new": self.new.described(), "settings": asdict(self.settings),
            "old": {name: corpus.described() for name, corpus in self.old.items()},
            "watched": {name: corpus.described() for name, corpus in self.watched.items()},
            "probes": {name: probes.described() for name, probes in self.probes.items()},
        }  # fmt: skip

    def _references(self) -> list[Reference]:
        found = [Reference(f"watch {name}", self._read(name, one), True) for name, one in self.watched.items()]
        for name, probe_set in self.probes.items():
            probes = load_set(name, probe_set, self.bad_rows)
            texts = [(f"{name}:{probe.id}", item) for probe in probes for item in items_of(probe)]
            found.append(Reference(f"probes {name}", texts, True))
        return found + [Reference(f"old {name}", self._read(name, one), False) for name, one in self.old.items()]

    def _read(self, name: str, corpus: Corpus) -> Texts:
        bad = BadRows()
        yield from _texts(corpus, bad)
        check_budget(name, bad, self.bad_rows)

    def _judged(self, cleaned: Cleaned, tell: Tell) -> Iterator[tuple[Document, str | None, Dropped | None]]:
        """Each document with the text that is kept of it (None: it goes), and why it goes or was cut."""
        gone = iter(cleaned.dropped["new"])
        due = next(gone, None)
        number = -1
        for number, document in enumerate(_every_field(self.new).read(BadRows())):
            if number % _TOLD_EVERY == 0:
                tell("write", number, cleaned.documents["new"], "documents")
            if due is None or due.place != number:
                yield document, document.text, None
                continue
            if due.id != document.id:
                raise UserError(f"NEW has changed while it was read: {document.place} is not what it was. Start again")
            if self.settings.cuts and due.words and cleaned.overlaps is not None:
                text = cleaned.overlaps.cut(document.text)
                yield document, text or None, due if text else replace(due, reason=EMPTIED)
            else:
                yield document, None, due
            due = next(gone, None)
        if number + 1 != cleaned.documents["new"]:
            raise UserError(f"NEW has changed while it was read: {number + 1:,} documents now. Start again")


def _texts(corpus: Corpus, bad: BadRows) -> Texts:
    for document in corpus.read(bad):
        yield document.id, document.text


def _every_field(corpus: Corpus) -> Corpus:
    return corpus.model_copy(update={"keep_fields": (EVERY,)}) if isinstance(corpus, FieldCorpus) else corpus


def _row(corpus: Corpus, document: Document, text: str) -> bytes:
    """A line of JSON with the document's id and every field of its row."""
    name = corpus.text_field if isinstance(corpus, FieldCorpus) else "text"
    return orjson.dumps({"id": document.id, name: text, **document.meta}, default=str) + b"\n"
