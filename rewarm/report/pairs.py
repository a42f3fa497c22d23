"""What a result says of pairs of answers, as tables of entries that page, Markdown and terminal lay out."""

from __future__ import annotations

import math

from rewarm.report.facts import Entry, Table
from rewarm.report.pair_parts import PairMeasure, PairMove, PairSet
from rewarm.report.result import Curve, Result
from rewarm.report.wording import NOISE, counted, share, signed

MEANING = (
    "Held-out pairs of answers to one prompt, of which people chose one; they are no part of the matrix of losses. "
    "Margin is what the chosen answer gained in log-probability over what the rejected one gained, in nats, and "
    "accuracy the share of pairs in which it gained more, both since another model; 50% is no move. Log-probabilities "
    "of chosen answers may fall while the margin rises: then both fall, the rejected ones faster. Likelier is the "
    "share of pairs whose chosen answer the model itself finds likelier; answers of other lengths make it a weak "
    "measure. Brackets hold the 95% interval (bootstrap over pairs)."
)
TRAINED = "Of the pairs of one step, against the reference; the margin is multiplied by beta."
_NAMES = {"accuracy": "Accuracy", "margin": "Margin", "chosen": "Log p chosen", "rejected": "Log p rejected"}


def is_told(result: Result) -> bool:
    """Whether there is anything to say of pairs."""
    return bool(result.pairs or trained(result).lines)


def about(one: PairSet) -> str:
    """A sentence on what was scored."""
    left = f"; {counted(one.too_long, 'pair')} more did not fit into seq_len" if one.too_long else ""
    return f"{counted(one.pairs, 'held-out pair')}{left}."


def measured(one: PairSet) -> Table:
    """Every model: a line for each other one it is held against."""
    lines = []
    for row in one.rows:
        kind = {"base": "untouched", "stage": ""}.get(row.row, row.row)
        head = [Entry(row.name, kind), Entry(share(row.prefers))]
        if not row.moves:
            lines.append([*head, *(Entry("") for _ in range(5))])
        lines += [[*head, Entry(move.since), *_move(move)] for move in row.moves]
    return Table(["Model", "Likelier", "Since", "Margin", "Accuracy", "Log p chosen", "Log p rejected"], lines)


def _move(move: PairMove) -> list[Entry]:
    tone = "" if move.verdict == NOISE else move.verdict
    margin = signed(move.margin.value, 2) + (" ≈" if move.verdict == NOISE else "")
    return [
        Entry(margin, _bounds(move.margin), tone),
        Entry(share(move.accuracy.value), _shares(move.accuracy)),
        Entry(signed(move.chosen.value, 2), _bounds(move.chosen)),
        Entry(signed(move.rejected.value, 2), _bounds(move.rejected)),
    ]


def _bounds(one: PairMeasure) -> str:
    return f"[{signed(one.low, 2)}, {signed(one.high, 2)}]" if _bounded(one) else ""


def _shares(one: PairMeasure) -> str:
    return f"[{100 * one.low:.1f}, {100 * one.high:.1f}]" if _bounded(one) else ""


def _bounded(one: PairMeasure) -> bool:
    return math.isfinite(one.low) and math.isfinite(one.high)


def trained(result: Result) -> Table:
    """The readings of each leg that learned from pairs, at its first and at its last logged step."""
    lines = [line for curve in result.curves if "margin" in curve.readings for line in _trained(curve)]
    return Table(["Leg", "Step logged", "Loss", *_NAMES.values()], lines)


def _trained(curve: Curve) -> list[list[Entry]]:
    name = f"{curve.run}: {curve.leg}" if curve.run else curve.leg
    found = []
    for word, at in (("first", 0), ("last", -1)):
        cells = [share(value[at]) if key == "accuracy" else f"{value[at]:.3f}" for key, value in _shown(curve)]
        found.append([Entry(name), Entry(word), Entry(f"{curve.loss[at]:.4f}"), *map(Entry, cells)])
    return found


def _shown(curve: Curve) -> list[tuple[str, list[float]]]:
    return [(key, curve.readings[key]) for key in _NAMES]
