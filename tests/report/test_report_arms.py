"""A comparison by hand: what its sentences, table cells, page and figure say."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rewarm.evaluation.frontier import Standing
from rewarm.report.arms import ArmRow, Comparison, Measured, SeedRun, Tried, against, measured, reading
from rewarm.report.arms_page import html, pareto, write
from rewarm.report.result import Column
from rewarm.types import StorageError

INF = math.inf


def change(percent: float, documents: float = 0.2, seeds: float = 0.5) -> Measured:
    """A change with half-widths in percent."""
    bounds = [((percent - half) / 100, (percent + half) / 100) for half in (documents, seeds)]
    return Measured(point=percent / 100, documents=bounds[0], seeds=bounds[1])


def arm(name: str, old: float, new: float, **facts: Any) -> ArmRow:
    runs = [
        SeedRun(seed=seed, folder=f"arms/{name}/seed-{seed}", old=old / 100, new=new / 100, tokens=2000,
                new_tokens=1500, seconds=seconds, tokens_per_second=2000 / seconds)
        for seed, seconds in ((1, 10.0), (2, 20.0))
    ]  # fmt: skip
    given = {"kind": "variant", "change": {}, "cost": 1.0, **facts}
    return ArmRow(name=name, old=change(old), new=change(new), columns={}, runs=runs, **given)


@pytest.fixture
def compared() -> Comparison:
    """Three learning rates, a method that gains with its control, one behind, one beyond the sweep."""
    return Comparison(
        rewarm="0.1.0",
        created="2026-11-24T12:00:00Z",
        plan={},
        seeds=[1, 2],
        plain="none",
        arms=[
            arm("none", 4, -10, kind="sweep"),
            arm("learning rate x0.5", 2, -8, kind="sweep", factor=0.5),
            arm("learning rate x2", 8, -11, kind="sweep", factor=2),
            arm("ewc", 1, -9, cost=1.08, standing=Standing("beats", -0.02, -0.025, -0.015)),
            arm("ewc, random control", 5, -9, kind="control", control_of="ewc",
                standing=Standing("behind", 0.02, 0.01, 0.03)),
            arm("<l2-sp>", 6, -9, standing=Standing("on", 0.03, -INF, INF)),
            arm("freeze", 0.1, -1, standing=Standing("beyond the sweep")),
        ],
        tried=(
            Tried(tuned="ewc", name="ewc strength=1", change={}, old=0.03, new=-0.09, distance=-0.01, chosen=False),
            Tried(tuned="ewc", name="ewc strength=9", change={}, old=0.00, new=-0.01, distance=None, chosen=True),
        ),
        columns=[Column(name="web", role="old"), Column(name="law", role="new")],
        notes=("a note",),
    )  # fmt: skip


def test_a_verdict_needs_both_intervals_to_leave_out_nought() -> None:
    """Half-widths in percent over documents and over seeds."""
    assert change(2, 0.2, 0.5).verdict == "worse"
    assert change(-2, 0.2, 0.5).verdict == "better"
    assert change(2, 0.2, 2.5).verdict == "not distinguishable from noise"
    assert change(2, 2.5, 0.2).verdict == "not distinguishable from noise"
    assert Measured(point=0.02, documents=(0.01, 0.03), seeds=(-INF, INF)).verdict == "worse"
    assert Measured(point=INF, documents=(INF, INF), seeds=(INF, INF)).verdict == "worse"


def test_a_figure_has_room_for_the_wider_interval() -> None:
    assert change(2, 0.2, 0.5).wider().low == pytest.approx(0.015)
    assert change(2, 0.7, 0.5).wider().low == pytest.approx(0.013)
    assert Measured(point=0.02, documents=(0.01, 0.03), seeds=(-INF, INF)).wider().high == 0.03


def test_cells_show_the_interval_over_documents_first(compared: Comparison) -> None:
    assert measured(change(2, 0.2, 0.5)) == ["+2.00% ▲", "[+1.80, +2.20]", "[+1.50, +2.50]"]
    assert measured(Measured(point=0.02, documents=(0.01, 0.03), seeds=(-INF, INF))) == ["+2.00% ▲", "[+1.00, +3.00]"]
    assert [against(row) for row in compared.arms[2:]] == [
        ["is the sweep"],
        ["beats (−2.00%)", "[−2.50, −1.50]"],
        ["behind (+2.00%)", "[+1.00, +3.00]"],
        ["on (+3.00%)", "one seed"],
        ["beyond the sweep"],
    ]


def test_the_reading_names_methods_by_their_verdict_and_no_control(compared: Comparison) -> None:
    assert reading(compared) == (
        "2 seeds for each arm. These forget less than the learning rates do at equal loss on new text: ewc; these "
        "cannot be told from the learning rates: <l2-sp>; these learned and forgot more than every learning rate "
        "tried, or less of both, so nothing is known: freeze."
    )


def test_the_reading_says_when_one_rate_beats_all_others(compared: Comparison) -> None:
    """Then the frontier is a single point, and what lies between the rates is beyond the sweep all the same."""
    best = arm("learning rate x2", 1, -11, kind="sweep", factor=2)
    rows = [best if row.name == best.name else row for row in compared.arms]
    assert reading(compared.model_copy(update={"arms": rows})).endswith(
        "these have no learning rates to be held against, because learning rate x2 is better than the others on old "
        "and new text at once; compare rates around it: freeze."
    )


def test_an_arm_is_found_by_name_and_the_sweep_stands_in_order(compared: Comparison) -> None:
    assert [row.factor for row in compared.sweep()] == [0.5, 1, 2]
    assert compared.arm("ewc").seconds == 15
    with pytest.raises(ValueError, match="no arm is called 'ecw'"):
        compared.arm("ecw")
    with pytest.raises(ValueError, match="no arm is called 'plain'"):
        Comparison.model_validate({**compared.model_dump(), "plain": "plain"})


def test_the_page_holds_every_arm_escaped_and_what_tuning_tried(compared: Comparison) -> None:
    page = html(compared)
    rows = re.findall(r'<tr><th scope="row">([^<]*)</th>', page)
    assert rows == [row.name.replace("<", "&lt;").replace(">", "&gt;") for row in compared.arms] + ["ewc", "ewc"]
    assert "<l2-sp>" not in page
    assert "<script" not in page
    for text in ("1.08×", "beats (−2.00%)", "ewc strength=9 (chosen)", "<li>a note</li>", "1.5k", "15.0 s"):
        assert text in page
    assert "What tuning tried" not in html(compared.model_copy(update={"tried": ()}))


def test_the_figure_says_its_points_in_words_and_hollows_controls(compared: Comparison) -> None:
    panel = pareto(compared)
    assert panel is not None
    assert "ewc: old +1.00%, new −9.00%; ewc, random control: old +5.00%, new −9.00%" in panel.svg
    assert panel.about == ""
    for name in ("base", "learning rates", "ewc", "ewc, random control", "×0.5", "×2"):
        assert f">{name}</text>" in panel.svg
    # Three methods, three colours; each marker once in the drawing and once in the legend.
    styles = [style for style in re.findall(r'<use [^>]*style="([^"]*)"', panel.svg) if "--series-" in style]
    found = [(re.findall(r"stroke: var\(--series-(\d)\)", style)[0], "fill-opacity: 0" in style) for style in styles]
    assert Counter(found) == {("1", False): 2, ("1", True): 2, ("2", False): 2, ("3", False): 2}


def test_an_arm_that_diverged_is_named_and_no_point(compared: Comparison) -> None:
    lost = Measured(point=INF, documents=(INF, INF), seeds=(INF, INF))
    rows = [row.model_copy(update={"old": lost, "new": lost}) if row.name == "ewc" else row for row in compared.arms]
    lacking = compared.model_copy(update={"arms": rows})
    panel = pareto(lacking)
    assert panel is not None
    assert panel.about == "ewc diverged"
    assert "No point: ewc diverged." in html(lacking)
    assert ">ewc</text>" not in panel.svg
    nothing = [row.model_copy(update={"old": lost, "new": lost}) for row in compared.arms]
    assert pareto(compared.model_copy(update={"arms": nothing})) is None
    assert "<svg" not in html(compared.model_copy(update={"arms": nothing}))


def test_a_control_that_lies_far_off_is_named_and_not_drawn(compared: Comparison) -> None:
    """The rest lies between 0 and 8 percent of old text: 9 is near, 40 would make one spot of it."""
    for old, about in ((9, ""), (40, "not drawn, far outside: ewc, random control")):
        arms = [row.model_copy(update={"old": change(old)}) if row.kind == "control" else row for row in compared.arms]
        panel = pareto(compared.model_copy(update={"arms": arms}))
        assert panel is not None
        assert panel.about == about
        assert (">ewc, random control</text>" in panel.svg) == (not about)
        assert f"ewc, random control: old +{old}.00%" in panel.svg


def test_both_files_are_written_and_the_json_reads_back(compared: Comparison, tmp_path: Path) -> None:
    write(compared, tmp_path)
    text = (tmp_path / "comparison.json").read_text(encoding="utf-8")
    assert Comparison.model_validate_json(text) == compared
    assert json.loads(text)["arms"][3]["old"]["verdict"] == "worse"
    assert json.loads(text)["arms"][5]["standing"]["low"] == "-Infinity"
    assert (tmp_path / "comparison.html").read_text(encoding="utf-8") == html(compared)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="was not written"):
        write(compared, tmp_path / "file")
