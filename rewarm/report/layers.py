"""CKA of every layer of every model with the base, as a heat map: models down, layers across."""

from __future__ import annotations

from itertools import groupby

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from rewarm.report.figures import Panel, blank
from rewarm.report.suite_parts import SuiteRow, SuiteSet
from rewarm.report.svg import RAISED, STYLE, TONES, inline

KIND = "similarity"
_WRITTEN = 16
"""With more layers, cells are too small for numbers; the suite's measures and `extra` have them."""
_TICKS = 24
_LIMITS = (0.99, 0.95, 0.8, 0.5)
"""Where a cell gets darker, from the layer as it was to one that has little left of it."""


def panel(one: SuiteSet) -> Panel | None:
    """The heat map of a suite of similarity; None for another suite, or before any model but the base was asked."""
    rows = [row for row in one.rows if row.row != "base" and row.extra.get("layers")]
    if one.kind != KIND or not rows:
        return None
    layers = [str(name) for name in rows[0].extra["layers"]]
    with matplotlib.style.context(["default", STYLE]):
        wide, high = min(6.4, max(2.4, 0.55 * len(layers))), min(6.4, max(0.9, 0.42 * len(rows)))
        left, below, top = 1.6, 0.95, 0.08
        width, height = left + wide + 0.1, below + high + top
        inside = (left / width, below / height, wide / width, high / height)
        figure, axes = blank((width, height), inside, "", "model after")
        _draw(axes, rows)
        _frame(axes, [row.name for row in rows], layers)
        said = [f"{row.name} from {min(known):.2f} to {max(known):.2f}" for row in rows if (known := _known(row))]
        title, key = f"{one.name}: CKA of each layer with the base", f"layers-{one.name}"
        about = f"1 is the layer as it was. {'; '.join(said)}"
        return Panel(key, title, about, inline(figure, key, f"{title}. {about}"))


def _known(row: SuiteRow) -> list[float]:
    return [value for value in row.extra["cka"] if value is not None]


def _draw(axes: Axes, rows: list[SuiteRow]) -> None:
    """Neighbours of one tone are one rectangle: a deep model and a long stream have thousands of cells."""
    for at, row in enumerate(rows):
        left = 0
        for colour, run in groupby(row.extra["cka"], key=tone):
            width = len(list(run))
            axes.add_patch(Rectangle((left, at), width, 1, facecolor=colour, edgecolor="none"))
            left += width
        if len(row.extra["cka"]) <= _WRITTEN:
            for place, value in enumerate(row.extra["cka"]):
                text = "–" if value is None else f"{value:.2f}"
                axes.text(place + 0.5, at + 0.5, text, ha="center", va="center", fontsize=8.5)


def tone(value: float | None) -> str:
    """The colour of a cell: that of loss, darker the less of the layer is left."""
    steps = 0 if value is None else sum(value < limit for limit in _LIMITS)
    return TONES["worse"][steps - 1] if steps else RAISED


def _frame(axes: Axes, models: list[str], layers: list[str]) -> None:
    axes.set_xlim(0, len(layers))
    axes.set_ylim(len(models), 0)
    axes.grid(visible=False)
    shown = range(0, len(layers), -(-len(layers) // _TICKS))
    axes.set_xticks([place + 0.5 for place in shown], [layers[place] for place in shown], rotation=45, ha="right")
    rows = range(0, len(models), -(-len(models) // _TICKS))
    names = [name if len(name) <= 18 else f"{name[:17]}…" for name in models]
    axes.set_yticks([place + 0.5 for place in rows], [names[place] for place in rows])
    axes.tick_params(labelsize=8.5)
    for spine in axes.spines.values():
        spine.set_visible(False)
