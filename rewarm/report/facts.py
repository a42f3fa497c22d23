"""What a result says of facts, as tables of entries that page, Markdown and terminal lay out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from rewarm.evaluation.fuar import is_asked, words
from rewarm.report.fact_parts import FactCell, FactMeasure, FactRatio, FactRow, Facts, FactSet, FactShare, FactTotal
from rewarm.report.meanings import FEW_DOCUMENTS
from rewarm.report.wording import NOISE, counted, listed, share, signed

METRICS = {
    "nats_per_byte": "Nats per byte",
    "rank_1": "Likeliest answer",
    "exact": "Writes it",
    "prefers_new": "Prefers the new",
    "stale": "Writes the old",
    "chosen": "Chooses it",
}
"""Metrics of rewarm.evaluation.fact_summary, as columns."""
_DELETED = {"old_nats_per_byte": "Old answer, nats per byte", "stale": "Writes the old"}
"""There is no other answer to a fact that holds no longer."""
HELD = {"unchanged": "Unchanged: kept", "changed": "Changed: learned", "new": "New: learned"}
_IN_NATS = ("nats_per_byte", "old_nats_per_byte")
_RATIOS = {"exact": "by what it writes", "rank_1": "by rank"}
_TASKS = {"invariant": "Unchanged (IL)", "updated": "Changed (UL)", "new": "New (NL)"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One cell of a table: `note` is what is told smaller, `tone` better, worse or nothing."""

    text: str
    note: str = ""
    tone: str = ""

    def __str__(self) -> str:
        said = ", ".join(filter(None, [self.note, self.tone]))
        return f"{self.text} ({said})" if said else self.text


@dataclass(frozen=True, slots=True)
class Table:
    """A table with the names of models at the left."""

    head: list[str]
    lines: list[list[Entry]]


def known(one: FactSet) -> Table:
    """What each model kept and learned of a set; in the base's line, what it knows already."""
    kinds = [kind for kind in HELD if kind in one.rows[0].cells]
    lines = [[_model(row), *(_held(row, kind) for kind in kinds)] for row in one.rows]
    return Table(["Model", *(HELD[kind] for kind in kinds)], lines)


def _model(row: FactRow | FactTotal) -> Entry:
    return Entry(row.name, "untouched" if row.row == "base" else "" if row.row == "stage" else row.row)


def _held(row: FactRow, kind: str) -> Entry:
    cell = row.cells[kind]
    if row.row == "base":
        return Entry(f"knows {share(cell.known or 0.0)}", f"of {cell.facts:,}")
    return Entry("nothing to measure") if cell.held is None else Entry(share(cell.held.value), bounds(cell.held))


def bounds(one: FactShare) -> str:
    """`[58.1, 66.0] of 430`, in percent; without the interval where it is not bounded."""
    if not (math.isfinite(one.low) and math.isfinite(one.high)):
        return f"of {one.facts:,}"
    return f"[{100 * one.low:.1f}, {100 * one.high:.1f}] of {one.facts:,}"


def measured(one: FactSet, kind: str) -> Table:
    """Every metric of each model on the facts of a kind, with its change against the base."""
    cells = [row.cells[kind] for row in one.rows]
    heads = _DELETED if kind == "deleted" else METRICS
    shown = [name for name in heads if any(name in cell.measures for cell in cells)]
    lines = [
        [_model(row), *(_measure(name, cell.measures.get(name)) for name in shown)]
        for row, cell in zip(one.rows, cells, strict=True)
    ]
    return Table(["Model", *(heads[name] for name in shown)], lines)


def _measure(name: str, one: FactMeasure | None) -> Entry:
    if one is None:
        return Entry("not asked")
    in_nats = name in _IN_NATS
    text = f"{one.value:.3f}" if in_nats else share(one.value)
    if one.verdict == "base":
        return Entry(text)
    scale, digits = (1, 3) if in_nats else (100, 1)
    delta, low, high = (signed(scale * part, digits) for part in (one.delta, one.low, one.high))
    note = f"{delta} [{low}, {high}]"
    return Entry(f"{text} ≈", note) if one.verdict == NOISE else Entry(text, note, one.verdict)


def apart(one: FactSet) -> Table:
    """The same metrics over the facts alone that measure something, by kind."""
    lines = []
    kinds = [kind for kind in HELD if kind in one.rows[0].cells]
    for kind in kinds:
        for row in one.rows:
            cell = row.cells[kind]
            if cell.held is not None:
                lines.append([Entry(kind), _model(row), Entry(f"{cell.held.facts:,}"), *_values(cell)])
    return Table(["Kind", "Model", "Facts", *(METRICS[name] for name in _APART)], lines)


_APART = ("nats_per_byte", "rank_1", "exact", "prefers_new", "stale")


def _values(cell: FactCell) -> Iterator[Entry]:
    for name in _APART:
        value = cell.apart.get(name)
        yield Entry("" if value is None else f"{value:.3f}" if name in _IN_NATS else share(value))


def ratios(facts: Facts) -> Table:
    """FUAR of every trained model since the base, and of each stage against all models before it, with its scores."""
    lines = []
    for total in facts.totals:
        if total.row != "base":
            kinds = [("since the base", total.ratios), ("against every model before", total.along)]
            for since, found in kinds:
                for metric, ratio in found.items():
                    said = f"{since}, {_RATIOS[metric]}"
                    lines.append([Entry(total.name, said), Entry(ratio_words(ratio)), *_tasks(ratio)])
    return Table(["Model", "FUAR", *_TASKS.values()], lines)


def ratio_words(ratio: FactRatio) -> str:
    """`0.28`, `0.00 (vacuous)`, `no gain` or `not asked`."""
    return words(ratio.value, ratio.vacuous, is_asked(ratio.invariant, ratio.updated, ratio.new))


def _tasks(ratio: FactRatio) -> Iterator[Entry]:
    for task in _TASKS:
        pairs: list[tuple[float, float] | None] = getattr(ratio, task)
        told = [f"{share(before)} to {share(after)}" for before, after in filter(None, pairs)]
        yield Entry("; ".join(told) or "not asked")


def about(one: FactSet) -> str:
    """One or two sentences on what a set asks, and what of it the base knew before."""
    cells = one.rows[0].cells
    counts = [f"{cell.facts:,} {kind}" for kind, cell in cells.items()] or ["0"]
    stage = f", new with stage {one.stage}" if one.stage is not None else ""
    knows = [f"{count:,} {kind}" for kind, count in one.base_knows.items()]
    said = f"{listed(counts)} facts{stage}."
    return f"{said} The base already knows {listed(knows)} ones." if knows else said


def notes(one: FactSet) -> list[str]:
    """What was left out of a set, and why, and what its intervals are too few for."""
    few = [f"{cell.facts:,} {kind}" for kind, cell in one.rows[0].cells.items() if cell.facts < FEW_DOCUMENTS]
    found = []
    if few:
        found.append(
            f"{one.name} asks only {listed(few)} facts: below {FEW_DOCUMENTS} the intervals are too narrow, and what "
            "they tell from noise may be noise."
        )
    if one.again:
        found.append(
            f"{counted(one.again, 'fact')} of {one.name} changed again with a later stage, by what its own set says: "
            "left out, because the answers are out of date."
        )
    for reason, count in one.left_out.items():
        found.append(f"{counted(count, 'row')} of {one.name} left out: {reason}.")
    for reason, count in one.bad_rows.items():
        found.append(f"{counted(count, 'row')} of {one.name} could not be read: {reason}.")
    return found
