"""The path of the models in the plane of what they keep and what they learn, a figure for each set of probes."""

from __future__ import annotations

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rewarm.report.fact_parts import FactRow, FactSet
from rewarm.report.figures import MARKERS, Panel, blank, with_legend
from rewarm.report.result import Result
from rewarm.report.svg import BETTER, INK, MUTED, SERIES, STYLE, inline
from rewarm.report.wording import share

Point = tuple[float, float]
_WORD = 0.18
"""Width that the word in the corner takes, as a share of the axes."""


def paths(result: Result) -> list[Panel]:
    """A figure for each set that asks unchanged facts and changed (or else new) ones."""
    sets = [] if result.facts is None else result.facts.sets
    drawn = ((number, one, learned(one)) for number, one in enumerate(sets))
    return [_path(result, number, one, kind) for number, one, kind in drawn if kind is not None]


def learned(one: FactSet) -> str | None:
    """The kind of facts that the upward axis shows; None when a set has no two kinds to set against each other."""
    cells = one.rows[0].cells
    kinds = [kind for kind in ("changed", "new") if kind in cells]
    return kinds[0] if kinds and "unchanged" in cells else None


def _path(result: Result, number: int, one: FactSet, kind: str) -> Panel:
    points = {row.name: _point(row, kind) for row in one.rows}
    controls = [row for row in one.rows if row.row == "control"]
    with matplotlib.style.context(["default", STYLE]):
        size, inside = with_legend(lines=-(-(2 + len(controls)) // 2))
        figure, axes = blank(size, inside, "unchanged facts: known", f"{kind} facts: known")
        _draw(axes, result, one, points)
        for place, row in enumerate(controls, 1):
            _join(axes, [points["base"], points[row.name]], SERIES[place % len(SERIES)], (0, (1, 2)))
            axes.plot(
                *([value] for value in points[row.name]), MARKERS[place % len(MARKERS)], label=row.name,
                color=SERIES[place % len(SERIES)], markersize=7.5, markerfacecolor="none", markeredgewidth=1.7,
            )  # fmt: skip
        _frame(axes, points["base"])
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
        about = "; ".join(f"{name}: unchanged {share(x)}, {kind} {share(y)}" for name, (x, y) in points.items())
        key = f"facts-{number}"
        return Panel(key, one.name, about, inline(figure, key, f"Facts of {one.name} that are known. {about}"))


def _point(row: FactRow, kind: str) -> Point:
    return row.cells["unchanged"].known or 0.0, row.cells[kind].known or 0.0


def _draw(axes: Axes, result: Result, one: FactSet, points: dict[str, Point]) -> None:
    """The main run: from the base through its stages, numbered; a release hangs on its stage by a dashed line."""
    stages = [row for row in one.rows if row.row == "stage"]
    _join(axes, [points["base"], *(points[row.name] for row in stages)], SERIES[0], "solid")
    for row in (row for row in one.rows if row.row == "release"):
        trunk = row.name.removesuffix("-release")
        _join(axes, [points.get(trunk, points["base"]), points[row.name]], SERIES[0], "dashed")
        axes.plot(*([value] for value in points[row.name]), "o", color=SERIES[0], markersize=5, markerfacecolor="none")
    if stages:
        columns = zip(*(points[row.name] for row in stages), strict=True)
        axes.plot(*columns, "o", color=SERIES[0], markersize=6, label="this run, by stage")
    order = [row.name for row in result.rows if row.kind == "stage"]
    places: dict[Point, list[str]] = {}
    for row in stages:
        places.setdefault(points[row.name], []).append(str(order.index(row.name) + 1))
    for place, numbers in places.items():
        axes.annotate(", ".join(numbers), place, (5, 5), textcoords="offset points", color=MUTED, fontsize=9)
    axes.plot(
        *([value] for value in points["base"]), "x", color=INK, markersize=8, markeredgewidth=1.6, label="base",
        linestyle="none",
    )  # fmt: skip


def _join(axes: Axes, through: list[Point], colour: str, style: str | tuple[int, tuple[float, ...]]) -> None:
    axes.plot(*zip(*through, strict=True), color=colour, linewidth=1.4, linestyle=style)


def _frame(axes: Axes, base: Point) -> None:
    """Both axes in percent, with a margin, and where a model knows more of both than the base."""
    axes.margins(0.1)
    for axis, (low, high), grow in (
        (axes.xaxis, axes.get_xlim(), axes.set_xlim),
        (axes.yaxis, axes.get_ylim(), axes.set_ylim),
    ):
        spread = max(high - low, 0.02)
        grow(max(-0.02, min(low, high - spread)), min(1.02, max(high, low + spread)))
        axis.set_major_locator(MaxNLocator(5))
        axis.set_major_formatter(FuncFormatter(_tick))
    right, top = axes.get_xlim()[1], axes.get_ylim()[1]
    axes.fill_between([base[0], right], base[1], top, color=BETTER, linewidth=0, zorder=0)
    # Upright where the place is too narrow for the word, so that it stands in its own colour, beside no point.
    narrow = (right - base[0]) / (right - axes.get_xlim()[0]) < _WORD
    axes.text(
        0.985 if narrow else 0.975, 0.965, "better", transform=axes.transAxes, color=MUTED, style="italic",
        ha="right", va="top", rotation=90 if narrow else 0,
    )  # fmt: skip


def _tick(value: float, _: object) -> str:
    """Percent; nothing in the margins, where no share can be."""
    return f"{100 * value:.4g}%" if -1e-9 < value < 1 + 1e-9 else ""
