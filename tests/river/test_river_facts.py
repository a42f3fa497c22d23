"""The run's models are asked about its probes: each once, whatever happens meanwhile, and with the numbers of a direct
scoring."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewarm.evaluation.causal_spans import CausalSpans
from rewarm.evaluation.fact_summary import changes
from rewarm.evaluation.facts import score_facts
from rewarm.evaluation.fuar import phase_fuar
from rewarm.models.load import load_model
from rewarm.plan import Plan, from_values
from rewarm.probes import Probe
from rewarm.report.fact_parts import Facts, FactSet
from rewarm.report.result import Result
from rewarm.river.directory import RunDirectory
from rewarm.river.fact_rows import only
from rewarm.river.facts import answered, ask, tokens_asked
from rewarm.river.inputs import Inputs, read_inputs
from rewarm.river.run import report, run
from rewarm.river.train import Hooks
from rewarm.types import UserError

MakeValues = Callable[..., dict[str, Any]]
MODELS = ["base", "stage-1-law", "stage-2-code", "stage-2-code-release", "new-only", "joint"]


def facts_of(result: Result) -> Facts:
    assert result.facts is not None
    return result.facts


def one_set(result: Result, name: str) -> FactSet:
    return next(one for one in facts_of(result).sets if one.name == name)


def test_every_model_is_asked_about_every_set(asked: tuple[Path, Result]) -> None:
    _, result = asked
    assert [[row.name for row in one.rows] for one in facts_of(result).sets] == [MODELS, MODELS]
    assert [total.name for total in facts_of(result).totals] == MODELS
    kinds = {kind: cell.facts for kind, cell in one_set(result, "codes").rows[0].cells.items()}
    assert kinds == {"unchanged": 6, "changed": 4, "new": 2, "deleted": 1}
    assert one_set(result, "codes").left_out == {"label damaged": 1}


def test_the_numbers_are_those_of_a_direct_scoring(asked: tuple[Path, Result]) -> None:
    root, result = asked
    inputs = read_inputs(from_values(result.plan), RunDirectory(root))
    names = {"base": result.plan["base"], "stage-2-code": str(root / "stage-2-code")}
    base, after = (
        score_facts(CausalSpans(load_model(folder), inputs.tokenizer), inputs.probes["codes"])
        for folder in names.values()
    )
    cells = {row.name: row.cells for row in one_set(result, "codes").rows}
    for kind in ("unchanged", "changed", "new", "deleted"):
        expected = changes(base, after, base.of_kind(kind))
        measures = cells["stage-2-code"][kind].measures
        assert measures
        for metric, found in measures.items():
            assert found.value == pytest.approx(expected[metric].after, rel=1e-5)
            assert cells["base"][kind].measures[metric].value == pytest.approx(expected[metric].before, rel=1e-5)
            assert found.delta == pytest.approx(expected[metric].interval.delta, abs=1e-5)
            assert (found.probes, found.verdict) == (expected[metric].count, expected[metric].interval.verdict)


def test_a_fact_that_changed_again_is_left_out_where_the_run_ends(asked: tuple[Path, Result]) -> None:
    """`t11`'s mayor is unchanged for the first stage and changed by the second: learning that is not forgetting."""
    root, result = asked
    assert [one.again for one in facts_of(result).sets] == [1, 0]
    assert one_set(result, "laws").rows[0].cells["unchanged"].facts == 5
    scores = answered(RunDirectory(root), "stage-1-law", ["laws"])["laws"]
    base = answered(RunDirectory(root), "base", ["laws"])["laws"]
    total = next(total for total in facts_of(result).totals if total.name == "stage-1-law")
    # Where the first stage ends it has not changed yet, and the second set says nothing of that model.
    ratio = phase_fuar(base, scores, "rank_1")
    found = total.ratios["rank_1"]
    assert (found.value, found.lost, found.gained) == (ratio.value, ratio.lost, ratio.gained)
    assert found.invariant == [tuple(ratio.invariant[0])] if ratio.invariant[0] else [None]


def test_a_report_needs_neither_the_probe_files_nor_the_place(asked: tuple[Path, Result], tmp_path: Path) -> None:
    root, result = asked
    shutil.copytree(root, tmp_path / "moved")
    values = (tmp_path / "moved" / "plan.resolved.json").read_text(encoding="utf-8")
    gone = values.replace(str(root.parent), str(tmp_path / "nowhere"))
    assert gone != values
    (tmp_path / "moved" / "plan.resolved.json").write_text(gone, encoding="utf-8")
    assert report(tmp_path / "moved").facts == result.facts


def test_stopped_anywhere_the_facts_are_the_same(
    asking: MakeValues, tmp_path: Path, run_with_stops: Callable[[Plan, int], int]
) -> None:
    unbroken = run(from_values(asking(tmp_path / "one" / "run")))
    plan = from_values(asking(tmp_path / "two" / "run"))
    assert run_with_stops(plan, 7) > 3
    assert run(plan).facts == unbroken.facts


def test_the_same_weights_are_asked_once_whatever_the_plan(asking: MakeValues, tmp_path: Path) -> None:
    told: list[str] = []

    def asked_with(name: str, **changes: Any) -> set[str]:
        told.clear()
        values = asking(tmp_path / name / "run", prepared_dir=str(tmp_path / "prepared"), **changes)
        run(from_values(values), Hooks(tell=lambda label, done, total, unit: told.append(label)))
        return {label.partition(" about ")[0] for label in told if label.startswith("ask ")}

    assert asked_with("one") == {"ask base", "ask stage-1-law", "ask stage-2-code"}
    assert asked_with("one") == set()
    # The first stage is the same; the second learns faster.
    other = asking(tmp_path / "x" / "run")["stages"]
    assert asked_with("two", stages=[other[0], {**other[1], "learning_rate": 3e-3}]) == {"ask stage-2-code"}


def test_changed_probes_are_refused(asking: MakeValues, tmp_path: Path) -> None:
    values = asking(tmp_path / "run")
    run(from_values(values))
    file = tmp_path / "codes.jsonl"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('"object": "bake"', '"object": "bakery"', 1), encoding="utf-8")
    with pytest.raises(UserError, match=r"probes codes: .* not what '.*' began with"):
        run(from_values(values))
    file.write_text(text, encoding="utf-8")
    assert run(from_values(values)).complete


def test_what_is_wrong_with_probes_is_told_before_any_work(asking: MakeValues, tmp_path: Path) -> None:
    values = asking(tmp_path / "run")
    (tmp_path / "laws.jsonl").unlink()
    with pytest.raises(UserError, match=r"probes\.laws: .*laws\.jsonl"):
        run(from_values(values))
    (tmp_path / "laws.jsonl").write_text('{"label": "changed", "subject": "x"}\n', encoding="utf-8")
    with pytest.raises(UserError, match="laws"):
        run(from_values(values))
    assert not (tmp_path / "run" / "prepared").exists()
    assert not (tmp_path / "run" / "tokenizer").exists()


def test_a_model_is_asked_only_about_what_it_has_not_been(asked: tuple[Path, Result], tmp_path: Path) -> None:
    root, result = asked
    copy = RunDirectory(tmp_path / "run", root / "prepared")
    shutil.copytree(root / "evaluations", copy.evaluations)
    inputs = read_inputs(from_values(result.plan), RunDirectory(root))
    (copy.evaluations / "base" / "facts" / "laws.npz").unlink()
    told: list[str] = []
    model = load_model(result.plan["base"])
    # Other weights by name: what is kept beside the tokens does not answer for them.
    ask(model, inputs, copy, "base", lambda label, *_: told.append(label), weights="other")
    assert {label.partition(":")[0] for label in told} == {"ask base about laws"}
    before, now = (answered(place, "base", ["laws"])["laws"] for place in (RunDirectory(root), copy))
    assert np.array_equal(before.nats_N, now.nats_N, equal_nan=True)


def test_only_keeps_what_was_chosen(asked: tuple[Path, Result]) -> None:
    scores = answered(RunDirectory(asked[0]), "base", ["laws"])["laws"]
    chosen = only(scores, scores.of_kind("new"))
    assert chosen.ids == ("1-10", "1-11")
    assert chosen.nats_N.tolist() == scores.nats_N[10:12].tolist()
    assert set(chosen.kinds) == {"new"}


def test_tokens_asked_are_those_read_and_those_written() -> None:
    """Prompts of 8 bytes are read twice, each of two answers of 4 bytes with its blank once, and 8 tokens may be
    written (1.25 for the answer, rounded up, 4 to spare, up to a power of two), at twice the cost."""
    probes = [
        Probe(str(number), "new", "a prompt", (answer,), relation="r") for number, answer in enumerate(("abcd", "efgh"))
    ]
    assert tokens_asked(probes, 4.0) == 2 * (2 * 8 + 5 + 5) / 4 + 2 * 2 * 8


def test_inputs_hold_the_probes(asked: tuple[Path, Result]) -> None:
    root, result = asked
    inputs: Inputs = read_inputs(from_values(result.plan), RunDirectory(root))
    assert {name: len(probes) for name, probes in inputs.probes.items()} == {"laws": 13, "codes": 13}
    assert inputs.probes["laws"][6].old_answers == ("trami ke",)
    assert inputs.probes["laws"][6].place.endswith("laws.jsonl:7")
