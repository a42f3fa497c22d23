"""How a result is put into words: changes against the base, numbers as text, and the verdict sentence."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rewarm.quantities import short
from rewarm.report.part import Verdict
from rewarm.report.result import Cell, Column, Result, Row, ShareOf

NOISE: Verdict = "not distinguishable from noise"
SYMBOLS: dict[Verdict, str] = {"better": "▼", "worse": "▲", NOISE: "≈", "base": ""}
_NAMED_AT_MOST = 3


@dataclass(frozen=True, slots=True)
class Change:
    """A change of loss as a fraction of the base's loss (below 0 is better), with the bounds of its interval."""

    point: float
    low: float
    high: float

    @property
    def bounded(self) -> bool:
        """Whether the interval is finite."""
        return math.isfinite(self.low) and math.isfinite(self.high)


def change(result: Result, row: Row, column: str) -> Change | None:
    """The change of one model on one watch corpus; None where it was not scored."""
    cell, base = row.cells.get(column), result.rows[0].cells.get(column)
    if cell is None or base is None:
        return None
    return Change(cell.relative, _over(cell.low, base.loss), _over(cell.high, base.loss))


def _over(bound: float, base: float) -> float:
    return bound / base if base else math.copysign(math.inf, bound) if bound else 0.0


def mean_change(result: Result, row: Row, role: Literal["old", "new"]) -> Change | None:
    """The mean of a model's changes over the columns of a role; None where it was scored on none of them."""
    found = [change(result, row, column.name) for column in result.columns if column.role == role]
    changes = [one for one in found if one is not None]
    return mean_of(changes) if changes else None


def mean_of(changes: Sequence[Change]) -> Change:
    """The mean of at least one change on as many watch corpora.

    Watch corpora share no documents, so their errors are independent: the half-widths add in squares.
    """
    count = len(changes)
    point = sum(one.point for one in changes) / count
    below = math.sqrt(sum((one.point - one.low) ** 2 for one in changes)) / count
    above = math.sqrt(sum((one.high - one.point) ** 2 for one in changes)) / count
    return Change(point, point - below, point + above)


def columns(result: Result, role: Literal["old", "new"] | None = None) -> list[Column]:
    """Watch corpora in the order they are shown: old text first, then new; only one role if it is given."""
    ordered = [column for wanted in ("old", "new") for column in result.columns if column.role == wanted]
    return [column for column in ordered if role in (None, column.role)]


def own_rows(result: Result) -> list[Row]:
    """The base and the models of the main run."""
    return [row for row in result.rows if row.kind != "control"]


def control_rows(result: Result) -> list[Row]:
    """The last models of the control runs."""
    return [row for row in result.rows if row.kind == "control"]


def methods(result: Result, row: Row) -> str:
    """What held the old while a model of the main run was trained, and its adapter: `ewc + ema, lora`; may be empty."""
    plans = [] if row.kind == "control" else [one for one in result.plan.get("stages", ()) if one["name"] == row.stage]
    held = [" + ".join(one["type"] for one in plan.get("retention") or ()) for plan in plans]
    adapters = [plan["adapter"]["type"] for plan in plans if plan.get("adapter")]
    return ", ".join(word for word in (*held, *adapters) if word)


def hashes(result: Result) -> dict[str, str]:
    """Every hash of the run by name, those of its corpora included."""
    return {**{f"corpus {facts.name}": facts.hash for facts in result.corpora}, **result.hashes}


def signed(number: float, digits: int) -> str:
    """`+1.25` or `−1.25` with a true minus sign; `n/a` for no number."""
    if math.isnan(number):
        return "n/a"
    if math.isinf(number):
        return "+∞" if number > 0 else "−∞"
    text = f"{number:+.{digits}f}"
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", "−")


def percent(fraction: float, digits: int = 2) -> str:
    """`−8.25%`."""
    return signed(100 * fraction, digits) + ("%" if math.isfinite(fraction) else "")


def point(one: Change) -> str:
    """The point estimate as it is printed beside its interval: `−12.3%`."""
    return percent(one.point, _digits(one))


def interval(one: Change) -> str:
    """`[−12.7, −11.9]`, in percent of the base's loss."""
    return f"[{signed(100 * one.low, _digits(one))}, {signed(100 * one.high, _digits(one))}]"


def _digits(one: Change) -> int:
    """Two decimals, but one where ten percent is reached; the same for a point and its bounds."""
    return 1 if any(0.1 <= abs(part) < math.inf for part in (one.point, one.low, one.high)) else 2


def percent_with_interval(one: Change | None) -> str:
    """`−12.3% [−12.7, −11.9]`, or `not scored`."""
    return "not scored" if one is None else f"{point(one)} {interval(one)}"


def passes(count: float) -> str:
    """How often a corpus was gone through: `0.92`, or `<0.01` where two decimals would say never."""
    return "<0.01" if 0 < count < 0.005 else f"{count:.2f}"


def unbroken(text: str) -> str:
    """The text with no place for a line to end inside the brackets of an interval or around its ±."""
    return re.sub(r"\[[^\[\]]*\]| ± ", lambda found: found[0].replace(" ", "\u00a0"), text)


def share(fraction: float) -> str:
    """`4.9%`, unsigned."""
    return f"{100 * fraction:.1f}%"


def learned(one: ShareOf) -> str:
    """`, 1.2K of them learned` where only the answers are; else nothing."""
    return "" if one.learned is None else f", {short(one.learned)} of them learned"


def nats(loss: float) -> str:
    """A loss in nats per byte with four decimals."""
    return f"{loss:.4f}" if math.isfinite(loss) else "no finite loss"


def counted(number: int, noun: str) -> str:
    """`1 stage`, `2 stages`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, or `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def state(result: Result) -> str:
    """One sentence on how far the run came: `After 2 stages and 40M tokens.`, or that it stopped before its end."""
    stages = sum(row.kind == "stage" for row in result.rows)
    planned = len(result.plan.get("stages", ())) or stages
    tokens = short(result.final().tokens)
    if result.complete:
        return f"After {counted(stages, 'stage')} and {tokens} tokens"
    return f"This run is not complete. After {stages} of {counted(planned, 'planned stage')} and {tokens} tokens"


def verdict_sentence(result: Result) -> str:
    """What the final model learned and what it forgot against the base, in plain words with 95% intervals."""
    final = result.final()
    if final.kind == "base":
        unfinished = "" if result.complete else "This run is not complete. "
        return f"{unfinished}No stage has finished yet: only the untouched base was scored."
    learned = _clauses(result, final, "new")
    kept = _clauses(result, final, "old")
    sentences = [
        f"{state(result)}, the model {'; it '.join(learned)}."
        if learned
        else f"{state(result)}, what the model learned is not known: no new corpus was scored.",
        f"On old text it {'; it '.join(kept)}."
        if kept
        else "What it forgot is not known: no corpus of old text was scored.",
        facts_sentence(result),
        suites_sentence(result),
    ]
    return " ".join(filter(None, sentences))


def facts_sentence(result: Result) -> str:
    """What the final model learned and kept of the facts that were asked, or nothing where none was."""
    totals = [] if result.facts is None else result.facts.totals
    held = next((total.held for total in totals if total.name == result.final().name), {})
    said = {kind: f"{share(one.value)} of {one.facts:,} {kind} ones" for kind, one in held.items()}
    learned = [text for kind, text in said.items() if kind != "unchanged"]
    clauses = []
    if learned:
        clauses.append(f"it learned {listed(learned)} that the base did not know")
    if "unchanged" in said:
        clauses.append(f"it kept {said['unchanged']} that the base knew")
    return f"Of the facts asked, {' and '.join(clauses)}." if clauses else ""


_ABILITIES = {
    "general": "general ability",
    "instruction": "following instructions",
    "safety": "safety",
    "domain": "the domain's tasks",
}


def ability(word: str) -> str:
    """What a suite is a measure of, inside a sentence."""
    return _ABILITIES[word]


def suites_sentence(result: Result) -> str:
    """What became of the final model's abilities, or nothing where none was asked."""
    means = [] if result.suites is None else result.suites.abilities
    said = []
    for one in (one for one in means if one.name == result.final().name):
        low, high = signed(100 * one.low, 1), signed(100 * one.high, 1)
        worst = f", worst {one.worst[0]} {signed(100 * one.worst[1], 1)}" if len(one.suites) > 1 else ""
        said.append(f"{ability(one.ability)} {signed(100 * one.delta, 1)} [{low}, {high}]{worst}")
    return f"Over its suites, in points against the base: {'; '.join(said)}." if said else ""


_CLAUSES: dict[tuple[str, Verdict], str] = {
    ("new", "better"): "learned {}",
    ("new", NOISE): "shows no change beyond noise on {}",
    ("new", "worse"): "got worse on {}, which it was to learn",
    ("old", "worse"): "forgot some of {}",
    ("old", NOISE): "shows no change beyond noise on {}",
    ("old", "better"): "got better on {}",
}


def _clauses(result: Result, row: Row, role: Literal["old", "new"]) -> list[str]:
    clauses = []
    for (wanted, verdict), words in _CLAUSES.items():
        if wanted == role:
            cells = ((column.name, row.cells.get(column.name)) for column in columns(result, role))
            names = [name for name, cell in cells if cell is not None and cell.verdict == verdict]
            if names:
                clauses.append(words.format(_named(result, row, names)))
    return clauses


def _named(result: Result, row: Row, names: Iterable[str]) -> str:
    """`web (+2.10% [+1.80, +2.40])` for the largest changes; the rest are counted, with their range."""
    found = {name: one for name in names if (one := change(result, row, name)) is not None}
    ordered = sorted(found, key=lambda name: -abs(found[name].point))
    shown = [f"{name} ({percent_with_interval(found[name])})" for name in ordered[:_NAMED_AT_MOST]]
    rest = [found[name].point for name in ordered[_NAMED_AT_MOST:]]
    if rest:
        span = percent(rest[0]) if len(rest) == 1 else f"{percent(min(rest))} to {percent(max(rest))}"
        shown.append(f"{len(rest)} more ({span})")
    return listed(shown)


def strength(cell: Cell) -> int:
    """How far a cell is coloured, 0 to 4: 0 for noise and the base, else up to 1, 3, 10 percent, and beyond."""
    if cell.verdict not in ("better", "worse"):
        return 0
    size = abs(cell.relative)
    return 1 + sum(size > limit for limit in (0.01, 0.03, 0.10))


def title(result: Result) -> str:
    """The base's name for a heading: a hub name whole, of a folder's path the last two parts."""
    parts = [part for part in result.base.replace("\\", "/").split("/") if part]
    return "/".join(parts[-2:]) or result.base
