"""Result -> the verdict and the matrix for a terminal, right at 80 columns."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rewarm.quantities import short
from rewarm.report import facts, foretold, languages, months, pairs, suites, wording
from rewarm.report.part import Verdict
from rewarm.report.result import Column, Result, Row

# Four intervals of 14 characters beside a name of 14 fill 80 columns.
_COLUMNS_AT_ONCE = 4
_WIDTH = 14
_MODELS_AT_ONCE = 3
_MONTHS_AT_ONCE = 6
_MOST_MONTHS = 12
_STYLES: dict[Verdict, str] = {"better": "bold blue", "worse": "bold dark_orange3", wording.NOISE: "dim", "base": ""}


def table(result: Result) -> RenderableType:
    """The verdict sentence, then every model on every watched corpus: change of loss in percent of the base's, its
    95% interval, coloured by verdict. More than four corpora go into tables one below the other."""
    ordered = wording.columns(result)
    parts: list[RenderableType] = [Text(wording.verdict_sentence(result)), Text()]
    for start in range(0, len(ordered), _COLUMNS_AT_ONCE):
        parts += [_matrix(result, ordered[start : start + _COLUMNS_AT_ONCE]), Text()]
    if result.forecast is not None:
        parts += [Text(f"Forecast: {' '.join(foretold.sentences(result.forecast))}"), Text()]
    parts += _months(result)
    parts += _facts(result)
    parts += _pairs(result)
    parts += _suites(result)
    parts += _languages(result)
    legend = Text("Loss per byte against the base, 95% intervals. ")
    legend.append("▼ better", _STYLES["better"]).append("  ")
    legend.append("▲ worse", _STYLES["worse"]).append("  ")
    legend.append("≈ noise", _STYLES[wording.NOISE])
    return Group(*parts, legend)


def _months(result: Result) -> list[RenderableType]:
    """Every stage on the text of every stage, in percent, and the three means; a long stream has the means alone."""
    held = result.months
    if held is None:
        return []
    cells = months.changes(result, held)
    count = len(held.names)
    parts: list[RenderableType] = [Text("Month by month: models down, their stages' text across, percent", "bold")]
    for start in range(0, count if count <= _MOST_MONTHS else 0, _MONTHS_AT_ONCE):
        stop = start + _MONTHS_AT_ONCE
        shown = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        shown.add_column("after", max_width=_WIDTH, overflow="fold")
        for name in held.names[start:stop]:
            shown.add_column(name, justify="right", max_width=10, overflow="fold")
        for name, row in zip(held.names, cells, strict=True):
            shown.add_row(name, *map(months.cell, row[start:stop]))
        parts += [shown, Text()]
    said = [f"{name.lower()} {value}" for name, value, _ in months.summary(held)]
    return [*parts, Text(f"Means against the base: {', '.join(said)}."), Text()]


def _facts(result: Result) -> list[RenderableType]:
    """A table for each set of probes: what each model kept and learned, and FUAR since the base."""
    if result.facts is None:
        return []
    ratios = {total.name: total.ratios for total in result.facts.totals if total.row != "base"}
    parts: list[RenderableType] = []
    for one in result.facts.sets:
        known = facts.known(one)
        shown = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), title=one.name)
        shown.title_justify = "left"
        for word in known.head:
            shown.add_column(word, overflow="fold")
        for line in known.lines:
            shown.add_row(*(Text.assemble(entry.text, "\n", (entry.note, "dim")) for entry in line))
        parts += [shown, Text()]
    said = [
        f"{name} {facts.ratio_words(found['exact'])} ({facts.ratio_words(found['rank_1'])})"
        for name, found in ratios.items()
    ]
    if said:
        parts += [Text(f"FUAR by what a model writes (by rank): {', '.join(said)}."), Text()]
    return parts


def _pairs(result: Result) -> list[RenderableType]:
    """Whose side each model takes in watched pairs of answers."""
    parts: list[RenderableType] = []
    for one in result.pairs:
        shown = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), title=one.name)
        shown.title_justify = "left"
        held = pairs.measured(one)
        for word in held.head:
            shown.add_column(word, overflow="fold")
        for line in held.lines:
            shown.add_row(*(Text.assemble(entry.text, "\n", (entry.note, "dim")) for entry in line))
        parts += [shown, Text()]
    return parts


def _suites(result: Result) -> list[RenderableType]:
    """X-Delta by ability, and the headline of every suite for the base and the final models."""
    held = result.suites
    if held is None:
        return []
    models = [row.name for row in (result.rows[0], result.final(), *wording.control_rows(result))]
    models = list(dict.fromkeys(models))
    parted = [models[start : start + _MODELS_AT_ONCE] for start in range(0, len(models), _MODELS_AT_ONCE)]
    tables = [("Abilities", suites.abilities(held)), *(("Suites", suites.headlines(held, part)) for part in parted)]
    parts: list[RenderableType] = []
    for title, found in tables:
        parts += [_titled(title, found), Text()] if found.lines else []
    return parts


def _languages(result: Result) -> list[RenderableType]:
    """The transfers, and what share of each corpus is in which language."""
    held = result.languages
    parts: list[RenderableType] = []
    for title, _, found in languages.parts(held) if held is not None else []:
        parts += [_titled(title, found), Text()]
    return parts


def _titled(title: str, found: facts.Table) -> Table:
    """A table of entries under its title, the note of an entry below it."""
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), title=title)
    shown.title_justify = "left"
    for word in found.head:
        shown.add_column(word, overflow="fold")
    for line in found.lines:
        shown.add_row(*(Text.assemble(entry.text, "\n", (entry.note, "dim")) for entry in line))
    return shown


def path_line(page: Path) -> Text:
    """Where the report is, as the last line of a verb: `Report: runs/demo/report.html`."""
    return Text.assemble("Report: ", (str(page), "bold"), overflow="fold")


def _matrix(result: Result, columns: list[Column]) -> Table:
    matrix = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    matrix.add_column("model", max_width=_WIDTH, overflow="fold")
    for column in columns:
        head = Text.assemble(column.name, "\n", (column.words, "dim"))
        matrix.add_column(head, min_width=_WIDTH, max_width=_WIDTH + 2, overflow="fold")
    for rows in (wording.own_rows(result), wording.control_rows(result)):
        matrix.add_section()
        for row in rows:
            matrix.add_row(_model(result, row), *(_cell(result, row, column.name) for column in columns))
    return matrix


def _model(result: Result, row: Row) -> Text:
    note = {"base": "untouched", "control": "control", "release": "release"}.get(
        row.kind, f"{short(row.tokens)} tokens"
    )
    lines = [note, *filter(None, [wording.methods(result, row)])]
    return Text.assemble(row.name, "\n", ("\n".join(lines), "dim"))


def _cell(result: Result, row: Row, column: str) -> Text:
    cell, change = row.cells.get(column), wording.change(result, row, column)
    if cell is None or change is None:
        return Text("not scored", "dim")
    if cell.verdict == "base":
        return Text.assemble(wording.nats(cell.loss), "\n", ("nats/byte", "dim"))
    style = _STYLES[cell.verdict]
    return Text.assemble(
        (f"{wording.SYMBOLS[cell.verdict]} {wording.point(change)}", style),
        "\n",
        (wording.interval(change), "dim"),
    )
