"""The months of a stream on the page, in Markdown and in a terminal."""

from __future__ import annotations

import re

import pytest
from rich.console import Console

from rewarm.report.markdown import markdown
from rewarm.report.months import cell, changes, panel, summary
from rewarm.report.page import html
from rewarm.report.result import Cell, Column, Metrics, Months, Result, Row
from rewarm.report.terminal import table
from rewarm.report.wording import Change


def measured(percent: float) -> Cell:
    """A base of 2 nats per byte, and an interval of half a percent of it on each side."""
    delta = percent / 50
    return Cell(
        loss=2 + delta, delta=delta, low=delta - 0.01, high=delta + 0.01, relative=percent / 100, verdict="better",
        documents=40, bytes=100, tokens=30,
    )  # fmt: skip


def stream(names: list[str]) -> Result:
    """Each model is 12 % better on its own month, 2 % on each earlier one, and 1 % worse on later ones."""
    rows = [Row(name="base", kind="base", cells={name: measured(0) for name in names})]
    for place, name in enumerate(names):
        percents = [-12 if at == place else -2 if at < place else 1 for at in range(len(names))]
        cells = {month: measured(found) for month, found in zip(names, percents, strict=True)}
        rows.append(Row(name=f"stage-{place + 1}", kind="stage", stage=name, tokens=10 * (place + 1), cells=cells))
    count = len(names)
    months = Months(
        rows=[row.name for row in rows[1:]], names=names, corpora=[[name] for name in names], backward=-0.04,
        in_month=-0.24, forward=0.02, cells=(count * (count - 1) // 2, count, count * (count - 1) // 2),
    )  # fmt: skip
    return Result(
        rewarm="0", created="2026", command="rewarm run", plan={"stages": []}, base="b", parameters=1, complete=True,
        rows=rows, columns=[Column(name=name, role="new", stage=name) for name in names], metrics=Metrics(),
        months=months,
    )  # fmt: skip


@pytest.fixture
def year() -> Result:
    return stream(["2021-01", "2021-02", "2021-03"])


def printed(result: Result) -> str:
    console = Console(width=80, record=True, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(table(result))
    return captured.get()


def test_cells_are_means_over_a_months_corpora(year: Result) -> None:
    assert year.months is not None
    both = year.months.model_copy(update={"corpora": [["2021-01"], ["2021-02", "2021-03"], ["2021-03"]]})
    found = changes(year, both)
    assert [[round(one.point, 4) for one in row if one] for row in found] == [
        [-0.12, 0.01, 0.01], [-0.02, -0.055, 0.01], [-0.02, -0.07, -0.12],
    ]  # fmt: skip
    rows = [row if row.name != "stage-1" else row.model_copy(update={"cells": {}}) for row in year.rows]
    assert changes(year.model_copy(update={"rows": rows}), both)[0] == [None, None, None]
    assert (cell(None), cell(Change(-0.0321, -0.04, -0.03))) == ("–", "−3.2")


def test_the_three_means_say_what_they_are(year: Result) -> None:
    assert year.months is not None
    lines = summary(year.months.model_copy(update={"forward": None, "cells": (3, 3, 0)}))
    assert [(name, value) for name, value, _ in lines] == [
        ("Backward", "−0.0400 nats/byte"), ("In-month", "−0.2400 nats/byte"),
        ("Forward", "not measured: no such cell was scored"),
    ]  # fmt: skip
    assert lines[0][2].startswith("mean over 3 cells of the loss minus the base's, on the months before")
    assert all("below 0 is better" in meaning for _, _, meaning in lines)


def test_the_heat_map_has_the_pages_colours_and_a_number_in_each_cell(year: Result) -> None:
    drawn = panel(year)
    assert drawn is not None
    assert re.findall(r">([+−][\d.]+)<", drawn.svg) == [
        "−12.0", "+1.0", "+1.0", "−2.0", "−12.0", "+1.0", "−2.0", "−2.0", "−12.0",
    ]  # fmt: skip
    # Two cells of one tone beside each other are one rectangle: 3 on the diagonal, 2 below it and 2 above.
    assert drawn.svg.count("var(--better-4)") == 3
    assert drawn.svg.count("var(--better-2)") == 2
    assert drawn.svg.count("var(--worse-1)") == 2
    assert not re.search(r"#[0-9a-f]{6}", drawn.svg)


def test_a_cell_whose_interval_holds_0_is_noise() -> None:
    quiet = stream(["a", "b", "c"])
    rows = [row.model_copy(update={"cells": {name: measured(0.2) for name in row.cells}}) for row in quiet.rows]
    drawn = panel(quiet.model_copy(update={"rows": rows}))
    assert drawn is not None
    assert drawn.svg.count("var(--raised)") == 3
    assert "better" not in drawn.svg.split("</title>")[1]


def test_a_long_stream_is_drawn_without_numbers() -> None:
    drawn = panel(stream([f"20{year:02}-{month:02}" for year in range(10, 18) for month in range(1, 13)]))
    assert drawn is not None
    assert "−12.0" not in drawn.svg
    assert len(drawn.svg) < 400_000


def test_page_markdown_and_terminal_tell_the_same(year: Result) -> None:
    page, text, shown = html(year), markdown(year), printed(year)
    assert '<section id="months"' in page
    assert '<a href="#months">month by month</a>' in page
    assert "| 2021-02 | −2.0 | −12.0 | +1.0 |" in text
    assert "- Backward: −0.0400 nats/byte (mean over 3 cells" in text
    assert re.search(r"2021-02 +−2\.0 +−12\.0 +\+1\.0", shown)
    assert "in-month −0.2400 nats/byte" in shown.replace("\n", " ")
    assert max(map(len, shown.splitlines())) <= 80


def test_a_run_without_months_has_no_such_part(normal: Result) -> None:
    assert normal.months is None
    assert panel(normal) is None
    assert "Month by month" not in html(normal) + markdown(normal) + printed(normal)
    # A report written before there were months is read still.
    old = normal.model_dump(mode="json", exclude={"months"})
    assert Result.model_validate(old) == normal
