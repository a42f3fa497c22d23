"""The drawings: ids are unique, colours are the page's, points stand where the numbers say."""

import re

import matplotlib
import pytest

from rewarm.report.figures import curves, pareto, runs
from rewarm.report.result import Result
from rewarm.report.wording import columns


def test_panels_of_a_normal_run(normal: Result) -> None:
    panels = curves(normal)
    assert [panel.key for panel in panels] == ["curve-loss", "curve-rate", "probe-0", "probe-1", "probe-2", "probe-3"]
    assert [panel.title for panel in panels[2:]] == ["web", "books", "papers", "code"]
    assert panels[1].about == "highest 2.86e−4, last 2e−5"


def test_nothing_to_draw(minimal: Result) -> None:
    assert curves(minimal) == []
    assert pareto(minimal) is None


def test_stages_from_one_model_are_numbered_beside_each_other(normal: Result) -> None:
    """Two more stages of the same length as the last, both from where it began."""
    last = next(row for row in reversed(normal.rows) if row.kind == "stage")
    curve = next(one for one in normal.curves if one.run == "" and one.leg == last.name)
    names = ("stage-8-x", "stage-9-y")
    rows = [*normal.rows, *(last.model_copy(update={"name": name}) for name in names)]
    more = [curve.model_copy(update={"leg": name}) for name in names]
    panel = curves(normal.model_copy(update={"rows": rows, "curves": [*normal.curves, *more]}))[0]
    assert ">2, 3, 4</text>" in panel.svg
    assert ">2</text>" in curves(normal)[0].svg


def test_pareto_needs_both_kinds_of_text(normal: Result) -> None:
    assert pareto(normal.model_copy(update={"columns": columns(normal, "old")})) is None


def test_pareto_says_its_points_in_words(normal: Result) -> None:
    panel = pareto(normal)
    assert panel is not None
    assert panel.about == (
        "this run: old +0.95%, new −14.00%; new-only: old +7.50%, new −14.00%; joint: old +1.00%, new −16.00%"
    )
    for name in ("base", "this run", "new-only", "joint", "better"):
        assert f">{name}</text>" in panel.svg


def test_markers_of_the_pareto_stand_in_order(normal: Result) -> None:
    """Old text: base 0, joint 1.00, new-only 7.50 percent from left to right; new text: joint lowest on the page."""
    panel = pareto(normal)
    assert panel is not None
    # Error bars are paths, so the markers are the uses in a colour of the series; the first of each is the point, the
    # second its place in the legend.
    found = re.findall(r'<use [^>]*x="([\d.]+)" y="([\d.]+)" style="[^"]*stroke: (var\(--series-\d\))', panel.svg)
    first: dict[str, tuple[float, float]] = {}
    for x, y, colour in found:
        first.setdefault(colour, (float(x), float(y)))
    this_run, new_only, joint = (first[f"var(--series-{number})"] for number in (1, 2, 3))
    assert this_run[0] < joint[0] < new_only[0]
    assert joint[1] > this_run[1] == pytest.approx(new_only[1], abs=0.2)


def test_a_diverged_model_is_no_point(normal: Result) -> None:
    infinite = float("inf")
    cells = {name: cell.model_copy(update={"relative": infinite}) for name, cell in normal.rows[3].cells.items()}
    rows = [*normal.rows[:3], normal.rows[3].model_copy(update={"cells": cells}), normal.rows[4]]
    panel = pareto(normal.model_copy(update={"rows": rows}))
    assert panel is not None
    assert "new-only" not in panel.about
    assert "joint" in panel.about


def test_drawings_carry_a_title_and_the_page_s_colours(normal: Result) -> None:
    for panel in curves(normal):
        assert f'role="img" aria-labelledby="{panel.key}-title"><title id="{panel.key}-title">' in panel.svg
        assert "currentColor" in panel.svg
        assert not re.findall(r"#[0-9a-f]{6}", panel.svg)
        assert "DejaVu" not in panel.svg
        assert "<style" not in panel.svg
        assert all(name.startswith(panel.key) for name in re.findall(r' id="([^"]+)"', panel.svg))


def test_a_reader_s_matplotlib_settings_do_not_matter(normal: Result) -> None:
    usual = pareto(normal)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert pareto(normal) == usual


def test_stage_marks_and_release_branch(normal: Result) -> None:
    release = normal.rows[2].model_copy(update={"name": "code-stage-release", "kind": "release", "tokens": 21_000_000})
    branch = normal.curves[1].model_copy(update={"leg": "code-stage-release"})
    result = normal.model_copy(update={"rows": [*normal.rows[:3], release], "curves": [*normal.curves, branch]})
    svg = curves(result)[0].svg
    assert ">1</text>" in svg
    assert ">2</text>" in svg
    assert ">3</text>" not in svg
    dashed = re.findall(r'style="fill: none; stroke-dasharray: [^"]*stroke: var\(--series-1\)', svg)
    assert len(dashed) == 1


def test_the_main_run_comes_first(normal: Result) -> None:
    assert runs(normal) == ["", "new-only", "joint"]
    assert runs(normal.model_copy(update={"probes": normal.probes[::-1]})) == ["", "joint", "new-only"]
