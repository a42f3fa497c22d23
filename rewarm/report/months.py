"""A stream month by month: every stage's model on the text of every stage, as a heat map, and its three means.

A cell is the mean change of loss over the month's watched corpora, as a fraction of the base's loss; below 0 is better.
"""

from __future__ import annotations

from itertools import groupby

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from rewarm.report.figures import Panel, blank
from rewarm.report.result import Months, Result
from rewarm.report.svg import INK, RAISED, STYLE, TONES, inline
from rewarm.report.wording import Change, change, mean_of, percent, signed

MEANINGS = (
    ("Backward", "backward", "on the months before the model's own (below the diagonal)"),
    ("In-month", "in_month", "on the month that the model learned last (the diagonal)"),
    ("Forward", "forward", "on the months after its own (above the diagonal), which it has not seen"),
)
_TITLE = "Month by month"
_WRITTEN = 12
"""With more months, cells are too small for numbers; the table has them."""
_TICKS = 24


def changes(result: Result, months: Months) -> list[list[Change | None]]:
    """A row for each model, a column for each month; None where the model was not scored."""
    rows = {row.name: row for row in result.rows}
    cells: list[list[Change | None]] = []
    for name in months.rows:
        cells.append([])
        for corpora in months.corpora:
            found = [change(result, rows[name], corpus) if name in rows else None for corpus in corpora]
            known = [one for one in found if one is not None]
            cells[-1].append(mean_of(known) if len(known) == len(found) else None)
    return cells


def summary(months: Months) -> list[tuple[str, str, str]]:
    """Name, value and meaning of each of the three means."""
    lines = []
    for count, (name, key, where) in zip(months.cells, MEANINGS, strict=True):
        value: float | None = getattr(months, key)
        said = "not measured: no such cell was scored" if value is None else f"{signed(value, 4)} nats/byte"
        meaning = f"mean over {count} cells of the loss minus the base's, {where}; below 0 is better than the base"
        lines.append((name, said, meaning))
    return lines


def cell(one: Change | None) -> str:
    """`−3.2`: percent of the base's loss; a dash where the model was not scored."""
    return "–" if one is None else percent(one.point, 1).removesuffix("%")


def panel(result: Result) -> Panel | None:
    """The heat map; None for a run of fewer than three stages with a watched corpus each."""
    months = result.months
    if months is None:
        return None
    cells, count = changes(result, months), len(months.names)
    with matplotlib.style.context(["default", STYLE]):
        plot, left, below, top = min(6.4, max(2.4, 0.58 * count)), 1.15, 0.95, 0.08
        width, height = left + plot + 0.1, below + plot + top
        inside = (left / width, below / height, plot / width, plot / height)
        figure, axes = blank((width, height), inside, "text of", "model after")
        _draw(axes, cells)
        _frame(axes, months.names)
        about = "; ".join(f"{name} {value}" for name, value, _ in summary(months))
        return Panel("months", _TITLE, about, inline(figure, "months", f"{_TITLE}. {about}"))


def _draw(axes: Axes, cells: list[list[Change | None]]) -> None:
    """Neighbours of one tone are one rectangle: a hundred months have ten thousand cells."""
    for at, row in enumerate(cells):
        left = 0
        for tone, run in groupby(row, key=_tone):
            width = len(list(run))
            if tone is not None:
                axes.add_patch(Rectangle((left, at), width, 1, facecolor=tone, edgecolor="none"))
            left += width
        axes.add_patch(Rectangle((at, at), 1, 1, facecolor="none", edgecolor=INK, linewidth=1.0))
        if len(cells) <= _WRITTEN:
            for place, one in enumerate(row):
                axes.text(place + 0.5, at + 0.5, cell(one), ha="center", va="center", fontsize=8.5)


def _tone(one: Change | None) -> str | None:
    """The colour of a cell: how far its interval lies on one side of 0, as in the table of models."""
    if one is None:
        return None
    if one.low <= 0 <= one.high:
        return RAISED
    steps = sum(abs(one.point) > limit for limit in (0.01, 0.03, 0.10))
    return TONES["worse" if one.point > 0 else "better"][steps]


def _frame(axes: Axes, names: list[str]) -> None:
    count = len(names)
    shown = range(0, count, -(-count // _TICKS))
    axes.set_xlim(0, count)
    axes.set_ylim(count, 0)
    axes.grid(visible=False)
    turned = 0 if count <= 4 and max(map(len, names)) <= 8 else 45
    labels = [names[place] if len(names[place]) <= 14 else f"{names[place][:13]}…" for place in shown]
    places = [place + 0.5 for place in shown]
    axes.set_xticks(places, labels, rotation=turned, ha="right" if turned else "center", fontsize=8.5)
    axes.set_yticks(places, labels, fontsize=8.5)
    for spine in axes.spines.values():
        spine.set_visible(False)
