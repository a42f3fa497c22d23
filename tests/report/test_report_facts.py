"""What a report says of facts, in words and tables."""

from __future__ import annotations

import io
import json
from html.parser import HTMLParser

import pytest
from rich.console import Console

from rewarm.report import facts, wording
from rewarm.report.fact_figures import learned, paths
from rewarm.report.fact_parts import FactCell, FactMeasure, FactRatio, Facts, FactSet, FactShare
from rewarm.report.markdown import markdown
from rewarm.report.page import html
from rewarm.report.result import Result
from rewarm.report.terminal import table


def one_set(result: Result) -> FactSet:
    assert result.facts is not None
    return result.facts.sets[0]


def with_set(result: Result, one: FactSet) -> Result:
    assert result.facts is not None
    return result.model_copy(update={"facts": Facts(sets=[one], totals=result.facts.totals)})


def words(page: str) -> str:
    """The text of a page, blanks collapsed."""
    found: list[str] = []
    parser = HTMLParser()
    parser.handle_data = found.append  # type: ignore[method-assign]
    parser.feed(page)
    return " ".join(" ".join(found).split())


def test_the_verdict_says_what_was_learned_and_kept(with_facts: Result, normal: Result) -> None:
    said = (
        "Of the facts asked, it learned 62.0% of 430 changed ones that the base did not know and it kept 91.0% of "
        "1,000 unchanged ones that the base knew."
    )
    assert wording.verdict_sentence(with_facts) == f"{wording.verdict_sentence(normal)} {said}"
    assert wording.facts_sentence(normal) == ""


def test_a_run_that_only_learned_or_only_kept_says_so(with_facts: Result) -> None:
    assert with_facts.facts is not None
    last = with_facts.facts.totals[2]
    for kind, said in (("changed", "it learned 62.0%"), ("unchanged", "it kept 91.0%")):
        held = last.model_copy(update={"held": {kind: last.held[kind]}})
        alone = with_facts.model_copy(update={"facts": Facts(sets=[], totals=[held])})
        assert said in wording.facts_sentence(alone)
        assert " and " not in wording.facts_sentence(alone)


def test_known_has_a_line_for_each_model(with_facts: Result) -> None:
    known = facts.known(one_set(with_facts))
    assert known.head == ["Model", "Unchanged: kept", "Changed: learned"]
    assert [str(entry) for entry in known.lines[0]] == [
        "base (untouched)",
        "knows 71.0% (of 1,409)",
        "knows 9.3% (of 474)",
    ]
    assert [str(entry) for entry in known.lines[2]] == [
        "code-stage", "91.0% ([88.0, 94.0] of 1,000)", "62.0% ([59.0, 65.0] of 430)",
    ]  # fmt: skip
    assert str(known.lines[3][0]) == "new-only (control)"


def test_measured_has_changes_with_verdicts(with_facts: Result) -> None:
    found = facts.measured(one_set(with_facts), "changed")
    assert found.head == ["Model", "Writes it", "Writes the old"]
    assert [str(entry) for entry in found.lines[0]] == ["base (untouched)", "9.0%", "60.0%"]
    assert str(found.lines[1][1]) == "10.0% ≈ (+1.0 [−3.0, +5.0])"
    assert str(found.lines[2][1]) == "55.0% (+46.0 [+42.0, +50.0], better)"
    assert str(found.lines[2][2]) == "8.0% (−52.0 [−56.0, −48.0], better)"


def test_deleted_facts_have_the_old_answer_only(with_facts: Result) -> None:
    measures = {
        "old_nats_per_byte": FactMeasure(value=0.5, probes=2),
        "stale": FactMeasure(value=0.5, probes=2),
        "rank_1": FactMeasure(value=0.5, probes=2),
    }
    one = one_set(with_facts)
    rows = [row.model_copy(update={"cells": {"deleted": FactCell(facts=2, measures=measures)}}) for row in one.rows]
    deleted = one.model_copy(update={"rows": rows, "base_knows": {}})
    assert facts.measured(deleted, "deleted").head == ["Model", "Old answer, nats per byte", "Writes the old"]
    assert str(facts.measured(deleted, "deleted").lines[0][1]) == "0.500"
    assert facts.known(deleted).head == ["Model"]
    assert facts.about(deleted) == "2 deleted facts, new with stage code-stage."
    assert paths(with_set(with_facts, deleted)) == []
    assert "Deleted facts" in words(html(with_set(with_facts, deleted)))


def test_fuar_is_told_with_its_scores(with_facts: Result) -> None:
    assert with_facts.facts is not None
    ratios = facts.ratios(with_facts.facts)
    lines = [[str(entry) for entry in line] for line in ratios.lines]
    assert lines[2] == [
        "code-stage (since the base, by what it writes)", "0.10", "70.0% to 63.7%", "9.0% to 71.0%", "not asked",
    ]  # fmt: skip
    assert lines[4][0] == "code-stage (against every model before, by what it writes)"
    assert all(not line[0].startswith("base") for line in lines)


@pytest.mark.parametrize(
    ("value", "vacuous", "said"), [(None, True, "no gain"), (0.0, True, "0.00 (vacuous)"), (0.284, False, "0.28")]
)
def test_fuar_in_words(value: float | None, vacuous: bool, said: str) -> None:
    ratio = FactRatio(
        value=value, vacuous=vacuous, lost=0, gained=0, invariant=[(0.5, 0.5)], updated=[(0.1, 0.1)], new=[None]
    )
    assert facts.ratio_words(ratio) == said
    unasked = ratio.model_copy(update={"value": None, "updated": [None]})
    assert facts.ratio_words(unasked) == "not asked"


def test_bounds_leave_out_an_interval_without_end() -> None:
    assert facts.bounds(FactShare(value=0.5, low=0.25, high=0.751, facts=1234)) == "[25.0, 75.1] of 1,234"
    assert facts.bounds(FactShare(value=1.0, low=float("-inf"), high=float("inf"), facts=1)) == "of 1"


def test_the_page_and_the_markdown_hold_it_all(with_facts: Result) -> None:
    page, text = words(html(with_facts)), markdown(with_facts).replace("\\", "")
    for said in (
        "1,409 unchanged and 474 changed facts, new with stage code-stage.",
        "The base already knows 1,000 unchanged and 44 changed ones.",
        "3 facts of changes-2021 changed again with a later stage",
        "39 rows of changes-2021 left out: label reworded.",
        "1 row of changes-2021 could not be read: no answer.",
        "FUAR (forgotten against updated and acquired)",
        "Without what measures nothing",
    ):
        assert said in page
        assert said in text
    assert "| code-stage | 91.0% ([88.0, 94.0] of 1,000) | 62.0% ([59.0, 65.0] of 430) |" in text


def test_the_figure_draws_every_model(with_facts: Result) -> None:
    (panel,) = paths(with_facts)
    assert panel.about == (
        "base: unchanged 71.0%, changed 9.3%; papers-stage: unchanged 67.4%, changed 18.4%; "
        "code-stage: unchanged 64.6%, changed 65.5%; new-only: unchanged 49.7%, changed 68.2%"
    )
    for said in ("base", "this run, by stage", "new-only", "unchanged facts: known", "changed facts: known"):
        assert f">{said}<" in panel.svg
    assert learned(one_set(with_facts)) == "changed"


def test_names_from_outside_stay_text(with_facts: Result) -> None:
    one = one_set(with_facts).model_copy(update={"name": "<b>x</b>", "bad_rows": {"<script>alert(1)</script>": 2}})
    page = html(with_set(with_facts, one))
    assert "<script" not in page
    assert "<b>x</b>" not in page
    assert "&lt;b&gt;x&lt;/b&gt;" in page
    assert "<b>" not in markdown(with_set(with_facts, one))


def test_the_terminal_has_a_table_for_each_set(with_facts: Result) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table(with_facts))
    shown = console.export_text()
    assert "changes-2021" in shown
    assert "[88.0, 94.0] of 1,000" in shown
    assert "code-stage 0.10 (0.10)" in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 80


def test_results_go_through_json_and_old_ones_are_read(with_facts: Result, normal: Result) -> None:
    assert Result.model_validate_json(with_facts.model_dump_json()) == with_facts
    old = json.loads(normal.model_dump_json())
    del old["facts"]
    assert Result.model_validate(old) == normal
    assert 'id="facts"' not in html(normal)
    assert "#facts" not in html(normal)
    assert "## Facts" not in markdown(normal)


def test_few_facts_are_said_to_be_few(with_facts: Result) -> None:
    one = one_set(with_facts)
    assert not any("too narrow" in note for note in facts.notes(one))
    rows = [
        row.model_copy(
            update={"cells": {kind: cell.model_copy(update={"facts": 29}) for kind, cell in row.cells.items()}}
        )
        for row in one.rows
    ]
    assert facts.notes(one.model_copy(update={"rows": rows}))[0].startswith(
        f"{one.name} asks only 29 unchanged and 29 changed facts: below 30"
    )
