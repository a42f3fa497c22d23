"""What a result says of suites, as tables of entries that page, Markdown and terminal lay out."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from rewarm.report import wording
from rewarm.report.facts import Entry, Table
from rewarm.report.meanings import FEW_DOCUMENTS
from rewarm.report.part import Verdict
from rewarm.report.suite_parts import AbilityDelta, SuiteMeasure, SuiteRow, Suites, SuiteSet
from rewarm.report.wording import NOISE, counted, listed, share, signed

ABILITIES = {
    "general": "General (GAD)",
    "instruction": "Instructions (IFD)",
    "safety": "Safety (SD)",
    "domain": "Domain",
}
MEANING = (
    "Each suite was asked of every model on the same items; changes are against the untouched base, in points for "
    "shares, and brackets hold the 95% interval (paired bootstrap over items). X-Delta is the mean over an ability's "
    "suites of after minus base, in the suite's headline (marked *), turned so that above 0 is better: GAD for general "
    "ability, IFD for following instructions, SD for safety. A mean hides its worst suite, so that stands beside it."
)


def abilities(suites: Suites) -> Table:
    """X-Delta of every model, a column for each ability."""
    shown = [ability for ability in ABILITIES if any(one.ability == ability for one in suites.abilities)]
    lines = []
    for name, row in dict.fromkeys((one.name, one.row) for one in suites.abilities):
        held: dict[str, AbilityDelta] = {one.ability: one for one in suites.abilities if one.name == name}
        lines.append([_model(name, row), *(_ability(held.get(ability)) for ability in shown)])
    return Table(["Model", *(ABILITIES[ability] for ability in shown)], lines)


def _ability(one: AbilityDelta | None) -> Entry:
    if one is None:
        return Entry("not asked")
    worst, lost = one.worst
    note = f"{_bounds(one.low, one.high, 'share')}, worst of {len(one.suites)}: {worst} {points(lost)}"
    return _marked(points(one.delta), note, one.verdict)


def measured(one: SuiteSet) -> Table:
    """Every measure of each model on a suite, with its change against the base."""
    shown = list(one.better)
    heads = [f"{name.replace('_', ' ')}{'*' if name == one.headline else ''}" for name in shown]
    turns = ["" if one.better[name] == "higher" else " (lower is better)" for name in shown]
    lines = [[_model(row.name, row.row), *(_measure(one, row, name) for name in shown)] for row in one.rows]
    return Table(["Model", *map(str.__add__, heads, turns)], lines)


def headlines(suites: Suites, models: Sequence[str]) -> Table:
    """A line for each suite with its headline, a column for each of some models."""
    lines = []
    for one in suites.sets:
        rows = {row.name: row for row in one.rows}
        cells = [_measure(one, rows[name], one.headline) if name in rows else Entry("not asked") for name in models]
        lines.append([Entry(one.name, one.headline.replace("_", " ")), *cells])
    return Table(["Suite", *models], lines)


def extra(one: SuiteSet) -> str:
    """What the suite found of each model besides its measures, as JSON; empty when nothing."""
    found = {
        row.name: _rounded(row.extra) for row in one.rows if any(value not in (0, None) for value in row.extra.values())
    }
    return json.dumps(found, indent=1, ensure_ascii=False) if found else ""


def _rounded(value: Any) -> Any:
    """The same values with six significant digits, which is more than the items of a suite bear out."""
    if isinstance(value, dict):
        return {key: _rounded(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(held) for held in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _model(name: str, row: str) -> Entry:
    return Entry(name, {"base": "untouched", "stage": ""}.get(row, row))


def _measure(one: SuiteSet, row: SuiteRow, name: str) -> Entry:
    held = row.measures.get(name)
    if held is None:
        return Entry("not asked")
    unit = one.units[name]
    text = value_words(held.value, unit)
    if held.verdict == "base":
        return Entry(text)
    return _marked(text, f"{delta_words(held, unit)} {_bounds(held.low, held.high, unit)}", held.verdict)


def _marked(text: str, note: str, verdict: Verdict) -> Entry:
    return Entry(f"{text} ≈", note) if verdict == NOISE else Entry(text, note, verdict)


def value_words(value: float, unit: str) -> str:
    """`61.3%`, or `0.812` in another unit."""
    if not math.isfinite(value):
        return "no finite number"
    return share(value) if unit == "share" else f"{value:.3f}"


def delta_words(one: SuiteMeasure, unit: str) -> str:
    """`−4.2` points of a share, or `+0.031`."""
    return points(one.delta) if unit == "share" else signed(one.delta, 3)


def points(delta: float) -> str:
    """A change of a share in points: `−4.2`."""
    return signed(100 * delta, 1)


def _bounds(low: float, high: float, unit: str) -> str:
    """`[−6.0, −2.4]`."""
    scale, digits = (100, 1) if unit == "share" else (1, 3)
    return f"[{signed(scale * low, digits)}, {signed(scale * high, digits)}]"


def about(one: SuiteSet) -> str:
    """A sentence on what a suite is."""
    chance = one.rows[0].extra.get("chance")
    guessed = f", {share(chance)} by guessing" if isinstance(chance, float) else ""
    return f"{one.kind.capitalize()}, for {wording.ability(one.ability)}: {counted(one.items, 'item')}{guessed}."


def notes(one: SuiteSet) -> list[str]:
    """What was left out of a suite, and why, and whether its intervals are too few for."""
    found = []
    if one.items < FEW_DOCUMENTS:
        found.append(
            f"{one.name} has only {counted(one.items, 'item')}: below {FEW_DOCUMENTS} the intervals are too narrow."
        )
    found += [f"{counted(count, 'row')} of {one.name} left out: {reason}." for reason, count in one.left_out.items()]
    found += [
        f"{counted(count, 'row')} of {one.name} could not be read: {reason}." for reason, count in one.bad_rows.items()
    ]
    return found


def apart_note(suites: Suites) -> str:
    """Which suites no mean holds, and why; empty when none."""
    if not suites.apart:
        return ""
    is_or_are = "is" if len(suites.apart) == 1 else "are"
    return (
        f"{listed(suites.apart)} {is_or_are} in no X-Delta: the headline is no share, and unlike numbers have no mean."
    )
