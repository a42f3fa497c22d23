"""Continued pre-training, instructions and preferences as one plan, and what a stage of pairs cannot be had with."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rewarm.plan import from_values
from rewarm.report.markdown import markdown
from rewarm.report.page import html
from rewarm.report.result import Result
from rewarm.river.directory import PLAN, RunDirectory
from rewarm.river.run import run
from rewarm.training import journal
from rewarm.types import UserError

MakeValues = Callable[..., dict[str, Any]]
ALIGN = {"name": "align", "data": "pairs", "epochs": 2, "learning_rate": 2e-3, "objective": "preference"}


@pytest.fixture(scope="session")
def pair_files(tmp_path_factory: pytest.TempPathFactory, words: Any) -> dict[str, str]:
    """Two hundred pairs whose chosen answer begins with another word than the rejected one, and as many answers."""
    folder = tmp_path_factory.mktemp("pairs")
    rows = [
        {"prompt": words(5000 + number, 5), "chosen": f"ba ke {words(9000 + number, 3)}",
         "rejected": f"zu vo {words(7000 + number, 3)}"}
        for number in range(200)
    ]  # fmt: skip
    answers = [{"prompt": words(300 + number, 5), "response": words(800 + number, 5)} for number in range(60)]
    for name, held in (("pairs", rows), ("chat", answers)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in held), encoding="utf-8")
    return {name: str(folder / f"{name}.jsonl") for name in ("pairs", "chat")}


@pytest.fixture(scope="session")
def aligning(values_in: MakeValues, pair_files: dict[str, str]) -> MakeValues:
    """A function: run directory, stages, **changes -> the values of a plan with pairs."""

    def make(root: Path, stages: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
        values = values_in(root, stages, watch=["old", "pairs"], eval_every=0, batch_tokens=512, **changes)
        law = values["corpora"]["law"]
        values["corpora"] = {"old": values["corpora"]["old"], "law": law} | {
            "chat": {"type": "chat", "path": pair_files["chat"]},
            "pairs": {"type": "preferences", "path": pair_files["pairs"], "holdout": 0.1},
        }
        for stage, given in zip(values["stages"], stages, strict=True):
            if "epochs" in given:
                del stage["tokens"]
        return values

    return make


@pytest.fixture(scope="session")
def aligned(aligning: MakeValues, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """Directory and result of a run of three stages, the last one with a release. Read only."""
    root = tmp_path_factory.mktemp("aligned") / "run"
    stages = [
        {"name": "law", "data": "law"},
        {"name": "instruct", "data": "chat"},
        ALIGN | {"release": {"tokens": 1024}},
    ]
    return root, run(from_values(aligning(root, stages)))


def logged(root: Path, leg: str) -> list[dict[str, Any]]:
    return list(journal.read(RunDirectory(root).training(leg) / "journal.jsonl"))


def test_three_stages_are_one_plan_and_pairs_are_learned(aligned: tuple[Path, Result]) -> None:
    root, result = aligned
    assert result.complete
    steps = logged(root, "stage-3-align")
    assert 20 < len(steps) <= 100
    assert steps[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert steps[0]["objective"]["margin"] == pytest.approx(0, abs=1e-5)
    assert sum(step["objective"]["accuracy"] for step in steps[-5:]) > 4.5
    (pairs,) = result.pairs
    rows = {row.name: row for row in pairs.rows}
    assert list(rows) == ["base", "stage-1-law", "stage-2-instruct", "stage-3-align", "stage-3-align-release"]
    since_base, since_start = rows["stage-3-align"].moves
    assert (since_base.since, since_start.since) == ("base", "stage-2-instruct")
    for move in (since_base, since_start):
        assert move.verdict == "better"
        assert min(move.margin.low, move.accuracy.low - 0.5) > 0
        assert move.margin.value == pytest.approx(move.chosen.value - move.rejected.value)
    assert rows["stage-3-align"].prefers > 0.8
    assert rows["stage-2-instruct"].moves[0].accuracy.value < 0.8
    assert [column.name for column in result.columns] == ["old"]


def test_the_reference_is_the_model_before_the_stage_also_for_a_release(aligned: tuple[Path, Result]) -> None:
    root, _ = aligned
    first = logged(root, "stage-3-align-release")[0]
    assert first["objective"]["accuracy"] > 0.9
    assert first["loss"] < 0.5
    before = RunDirectory(root).finished()["stage-2-instruct"]["weights_sha256"]
    assert [file.name[:16] for file in (root / "references").iterdir()] == [before[:16]]


def test_the_report_tells_of_pairs_apart_from_losses(aligned: tuple[Path, Result]) -> None:
    _, result = aligned
    page, text = html(result), markdown(result)
    assert all(told in page for told in ('id="pairs"', "Log-probability, chosen answers"))
    assert all(told in text for told in ("## Preferences", "While it learned from pairs"))
    curves = {curve.leg: curve for curve in result.curves}
    assert curves["stage-1-law"].readings == {}
    assert "margin" in curves["stage-3-align"].readings
    assert Result.model_validate_json(result.model_dump_json()).pairs == result.pairs


def test_a_stopped_stage_ends_as_the_unbroken_one(
    aligning: MakeValues, tmp_path: Path, run_with_stops: Callable[..., int]
) -> None:
    stages = [ALIGN | {"epochs": 0.3, "adapter": "lora"}]
    for name in ("whole", "broken"):
        plan = from_values(aligning(tmp_path / name, stages, save_steps=2))
        if name == "whole":
            run(plan)
        else:
            run_with_stops(plan, 14)
    found = [RunDirectory(tmp_path / name) for name in ("whole", "broken")]
    whole, broken = (one.finished()["stage-1-align"]["weights_sha256"] for one in found)
    assert any(entry["event"] == "stopped" and entry["step"] > 0 for entry in found[1].ledger())
    assert whole == broken
    entries = [
        [(entry["loss"], entry["objective"]) for entry in logged(one.root, "stage-1-align")] for one in found
    ]  # fmt: skip
    assert entries[0] == entries[1]
    assert entries[0][0][0] == pytest.approx(math.log(2), abs=1e-6)  # LoRA begins as the model without it


def test_a_run_begun_before_there_were_objectives_goes_on(aligned: tuple[Path, Result], tmp_path: Path) -> None:
    root, _ = aligned
    values = json.loads((root / PLAN).read_text())
    for stage in values["stages"][:2]:
        assert stage.pop("objective") == {"type": "causal"}
    made = RunDirectory(tmp_path / "older")
    made.write_json(PLAN, values | {"output_dir": str(made.root)})
    made.record("started", steps={})
    plan = from_values(values | {"output_dir": str(made.root)})
    made.claim(plan)
    assert json.loads((made.root / PLAN).read_text())["stages"][0]["objective"] == {"type": "causal"}


@pytest.mark.parametrize(
    ("stage", "changes", "said"),
    [
        ({"objective": "causal"}, {}, "holds pairs of answers.*give the stage 'objective: preference'"),
        ({"data": "law"}, {}, "data 'law' holds text.*type preferences"),
        ({"replay": {"from": "old"}}, {}, "replay 'old' holds text"),
        ({"replay": {"from": "self"}}, {}, "replay from self is text"),
        ({"retention": [{"type": "distillation"}]}, {}, "cannot be had with retention distillation"),
        ({}, {"old_corpus": "pairs"}, "old_corpus 'pairs' holds pairs of answers"),
        ({}, {"compile": True}, "never compiled"),
        ({"objective": {"type": "preference", "beta": 0}}, {}, "beta"),
        ({"objective": ["preference"]}, {}, "one objective"),
    ],
)
def test_what_a_stage_of_pairs_cannot_be_had_with_is_said_at_once(
    aligning: MakeValues, tmp_path: Path, stage: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        from_values(aligning(tmp_path, [ALIGN | stage], **changes))


def test_controls_of_text_and_steps_without_a_pair_are_refused(aligning: MakeValues, tmp_path: Path) -> None:
    """Before any work."""
    law = {"name": "law", "data": "law", "replay": {"from": "old"}}
    tokens = ALIGN | {"tokens": 2048}
    del tokens["epochs"]
    for word in ("joint", "same-data"):
        with pytest.raises(UserError, match=f"control {word} trains on text"):
            run(from_values(aligning(tmp_path / word, [law, tokens], controls=[word])))
    few = aligning(tmp_path / "few", [{"name": "law", "data": "law"}, ALIGN]) | {"batch_tokens": 64}
    with pytest.raises(UserError, match=r"stage-2-align: .* steps would have no pair"):
        run(from_values(few))
    assert not RunDirectory(tmp_path / "few").finished()
