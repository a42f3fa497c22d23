"""The table in the terminal: right at 80 columns, whatever the names and numbers."""

import io
from pathlib import Path

from rich.console import Console

from rewarm.report.result import Column, Result
from rewarm.report.terminal import path_line, table
from rewarm.report.wording import verdict_sentence


def printed(result: Result, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(table(result))
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue().splitlines()


def many_columns(result: Result) -> Result:
    """Eight columns, one with a long name; every model's cell of 'web' and 'papers' repeated."""
    old = [f"old-{index}" for index in range(4)]
    new = [f"a-name-that-is-too-long-for-a-column-{index}" for index in range(4)]
    rows = [
        row.model_copy(update={"cells": {name: row.cells["web" if name in old else "papers"] for name in old + new}})
        for row in result.rows
    ]
    columns = [Column(name=name, role="old") for name in old] + [Column(name=name, role="new") for name in new]
    return result.model_copy(update={"rows": rows, "columns": columns})


def test_verdict_and_matrix(normal: Result) -> None:
    lines = printed(normal)
    assert " ".join(" ".join(lines[:5]).split()) == verdict_sentence(normal)
    words = [line.split() for line in lines]
    assert ["model", "old,", "proxy", "old", "new", "new"] in words
    assert ["code-stage", "▲", "+2.10%", "≈", "−0.20%", "▼", "−8.00%", "▼", "−20.0%"] in words
    assert ["control", "[+1.50,", "+2.10]", "[−0.20,", "+0.60]", "[−13.6,", "−12.4]", "[−20.0,", "−18.0]"] in words


def test_four_corpora_fit_80_columns_without_folding(normal: Result) -> None:
    assert max(len(line) for line in printed(normal)) <= 80
    assert sum("papers-stage" in line for line in printed(normal)) == 1


def test_more_corpora_go_below(normal: Result) -> None:
    lines = printed(many_columns(normal))
    assert max(len(line) for line in lines) <= 80
    assert sum(line.startswith("code-stage") for line in lines) == 2
    cells = [line for line in lines if line.startswith("20M tokens")]
    assert [line.count("[+1.80, +2.40]") for line in cells] == [4, 0]
    assert [line.count("[−8.60, −7.40]") for line in cells] == [0, 4]


def test_names_are_not_markup(normal: Result) -> None:
    dumped = normal.model_dump_json().replace('"web"', '"[red]web"')
    assert any("[red]web" in line for line in printed(Result.model_validate_json(dumped)))


def test_the_least_run(minimal: Result) -> None:
    lines = printed(minimal)
    assert ["base", "0.8000"] in [line.split() for line in lines]


def test_path_line() -> None:
    assert path_line(Path("runs/demo/report.html")).plain == "Report: runs/demo/report.html"
