"""The pages of a site of many runs as text: index, comparisons, histories. They open from disk, without a network; the
one script, which sorts the index, may be left out."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rewarm import __version__
from rewarm.quantities import short
from rewarm.report import wording
from rewarm.report.figures import Panel
from rewarm.report.part import Verdict
from rewarm.report.site_figures import frontier, histories, sparkline, trades
from rewarm.report.site_parts import Column, Comparison, Difference, Gate, History, Line, RunFacts, Site, labels
from rewarm.report.wording import NOISE, SYMBOLS, Change

_STAGES_NAMED = 4
_COMPARED = (
    "Runs that start from the same weights, side by side on the texts that two of them watch, with paired intervals."
)
_FOLLOWED = (
    "Every watched text month by month: through the stages of a run, and through the runs that went on from the model "
    "that another left. What went on from what is read off the digests of the weights."
)


class Pages:
    """Renders the pages of one site."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._environment = Environment(
            loader=PackageLoader("rewarm", "report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True,
        )  # fmt: skip
        self._environment.filters.update(
            short=short, point=wording.point, brackets=wording.interval, counted=wording.counted, key=_key,
            base=_base, stages=_stages, gate=lambda run: _gate(run.gate), cell=_cell, difference=_difference,
            moment=_moment, spark=lambda run: Markup(sparkline(run)),
        )  # fmt: skip

    def index(self) -> str:
        """Every run, newest first, those without a date last."""
        loader = self._environment.loader
        assert loader is not None
        script = loader.get_source(self._environment, "site_sort.js.j2")[0]
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        # A stable sort: runs of the same date stay in the order of their names.
        runs = sorted(self.site.runs, key=lambda run: run.slug)
        runs.sort(key=lambda run: run.created, reverse=True)
        return self._made(
            "site_index.html.j2", "Runs", "", site=self.site, runs=runs, counted=_counted(runs), script=Markup(script),
            script_hash=digest,
        )  # fmt: skip

    def comparisons(self) -> str:
        """The list of comparisons, and the runs that are in none."""
        items = [
            (
                one.page,
                _base(one.reference) or one.slug,
                (one.slug, len(one.runs), len(one.columns), one.reference.name),
            )
            for one in self.site.comparisons
        ]
        return self._made(
            "site_list.html.j2", "Runs compared", "", about=_COMPARED, items=items,
            heads=("base", "weights", "runs", "texts", "compared with"),
            nothing="No two runs start from the same weights and watch the same text.",
            left=[(run.name, reason) for run, reason in self.site.alone], left_title="Runs that are not compared",
        )  # fmt: skip

    def comparison(self, one: Comparison) -> str:
        """Runs of one base."""
        figure = frontier(one)
        return self._made(
            "site_compare.html.j2",
            "Runs compared",
            "../",
            one=one,
            figure=_drawn(figure),
            trades=trades(one),
            heads=labels(one.columns),
        )

    def histories(self) -> str:
        """The list of histories."""
        items = [
            (one.page, one.runs[-1].name, (len(one.runs), len(one.moments) - 1, _span(one), len(one.lines)))
            for one in self.site.histories
        ]
        return self._made(
            "site_list.html.j2", "History", "", about=_FOLLOWED, items=items, left=[], left_title="",
            heads=("up to", "runs", "models", "dates", "texts"),
            nothing="No run has two stages, and none starts from a model that another left.",
        )  # fmt: skip

    def history(self, one: History) -> str:
        """Models one after another."""
        bare = any(change and not sure for line in one.lines
                   for change, sure in zip(line.changes, line.paired, strict=True))  # fmt: skip
        unpaired = "Where no interval is shown, the losses per document are not there to compute one." if bare else ""
        title = " → ".join(run.name for run in one.runs)
        return self._made(
            "site_history.html.j2", f"History: {title}", "../", one=one, unpaired=unpaired,
            panels=[_drawn(panel) for panel in histories(one)], heads=labels([line.column for line in one.lines]),
        )  # fmt: skip

    def _made(self, template: str, title: str, up: str, script_hash: str = "", **values: Any) -> str:
        own = {"site_index.html.j2": "Runs"}.get(template, title if not up else "")
        pages = [("Runs", "index.html"), ("Runs compared", "compare.html"), ("History", "history.html")]
        return self._environment.get_template(template).render(
            title=title,
            pages=[(word, "" if word == own else f"{up}{page}") for word, page in pages],
            footer=f"rewarm {__version__}",
            script_hash=script_hash,
            **values,
        )


def _drawn(panel: Panel | None) -> dict[str, Any] | None:
    if panel is None:
        return None
    # The drawing is our own and its text was escaped when it was made.
    return {"key": panel.key, "title": panel.title, "about": panel.about, "svg": Markup(panel.svg)}


def _counted(runs: Sequence[RunFacts]) -> str:
    states = [run.state for run in runs]
    parts = [f"{states.count(state)} {state}" for state in dict.fromkeys(sorted(states))]
    return f"{wording.counted(len(runs), 'run')}: {', '.join(parts)}" if parts else "No run"


def _key(change: Change | None) -> str:
    """What the index sorts a change by; nothing for one that is no number, which goes last."""
    return "" if change is None or math.isnan(change.point) else repr(change.point).replace("inf", "Infinity")


def _base(run: RunFacts) -> str:
    """The last two parts of a folder's path, or a hub name whole."""
    parts = [part for part in run.base.replace("\\", "/").split("/") if part]
    return "/".join(parts[-2:]) or run.base


def _stages(run: RunFacts) -> str:
    more = len(run.stages) - _STAGES_NAMED
    return ", ".join([*run.stages[:_STAGES_NAMED], *([f"{more} more"] if more > 0 else [])])


def _gate(gate: Gate | None) -> str:
    return "" if gate is None else {True: "met", False: "not met", None: "not judged"}[gate.passed]


def _tone(change: Change, verdict: Verdict | None) -> str:
    if verdict not in ("better", "worse"):
        return "noise"
    return f"{verdict}-{1 + sum(abs(change.point) > limit for limit in (0.01, 0.03, 0.10))}"


def _said(change: Change, verdict: Verdict | None, more: str = "") -> Markup:
    symbol = SYMBOLS[verdict] if verdict else ""
    bounds = wording.interval(change) if change.bounded else ""
    inner = Markup('<span class="strong">{} {}</span>').format(symbol, wording.point(change) if bounds else
                                                               wording.percent(change.point))  # fmt: skip
    notes = Markup("").join(Markup('<span class="note">{}</span>').format(text) for text in (bounds, more) if text)
    return Markup('<td class="{}">{}{}</td>').format(_tone(change, verdict), inner, notes)


def _nothing(reason: str) -> Markup:
    return Markup('<td class="plain"><span class="note">{}</span></td>').format(reason)


def _cell(run: RunFacts, column: Column) -> Markup:
    """A run's final model on a text, as a table cell."""
    own = run.watches(column.key)
    score = run.final.scores.get(own.name) if own is not None else None
    if own is None or score is None:
        return _nothing(run.lacks(column.name, column.key) if own is None else "not scored")
    name = f"as {own.name}, " if own.name != column.name else ""
    if score.verdict == "base":
        return _nothing(f"base, {wording.nats(score.loss)}")
    return _said(score.change, score.verdict, f"{name}{wording.nats(score.loss)}")


def _difference(one: Difference) -> Markup:
    return _nothing(one.reason) if one.change is None else _said(one.change, one.verdict)


def _moment(line: Line, place: int) -> Markup:
    """A text under the model at a place of a history, as a table cell."""
    loss, change = line.losses[place], line.changes[place]
    if loss is None or change is None:
        return _nothing("–")
    if place == line.start:
        return _nothing(f"first: {wording.nats(loss)}")
    verdict: Verdict | None = None
    if change.bounded:
        verdict = NOISE if change.low <= 0 <= change.high else "better" if change.high < 0 else "worse"
    return _said(change, verdict, wording.nats(loss))


def _span(one: History) -> str:
    dates = [moment.model.date for moment in one.moments if moment.model.date]
    return f"{dates[0]} to {dates[-1]}" if dates else "–"
