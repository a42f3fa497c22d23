"""Two snapshots of facts -> a file of probes and a summary beside it, in memory that hardly grows with the snapshots.

Facts are sorted on disk (in `<output>.work`, from which the same command goes on after a stop), compared in one walk,
filtered one by one, aligned with texts, capped, and written. The same input gives the same bytes.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import orjson

from rewarm.corpora.faults import check_budget
from rewarm.facts import Snapshot, Tally
from rewarm.facts.sorting import merged, sort_facts
from rewarm.probes import KINDS, Kind
from rewarm.probes.alignment import Pages, align
from rewarm.probes.candidates import Candidates, word_of
from rewarm.probes.caps import Capped
from rewarm.probes.comparing import Change, Seen, compare
from rewarm.probes.writing import Wording, identity, write_probes
from rewarm.storage import replaced, stored
from rewarm.types import Tell, UserError

OVERLAP = "object in its subject, or subject in its object"
TOO_LONG = "object of too many words"
READS_THE_SAME = "old and new object read the same"
NOT_SAMPLED = "not in the sample"
_TELL_EVERY = 1 << 14


@dataclass(frozen=True)
class Building(Wording):
    """How probes are made: their wording, and what is kept.

    `max_words` is the longest object in words (None: any), `overlap` keeps objects that contain their subject or are
    contained in it; `sample` is the share of the facts of a kind that is kept, `caps` the share that one subject,
    relation or object may have of each kind; `pages` are the texts that must state the facts; `bad_limit` is the share
    of rows that may be bad.
    """

    overlap: bool = False
    max_words: int | None = 5
    sample: Mapping[Kind, float] = field(default_factory=dict)
    caps: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    pages: tuple[Pages, ...] = ()
    bad_limit: float = 0.001


def build(old: Snapshot, new: Snapshot, output: Path, how: Building, tell: Tell) -> dict[str, Any]:
    """Writes the probes of what became of each fact from `old` to `new`; the summary, which is also written.

    UserError when a snapshot holds no fact, no probe is left or too many rows are bad.
    """
    for name, snapshot in (("old", old), ("new", new)):
        # Both before either is sorted, which may take hours: wrong names of fields show at the first fact.
        first = Tally(watch=lambda what, done: tell("look for a fact", done, None, "bytes"))
        if next(iter(snapshot.sample(first)), None) is None:
            check_held(name, snapshot, first, how.bad_limit)
    work = output.with_name(f"{output.name}.work")
    summary: dict[str, Any] = {}
    sorted_facts = {}
    for name, snapshot in (("old", old), ("new", new)):
        sorted_facts[name], tally = sort_facts(snapshot, work / name, partial(_tell_of, tell, name))
        check_held(name, snapshot, tally, how.bad_limit)
        summary[name] = told_of(tally)
    seen = {"old": Seen(), "new": Seen()}
    with _spooled(work / "candidates") as file:
        candidates = Candidates(file, bool(how.pages))
        changes = compare(merged(sorted_facts["old"]), merged(sorted_facts["new"]), how.as_published, seen)
        summary["changes"] = _filtered(changes, candidates, how, tell)
        summary["articles"] = [told_of(align(candidates, pages, tell)) for pages in how.pages]
        candidates.drop_twins()
        summary["notes"] = _capped(candidates, how)
        with replaced(output) as written:
            asked = candidates.asked(how.as_published)
            summary |= write_probes(asked, how, written.write)
            if not sum(summary["probes"].values()):
                raise UserError(_none_left(summary, candidates))
    for name, count in seen.items():
        summary[name] |= asdict(count)
    summary["dropped"] = {kind: dict(sorted(counts.items())) for kind, counts in candidates.dropped.items()}
    with replaced(summary_file(output)) as written:
        written.write(orjson.dumps(summary, option=orjson.OPT_INDENT_2) + b"\n")
    shutil.rmtree(work, ignore_errors=True)
    return summary


def _tell_of(tell: Tell, name: str, what: str, done: float, total: float | None, unit: str) -> None:
    tell(f"{name} snapshot: {what}", done, total, unit)


def check_held(name: str, snapshot: Snapshot, tally: Tally, bad_limit: float) -> None:
    """UserError when a snapshot that was read holds no fact, or more than the share `bad_limit` of its rows is bad."""
    if tally.rows == tally.total + tally.left_out.total():
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in (tally.counts + tally.left_out).most_common())
        raise UserError(
            f"{name}: no fact in {snapshot.files()[0]} ({reasons or 'no row'}), read as {snapshot.method_name()}. Give "
            "the type and the names of the fields in braces, such as {type: triples, path: facts.csv, subject_field: s}"
        )
    check_budget(name, tally, bad_limit)


def summary_file(output: Path) -> Path:
    """Where the summary of a file of probes lies."""
    return output.with_name(f"{output.name.removesuffix('.zst').removesuffix('.jsonl')}.summary.json")


def told_of(tally: Tally) -> dict[str, Any]:
    """What reading a source counted, as a summary has it."""
    return {
        "rows": tally.rows,
        "left_out": dict(sorted(tally.left_out.items())),
        "bad_rows": dict(sorted(tally.counts.items())),
        "bad_examples": tally.examples,
    }


@contextmanager
def _spooled(path: Path) -> Iterator[Any]:
    with stored(f"candidates to '{path}'"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w+b") as file:
            os.unlink(path)  # it goes with the process, however that ends
            yield file


def _filtered(changes: Iterator[Change], candidates: Candidates, how: Building, tell: Tell) -> dict[Kind, int]:
    """Keeps the changes that pass every filter of a single fact; how many there were of each kind."""
    found: Counter[Kind] = Counter()
    for number, change in enumerate(changes):
        if number % _TELL_EVERY == 0:
            tell("compare", number, None, "facts")
        found[change.kind] += 1
        reason = fault_of(change, how)
        if reason:
            candidates.dropped[change.kind][reason] += 1
        else:
            candidates.add(change)
    return {kind: found[kind] for kind in KINDS}


def fault_of(change: Change, how: Building) -> str | None:
    """Why a fact makes no good probe; None if it may."""
    subject, text = change.subject.casefold(), change.object.casefold()
    if not how.overlap and (text in subject or subject in text):
        return OVERLAP
    if how.max_words is not None and len(change.object.split()) > how.max_words:
        return TOO_LONG
    if text in (old.casefold() for old in change.old):
        return READS_THE_SAME
    share = how.sample.get(change.kind, 1.0)
    if share < 1 and word_of(str(how.seed), "sample", change.subject_id, change.relation) >= share * 2**64:
        return NOT_SAMPLED
    return None


def _capped(candidates: Candidates, how: Building) -> list[str]:
    """Drops what the caps do not keep; what to know of kinds of which they keep nothing."""
    if not how.caps:
        return []
    tables = {kind: Capped(how.caps) for kind in KINDS}
    for asked in candidates.asked(how.as_published):
        objects = ((2, word_of(text)) for text in asked.objects)
        words = [(0, word_of(asked.subject)), (1, word_of(asked.relation)), *objects]
        rows = min(how.paraphrases, len(how.templates.of(asked.relation)))
        tables[asked.kind].add(word_of(str(how.seed), identity(asked, how.as_published)), words, rows)
    over = {kind: table.over() for kind, table in tables.items()}
    places: Counter[Kind] = Counter()
    for asked in candidates.asked(how.as_published):
        cap = over[asked.kind][places[asked.kind]]
        places[asked.kind] += 1
        for number in asked.numbers if cap else ():
            candidates.drop(number, f"cap of its {cap}")
    return [_emptied(kind, tables[kind], how) for kind, caps in over.items() if caps and all(caps)]


def _emptied(kind: Kind, table: Capped, how: Building) -> str:
    """Why caps keep no probe of a kind, and which would."""
    told = []
    for name, share in how.caps.items():
        needed = ceil(1 / Fraction(str(share))) if share else 0
        held = table.distinct(name)
        if not share or held < needed:
            told.append(
                f"a cap of {share:.3g} for one {name} takes {needed or 'endless'} of them, and there are {held}"
            )
    why = "; ".join(told) or "the facts are spread too unevenly for them"
    return f"{kind}: the caps keep no probe: {why}. Raise --subject-cap, --relation-cap or --object-cap."


def _none_left(summary: Mapping[str, Any], candidates: Candidates) -> str:
    if not any(summary["changes"].values()):
        return "the snapshots hold no fact to compare: check their files and the names of their fields"
    reasons: Counter[str] = Counter()
    for counts in candidates.dropped.values():
        reasons.update(counts)
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
    return " ".join([f"no probe is left; facts dropped: {dropped}. Loosen what drops most of them.", *summary["notes"]])
