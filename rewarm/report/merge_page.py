"""A merge -> `merge.html`, one self-contained page with the figure of old against new, and `merge.json` beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.style
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.axes import Axes

from rewarm.report.comparison import HEAD, write_whole
from rewarm.report.figures import Panel, blank, percent_axes, with_legend
from rewarm.report.frontier import Merge, MergePoint
from rewarm.report.result import Cell
from rewarm.report.svg import INK, MUTED, SERIES, STYLE, inline
from rewarm.report.wording import SYMBOLS, Change, interval, nats, percent, point

_PAGE = """\
<h1>Chosen: {{ found.choice }}</h1>
<p>{{ found.method }} of {{ found.stage }}, from {{ found.run }}</p>
<p>{{ found.reason }}</p>
{% if against %}<p>Against {{ found.stage }} as it is:
{% for one in against %}{{ one.corpus }} {{ one.change|point }} {{ one.change|interval }}{{ ", " if not loop.last }}
{%- endfor %}.</p>
{% endif %}{% if figure %}<figure style="max-width: 32rem; margin: 0">{{ figure }}</figure>
<p>Mean change of loss per byte against the base, which is the cross: right of it old text was forgotten, below it new
text was learned. The dotted line joins the points that no other beats on both. Numbers are weights of the sweep.</p>
{% endif %}<h2>Every point</h2>
<p>Change against the base with its 95% interval, and the loss in nats per byte. The choice was made on these same
documents, so its own numbers are a little too good: confirm it on text that was not watched.</p>
<div class="scroll" tabindex="0">
<table>
<thead><tr><th scope="col">model</th>
{% for column in found.columns %}<th scope="col">{{ column.name }}<span class="note">{{ column.role }}</span></th>
{% endfor %}<th scope="col">old</th><th scope="col">new</th><th scope="col">mean</th><th scope="col">frontier</th></tr>
</thead>
<tbody>
{% for row in rows %}<tr><th scope="row">{{ row.point.name }}
{% if row.point.untouched %}<span class="note">as it is</span>{% endif %}
{% if row.point.name == found.choice %}<span class="note">chosen</span>{% endif %}</th>
{% for one in row.cells %}<td>{{ one.symbol }} {{ one.change|point }}<span class="note">{{ one.change|interval }}</span>
<span class="note">{{ one.cell.loss|nats }}</span></td>
{% endfor %}<td>{{ "" if row.point.old is none else row.point.old|percent }}</td>
<td>{{ "" if row.point.new is none else row.point.new|percent }}</td>
<td>{{ row.point.mean|percent }}</td><td>{{ "yes" if row.point.frontier else "" }}</td></tr>
{% endfor %}</tbody>
</table>
</div>
{% if found.barrier %}<h2>Barrier along the sweep</h2>
<p>{% for corpus, height in found.barrier.items() %}{{ corpus }} {{ height|nats }}{{ ", " if not loop.last }}
{%- endfor %} nats per byte: how far the loss rises above the straight line between its two ends. Near 0 both ends
lie in one basin; where it is large, merges between them are worse than both.</p>
{% endif %}<h2>What was merged</h2>
<p>{% if found.density is not none %}Density {{ found.density }}, seed {{ found.seed }}. {% endif %}
SHA-256 of the weights, and what wrote this: rewarm {{ found.rewarm }}.</p>
<div class="scroll" tabindex="0">
<table><tbody>
{% for name, hash in found.parts.items() %}<tr><th scope="row">{{ name }}</th><td><code>{{ hash }}</code></td></tr>
{% endfor %}</tbody></table>
</div>
</body>
</html>
"""


def write(found: Merge, folder: Path) -> Path:
    """Writes merge.json and merge.html into `folder` and returns the page's path; each appears only whole.

    StorageError when the disk refuses.
    """
    write_whole(found.model_dump_json(indent=1) + "\n", folder / "merge.json")
    page = folder / "merge.html"
    write_whole(html(found), page)
    return page


def html(found: Merge) -> str:
    """The page as text; everything from outside is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.filters.update(nats=nats, percent=percent, point=point, interval=interval)
    panel = figure(found)
    return environment.from_string(HEAD + _PAGE).render(
        title=f"{found.method} of {found.stage}",
        found=found,
        # The drawing is our own and its text was escaped when it was made.
        figure=Markup(panel.svg) if panel is not None else None,
        rows=[{"point": one, "cells": _cells(found, one.cells)} for one in found.points],
        against=_cells(found, found.against_stage) if found.against_stage else [],
    )


def _cells(found: Merge, cells: Mapping[str, Cell]) -> list[dict[str, object]]:
    shown = []
    for column in found.columns:
        cell = cells[column.name]
        shown.append({"corpus": column.name, "cell": cell, "change": as_change(cell), "symbol": SYMBOLS[cell.verdict]})
    return shown


def as_change(cell: Cell) -> Change:
    """The change of a cell, with its interval, as fractions of the loss it is held against."""
    before = cell.loss - cell.delta
    return Change(cell.relative, cell.low / before, cell.high / before)


def figure(found: Merge) -> Panel | None:
    """Mean change on old text against new, the base at the origin; None without both kinds of text."""
    points = [
        (one, one.old, one.new)
        for one in found.points
        if one.old is not None and one.new is not None and math.isfinite(one.old) and math.isfinite(one.new)
    ]
    if not points:
        return None
    with matplotlib.style.context(["default", STYLE]):
        size, inside = with_legend(lines=3)
        drawing, axes = blank(size, inside, "old text: change of loss", "new text: change of loss")
        axes.axhline(0, color=MUTED, linewidth=0.8)
        axes.axvline(0, color=MUTED, linewidth=0.8)
        sweep = sorted((one.weight, old, new) for one, old, new in points if one.weight is not None)
        if sweep:
            axes.plot([x for _, x, _ in sweep], [y for _, _, y in sweep], color=MUTED, linewidth=1.2, label="sweep")
            _weights(axes, sweep)
        _marks(axes, "merged", [(x, y) for one, x, y in points if not one.untouched], "o", SERIES[0])
        _marks(axes, "untouched", [(x, y) for one, x, y in points if one.untouched], "s", SERIES[2])
        front = sorted((x, y) for one, x, y in points if one.frontier)
        axes.plot(
            [x for x, _ in front], [y for _, y in front], "o", color=SERIES[0], markersize=4, linestyle=(0, (1, 1.2)),
            linewidth=1.6, label="Pareto frontier",
        )  # fmt: skip
        _marks(axes, "chosen", [(x, y) for one, x, y in points if one.name == found.choice], "D", SERIES[1], 12)
        axes.plot([0], [0], "x", color=INK, markersize=8, markeredgewidth=1.6, label="base", linestyle="none")
        percent_axes(axes)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
        about = "; ".join(_spoken(found, one) for one, _, _ in points)
        title = "Old text against new text"
        return Panel("merge-figure", title, about, inline(drawing, "merge-figure", f"{title}. {about}"))


def _marks(
    axes: Axes, label: str, at: Sequence[tuple[float, float]], marker: str, colour: str, size: float = 8
) -> None:
    if at:
        axes.plot(
            [x for x, _ in at], [y for _, y in at], marker, color=colour, label=label, markersize=size,
            markerfacecolor="none", markeredgewidth=1.7, linestyle="none",
        )  # fmt: skip


def _weights(axes: Axes, sweep: Sequence[tuple[float, float, float]]) -> None:
    """Writes the weight beside every few points, so that the direction of the curve can be read."""
    for weight, x, y in sweep[:: max(1, len(sweep) // 5)]:
        axes.annotate(f"{weight:g}", (x, y), (7, 4), textcoords="offset points", color=MUTED, fontsize=8)


def _spoken(found: Merge, one: MergePoint) -> str:
    marks = [*(["on the frontier"] if one.frontier else []), *(["chosen"] if one.name == found.choice else [])]
    told = f"{one.name}: old {percent(one.old or 0.0)}, new {percent(one.new or 0.0)}"
    return f"{told} ({', '.join(marks)})" if marks else told
