"""A comparison of variants -> one self-contained page: what it says, the figure, the table, what tuning tried."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib.style
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.axes import Axes

from rewarm.quantities import clock, short
from rewarm.report import arm_transfers
from rewarm.report.arms import AGAINST, LEGEND, ArmRow, Comparison, Measured, against, measured, reading
from rewarm.report.comparison import HEAD, write_whole
from rewarm.report.figures import MARKERS, Panel, blank, percent_axes, with_legend
from rewarm.report.svg import INK, MUTED, SERIES, STYLE, inline
from rewarm.report.wording import percent

_PAGE = """\
<h1>Variants compared</h1>
<p>{{ reading }}</p>
{% if panel %}<figure style="max-width: 46rem; margin: 0">{{ svg }}<figcaption>{{ panel.title }}.
The line is the sweep of learning rates; a hollow marker is the random control of the method of its colour; bars are the
wider of the two 95% intervals.{% if panel.about %} No point: {{ panel.about }}.{% endif %}</figcaption></figure>
{% endif %}<div class="scroll" tabindex="0">
<table>
<thead><tr><th scope="col">arm</th><th scope="col">old text</th><th scope="col">new text</th>
<th scope="col">against the learning rates</th><th scope="col">new tokens</th><th scope="col">training</th>
<th scope="col">cost</th></tr></thead>
<tbody>
{% for row in rows %}<tr><th scope="row">{{ row.name }}</th>
{% for cell in row.cells %}<td>{{ cell[0] }}
{% for note in cell[1:] %}<span class="note">{{ note }}</span>{% endfor %}</td>
{% endfor %}<td>{{ row.tokens }}</td><td>{{ row.time }}</td><td>{{ row.cost }}</td></tr>
{% endfor %}</tbody>
</table>
</div>
<p>{{ legend }}</p>
<p>{{ against }}</p>
<p>Cost: seconds per token against plain training with the same seed, median over seeds; what a method
measures before it trains is not in it. New tokens: those that were not replay.</p>
{% if tried %}<h2>What tuning tried</h2>
<p>On a seed of its own; the value that forgets least against the learning rates went on.</p>
<div class="scroll" tabindex="0">
<table>
<thead><tr><th scope="col">arm</th><th scope="col">tried</th><th scope="col">old text</th><th scope="col">new text</th>
<th scope="col">against the learning rates</th></tr></thead>
<tbody>
{% for one in tried %}<tr><th scope="row">{{ one.tuned }}</th><td>{{ one.name }}{{ " (chosen)" if one.chosen }}</td>
<td>{{ one.old|percent }}</td><td>{{ one.new|percent }}</td>
<td>{{ "beyond the sweep" if one.distance is none else one.distance|percent }}</td></tr>
{% endfor %}</tbody>
</table>
</div>
{% endif %}{% if transfers %}<h2>Transfer between stages</h2>
<p>{{ transfer_legend }}</p>
{% for table in transfers %}<div class="scroll" tabindex="0">
<table>
<thead><tr>{% for word in table.head %}<th scope="col">{{ word }}</th>{% endfor %}</tr></thead>
<tbody>
{% for line in table.lines %}<tr>{% for cell in line %}{% if loop.first %}<th scope="row">{{ cell.text }}</th>
{% else %}<td>{{ cell.text }}{% if cell.note %}<span class="note">{{ cell.note }}</span>{% endif %}</td>
{% endif %}{% endfor %}</tr>
{% endfor %}</tbody>
</table>
</div>
{% endfor %}{% endif %}{% if notes %}<h2>Notes</h2>
<ul>{% for note in notes %}<li>{{ note }}</li>{% endfor %}</ul>
{% endif %}</body>
</html>
"""


def write(comparison: Comparison, folder: Path) -> None:
    """Writes comparison.json and comparison.html; StorageError when the disk refuses."""
    write_whole(comparison.model_dump_json(indent=1) + "\n", folder / "comparison.json")
    write_whole(html(comparison), folder / "comparison.html")


def html(comparison: Comparison) -> str:
    """The page as text."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.filters.update(percent=percent)
    rows: list[dict[str, Any]] = [
        {
            "name": arm.name,
            "cells": [measured(arm.old), measured(arm.new), against(arm)],
            "tokens": short(arm.runs[0].new_tokens),
            "time": clock(arm.seconds),
            "cost": f"{arm.cost:.2f}×",
        }
        for arm in comparison.arms
    ]
    panel = pareto(comparison)
    return environment.from_string(HEAD + _PAGE).render(
        title="Variants compared",
        reading=reading(comparison),
        rows=rows,
        panel=panel,
        # The drawing is our own and its text was escaped when it was made.
        svg=Markup(panel.svg) if panel is not None else None,
        legend=LEGEND,
        against=AGAINST,
        tried=comparison.tried,
        notes=comparison.notes,
        transfers=[arm_transfers.table(held), arm_transfers.each(held)] if (held := comparison.transfers()) else [],
        transfer_legend=arm_transfers.LEGEND,
    )


def pareto(comparison: Comparison) -> Panel | None:
    """Old text against new: the sweep as a line, methods as markers, random controls hollow in their method's colour.

    None when every arm diverged: an arm without a finite loss is no point, and named in the words beside.
    """
    finite = [arm for arm in comparison.arms if math.isfinite(arm.old.point) and math.isfinite(arm.new.point)]
    if not finite:
        return None
    shown = _near(finite)
    others = [arm for arm in shown if arm.kind != "sweep"]
    across = 1 if any(len(arm.name) > 24 for arm in others) else 2
    with matplotlib.style.context(["default", STYLE]):
        size, inside = with_legend(-(-(len(others) + 2) // across), plot=4.4)
        figure, axes = blank(size, inside, "old text: change of loss", "new text: change of loss")
        axes.axhline(0, color=MUTED, linewidth=0.8)
        axes.axvline(0, color=MUTED, linewidth=0.8)
        axes.plot([0], [0], "x", color=INK, markersize=8, markeredgewidth=1.6, label="base", linestyle="none")
        _draw_sweep(axes, [arm for arm in comparison.sweep() if arm in finite])
        methods = [arm.name for arm in comparison.arms if arm.kind == "variant"]
        for arm in others:
            _draw(axes, arm, methods.index(arm.control_of or arm.name))
        percent_axes(axes)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.52 / 4.4), ncols=across)
        points = [f"{arm.name}: old {percent(arm.old.point)}, new {percent(arm.new.point)}" for arm in finite]
        aside = [f"{arm.name} diverged" for arm in comparison.arms if arm not in finite]
        aside += [f"not drawn, far outside: {arm.name}" for arm in finite if arm not in shown]
        title = "Old text against new text"
        # Who cannot see the drawing hears every point; the page beside it has them in its table.
        svg = inline(figure, "arms-figure", f"{title}. {'; '.join([*points, *aside])}")
        return Panel("arms-figure", title, "; ".join(aside), svg)


def _near(arms: list[ArmRow]) -> list[ArmRow]:
    """The arms without the random controls that lie so far off that the rest would be one spot."""
    others = [arm for arm in arms if arm.kind != "control"]
    bounds = []
    for values in ([arm.old.point for arm in others], [arm.new.point for arm in others]):
        low, high = min([0.0, *values]), max([0.0, *values])
        margin = 0.2 * (high - low)
        bounds.append((low - margin, high + margin))
    (left, right), (bottom, top) = bounds
    return [
        arm
        for arm in arms
        if arm.kind != "control" or (left <= arm.old.point <= right and bottom <= arm.new.point <= top)
    ]


def _draw_sweep(axes: Axes, sweep: list[ArmRow]) -> None:
    old, new = [arm.old.point for arm in sweep], [arm.new.point for arm in sweep]
    axes.plot(old, new, ".-", color=MUTED, linewidth=1.4, markersize=7, label="learning rates")
    # Neighbours are written on either side, so that they do not cover each other where the sweep turns back.
    for place, arm in enumerate(sorted(sweep, key=lambda one: one.new.point)):
        _bars(axes, arm, MUTED)
        right = place % 2 == 0
        axes.annotate(
            f"×{arm.factor:g}", (arm.old.point, arm.new.point), (4 if right else -4, 4), textcoords="offset points",
            ha="left" if right else "right", color=MUTED, fontsize=8,
        )  # fmt: skip


def _draw(axes: Axes, arm: ArmRow, index: int) -> None:
    """Colour and marker run through 36 pairs before one comes again."""
    colour, marker = SERIES[index % len(SERIES)], MARKERS[(index + index // len(SERIES)) % len(MARKERS)]
    _bars(axes, arm, colour)
    axes.plot(
        [arm.old.point], [arm.new.point], marker, color=colour, label=arm.name, markersize=7.5, markeredgewidth=1.7,
        markerfacecolor="none" if arm.kind == "control" else colour,
    )  # fmt: skip


def _bars(axes: Axes, arm: ArmRow, colour: str) -> None:
    old, new = [arm.old.point], [arm.new.point]
    axes.errorbar(old, new, xerr=_bar(arm.old), yerr=_bar(arm.new), fmt="none", ecolor=colour, elinewidth=1.1)


def _bar(one: Measured) -> list[list[float]] | None:
    held = one.wider()
    return [[held.point - held.low], [held.high - held.point]] if held.bounded else None
