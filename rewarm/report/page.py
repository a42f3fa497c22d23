"""Result -> `report.html`, one self-contained page without a script, with `report.md` and `report.json` beside it."""

from __future__ import annotations

import functools
import os
import tempfile
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rewarm.quantities import clock, short
from rewarm.report import (
    fact_figures,
    facts,
    figures,
    foretold,
    languages,
    layers,
    meanings,
    months,
    pairs,
    suite_figures,
    suites,
    vocabulary,
    wording,
)
from rewarm.report.markdown import markdown
from rewarm.report.result import Column, Result, Row, ShareOf
from rewarm.types import StorageError

# What a share may be off its plan before the page says so; the mixtures promise to keep within it.
SHARE_TOLERANCE = 0.005


def write(result: Result, directory: Path, pages: bool = True) -> Path:
    """Writes report.json, report.md and report.html into `directory` and returns the path of the page.

    Without `pages`, report.json alone. Each file appears whole or not at all, the page last. StorageError when the disk
    refuses.
    """
    page = directory / "report.html"
    _save(directory / "report.json", result.model_dump_json(indent=2) + "\n")
    if pages:
        _save(directory / "report.md", markdown(result))
        _save(page, html(result))
    return page


def _save(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="\n", dir=file.parent, delete=False) as part:
            try:
                part.write(text)
                part.flush()
                os.fsync(part.fileno())
                os.chmod(part.name, 0o644)
                os.replace(part.name, file)
            except BaseException:
                os.unlink(part.name)
                raise
    except OSError as error:
        raise StorageError(f"'{file}' was not written ({error.strerror}); free some space and run it again") from error


def html(result: Result, home: str = "") -> str:
    """The page as text; `home` is the page that lists it among others. Everything from outside is escaped; only the
    drawings of `figures` go in as they are."""
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            result=result,
            home=home,
            title=wording.title(result),
            final=result.final(),
            verdict=wording.unbroken(wording.verdict_sentence(result)),
            old=wording.columns(result, "old"),
            new=wording.columns(result, "new"),
            groups=_groups(result),
            trades=_trades(result),
            pareto=_drawn(figures.pareto(result)),
            panels=[_drawn(panel) for panel in figures.curves(result)],
            runs=figures.runs(result),
            stages=[row.name for row in result.rows if row.kind == "stage"],
            shares=_by_run(result),
            off_plan=_off_plan,
            learned=wording.learned,
            bad_corpora=[facts for facts in result.corpora if facts.bad_rows],
            total=_total(result),
            metrics=meanings.metric_lines(result.metrics),
            controls={
                row.control: meanings.CONTROLS.get(row.control or "", "") for row in wording.control_rows(result)
            },
            hashes=wording.hashes(result),
            limits=meanings.limits(result),
            **_facts(result),
            **_pairs(result),
            **_suites(result),
            **_vocabulary(result),
            **_languages(result),
            **_forecast(result),
            months=_drawn(months.panel(result)),
            month_means=months.summary(result.months) if result.months is not None else [],
            plan=yaml.safe_dump(result.plan, sort_keys=False, allow_unicode=True, width=100),
        )
    )


@functools.cache
def _environment() -> Environment:
    """Made once: a site of hundreds of runs would otherwise compile the templates for each."""
    environment = Environment(
        loader=PackageLoader("rewarm", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        short=short, clock=clock, point=wording.point, share=wording.share, nats=wording.nats,
        brackets=wording.interval, counted=wording.counted, passes=wording.passes,
    )  # fmt: skip
    return environment


def _drawn(panel: figures.Panel | None) -> dict[str, Any] | None:
    if panel is None:
        return None
    # The drawing is our own and its text was escaped when it was made.
    return {"key": panel.key, "title": panel.title, "about": panel.about, "svg": Markup(panel.svg)}


def _groups(result: Result) -> list[dict[str, Any]]:
    """The heat-map: rows of the main run, then those of the controls, each with its cells in column order."""
    named = [("This run", wording.own_rows(result)), ("Controls", wording.control_rows(result))]
    ordered = wording.columns(result)
    return [
        {
            "title": title,
            "rows": [
                {
                    "row": row,
                    "methods": wording.methods(result, row),
                    "cells": [_cell(result, row, one) for one in ordered],
                }
                for row in rows
            ],
        }
        for title, rows in named
        if rows
    ]


def _cell(result: Result, row: Row, column: Column) -> dict[str, Any] | None:
    cell = row.cells.get(column.name)
    if cell is None:
        return None
    change = wording.change(result, row, column.name)
    return {
        "loss": wording.nats(cell.loss),
        "base": cell.verdict == "base",
        "verdict": cell.verdict,
        "symbol": wording.SYMBOLS[cell.verdict],
        "tone": f"{cell.verdict}-{strength}" if (strength := wording.strength(cell)) else "neutral",
        "percent": wording.point(change) if change else "",
        "interval": wording.interval(change) if change else "",
        "learned": column.stage is not None and row.stage == column.stage and row.kind != "control",
    }


def _trades(result: Result) -> list[dict[str, Any]]:
    """What the Pareto figure shows, as a table: each final model's mean change on old and on new text."""
    final = result.final()
    rows = [row for row in (final, *wording.control_rows(result)) if row.kind != "base"]
    return [
        {
            "name": "this run" if row is final else row.name,
            "row": row.name if row is final else "",
            "old": wording.mean_change(result, row, "old"),
            "new": wording.mean_change(result, row, "new"),
        }
        for row in rows
    ]


def _facts(result: Result) -> dict[str, Any]:
    """What the section on facts is filled with; no set leaves it out."""
    if result.facts is None:
        return {"fact_sets": []}
    drawn = {panel.title: _drawn(panel) for panel in fact_figures.paths(result)}
    sets = [
        {
            "name": one.name,
            "about": facts.about(one),
            "figure": drawn.get(one.name),
            "known": facts.known(one),
            "measured": [(kind, facts.measured(one, kind)) for kind in one.rows[0].cells],
            "apart": facts.apart(one),
            "notes": facts.notes(one),
        }
        for one in result.facts.sets
    ]
    return {
        "fact_sets": sets,
        "fact_meanings": meanings.FACTS,
        "metric_meaning": meanings.FACT_METRICS,
        "fact_ratios": facts.ratios(result.facts),
        "fuar_meaning": meanings.FUAR,
    }


def _pairs(result: Result) -> dict[str, Any]:
    """What the section on pairs of answers is filled with."""
    if not pairs.is_told(result):
        return {"pairs_told": False}
    sets = [{"name": one.name, "about": pairs.about(one), "measured": pairs.measured(one)} for one in result.pairs]
    return {
        "pairs_told": True,
        "pair_sets": sets,
        "pairs_meaning": pairs.MEANING,
        "pairs_trained": pairs.trained(result),
        "trained_meaning": pairs.TRAINED,
        "pair_figures": [_drawn(panel) for panel in figures.readings(result)],
    }


def _suites(result: Result) -> dict[str, Any]:
    """What the section on suites is filled with; no set leaves it out."""
    if result.suites is None:
        return {"suite_sets": []}
    sets = [
        {
            "name": one.name,
            "about": suites.about(one),
            "measured": suites.measured(one),
            "figure": _drawn(layers.panel(one)),
            "extra": suites.extra(one),
            "notes": suites.notes(one),
        }
        for one in result.suites.sets
    ]
    return {
        "suite_sets": sets,
        "suite_meaning": suites.MEANING,
        "suite_abilities": suites.abilities(result.suites),
        "suite_apart": suites.apart_note(result.suites),
        "suite_figure": _drawn(suite_figures.panel(result)),
    }


def _vocabulary(result: Result) -> dict[str, Any]:
    held = result.vocabulary
    return {
        "vocabulary": vocabulary.lines(held) if held is not None else [],
        "vocabulary_about": vocabulary.about(held) if held is not None else "",
        "vocabulary_heads": vocabulary.HEADS,
    }


def _languages(result: Result) -> dict[str, Any]:
    held = result.languages
    if held is None:
        return {"languages": []}
    return {"languages": languages.parts(held), "languages_about": languages.about(held)}


def _forecast(result: Result) -> dict[str, Any]:
    """What the section on the forecast of `rewarm plan` is filled with."""
    held = result.forecast
    return {
        "forecast_lines": foretold.lines(held) if held is not None else [],
        "forecast_said": foretold.sentences(held) if held is not None else [],
        "forecast_heads": foretold.HEADS,
        "forecast_meaning": foretold.MEANING,
    }


def _by_run(result: Result) -> list[tuple[str, list[ShareOf]]]:
    runs = sorted(dict.fromkeys(one.run for one in result.shares), key=lambda run: run != "")
    return [(run, [one for one in result.shares if one.run == run]) for run in runs]


def _off_plan(one: ShareOf) -> bool:
    return abs(one.realised - one.planned) > SHARE_TOLERANCE


def _total(result: Result) -> dict[str, Any]:
    return {
        "tokens": sum(cost.tokens for cost in result.costs),
        "steps": sum(cost.steps for cost in result.costs),
        "seconds": sum(cost.seconds for cost in result.costs),
        "flops": sum(cost.flops for cost in result.costs),
    }
