"""A corpus of Python sources -> a corpus of their sketches, or of sources and sketches in turns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

import orjson

from rewarm.corpora import Corpus
from rewarm.sketches.blocks import interleave
from rewarm.sketches.libraries import imports_any
from rewarm.sketches.sketching import Settings, edits
from rewarm.sketches.source import Source, Unsketchable, edited
from rewarm.storage import full_disk_told, replaced, write_json
from rewarm.types import BadRows, Document, Tell

Write = Literal["sketcher", "generator", "sources"]
WRITES: tuple[Write, ...] = get_args(Write)
FOREIGN = "imports none of the libraries"
EMPTY = "nothing is left in its sketch"
_EVERY = 16
_EXAMPLES = 5


@dataclass(frozen=True)
class Job:
    """What `rewarm corpus sketch` does. Files appear under their names only when whole, all at the end.

    `out` has a row for each source that has a sketch, `dropped` a line for each one that has none, with the reason.
    """

    corpus: Corpus
    out: Path
    settings: Settings = field(default_factory=Settings)
    write: Write = "sketcher"
    libraries: tuple[str, ...] = ()
    limit: int | None = None

    @property
    def dropped(self) -> Path:
        """Where the sources without a sketch are listed."""
        return self.out.with_name(f"{self._stem}.dropped.jsonl.zst")

    @property
    def summary(self) -> Path:
        """Where the counts go."""
        return self.out.with_name(f"{self._stem}.json")

    @property
    def _stem(self) -> str:
        return self.out.name.removesuffix(".jsonl.zst")

    def run(self, tell: Tell) -> dict[str, Any]:
        """Writes all files; the counts."""
        with (
            full_disk_told(self.out.parent, "What was there before"),
            replaced(self.dropped) as dropped,
            replaced(self.out) as out,
        ):
            found = self._counted(tell, out, dropped)
        write_json(self.summary, found)
        return found

    def foreseen(self, tell: Tell) -> dict[str, Any]:
        """The counts of the first documents, `limit` of them, with an example; nothing is written."""
        return self._counted(tell, None, None)

    def _counted(self, tell: Tell, out: BinaryIO | None, dropped: BinaryIO | None) -> dict[str, Any]:
        bad = BadRows()
        reasons: Counter[str] = Counter()
        examples: dict[str, list[str]] = {}
        sizes = Counter(written=0, source_characters=0, characters=0)
        example = ""
        for number, document in enumerate(self.corpus.read(bad), 1):
            if number % _EVERY == 1:
                tell("sketch", number, None, "sources")
            if self.limit is not None and number > self.limit:
                break
            sizes["read"] += 1
            try:
                row = self.row(document)
            except Unsketchable as error:
                reason = str(error)
                reasons[reason] += 1
                if len(examples.setdefault(reason, [])) < _EXAMPLES:
                    examples[reason].append(f"{document.place}: {error.detail}".removesuffix(": "))
                if dropped is not None:
                    dropped.write(_line({"id": document.id, "reason": reason, "detail": error.detail}))
                continue
            example = example or row["text"]
            sizes.update(written=1, source_characters=len(document.text), characters=len(row["text"]))
            if out is not None:
                out.write(_line(row))
        return {
            "settings": {**asdict(self.settings), "write": self.write, "libraries": list(self.libraries)},
            **{name: sizes[name] for name in ("read", "written", "source_characters", "characters")},
            "dropped": dict(reasons.most_common()),
            "dropped_examples": examples,
            "bad_rows": dict(bad.counts),
            "bad_examples": bad.examples,
        } | ({} if out is not None else {"example": example})

    def row(self, document: Document) -> dict[str, Any]:
        """The row of a source; Unsketchable, with the reason, for one that gets none."""
        language = document.meta.get("language", "python")
        if "path" in document.meta and language != "python":
            raise Unsketchable(f"is no Python but {language}")
        source = Source(document.text)
        if self.libraries and not imports_any(source.tree, self.libraries):
            raise Unsketchable(FOREIGN)
        row = {**document.meta, "id": document.id}
        if self.write == "generator":
            found = interleave(document.text, self.settings, source)
            return {**row, "text": found.text, "blocks": found.spans}
        made = edited(document.text, edits(document.text, source, self.settings))
        # The control: the sources that have a sketch, as they are.
        text = document.text if self.write == "sources" else made
        if not made or made.isspace():
            raise Unsketchable(EMPTY)
        return {**row, "text": text}


def _line(row: Mapping[str, Any]) -> bytes:
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS, default=str)
