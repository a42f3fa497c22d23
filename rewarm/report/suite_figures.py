"""What became of every suite, as dots with intervals: one line for each suite, one mark for each final model."""

from __future__ import annotations

import math

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rewarm.report.figures import MARKERS, Panel
from rewarm.report.result import Result
from rewarm.report.suite_parts import SuiteMeasure, SuiteSet
from rewarm.report.suites import points
from rewarm.report.svg import BETTER, INK, MUTED, SERIES, STYLE, inline
from rewarm.report.wording import control_rows, signed

_LONGEST_NAME = 26


def panel(result: Result) -> Panel | None:
    """Change of each suite's headline in points, above 0 better; None without a trained model or a suite in shares."""
    sets = [] if result.suites is None else [one for one in result.suites.sets if one.units[one.headline] == "share"]
    models = [row.name for row in (result.final(), *control_rows(result)) if row.kind != "base"]
    shown = [one for one in sets if any(_of(one, model) for model in models)]
    if not shown:
        return None
    with matplotlib.style.context(["default", STYLE]):
        figure, axes = _blank(len(shown), len(models))
        axes.axvline(0, color=MUTED, linewidth=0.8)
        for index, model in enumerate(models):
            _dots(axes, shown, model, index, len(models), result.final().name)
        _frame(axes, shown)
        axes.legend(loc="upper center", bbox_to_anchor=(0.4, -0.55 / (0.42 * len(shown) + 0.3)), ncols=2)
        said = [f"{one.name} {_said(one, result.final().name)}" for one in shown]
        title = "What became of each suite"
        about = f"final model against the base, in points: {', '.join(said)}"
        return Panel("suites-figure", title, about, inline(figure, "suites-figure", f"{title}. {about}"))


def _blank(suites: int, models: int) -> tuple[Figure, Axes]:
    plot, wide, left, right, top = 0.42 * suites + 0.3, 2.7, 2.3, 0.25, 0.1
    below = 0.7 + 0.21 * -(-models // 2)
    width, height = left + wide + right, top + plot + below
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((left / width, below / height, wide / width, plot / height))
    axes.set_xlabel("change of the headline, points; right is better")
    axes.tick_params(length=3)
    return figure, axes


def _of(one: SuiteSet, model: str) -> SuiteMeasure | None:
    row = next((row for row in one.rows if row.name == model and row.row != "base"), None)
    return None if row is None else row.measures.get(one.headline)


def _turned(one: SuiteSet, held: SuiteMeasure) -> tuple[float, float, float]:
    """Change and bounds in points, above 0 for better."""
    turn = 100 if one.better[one.headline] == "higher" else -100
    low, high = sorted((turn * held.low, turn * held.high))
    return turn * held.delta, low, high


def _dots(axes: Axes, shown: list[SuiteSet], model: str, index: int, models: int, final: str) -> None:
    colour, marker = SERIES[index % len(SERIES)], MARKERS[index % len(MARKERS)]
    label: str | None = "this run" if model == final else model
    for place, one in enumerate(shown):
        held = _of(one, model)
        if held is None or not math.isfinite(held.delta):
            continue
        change, low, high = _turned(one, held)
        # Models stand above each other inside their suite's line.
        height = place + (index - (models - 1) / 2) * min(0.18, 0.7 / models)
        bounded = math.isfinite(low) and math.isfinite(high)
        axes.errorbar(
            [change], [height], xerr=[[change - low], [high - change]] if bounded else None, fmt=marker, color=colour,
            label=label, markersize=6, markerfacecolor=colour if index == 0 else "none", markeredgewidth=1.5,
            elinewidth=1.2,
        )  # fmt: skip
        label = None


def _frame(axes: Axes, shown: list[SuiteSet]) -> None:
    names = [one.name if len(one.name) <= _LONGEST_NAME else f"{one.name[: _LONGEST_NAME - 1]}…" for one in shown]
    axes.set_yticks(range(len(shown)), [f"{name} ({one.ability})" for name, one in zip(names, shown, strict=True)])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    left, right = axes.get_xlim()
    spread = max(right - left, 2.0)
    axes.set_xlim(min(left, -0.1 * spread), max(right, 0.1 * spread))
    axes.fill_betweenx([-0.5, len(shown) - 0.5], 0, axes.get_xlim()[1], color=BETTER, linewidth=0, zorder=0)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: signed(value, 1) if value else "0"))
    axes.tick_params(axis="y", labelcolor=INK)


def _said(one: SuiteSet, final: str) -> str:
    held = _of(one, final)
    return "not asked" if held is None else points(_turned(one, held)[0] / 100)
