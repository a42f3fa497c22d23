"""The report's figures: old text against new, the training curves, and the probes of each watch corpus."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rewarm.quantities import short
from rewarm.report.result import Curve, Probe, Result, Row
from rewarm.report.svg import BETTER, INK, MUTED, SERIES, STYLE, inline
from rewarm.report.wording import Change, columns, control_rows, mean_change, percent

# A run is told apart by dash and marker as well, for readers who cannot rely on colour.
_DASHES: tuple[str | tuple[int, tuple[float, ...]], ...] = (
    "solid", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)), (0, (9, 3)),
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P")
_PANEL = ((4.3, 2.75), (0.19, 0.17, 0.78, 0.74))


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure: `key` is unique on the page, `svg` is the drawing, `about` says in words what it shows."""

    key: str
    title: str
    about: str
    svg: str


def runs(result: Result) -> list[str]:
    """The runs with a curve or a probe, the main one (`""`) first: their order is their colour and dash."""
    found = dict.fromkeys([*(curve.run for curve in result.curves), *(probe.run for probe in result.probes)])
    return sorted(found, key=lambda run: run != "")


def pareto(result: Result) -> Panel | None:
    """Change of loss on old text against new text, one point per final model; None without both kinds of text."""
    named = [(row, "this run" if row is result.final() else row.name) for row in _last_rows(result)]
    points = [
        (name, old, new)
        for row, name in named
        if (old := mean_change(result, row, "old")) and (new := mean_change(result, row, "new"))
        if math.isfinite(old.point) and math.isfinite(new.point)
    ]
    if not points:
        return None
    with matplotlib.style.context(["default", STYLE]):
        wide = max(len(name) for name, _, _ in points) > 24
        across = 1 if wide else 2
        size, inside = with_legend(lines=-(-(len(points) + 1) // across))
        figure, axes = blank(size, inside, "old text: change of loss", "new text: change of loss")
        axes.axhline(0, color=MUTED, linewidth=0.8)
        axes.axvline(0, color=MUTED, linewidth=0.8)
        axes.plot([0], [0], "x", color=INK, markersize=8, markeredgewidth=1.6, label="base", linestyle="none")
        for index, (name, old, new) in enumerate(points):
            _point(axes, index, name, old, new)
        percent_axes(axes)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=across)
        about = "; ".join(f"{name}: old {percent(old.point)}, new {percent(new.point)}" for name, old, new in points)
        title = "Old text against new text"
        return Panel("pareto-figure", title, about, inline(figure, "pareto-figure", f"{title}. {about}"))


def with_legend(lines: int, plot: float = 3.2) -> tuple[tuple[float, float], tuple[float, float, float, float]]:
    """Size and axes, in inches and shares, of a square figure with a legend of so many lines below."""
    below, above, left, right = 0.72 + 0.21 * lines, 0.1, 0.82, 0.24
    height, width = plot + below + above, left + plot + right
    return (width, height), (left / width, below / height, plot / width, plot / height)


def _last_rows(result: Result) -> Iterator[Row]:
    final = result.final()
    if final.kind != "base":
        yield final
    yield from control_rows(result)


def _point(axes: Axes, index: int, name: str, old: Change, new: Change) -> None:
    colour, marker = SERIES[index % len(SERIES)], MARKERS[index % len(MARKERS)]
    axes.errorbar(
        [old.point], [new.point], xerr=_error(old), yerr=_error(new), fmt="none", ecolor=colour, elinewidth=1.2
    )
    axes.plot(
        [old.point], [new.point], marker, color=colour, label=name, markersize=9 if index == 0 else 7.5,
        markerfacecolor=colour if index == 0 else "none", markeredgewidth=1.7,
    )  # fmt: skip


def _error(one: Change) -> list[list[float]] | None:
    return [[one.point - one.low], [one.high - one.point]] if one.bounded else None


def percent_axes(axes: Axes) -> None:
    """Both axes around 0 in percent, with room for the corner where a model is better on old and on new text."""
    formatter = FuncFormatter(lambda value, _: f"{100 * value:+.4g}%".replace("-", "−") if value else "0")
    for axis, (low, high), grow in (
        (axes.xaxis, axes.get_xlim(), axes.set_xlim),
        (axes.yaxis, axes.get_ylim(), axes.set_ylim),
    ):
        spread = max(high - low, 0.005)
        grow(min(low - 0.08 * spread, -0.22 * spread), max(high, 0) + 0.08 * spread)
        axis.set_major_formatter(formatter)
        axis.set_major_locator(MaxNLocator(5))
    left, bottom = axes.get_xlim()[0], axes.get_ylim()[0]
    axes.fill_between([left, 0], bottom, 0, color=BETTER, linewidth=0, zorder=0)
    axes.text(0.025, 0.025, "better", transform=axes.transAxes, color=MUTED, style="italic")


def curves(result: Result) -> list[Panel]:
    """Training loss and learning rate of the main run, then the probes of each watch corpus for every run."""
    panels: list[Panel] = []
    main = [curve for curve in result.curves if curve.run == ""]
    text = [curve for curve in main if not curve.readings]
    with matplotlib.style.context(["default", STYLE]):
        if text:
            panels.append(_journal(result, text, "loss", "Training loss", "nats per token"))
        if main:
            panels.append(_journal(result, main, "rate", "Learning rate, as applied", "learning rate"))
        for number, column in enumerate(columns(result)):
            probes = [probe for probe in result.probes if column.name in probe.losses]
            if probes:
                panels.append(_probed(result, probes, column.name, f"probe-{number}"))
    return panels


def readings(result: Result) -> list[Panel]:
    """Margin of the pairs of the main run, and the log-probabilities of both answers, against tokens."""
    main = [curve for curve in result.curves if curve.run == "" and "margin" in curve.readings]
    titles = (("margin", "Margin, multiplied by beta", "nats"), ("accuracy", "Pairs that moved the right way", "share"),
              ("chosen", "Log-probability, chosen answers", "nats"),
              ("rejected", "Log-probability, rejected answers", "nats"))  # fmt: skip
    with matplotlib.style.context(["default", STYLE]):
        return [_reading(result, main, *words) for words in titles] if main else []


def _reading(result: Result, main: list[Curve], field: str, title: str, unit: str) -> Panel:
    figure, axes = blank(*_PANEL, "tokens since the base", unit)
    for curve in main:
        style = "dashed" if _is_release(result, curve.leg) else "solid"
        axes.plot(curve.tokens, curve.readings[field], color=SERIES[0], linewidth=1.2, linestyle=style)
    _mark_stages(axes, result)
    seen = [value for curve in main for value in curve.readings[field]]
    about = f"from {seen[0]:.2f} to {seen[-1]:.2f}"
    return Panel(f"reading-{field}", title, about, inline(figure, f"reading-{field}", f"{title}. {about}"))


def _journal(result: Result, main: list[Curve], field: str, title: str, unit: str) -> Panel:
    figure, axes = blank(*_PANEL, "tokens since the base", unit)
    for curve in main:
        style = "dashed" if _is_release(result, curve.leg) else "solid"
        values: list[float] = getattr(curve, field)
        axes.plot(curve.tokens, values, color=SERIES[0], linewidth=1.4, linestyle=style)
    if field == "rate":
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _rate(value)))
    _mark_stages(axes, result)
    seen: list[float] = [value for curve in main for value in getattr(curve, field)]
    if field == "rate":
        about = f"highest {_rate(max(seen, default=0.0))}, last {_rate(seen[-1] if seen else 0.0)}"
    else:
        about = f"{unit}, from {seen[0]:.2f} to {seen[-1]:.2f}" if seen else "no step was recorded"
    return Panel(f"curve-{field}", title, about, inline(figure, f"curve-{field}", f"{title}. {about}"))


def _rate(rate: float) -> str:
    """`2.5e−4`."""
    if rate == 0:
        return "0"
    mantissa, exponent = f"{rate:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}".replace("-", "−")


def _probed(result: Result, probes: list[Probe], corpus: str, key: str) -> Panel:
    figure, axes = blank(*_PANEL, "tokens since the base", "nats per byte")
    base = result.rows[0].cells.get(corpus)
    if base is not None:
        axes.axhline(base.loss, color=MUTED, linewidth=1.0, linestyle="dotted")
    for index, run in enumerate(runs(result)):
        own = [probe for probe in probes if probe.run == run]
        for leg in dict.fromkeys(probe.leg for probe in own):
            _leg(axes, [probe for probe in own if probe.leg == leg], corpus, index)
        _join(axes, [probe for probe in own if not _is_release(result, probe.leg)], corpus, index)
    _mark_stages(axes, result)
    main = [probe.losses[corpus] for probe in probes if probe.run == ""]
    about = f"last {main[-1]:.4f}" if main else "controls only"
    if base is not None:
        about += f", base {base.loss:.4f} (dotted)"
    return Panel(key, corpus, about, inline(figure, key, f"Held-out loss on {corpus} in nats per byte. {about}"))


def _leg(axes: Axes, probes: list[Probe], corpus: str, index: int) -> None:
    axes.plot(
        [probe.tokens for probe in probes],
        [probe.losses[corpus] for probe in probes],
        color=SERIES[index % len(SERIES)],
        linewidth=1.6 if index == 0 else 1.2,
        linestyle=_DASHES[index % len(_DASHES)],
        marker=MARKERS[index % len(MARKERS)],
        markersize=3.2,
        markevery=max(1, len(probes) // 6),
        markerfacecolor=SERIES[index % len(SERIES)] if index == 0 else "none",
    )


def _join(axes: Axes, probes: list[Probe], corpus: str, index: int) -> None:
    """Draws the step from the end of a stage to the next, but not back to the base for a stage that branches there."""
    for before, after in pairwise(probes):
        if before.leg != after.leg and after.tokens >= before.tokens:
            axes.plot(
                [before.tokens, after.tokens],
                [before.losses[corpus], after.losses[corpus]],
                color=SERIES[index % len(SERIES)],
                linewidth=1.6 if index == 0 else 1.2,
                linestyle=_DASHES[index % len(_DASHES)],
            )


def _is_release(result: Result, leg: str) -> bool:
    return any(row.kind == "release" and row.name == leg for row in result.rows)


def _mark_stages(axes: Axes, result: Result) -> None:
    """A line at the end of each stage of the main run, and the stages' numbers above; stages that branch from the same
    model stand beside each other."""
    stages = [row for row in result.rows if row.kind == "stage"]
    begins = {curve.leg: curve.tokens[0] for curve in result.curves if curve.run == "" and curve.tokens}
    last = max((row.tokens for row in stages), default=0) or 1
    start, found = 0, dict[float, list[int]]()
    for number, row in enumerate(stages, 1):
        axes.axvline(row.tokens, color=MUTED, linewidth=0.8, linestyle=(0, (3, 3)))
        middle = (begins.get(row.name, start) + row.tokens) / 2
        found.setdefault(round(middle / last, 2), []).append(number)
        start = row.tokens
    for place, numbers in found.items():
        axes.annotate(
            ", ".join(map(str, numbers)), (place * last, 1.0), (0, 2), xycoords=("data", "axes fraction"),
            textcoords="offset points", ha="center", va="bottom", color=MUTED, fontsize=9,
        )  # fmt: skip
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def blank(size: tuple[float, float], inside: tuple[float, float, float, float], x: str, y: str) -> tuple[Figure, Axes]:
    """A figure of `size` inches; `inside` is the left, bottom, width and height of its axes, the same for every panel
    so that they line up on the page."""
    figure = Figure(figsize=size)
    axes = figure.add_axes(inside)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.tick_params(length=3)
    return figure, axes
