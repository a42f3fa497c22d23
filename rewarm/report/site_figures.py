"""The drawings of a site: a sparkline for each run, the picture of old against new, and lines through time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rewarm.report.figures import MARKERS, Panel, blank, percent_axes, with_legend
from rewarm.report.site_parts import Comparison, History, Line, RunFacts, labels
from rewarm.report.svg import MUTED, SERIES, STYLE, inline
from rewarm.report.wording import Change, mean_of, percent, point

_WIDE, _HIGH, _EDGE = 120.0, 28.0, 3.0
_NUMBERED = 60
"""With more runs, only those that no other beats on both texts are numbered in the picture."""
_BARS = 20
LINES = 6
"""So many lines one picture has, each with a colour of its own."""
_TICKS = 12


def sparkline(run: RunFacts) -> str:
    """Mean change on old and on new text against tokens, as a small SVG of our own making; empty without a point."""
    drawn = {role: points for role, points in run.lines.items() if len(points) > 1}
    values = [value for points in drawn.values() for _, value in points if math.isfinite(value)]
    last = max((tokens for points in drawn.values() for tokens, _ in points), default=0)
    if not values or not last:
        return ""
    low, high = min(0.0, *values), max(0.0, *values)
    spread = max(high - low, 0.005)

    def place(tokens: int, value: float) -> str:
        across = _EDGE + (_WIDE - 2 * _EDGE) * tokens / last
        down = _EDGE + (_HIGH - 2 * _EDGE) * (high - value) / spread
        return f"{across:.1f},{down:.1f}"

    zero = place(0, 0.0).split(",")[1]
    parts = [f'<line x1="0" x2="{_WIDE:g}" y1="{zero}" y2="{zero}" class="zero"/>']
    for role, points in drawn.items():
        held = [place(tokens, value) for tokens, value in points if math.isfinite(value)]
        parts.append(f'<polyline class="{role}" points="{" ".join(held)}"/>')
        across, down = held[-1].split(",")
        parts.append(f'<circle class="{role}" cx="{across}" cy="{down}" r="2"/>')
    said = ", ".join(f"{role} text {percent(points[-1][1])}" for role, points in drawn.items())
    return (
        f'<svg class="spark" viewBox="0 0 {_WIDE:g} {_HIGH:g}" role="img" aria-label="while it trained: {said}">'
        f"{''.join(parts)}</svg>"
    )


Trade = tuple[Change, Change]


def trades(one: Comparison) -> list[tuple[RunFacts, Trade | None]]:
    """Mean change on the old and the new texts that the reference and some other run watch; None for a run that was
    not scored on all of them."""
    shared = [column for column in one.columns if one.reference.watches(column.key) is not None]
    found: list[tuple[RunFacts, Trade | None]] = []
    for run in one.runs:
        means = []
        for role in ("old", "new"):
            own = [run.watches(column.key) for column in shared if column.role == role]
            scores = [run.final.scores.get(watched.name) if watched is not None else None for watched in own]
            known = [score.change for score in scores if score is not None]
            means.append(mean_of(known) if known and len(known) == len(own) else None)
        old, new = means
        found.append((run, (old, new) if old is not None and new is not None else None))
    return found


def front(points: Sequence[Trade | None]) -> set[int]:
    """The places of the points that no other beats on both texts."""
    known = [(place, old.point, new.point) for place, pair in enumerate(points) if pair for old, new in [pair]]
    finite = [point for point in known if math.isfinite(point[1]) and math.isfinite(point[2])]
    best, found = math.inf, set()
    for place, _, new in sorted(finite, key=lambda point: (point[1], point[2], point[0])):
        if new < best:
            best = new
            found.add(place)
    return found


def frontier(one: Comparison) -> Panel | None:
    """Change on old text against new text, a numbered point for each run; None where no run has both."""
    found = trades(one)
    pairs = [pair for _, pair in found]
    kept = front(pairs)
    shown = [(number, *pair) for number, pair in enumerate(pairs) if pair and all(math.isfinite(c.point) for c in pair)]
    if not kept:
        return None
    with matplotlib.style.context(["default", STYLE]):
        size, inside = with_legend(lines=2, plot=3.6)
        figure, axes = blank(size, inside, "old text: change of loss", "new text: change of loss")
        axes.axhline(0, color=MUTED, linewidth=0.8)
        axes.axvline(0, color=MUTED, linewidth=0.8)
        axes.plot([0], [0], "x", color=MUTED, markersize=8, markeredgewidth=1.6, linestyle="none", label="base")
        edge = sorted((old.point, new.point) for number, old, new in shown if number in kept)
        axes.plot(
            *zip(*edge, strict=True), color=SERIES[0], linewidth=1.1, linestyle=(0, (4, 2)), drawstyle="steps-post"
        )
        _points(axes, shown, kept)
        percent_axes(axes)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.52 / 3.6), ncols=2)
        title = "Old text against new text"
        best = ", ".join(found[number][0].name for number in sorted(kept))
        about = f"Numbers are those of the table. No other run is better on both than: {best}"
        return Panel("frontier", title, about, inline(figure, "frontier", f"{title}. {about}"))


def _points(axes: Axes, shown: Sequence[tuple[int, Change, Change]], kept: set[int]) -> None:
    labels = {True: "not beaten on both", False: "beaten on both"}
    for number, old, new in shown:
        best = number in kept
        colour = SERIES[0] if best else SERIES[1]
        if len(shown) <= _BARS and old.bounded and new.bounded:
            axes.errorbar(
                [old.point], [new.point], xerr=_error(old), yerr=_error(new), fmt="none", ecolor=colour, elinewidth=1.0
            )
        axes.plot(
            [old.point], [new.point], "o" if best else "s", color=colour, markerfacecolor=colour if best else "none",
            markersize=6.5, markeredgewidth=1.4, linestyle="none", label=labels.pop(best, None),
        )  # fmt: skip
        if best or len(shown) <= _NUMBERED:
            axes.annotate(
                str(number + 1), (old.point, new.point), (6, 5), textcoords="offset points", fontsize=9, color=colour
            )


def _error(one: Change) -> list[list[float]]:
    return [[one.point - one.low], [one.high - one.point]]


def histories(one: History) -> list[Panel]:
    """A line for each watched text through the models of a history, at most `LINES` in a picture, old text first."""
    panels = []
    names = dict(zip((line.column for line in one.lines), labels([line.column for line in one.lines]), strict=True))
    for role, title in (("old", "Old text"), ("new", "New text")):
        lines = [line for line in one.lines if line.column.role == role and any(line.changes)]
        for part, begin in enumerate(range(0, len(lines), LINES)):
            some = lines[begin : begin + LINES]
            more = f", {begin + 1} to {begin + len(some)} of {len(lines)}" if len(lines) > LINES else ""
            panels.append(
                _history(
                    one, [(names[line.column], line) for line in some], f"{title}{more}", f"history-{role}-{part + 1}"
                )
            )
    return panels


def _history(one: History, lines: Sequence[tuple[str, Line]], title: str, key: str) -> Panel:
    with matplotlib.style.context(["default", STYLE]):
        left, right, above, wide, plot = 0.85, 0.2, 0.12, 5.6, 2.4
        turned = _turned(one)
        lowest = 0.72 if turned else 0.42
        across = 2 if max(len(name) for name, _ in lines) > 16 else 3
        below = lowest + 0.12 + 0.2 * -(-len(lines) // across)
        size = (left + wide + right, below + plot + above)
        figure, axes = blank(
            size, (left / size[0], below / size[1], wide / size[0], plot / size[1]), "", "change of loss"
        )
        axes.axhline(0, color=MUTED, linewidth=0.8)
        for index, (name, line) in enumerate(lines):
            _draw(axes, index, name, line)
        _dates(axes, one)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{100 * value:+.4g}%".replace("-", "−") if value else "0")
        )
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, (0.1 - lowest) / plot), ncols=across, fontsize=9)
        ends = [(name, next(change for change in reversed(line.changes) if change)) for name, line in lines]
        about = "last: " + "; ".join(f"{name} {point(end)}" for name, end in ends)
        return Panel(key, title, about, inline(figure, key, f"{title}. {about}"))


def _draw(axes: Axes, index: int, name: str, line: Line) -> None:
    known = [(place, change) for place, change in enumerate(line.changes) if change and math.isfinite(change.point)]
    places, points = [place for place, _ in known], [change.point for _, change in known]
    colour = SERIES[index % len(SERIES)]
    axes.plot(
        places, points, color=colour, linewidth=1.6, marker=MARKERS[index % len(MARKERS)], markersize=4.5,
        label=name if len(name) <= 36 else f"{name[:35]}…",
    )  # fmt: skip
    bounded = [(place, change) for place, change in known if change.bounded]
    if bounded:
        axes.vlines(
            [place for place, _ in bounded], [change.low for _, change in bounded],
            [change.high for _, change in bounded], color=colour, linewidth=1.0,
        )  # fmt: skip


def _dates(axes: Axes, one: History) -> None:
    """The dates of the models below; a line where a run ends and the next goes on."""
    count = len(one.moments)
    axes.set_xlim(-0.25, count - 0.75)
    shown = range(0, count, -(-count // _TICKS))
    axes.set_xticks(list(shown), _labels(one), rotation=30 if _turned(one) else 0, fontsize=8.5)
    for place in range(1, count - 1):
        if one.moments[place].run is not one.moments[place + 1].run:
            axes.axvline(place + 0.5, color=MUTED, linewidth=0.8, linestyle=(0, (3, 3)))


def _labels(one: History) -> list[str]:
    """A date, or a model's name, for each of at most `_TICKS` models."""
    some = one.moments[:: -(-len(one.moments) // _TICKS)]
    labels = [moment.model.date or moment.model.name for moment in some]
    return [label if len(label) <= 12 else f"{label[:11]}…" for label in labels]


def _turned(one: History) -> bool:
    """Whether the labels below are too long to stand beside each other."""
    labels = _labels(one)
    return max(map(len, labels)) * len(labels) > 60
