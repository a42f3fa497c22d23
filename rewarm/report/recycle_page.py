"""A recycling -> `recycle.html`, one self-contained page: the verdict, the arms, and up to three figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib.style
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.axes import Axes

from rewarm.report.comparison import HEAD, write_whole
from rewarm.report.figures import MARKERS, Panel, blank, with_legend
from rewarm.report.recycling import MEANT, Arm, Recycled, said, worth
from rewarm.report.svg import MUTED, SERIES, STYLE, inline
from rewarm.report.wording import signed, unbroken

_PAGE = """\
<h1>Task weights from one base to the next</h1>
<p>{{ found.tuned }}, tuned on {{ found.old }}, put to use on {{ found.new }}
{%- if found.adapter %} as an adapter{% endif %}; scale {{ found.scale }}.</p>
<p>{{ found.verdict }}</p>
{% if found.kind %}<p>{{ found.rows.train }} rows to train on, {{ found.rows.dev }} to choose by, {{ found.rows.test }}
to test on{% if found.bad_rows %}; left out: {% for reason, count in found.bad_rows.items() %}{{ count }} {{ reason }}
{{- ", " if not loop.last }}{% endfor %}{% endif %}. The old task model on its own base: {{ teacher }} on the test
rows.</p>
{% endif %}<div class="scroll" tabindex="0">
<table>
<thead><tr><th scope="col">way</th><th scope="col">before training</th><th scope="col">steps to the target</th>
<th scope="col">best</th><th scope="col">test</th><th scope="col">against fresh</th></tr></thead>
<tbody>
{% for row in rows %}<tr><th scope="row">{{ row.way }}<span class="note">{{ row.meant }}</span></th>
{% for cell in row.cells %}<td>{{ cell }}</td>
{% endfor %}</tr>
{% endfor %}</tbody>
</table>
</div>
{% for figure in figures %}<figure style="max-width: 34rem; margin: 0">{{ figure.svg }}<figcaption>{{ figure.about }}
</figcaption></figure>
{% endfor %}</body>
</html>
"""


def write(found: Recycled, file: Path) -> None:
    """Writes the page; it appears only whole. StorageError when the disk refuses."""
    write_whole(html(found), file)


def html(found: Recycled) -> str:
    """The page as text; everything from outside is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    panels = [panel for panel in (_courses(found), _sweep(found), _paths(found)) if panel is not None]
    return environment.from_string(HEAD + _PAGE).render(
        title="Recycled task weights",
        found=found,
        teacher="" if found.teacher is None else said(found, worth(found, found.teacher)),
        rows=[
            {"way": arm.way, "meant": MEANT[arm.way], "cells": [unbroken(cell) for cell in cells(found, arm)]}
            for arm in found.arms
        ],
        # The drawings are our own and their text was escaped when they were made.
        figures=[{"svg": Markup(panel.svg), "about": panel.about} for panel in panels],
    )


def cells(found: Recycled, arm: Arm) -> list[str]:
    """An arm as the table shows it, behind its name."""
    if arm.best is None or arm.test is None:
        return ["not scored", "", "", "", ""]
    against = ""
    if arm.against_fresh is not None:
        unit, digits = (100, 1) if found.judged == "accuracy" else (1, 4)
        delta, low, high = (
            unit * value for value in (arm.against_fresh.delta, arm.against_fresh.low, arm.against_fresh.high)
        )
        against = f"{signed(delta, digits)} [{signed(low, digits)}, {signed(high, digits)}]"
    steps = "" if found.target is None else "not reached" if arm.steps_to_target is None else str(arm.steps_to_target)
    return [
        said(found, worth(found, arm.readings[0])),
        steps,
        f"{said(found, worth(found, arm.best))} after {arm.best.step} steps",
        said(found, worth(found, arm.test)),
        against,
    ]


def _unit(found: Recycled) -> str:
    return "share of rows that are right" if found.judged == "accuracy" else "nats a target"


def _panel(
    key: str, title: str, about: str, names: tuple[str, str], lines: Sequence[_Line], target: float | None = None
) -> Panel:
    with matplotlib.style.context(["default", STYLE]):
        size, inside = with_legend(lines=-(-len(lines) // 2), plot=3.0)
        figure, axes = blank(size, inside, *names)
        for number, line in enumerate(lines):
            _draw(axes, number, line)
        if target is not None:
            axes.axhline(target, color=MUTED, linewidth=1.0, linestyle="dotted")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
        return Panel(key, title, about, inline(figure, key, f"{title}. {about}"))


_Line = tuple[str, Sequence[float], Sequence[float]]


def _draw(axes: Axes, number: int, line: _Line) -> None:
    name, x, y = line
    points = [(one, other) for one, other in zip(x, y, strict=True) if math.isfinite(other)]
    axes.plot(
        [one for one, _ in points], [other for _, other in points], MARKERS[number % len(MARKERS)] + "-", label=name,
        color=SERIES[number % len(SERIES)], linewidth=1.4, markersize=4, markevery=max(1, len(points) // 10),
    )  # fmt: skip


def _courses(found: Recycled) -> Panel | None:
    lines: list[_Line] = [
        (arm.way, [one.step for one in arm.readings], [worth(found, one) for one in arm.readings])
        for arm in found.arms
        if arm.readings
    ]
    if not lines:
        return None
    about = "Each way on the development rows while it trains; dotted: the target."
    return _panel("courses", "Tuning", about, ("steps", _unit(found)), lines, found.target)


def _sweep(found: Recycled) -> Panel | None:
    if not found.sweep:
        return None
    scales = [one.scale for one in found.sweep]
    values = [one.accuracy if found.judged == "accuracy" else one.loss for one in found.sweep]
    about = "The new base with the scaled difference, on the development rows: " + "; ".join(
        f"{scale:g}: {said(found, value)}" for scale, value in zip(scales, values, strict=True)
    )
    return _panel(
        "sweep", "Scale", about, ("scale of the difference", _unit(found)), [("carried over", scales, values)]
    )


def _paths(found: Recycled) -> Panel | None:
    if not found.paths:
        return None
    lines: list[_Line] = [(path.way, path.places, path.losses) for path in found.paths]
    about = (
        "Loss on the straight line from the old task model (0) to a new one (1), on the development rows. "
        + "; ".join(f"{path.way}: barrier {path.barrier:.4f} nats" for path in found.paths)
    )
    return _panel("paths", "Path", about, ("place on the line", "nats a target"), lines)
