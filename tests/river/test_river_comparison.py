"""A comparison on a tiny model: every run once, whatever interrupts it; rows that agree with the runs' own files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest

from rewarm.evaluation.frontier import over_seeds
from rewarm.plan import Plan, from_values
from rewarm.report.arms import Comparison
from rewarm.report.result import read
from rewarm.river import comparison
from rewarm.river.comparison import check, compare
from rewarm.river.directory import RunDirectory
from rewarm.river.outlook import outlook
from rewarm.river.train import Hooks
from rewarm.river.variants import arms
from rewarm.types import Stopped, UserError

ARMS = ["plan", "learning rate x2", "constant"]


@pytest.fixture
def plan(scratch_plan: Callable[..., dict[str, Any]]) -> Plan:
    """The small plan, from scratch."""
    return from_values(scratch_plan())


def trained(root: Path) -> dict[str, int]:
    """How often each run finished its only leg."""
    found = {}
    for folder in sorted(root.glob("arms/*/seed-*")):
        events = [entry["event"] for entry in RunDirectory(folder).ledger()]
        found["/".join(folder.parts[-2:])] = events.count("leg finished")
    return found


def test_a_comparison_that_is_interrupted_goes_on_and_trains_nothing_twice(plan: Plan) -> None:
    found, root = arms(plan, {"schedule": ["constant"]}, [1, 2]), Path(f"{plan.output_dir}-compare")
    told: list[str] = []
    asked = 0

    def stop() -> bool:
        """In the middle of the fourth run."""
        nonlocal asked
        asked += "run 4 of 6" in (told or [""])[-1] and "train stage-1" in told[-1]
        return asked > 2

    with pytest.raises(Stopped, match=r"stopped at step [1-7] of stage-1-update"):
        compare(plan, found, 2, Hooks(lambda label, *_: told.append(label), stop))
    assert not (root / "comparison.json").exists()
    assert sum(trained(root).values()) == 3
    seen = outlook(plan, found, 2)
    assert [(row.name, row.runs, row.finished) for row in seen.arms] == [(name, 2, 1) for name in ARMS]

    whole = compare(plan, found, 2)
    assert trained(root) == {
        f"{folder}/seed-{seed}": 1 for folder in ("constant", "learning-rate-x2", "plan") for seed in (1, 2)
    }
    steps = [entry["steps"] for entry in RunDirectory(root / "arms/plan/seed-2").ledger() if "steps" in entry]
    assert steps
    assert any("run 4 of 6: plan, seed 2: train stage-1-update" in label for label in told)
    _agrees_with_its_runs(whole, root)

    again = compare(plan, found, 2, Hooks(stop=lambda: pytest.fail("nothing is left to stop")))
    assert again.arms == whole.arms
    assert set(trained(root).values()) == {1}
    assert Comparison.model_validate_json((root / "comparison.json").read_text()) == again
    more = compare(plan, found, 3)
    assert [run.seed for run in more.arms[0].runs] == [1, 2, 3]
    assert more.arms[0].runs[:2] == whole.arms[0].runs


def _agrees_with_its_runs(found: Comparison, root: Path) -> None:
    assert [arm.name for arm in found.arms] == ARMS
    assert (found.plain, found.seeds) == ("plan", [1, 2])
    results = {(arm.name, run.seed): read(root / run.folder) for arm in found.arms for run in arm.runs}
    assert len({result.hashes["weights base"] for result in results.values()}) == 1
    assert len({result.hashes["weights stage-1-update"] for result in results.values()}) == 6
    rates = {}
    for arm in found.arms:
        own = [results[arm.name, seed] for seed in (1, 2)]
        changes = [result.final().cells["old"].relative for result in own]
        assert (arm.old.point, *arm.old.seeds) == pytest.approx(over_seeds(changes))
        assert arm.old.documents[0] < arm.old.point < arm.old.documents[1]
        assert arm.columns["new"] == arm.new
        assert {(run.tokens, run.new_tokens) for run in arm.runs} == {(2048, 1536)}
        rates[arm.name] = [result.costs[0].tokens_per_second for result in own]
    for arm in found.arms:
        assert arm.cost == pytest.approx(median(np.divide(rates["plan"], rates[arm.name])))
    assert [arm.standing is None for arm in found.arms] == [True, True, False]
    assert sorted((root / "prepared" / "scores").glob("*.npz"))
    assert not list(root.glob("arms/*/*/prepared"))


def test_tuning_chooses_on_a_seed_that_is_never_reported(plan: Plan) -> None:
    found, root = arms(plan, {"retention": ["l2-sp"]}, [1, 2]), Path(f"{plan.output_dir}-compare")
    assert comparison.count(found, 1, tune=True) == 3 + 2 + 4
    whole = compare(plan, found, 1, tune=True)
    chosen = next(one for one in whole.tried if one.chosen)
    assert [one.name for one in whole.tried] == [f"l2-sp strength={value:g}" for value in (0.01, 0.1, 1.0)]
    assert [one.tuned for one in whole.tried] == ["l2-sp"] * 3
    assert [arm.name for arm in whole.arms] == [
        "none", "learning rate x2", chosen.name, f"{chosen.name}, random control",
    ]  # fmt: skip
    assert (whole.arms[3].kind, whole.arms[3].control_of) == ("control", chosen.name)
    assert whole.arms[3].change["retention"][0]["anchor"] == "random"
    assert {run.seed for arm in whole.arms for run in arm.runs} == {1}
    assert sum(name.endswith("seed-0") for name in trained(root)) == 5
    assert len(trained(root)) == comparison.count(found, 1, tune=True)
    seen = outlook(plan, found, 1, tune=True)
    assert (seen.runs, seen.finished) == (9, 9)
    assert any("no verdict is possible" in note for note in whole.notes)


def test_replay_that_takes_from_the_new_is_said(plan: Plan) -> None:
    whole = compare(plan, arms(plan, {"replay": ["none", {"from": "old", "share": "50%"}]}, [1]), 1)
    assert [arm.runs[0].new_tokens for arm in whole.arms] == [2048, 1024]
    assert any("1,024 new tokens, 'none' on 2,048: replay takes from the new" in note for note in whole.notes)


def test_another_plan_in_the_same_folder_is_refused(plan: Plan, scratch_plan: Callable[..., dict[str, Any]]) -> None:
    compare(plan, arms(plan, {"schedule": ["constant"]}, [1]), 1)
    other = from_values(scratch_plan(batch_tokens=512))
    with pytest.raises(UserError, match="was started with another plan; changed: batch_tokens"):
        compare(other, arms(other, {"schedule": ["constant"]}, [1]), 1)


def test_what_could_come_to_no_verdict_is_refused_before_work(plan: Plan) -> None:
    found = arms(plan, {"schedule": ["constant"]})
    with pytest.raises(UserError, match="seeds 0 must be 1 or more"):
        compare(plan, found, 0)
    with pytest.raises(UserError, match="first arm must be plain training"):
        compare(plan, found[-1:])
    with pytest.raises(UserError, match="constant and constant would share a folder"):
        compare(plan, [*found, found[-1]])
    values = plan.resolved()
    blind = from_values({**values, "watch": ["new"]})
    with pytest.raises(UserError, match="watches new text only"):
        compare(blind, arms(blind, {"schedule": ["constant"]}))
    assert not Path(f"{plan.output_dir}-compare").exists()


def test_outlook_counts_models_of_every_run_and_tokens_once(plan: Plan) -> None:
    found = arms(plan, {"schedule": ["constant"], "retention": ["l2-sp"]}, [1])
    seen = outlook(plan, found, 3, timed=True)
    assert [(row.name, row.steps, row.runs) for row in seen.arms] == [
        ("none", 8, 3), ("constant", 8, 3), ("l2-sp", 8, 3), ("l2-sp, random control", 8, 3),
    ]  # fmt: skip
    one = outlook(plan, found, 1)
    models = [look.needs[0].parts["models"] for look in (one, seen)]
    assert (models[1], seen.needs[0].parts["tokens"]) == (3 * models[0], one.needs[0].parts["tokens"])
    assert seen.needs[0].needed == sum(seen.needs[0].parts.values())
    assert seen.seconds["train"] > 0
    assert one.seconds == {}
    assert json.dumps(seen.described())
    assert not Path(f"{plan.output_dir}-compare").exists()


def test_a_finished_run_of_another_plan_is_not_taken(plan: Plan) -> None:
    found, root = arms(plan, {"schedule": ["constant"]}, [1]), Path(f"{plan.output_dir}-compare")
    compare(plan, found, 1)
    shutil.rmtree(root / "arms/constant")
    shutil.copytree(root / "arms/plan", root / "arms/constant")
    with pytest.raises(UserError, match="was started with another plan; changed: stages"):
        compare(plan, found, 1)


def test_variants_of_two_plans_may_not_share_a_run(values_in: Callable[..., Any], tmp_path: Path) -> None:
    plain = from_values(values_in(tmp_path / "run", [{"name": "law", "data": "law"}], old_corpus="old"))
    found = arms(plain, {"retention": ["l2-sp"]})
    other = plain.model_copy(update={"stages": (found[-1].plan.stages[0].model_copy(update={"tokens": 4096}),)})
    with pytest.raises(UserError, match=r"l2-sp strength=0.1 would share a folder"):
        check(plain, [*found, replace(found[-1], name="l2-sp strength=0.1", plan=other)], 3)
