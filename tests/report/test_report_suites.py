"""What a report says of suites, and what the gate makes of it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from rewarm.report import suites
from rewarm.report.gate import check
from rewarm.report.markdown import markdown
from rewarm.report.page import html
from rewarm.report.part import RowKind, Verdict
from rewarm.report.result import Result
from rewarm.report.suite_figures import panel
from rewarm.report.suite_gate import Condition, parse
from rewarm.report.suite_parts import AbilityDelta, SuiteMeasure, SuiteRow, Suites, SuiteSet
from rewarm.report.terminal import table
from rewarm.report.wording import NOISE, verdict_sentence
from rewarm.types import UserError

MODELS: dict[str, RowKind] = {"papers-stage": "stage", "code-stage": "stage", "new-only": "control"}


def measured(value: float, delta: float, half: float = 0.02, better: str = "higher") -> SuiteMeasure:
    low, high = delta - half, delta + half
    verdict: Verdict = NOISE if low <= 0 <= high else "better" if (low > 0) == (better == "higher") else "worse"
    return SuiteMeasure(value=value, items=200, delta=delta, low=low, high=high, verdict=verdict)


def one_set(name: str, ability: str, deltas: tuple[float, float, float], loops: float = 0.0) -> SuiteSet:
    rows = [SuiteRow(name="base", row="base", measures={"right": SuiteMeasure(value=0.6, items=200)})]
    rows[0].measures["loops"] = SuiteMeasure(value=0.1, items=200)
    for (model, kind), delta in zip(MODELS.items(), deltas, strict=True):
        measures = {"right": measured(0.6 + delta, delta), "loops": measured(0.1 + loops, loops, better="lower")}
        rows.append(SuiteRow(name=model, row=kind, measures=measures))
    return SuiteSet(
        name=name, kind="choices", ability=ability, headline="right", items=200,  # type: ignore[arg-type]
        better={"right": "higher", "loops": "lower"}, units={"right": "share", "loops": "share"},
        left_out={"over the limit": 1800}, bad_rows={"no right choice": 1}, rows=rows,
    )  # fmt: skip


def mean(model: str, ability: str, delta: float, worst: tuple[str, float], names: list[str]) -> AbilityDelta:
    one = measured(0.0, delta)
    return AbilityDelta(
        name=model, row=MODELS[model], ability=ability, suites=names, delta=delta,  # type: ignore[arg-type]
        low=one.low, high=one.high, verdict=one.verdict, worst=worst,
    )  # fmt: skip


@pytest.fixture
def with_suites(normal: Result) -> Result:
    """The normal run with three suites of two abilities; the final model is code-stage."""
    sets = [
        one_set("quiz", "general", (0.01, -0.05, -0.2)),
        one_set("sums", "general", (0.0, 0.03, -0.1)),
        one_set("chat <1>", "instruction", (-0.01, -0.30, -0.4), loops=0.15),
    ]
    names = ["quiz", "sums"]
    abilities = [
        mean("code-stage", "general", -0.01, ("quiz", -0.05), names),
        mean("code-stage", "instruction", -0.30, ("chat <1>", -0.30), ["chat <1>"]),
        mean("new-only", "general", -0.15, ("quiz", -0.2), names),
    ]
    return normal.model_copy(update={"suites": Suites(sets=sets, abilities=abilities)})


def test_tables(with_suites: Result) -> None:
    assert with_suites.suites is not None
    means = suites.abilities(with_suites.suites)
    assert means.head == ["Model", "General (GAD)", "Instructions (IFD)"]
    assert [list(map(str, line)) for line in means.lines] == [
        ["code-stage", "−1.0 ≈ ([−3.0, +1.0], worst of 2: quiz −5.0)",
         "−30.0 ([−32.0, −28.0], worst of 1: chat <1> −30.0, worse)"],
        ["new-only (control)", "−15.0 ([−17.0, −13.0], worst of 2: quiz −20.0, worse)", "not asked"],
    ]  # fmt: skip
    quiz = suites.measured(with_suites.suites.sets[2])
    assert quiz.head == ["Model", "right*", "loops (lower is better)"]
    assert str(quiz.lines[2][2]) == "25.0% (+15.0 [+13.0, +17.0], worse)"
    assert suites.about(with_suites.suites.sets[0]) == "Choices, for general ability: 200 items."
    assert suites.notes(with_suites.suites.sets[0]) == [
        "1800 rows of quiz left out: over the limit.", "1 row of quiz could not be read: no right choice.",
    ]  # fmt: skip


def test_page_markdown_terminal_and_verdict_tell_of_suites(with_suites: Result, normal: Result) -> None:
    page = html(with_suites)
    assert '<section id="suites"' in page
    assert '<a href="#suites">abilities</a>' in page
    assert "chat &lt;1&gt;" in page
    assert "chat <1>" not in page
    assert '<section id="suites"' not in html(normal)
    text = markdown(with_suites)
    assert "## Abilities" in text
    assert "| code-stage | −1.0 ≈" in text
    printed = io.StringIO()
    Console(file=printed, width=80).print(table(with_suites))
    assert "Instructions (IFD)" in printed.getvalue()
    assert max(map(len, printed.getvalue().splitlines())) <= 80
    assert verdict_sentence(with_suites).endswith(
        "Over its suites, in points against the base: general ability −1.0 [−3.0, +1.0], worst quiz −5.0; following "
        "instructions −30.0 [−32.0, −28.0]."
    )


def test_the_figure_has_a_line_for_each_suite(with_suites: Result, normal: Result) -> None:
    drawn = panel(with_suites)
    assert drawn is not None
    assert drawn.about == "final model against the base, in points: quiz −5.0, sums +3.0, chat <1> −30.0"
    assert "chat &lt;1&gt; (instruction)" in drawn.svg
    assert panel(normal) is None


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("suite:chat.stop_rate >= -0.05", Condition("suite", "chat.stop_rate", True, -0.05)),
        ("suite:chat>=-5%", Condition("suite", "chat", True, -0.05)),
        ("value:chat.loops <= 20 %", Condition("value", "chat.loops", False, 0.2)),
        ("ability:general >= −1%", Condition("ability", "general", True, -0.01)),
    ],
)
def test_conditions(text: str, condition: Condition) -> None:
    assert parse(text) == condition


@pytest.mark.parametrize(
    "text", ["", "chat >= 1", "suite:chat > 1", "suite:chat >= x", "suite: >= 1", "suite:a >= 1.2.3"]
)
def test_what_is_no_condition(text: str) -> None:
    with pytest.raises(UserError, match="is no condition: give suite:NAME"):
        parse(text)


def test_the_gate_judges_suites(with_suites: Result) -> None:
    def judged(*conditions: str, strict: bool = False) -> tuple[bool, tuple[str, ...]]:
        outcome = check(with_suites, strict=strict, conditions=[parse(one) for one in conditions])
        return outcome.passed, outcome.sentences

    assert judged("suite:quiz >= -6%") == (
        True,
        ("pass: change of quiz right: −5.0 [−7.0, −3.0] points, required −6.0 or more; the point estimate passes, but "
         "the interval does not prove it.",),
    )  # fmt: skip
    assert not judged("suite:quiz >= -6%", strict=True)[0]
    assert judged("suite:quiz >= -8%", strict=True)[0]
    assert not judged("suite:quiz >= -4%")[0]
    assert judged("ability:general >= -5%", strict=True)[0]
    assert not judged("ability:instruction >= -5%")[0]
    assert judged("value:sums.loops <= 10%") == (True, ("pass: sums loops: 10.0 %, required 10.0 or less.",))
    # One condition that fails is enough, whatever else is asked.
    assert not check(with_suites, max_forget=9.0, conditions=[parse("ability:instruction >= 0")]).passed


def test_what_the_gate_cannot_judge(with_suites: Result, normal: Result) -> None:
    for text, told in (
        ("suite:quizz >= 0", "no suite is called 'quizz'. Did you mean 'quiz'?"),
        ("suite:quiz.rihgt >= 0", "no measure 'rihgt' of the final model. Did you mean 'right'?"),
        ("ability:safety >= 0", "no ability 'safety' was measured"),
    ):
        with pytest.raises(UserError) as refused:
            check(with_suites, conditions=[parse(text)])
        assert told in str(refused.value)
    with pytest.raises(UserError, match=r"the run has none\. Add one under 'suites'"):
        check(normal, conditions=[parse("suite:quiz >= 0")])
    with pytest.raises(UserError, match="the gate has no criterion"):
        check(normal)
