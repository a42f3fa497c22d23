"""Sources -> a store of entities with their edges, and all that was met on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from rewarm.corpora import faults
from rewarm.records.deletion import Gone
from rewarm.records.entities import Maker
from rewarm.records.flattening import Dropped
from rewarm.records.guessing import Survey, settled, survey
from rewarm.records.reading import rows
from rewarm.records.spec import Spec
from rewarm.records.store import Filling, Measure, Store, byte_length
from rewarm.types import BadRows, UserError

NOTHING = "no text in the record"
WITHOUT = "asked to be left out"


@dataclass(slots=True)
class Reading:
    """What was met while sources were read, by source: bad rows, what was dropped of good ones; and who is gone."""

    gone: Gone
    bad: dict[str, BadRows] = field(default_factory=dict)
    dropped: dict[str, Dropped] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be built. Entities whose id, alone or as `source:id`, is in `without` are left out; `most_rows` of
    each source are read, all with None; `measure` is the length that the spec's limit counts."""

    spec: Spec
    without: frozenset[str] = frozenset()
    measure: Measure = byte_length
    most_rows: int | None = None


def surveyed(spec: Spec) -> tuple[Spec, dict[str, Survey]]:
    """The spec with nothing left to guess, and what its sources were seen to hold."""
    seen = {name: survey(source) for name, source in spec.sources.items()}
    return settled(spec, seen), seen


def build(question: Question, file: Path, look: Callable[[int], None] = lambda done: None) -> tuple[Store, Reading]:
    """The store of a settled spec, with its texts in `file`; `look` is told the rows read so far.

    UserError when a source has more bad rows than the spec allows, among all its rows.
    """
    spec = question.spec
    filling = Filling(file, spec, question.measure)
    reading = Reading(Gone(question.without))
    done = 0
    try:
        for name, source in spec.sources.items():
            bad = reading.bad[name] = BadRows()
            maker = Maker(name, spec, reading.dropped.setdefault(name, Dropped()))
            for row in islice(rows(source, bad), question.most_rows):
                done += 1
                look(done)
                identity, reason = maker.identity(row)
                if not reason and not filling.seen.add(f"{name}\x1f{identity}"):
                    reason = faults.DUPLICATE_ID
                if reason:
                    bad.add(reason, row.place)
                    continue
                entity = maker.entity(row, identity)
                if reading.gone.takes(name, identity, entity.title):
                    bad.left_out[WITHOUT] += 1
                elif not entity.nodes:
                    bad.left_out[NOTHING] += 1
                else:
                    filling.add(entity)
            if question.most_rows is None:
                faults.check_budget(name, bad, spec.bad_rows)
                _refuse_empty(name, bad, reading.dropped[name])
    finally:
        filling.close()
    return filling.store(), reading


def _refuse_empty(name: str, bad: BadRows, dropped: Dropped) -> None:
    """UserError when rows were read and none of them has anything to write."""
    if bad.rows and bad.left_out[NOTHING] == bad.rows - bad.total - bad.left_out[WITHOUT]:
        first = ((count, reason, dropped.examples[reason][0]) for reason, count in dropped.counts.items())
        told = ", ".join(f"{count:,} {reason} ({place})" for count, reason, place in first)
        raise UserError(
            f"source '{name}': none of {bad.rows:,} rows has text that can be written. Dropped: {told or 'nothing'}. "
            "See its fields with --dry-run, and look at 'fields', 'drop', 'keep' and 'flat_separators'"
        )
