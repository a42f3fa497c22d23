"""The run's models are asked its suites: each once, whatever happens meanwhile, with the numbers of a direct asking."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rewarm.evaluation.intervals import ratio_interval
from rewarm.models.load import load_model
from rewarm.plan import Plan, from_values
from rewarm.report.gate import check
from rewarm.report.result import Result
from rewarm.report.suite_gate import parse
from rewarm.report.suite_parts import Suites, SuiteSet
from rewarm.river.adding import Addition, add_stage
from rewarm.river.directory import RunDirectory
from rewarm.river.inputs import read_inputs
from rewarm.river.run import report, run
from rewarm.river.suites import ask_suites, suite_answers
from rewarm.river.train import Hooks
from rewarm.suites import Answers, Asked, Suite
from rewarm.types import UserError

MakeValues = Callable[..., dict[str, Any]]
MODELS = ["base", "stage-1-law", "stage-2-code", "new-only"]


def write_suites(folder: Path, words: Any) -> dict[str, Any]:
    """Files of four suites: invented words to choose and to go on with, prompts to answer and to refuse."""
    folder.mkdir(parents=True, exist_ok=True)

    def write(name: str, rows: list[dict[str, Any]]) -> str:
        file = folder / f"{name}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return str(file)

    texts = [words(9000 + number, 12).split() for number in range(40)]
    choices = [
        {"query": " ".join(text[:6]), "choices": [" ".join(text[6:8]), " ".join(text[9:11])], "gold": place % 2}
        for place, text in enumerate(texts)
    ]
    endings = [{"context": " ".join(text[:8]), "continuation": " ".join(text[8:10])} for text in texts]
    prompts = [{"prompt": " ".join(text[:5]), "rules": {"max_words": 6}} for text in texts[:12]]
    safety = [{"prompt": " ".join(text[:4]), "safe": "ba ke lo.", "unsafe": "zu vo ti."} for text in texts[:12]]
    return {
        "pick": {"type": "choices", "path": write("pick", choices), "limit": 30},
        "go-on": {"type": "continuation", "path": write("go-on", endings), "headline": "nats_per_byte"},
        "chat": {"type": "instructions", "path": write("chat", prompts), "new_tokens": 6, "chat": "none"},
        "safe": {"type": "refusals", "path": write("safe", safety), "chat": "none"},
    }


@pytest.fixture(scope="session")
def suited(values_in: MakeValues, tmp_path_factory: pytest.TempPathFactory, words: Any) -> tuple[Path, Result]:
    """Directory and result of a finished run of two stages with a control and four suites. Read only."""
    folder = tmp_path_factory.mktemp("suited")
    replay = {"from": "old", "share": 0.25}
    stages = [{"name": "law", "data": "law", "replay": replay}, {"name": "code", "data": "code", "replay": replay}]
    values = values_in(
        folder / "run", stages, controls=["new-only"], suites=write_suites(folder, words), watch=["old", "code"]
    )
    return folder / "run", run(from_values(values))


def suites_of(result: Result) -> Suites:
    assert result.suites is not None
    return result.suites


def one_set(result: Result, name: str) -> SuiteSet:
    return next(one for one in suites_of(result).sets if one.name == name)


def test_every_model_is_asked_every_suite(suited: tuple[Path, Result]) -> None:
    root, result = suited
    assert [one.name for one in suites_of(result).sets] == ["pick", "go-on", "chat", "safe"]
    assert all([row.name for row in one.rows] == MODELS for one in suites_of(result).sets)
    assert one_set(result, "pick").left_out == {"over the limit": 10}
    assert {one.ability for one in suites_of(result).sets} == {"general", "instruction", "safety"}
    ledger = RunDirectory(root).recorded("suites")
    assert ledger is not None
    assert set(ledger["suites"]) == {"pick", "go-on", "chat", "safe"}


def test_the_numbers_are_those_of_a_direct_asking(suited: tuple[Path, Result]) -> None:
    root, result = suited
    plan = from_values(result.plan)
    inputs = read_inputs(plan, RunDirectory(root))

    def asked(folder: str, name: str) -> Answers:
        suite = plan.suites[name]
        assert isinstance(suite, Suite)
        model = load_model(folder)
        return suite.answer(Asked(model, inputs.tokenizer, lambda: model, 64, plan.seed, torch.float32))

    for name, measure in (("pick", "accuracy"), ("go-on", "nats_per_byte")):
        before, after = (asked(folder, name) for folder in (result.plan["base"], str(root / "stage-2-code")))
        held = next(row for row in one_set(result, name).rows if row.name == "stage-2-code").measures[measure]
        first, second = before.measures[measure], after.measures[measure]
        expected = ratio_interval(
            second.values_N - first.values_N, first.weights, lower_is_better=first.better == "lower"
        )
        assert held.value == pytest.approx(second.value)
        assert (held.delta, held.low, held.high) == pytest.approx((expected.delta, expected.low, expected.high))
        assert held.verdict == expected.verdict
        assert held.delta == pytest.approx(second.value - first.value)


def test_x_delta_is_the_mean_over_the_suites_of_an_ability(suited: tuple[Path, Result]) -> None:
    """`go-on` has nats for a headline, which have no mean with shares: it stands apart."""
    _, result = suited
    assert suites_of(result).apart == ["go-on"]
    means = {(one.name, one.ability): one for one in suites_of(result).abilities}
    assert set(means) == {(model, ability) for model in MODELS[1:] for ability in ("general", "instruction", "safety")}
    row = next(row for row in one_set(result, "pick").rows if row.name == "stage-1-law")
    assert means["stage-1-law", "general"].delta == row.measures["accuracy"].delta
    assert means["stage-1-law", "general"].worst == ("pick", row.measures["accuracy"].delta)


def test_the_report_needs_no_file_of_a_suite(suited: tuple[Path, Result], tmp_path: Path) -> None:
    root, result = suited
    shutil.copytree(root, tmp_path / "run")
    plan_file = tmp_path / "run" / "plan.resolved.json"
    values = json.loads(plan_file.read_text())
    for suite in values["suites"].values():
        suite["path"] = str(tmp_path / "gone.jsonl")
    plan_file.write_text(json.dumps(values))
    again = report(tmp_path / "run")
    assert again.suites == result.suites
    page = (tmp_path / "run" / "report.html").read_text()
    assert '<h2 id="suites-title">Abilities</h2>' in page
    assert "General (GAD)" in page


def test_a_stopped_run_ends_with_the_same_answers(
    suited: tuple[Path, Result], tmp_path: Path, run_with_stops: Callable[[Plan, int], int]
) -> None:
    root, result = suited
    plan = from_values({**result.plan, "output_dir": str(tmp_path / "run"), "controls": []})
    assert run_with_stops(plan, 23) >= 2
    for name in MODELS[:3]:
        own, other = (suite_answers(RunDirectory(place), name, plan.suites) for place in (root, tmp_path / "run"))
        assert [one.as_json() for one in own.values()] == [one.as_json() for one in other.values()]


def test_a_model_is_asked_only_what_it_has_not_been(suited: tuple[Path, Result], tmp_path: Path) -> None:
    root, result = suited
    copy = RunDirectory(tmp_path / "run", root / "prepared")
    shutil.copytree(root / "evaluations", copy.evaluations)
    (copy.evaluations / "base" / "suites" / "pick.json").unlink()
    inputs = read_inputs(from_values(result.plan), RunDirectory(root))
    told: list[str] = []
    ask_suites(
        load_model(result.plan["base"]), inputs, copy, "base", lambda label, *_: told.append(label), weights="other"
    )
    assert {label.partition(":")[0] for label in told} == {"ask base pick"}
    before, now = (suite_answers(place, "base", ["pick"])["pick"] for place in (RunDirectory(root), copy))
    assert np.array_equal(before.measures["accuracy"].values_N, now.measures["accuracy"].values_N)
    # What was found for these weights is kept beside the prepared tokens, whatever run asks next.
    (copy.evaluations / "base" / "suites" / "pick.json").unlink()
    told.clear()
    other = load_model(str(root / "stage-1-law"))
    ask_suites(other, inputs, copy, "base", lambda label, *_: told.append(label), weights="other")
    assert not told
    assert suite_answers(copy, "base", ["pick"])["pick"].as_json() == now.as_json()


def test_other_questions_are_refused_once_a_run_has_begun(suited: tuple[Path, Result], tmp_path: Path) -> None:
    root, result = suited
    shutil.copytree(root, tmp_path / "run")
    values = {**result.plan, "output_dir": str(tmp_path / "run"), "prepared_dir": None}
    file = Path(values["suites"]["pick"]["path"])
    changed = tmp_path / "pick.jsonl"
    changed.write_text(file.read_text() + '{"query": "a", "choices": ["b", "c"], "gold": 0}\n')
    plan_file = tmp_path / "run" / "plan.resolved.json"
    values["suites"] = {**values["suites"], "pick": {**values["suites"]["pick"], "path": str(changed)}}
    plan_file.write_text(json.dumps(values))
    with pytest.raises(UserError, match=r"suites\.pick: what is asked is not what .* began with"):
        run(from_values(values))
    with pytest.raises(UserError, match=r"suites\.pick: what is asked"):
        add_stage(tmp_path / "run", Addition(corpus=str(changed), name="more"))


def test_missing_files_are_told_before_any_work(make_values: MakeValues, tmp_path: Path) -> None:
    values = make_values(
        [{"name": "law", "data": "law"}], suites={"pick": {"type": "choices", "path": str(tmp_path / "no.jsonl")}}
    )
    with pytest.raises(UserError, match=r"suites\.pick: path '.*no.jsonl' does not exist"):
        run(from_values(values), Hooks())
    assert not (tmp_path / "run" / "tokenizer").exists()


def test_the_gate_holds_suites_to_conditions(suited: tuple[Path, Result]) -> None:
    _, result = suited
    delta = next(row for row in one_set(result, "pick").rows if row.name == "stage-2-code").measures["accuracy"].delta
    met = check(result, conditions=[parse(f"suite:pick.accuracy >= {delta - 0.01}"), parse("ability:safety >= -100%")])
    assert met.passed
    assert met.sentences[0].startswith("pass: change of pick accuracy:")
    assert not check(result, conditions=[parse(f"suite:pick >= {delta + 0.01}")]).passed
    assert check(result, conditions=[parse("value:go-on.nats_per_byte <= 9")]).passed
    with pytest.raises(UserError, match=r"no suite is called 'pic'\. Did you mean 'pick'"):
        check(result, conditions=[parse("suite:pic.accuracy >= 0")])
    with pytest.raises(UserError, match="no ability 'domain'"):
        check(result, conditions=[parse("ability:domain >= 0")])
