"""The site's pages from runs by hand: what is said of each, that text stays text, and that nothing leads outside."""

from __future__ import annotations

import dataclasses
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from rewarm.report.site_figures import front, frontier, histories, sparkline
from rewarm.report.site_pages import Pages
from rewarm.report.site_parts import (
    Column,
    Comparison,
    Difference,
    Gate,
    History,
    Line,
    Model,
    Moment,
    RunFacts,
    Score,
    Site,
    TextKey,
    Watched,
    labels,
)
from rewarm.report.wording import Change

EVIL = "<script>alert(1)</script>\"'&{{ 7*7 }}"
OLD, NEW = TextKey("d-old", 40, 4000, "loss", 256), TextKey("d-new", 30, 3000, "loss", 256)


class Links(HTMLParser):
    """Tags, links and scripts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action")]


def score(percent: float, half: float = 0.3) -> Score:
    low, high = percent - half, percent + half
    verdict = "better" if high < 0 else "worse" if low > 0 else "not distinguishable from noise"
    return Score(1 + percent / 100, Change(percent / 100, low / 100, high / 100), verdict)  # type: ignore[arg-type]


def run(slug: str, old: float, new: float, name: str = "", **more: object) -> RunFacts:
    base = Model(
        "base", "w0", "", 0, {"web": Score(1.0, Change(0, 0, 0), "base"), "law": Score(1.0, Change(0, 0, 0), "base")}
    )
    last = Model("stage-1-law", f"w-{slug}", "2026-01", 1000, {"web": score(old), "law": score(new)})
    facts = RunFacts(
        slug=slug, name=name or slug, folder=Path(slug), state="finished", about="", digest=slug, rewarm="0.1.0",
        created=f"2026-0{1 + len(slug) % 9}-01", base="models/base", base_weights="w0", stages=["law"], planned=1,
        tokens=1000, old=last.scores["web"].change, new=last.scores["law"].change,
        watched=[Watched("web", "old", OLD), Watched("law", "new", NEW)], models=[base, last],
        lines={"old": [(0, 0.0), (1000, old / 100)], "new": [(0, 0.0), (500, math.nan), (1000, new / 100)]},
    )  # fmt: skip
    return dataclasses.replace(facts, **more)  # type: ignore[arg-type]


def site(name: str = "a-run") -> Site:
    runs = [
        run("a", 1.0, -5.0, name),
        run("bb", 3.0, -8.0, f"{name}-2", gate=Gate(False, ["fail: law"])),
        run("ccc", 4.0, -7.0),
    ]
    lost = RunFacts("broken", name, Path("broken"), "unreadable", "it cannot be read", f"its report.json: {name}")
    columns = [Column(name, "old", OLD), Column("law", "new", NEW)]
    differences = {
        "bb": [Difference(Change(0.02, 0.01, 0.03), "worse"), Difference(Change(-0.03, -0.04, -0.02), "better")],
        "ccc": [Difference(None, reason="its losses per document are gone"), Difference(None, reason=name)],
    }
    compared = Comparison("w0", name, "w0" * 20, runs, columns, runs[0], differences, [(runs[2], name, name)])
    moments = [Moment(one, model, model.tokens) for one in runs[:1] for model in one.models]
    moments.append(Moment(runs[1], runs[1].models[1], 2000))
    changes = [Change(0, 0, 0), Change(0.01, 0.005, 0.015), Change(0.03, math.nan, math.nan)]
    line = Line(columns[0], 0, [1.0, 1.01, 1.03], changes, [True, True, False])
    late = Line(
        columns[1], 1, [None, 1.0, 0.9], [None, Change(0, 0, 0), Change(-0.1, -0.11, -0.09)], [False, True, True]
    )
    history = History("bb", runs[:2], moments, [line, late], [f"'{name}' is a line of its own"])
    return Site([*runs, lost], [compared], [(runs[2], name)], [history], "at most 1% forgotten")


def every(held: Site) -> dict[str, str]:
    pages = Pages(held)
    return {
        "index": pages.index(), "list": pages.comparisons(), "compare": pages.comparison(held.comparisons[0]),
        "histories": pages.histories(), "history": pages.history(held.histories[0]),
    }  # fmt: skip


def test_the_index_says_of_every_run_what_it_is() -> None:
    text = every(site())["index"]
    assert text.index("ccc") < text.index("a-run-2") < text.index(">a-run<")  # the newest first
    assert "4 runs: 3 finished, 1 unreadable" in text
    assert "+1.00%" in text
    assert "[−5.30, −4.70]" in text
    assert "not met" in text
    assert "fail: law" in text
    assert "its report.json: a-run" in text
    assert 'href="runs/broken/index.html"' not in text


def test_without_limits_the_index_says_how_runs_are_judged() -> None:
    text = Pages(dataclasses.replace(site(), limits="")).index()
    assert "No run is judged" in text
    assert ">gate<" not in text


def test_text_from_outside_stays_text() -> None:
    plain, evil = every(site()), every(site(EVIL))
    for name, text in evil.items():
        assert "<script>alert" not in text, name
        assert "{{ 7*7 }}" in text, name  # not filled in: 49
        assert Links(text).tags.count("script") == Links(plain[name]).tags.count("script") == (name == "index"), name


def test_nothing_leads_outside_and_links_are_relative() -> None:
    for text in every(site()).values():
        assert all(re.match(r"(#|\.\./)?[\w.-]+(/[\w.-]+)*$|#", link) for link in Links(text).links)
        assert not re.search(r"(https?:)?//[a-z]", text.replace("http-equiv", ""))
        assert "default-src 'none'" in text


def test_the_comparison_has_the_matrix_differences_and_reasons() -> None:
    text = every(site())["compare"]
    assert "▲ +2.00%" in text
    assert "its losses per document are gone" in text
    assert "a-run of ccc: a-run." in text
    assert "No other run is better on both than: a-run, a-run-2" in text


def test_the_front_holds_what_no_other_beats() -> None:
    pairs = [(Change(old, old, old), Change(new, new, new)) for old, new in [(0, 0), (1, -1), (1, -2), (2, -2), (0, 1)]]
    assert front(pairs) == {0, 2}
    assert front([None, pairs[0], (Change(math.nan, 0, 0), Change(0, 0, 0))]) == {1}


def test_without_a_text_of_each_kind_there_is_no_picture() -> None:
    one = site().comparisons[0]
    assert frontier(one) is not None
    assert frontier(dataclasses.replace(one, columns=one.columns[:1])) is None


def test_the_history_has_a_line_for_every_text_and_its_dates() -> None:
    held = site()
    text = every(held)["history"]
    assert [panel.key for panel in histories(held.histories[0])] == ["history-old-1", "history-new-1"]
    assert "2026-01" in text
    assert "first: 1.0000" in text
    assert "Where no interval is shown" in text
    assert "+3.00%" in text


def test_many_texts_are_drawn_in_several_pictures() -> None:
    one = site().histories[0]
    many = dataclasses.replace(one, lines=[one.lines[0]] * 13)
    assert [panel.title for panel in histories(many)] == [
        "Old text, 1 to 6 of 13", "Old text, 7 to 12 of 13", "Old text, 13 to 13 of 13",
    ]  # fmt: skip


def test_a_sparkline_leaves_out_what_is_no_number() -> None:
    drawn = sparkline(run("a", 1.0, -5.0))
    assert drawn.count("<polyline") == 2
    assert "nan" not in drawn
    assert sparkline(run("a", 1.0, -5.0, lines={})) == ""
    assert sparkline(run("a", 1.0, -5.0, lines={"old": [(0, math.nan), (9, math.nan)]})) == ""


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (TextKey("x", 40, 4000, "loss", 256), "other prepared text"),
        (TextKey("d-old", 41, 4000, "loss", 256), "other held-out documents"),
        (TextKey("d-old", 40, 4000, "loss", 512), "rows of 256 and 512 tokens"),
        (TextKey("d-old", 40, 4000, "masked loss", 256), "loss and masked loss"),
        (TextKey("", 40, 4000, "loss", 256), "no digest of the text is recorded"),
        (OLD, ""),
    ],
)
def test_why_two_texts_cannot_be_compared(other: TextKey, said: str) -> None:
    assert OLD.differs(other) == said


def test_a_cell_says_whether_a_text_is_another_or_none() -> None:
    held = site()
    one = held.comparisons[0]
    other = dataclasses.replace(OLD, documents=41)
    runs = [
        one.runs[0],
        dataclasses.replace(one.runs[1], watched=[Watched("a-run", "old", other)]),
        dataclasses.replace(one.runs[2], watched=[]),
    ]
    text = Pages(held).comparison(dataclasses.replace(one, runs=runs))
    assert [text.count(f">{said}<") for said in ("other text", "not watched")] == [1, 3]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (TextKey("x", 41, 4000, "loss", 512), ("law, 40 documents", "law, 41 documents")),
        (TextKey("d-old", 40, 4000, "loss", 512), ("law, rows of 256", "law, rows of 512")),
        (TextKey("d-new", 40, 4000, "loss", 256), ("law, d-old", "law, d-new")),
    ],
)
def test_texts_of_one_name_are_told_apart(other: TextKey, said: tuple[str, str]) -> None:
    columns = [Column("web", "old", NEW), Column("law", "new", OLD), Column("law", "new", other)]
    assert labels(columns) == ["web", *said]


def test_the_same_runs_give_the_same_pages() -> None:
    assert every(site()) == every(site())
