"""What a selection leaves on disk: the chosen documents, those chosen by chance, and a line on every document.

Shapes: D documents of the pool.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from rewarm.corpora.rows import EVERY
from rewarm.corpora.sources import FieldCorpus
from rewarm.river.stale_documents import Text
from rewarm.selection import Column, Judged
from rewarm.selection.budget import CHOSEN, WHY, Choice
from rewarm.storage import replaced
from rewarm.tokens.shards import Store
from rewarm.types import Document, Tell, UserError

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

SUFFIX = ".jsonl.zst"
MOST_SOURCES = 1000
"""Values of the source field that are counted apart; the rest is counted together."""
OTHERS, WITHOUT = "(others)", "(none)"
_ROWS = 4096


class Selected(Protocol):
    """A choice with what led to it."""

    @property
    def values(self) -> Mapping[str, Column]:
        """The numbers of each part of the method (D,)."""

    @property
    def judged(self) -> Judged:
        """Scores of all documents."""

    @property
    def choice(self) -> Choice:
        """What was chosen by them."""

    @property
    def chance(self) -> Choice:
        """As many tokens, chosen by chance."""


@dataclass(frozen=True, slots=True)
class Output:
    """Where the parts of a selection lie."""

    chosen: Path
    control: Path
    provenance: Path
    summary: Path

    @classmethod
    def of(cls, out: Path) -> Output:
        """Beside the file of the chosen documents; UserError for one of another kind."""
        if not out.name.endswith(SUFFIX) or out.name == SUFFIX:
            raise UserError(f"--out {out}: the file is packed; give a name that ends with {SUFFIX}")
        stem = out.name.removesuffix(SUFFIX)
        return cls(
            out, *(out.with_name(f"{stem}{end}") for end in (f"-random{SUFFIX}", ".provenance.parquet", ".json"))
        )


@dataclass(slots=True)
class _Sources:
    """Documents and tokens by the value of a field, in the pool and in both choices."""

    name: str
    counts: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)

    def add(self, document: Document, tokens: int, where: tuple[str, ...]) -> None:
        """Counts one document."""
        value = document.meta.get(self.name)
        source = WITHOUT if value is None else str(value)
        if source not in self.counts and len(self.counts) >= MOST_SOURCES:
            source = OTHERS
        held = self.counts.setdefault(source, {"documents": Counter(), "tokens": Counter()})
        for place in where:
            held["documents"][place] += 1
            held["tokens"][place] += tokens

    def told(self) -> list[dict[str, Any]]:
        """One entry for each source, the largest in the pool first."""
        order = sorted(self.counts.items(), key=lambda item: (-item[1]["tokens"]["pool"], item[0]))
        places = ("pool", "chosen", "random")
        return [
            {"source": source, **{what: {place: held[what][place] for place in places} for what in held}}
            for source, held in order
        ]


def write(
    output: Output, text: Text, selected: Selected, facts: Mapping[str, Any], source_field: str, tell: Tell
) -> dict[str, Any]:
    """Reads the pool once more and writes all files but the summary, which is returned.

    Files appear under their names only when whole. UserError when a text is no longer the one that was scored.
    """
    store, sources = text.store, _Sources(source_field)
    is_chosen_D, by_chance_D = selected.choice.why_D == CHOSEN, selected.chance.why_D == CHOSEN
    with ExitStack() as stack:
        files = {
            "chosen": stack.enter_context(replaced(output.chosen)),
            "random": stack.enter_context(replaced(output.control)),
        }
        provenance = stack.enter_context(_Provenance(stack.enter_context(replaced(output.provenance)), selected, facts))
        lengths_D = store.lengths
        rows = enumerate(text.read((EVERY,)))
        while numbers := list(islice(rows, _ROWS)):
            first = numbers[0][0]
            tell(f"write what was chosen of {text.name}", int(store.offsets[first]), int(store.tokens), "tokens")
            for number, document in numbers:
                marks = {"chosen": bool(is_chosen_D[number]), "random": bool(by_chance_D[number])}
                where = tuple(name for name, marked in marks.items() if marked)
                sources.add(document, int(lengths_D[number]), ("pool", *where))
                for name in where:
                    files[name].write(_line(text, document))
            provenance.add(first, [document.id for _, document in numbers], lengths_D)
    return {**facts, **_summary(store, selected), "sources": sources.told(), "files": _names(output)}


def _line(text: Text, document: Document) -> bytes:
    """A document with its id and every field of its row, as a line of JSON."""
    name = text.corpus.text_field if isinstance(text.corpus, FieldCorpus) else "text"
    return orjson.dumps({"id": document.id, name: document.text, **document.meta}, default=str) + b"\n"


class _Provenance:
    """A Parquet file with a row for each document of the pool; settings and hashes are in its metadata."""

    def __init__(self, file: BinaryIO, selected: Selected, facts: Mapping[str, Any]) -> None:
        self.file = file
        self.selected = selected
        self.facts = facts
        self._writer: pyarrow.parquet.ParquetWriter | None = None

    def __enter__(self) -> _Provenance:
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, first: int, ids: list[str], lengths_D: NDArray[np.int64]) -> None:
        """Writes the documents from `first` on."""
        import pyarrow
        import pyarrow.parquet

        here = slice(first, first + len(ids))
        judged, choice = self.selected.judged, self.selected.choice
        asides = ("", *judged.reasons)
        columns: dict[str, Any] = {
            "id": ids,
            "tokens": lengths_D[here],
            **{name: column[here] for name, column in self.selected.values.items()},
            "score": judged.score_D[here],
            "aside": [asides[code] for code in judged.aside_D[here]],
            "quantile": choice.quantile_D[here],
            "key": choice.key_D[here],
            "rank": choice.rank_D[here],
            "chosen": choice.why_D[here] == CHOSEN,
            "why": [WHY[code] for code in choice.why_D[here]],
            "random": self.selected.chance.why_D[here] == CHOSEN,
        }
        table = pyarrow.table(columns).replace_schema_metadata({"rewarm": json.dumps(self.facts)})
        if self._writer is None:
            self._writer = pyarrow.parquet.ParquetWriter(self.file, table.schema, compression="zstd")
        self._writer.write_table(table)


def _summary(store: Store, selected: Selected) -> dict[str, Any]:
    choice, chance, lengths_D = selected.choice, selected.chance, store.lengths
    masks = {
        "pool": np.ones(store.documents, bool), "chosen": choice.why_D == CHOSEN, "random": chance.why_D == CHOSEN,
    }  # fmt: skip
    both_D = masks["chosen"] & masks["random"]
    columns = {**selected.values, "score": selected.judged.score_D}
    return {
        **{
            place: {
                "documents": int(mask_D.sum()),
                "tokens": int(lengths_D[mask_D].sum()),
                "mean": {name: _mean(column[mask_D]) for name, column in columns.items()},
            }
            for place, mask_D in masks.items()
        },
        "budget": choice.budget,
        "of_tokens": choice.of_tokens,
        "why": choice.counts(),
        "aside": selected.judged.counts(),
        "aside_chosen": int((masks["chosen"] & (selected.judged.aside_D > 0)).sum()),
        "in_random_too": {"documents": int(both_D.sum()), "tokens": int(lengths_D[both_D].sum())},
    }


def _mean(column: Column) -> float | None:
    """The mean of what is a number; None when nothing is."""
    known = column[np.isfinite(column)]
    return float(known.mean()) if len(known) else None


def _names(output: Output) -> dict[str, str]:
    return {
        "chosen": str(output.chosen), "random": str(output.control), "provenance": str(output.provenance),
        "summary": str(output.summary),
    }  # fmt: skip
