"""Retention in a run: what it reads, what it keeps from stage to stage, and that a run with it resumes exactly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from rewarm.plan import from_values
from rewarm.river.directory import RunDirectory
from rewarm.river.forecast import forecast
from rewarm.river.holding import _rows
from rewarm.river.inputs import read_inputs
from rewarm.river.legs import legs
from rewarm.river.run import run
from rewarm.training import journal
from rewarm.types import UserError

MakeValues = Callable[..., dict[str, Any]]
LAW = {"name": "law", "data": "law"}
CODE = {"name": "code", "data": "code"}
PULL = {"type": "l2-sp", "strength": 100.0}


def _distance(first: Path, second: Path) -> float:
    one, other = (load_file(folder / "model.safetensors") for folder in (first, second))
    return float(sum((one[name] - other[name]).square().sum() for name in one)) ** 0.5


def test_a_pull_keeps_the_weights_near_where_the_stage_began(values_in: MakeValues, base: Path, tmp_path: Path) -> None:
    for name, retention in (("plain", "none"), ("held", PULL)):
        run(from_values(values_in(tmp_path / name, [LAW | {"retention": retention}])))
    plain, held = (_distance(tmp_path / name / "stage-1-law", base) for name in ("plain", "held"))
    assert held < 0.5 * plain
    entries = journal.read(tmp_path / "held" / "training" / "stage-1-law" / "journal.jsonl")
    assert entries[-1]["retention"]["l2-sp"]["reached"] == 1
    assert entries[-1]["retention"]["l2-sp"]["distance"] == pytest.approx(held, rel=1e-3)
    assert "retention" not in journal.read(tmp_path / "plain" / "training" / "stage-1-law" / "journal.jsonl")[-1]


def test_the_report_says_what_it_acts_on(make_values: MakeValues) -> None:
    result = run(from_values(make_values([LAW | {"retention": PULL}])))
    assert any("retention l2-sp acts on 100.0% of the parameters" in note for note in result.notes)


def test_a_run_that_was_stopped_ends_with_the_weights_of_the_unbroken_one(
    values_in: MakeValues, run_with_stops: Callable[..., int], tmp_path: Path
) -> None:
    stages = [LAW | {"retention": [PULL]}, CODE | {"retention": {"type": "l2-sp", "anchor": "base"}}]
    run(from_values(values_in(tmp_path / "whole", stages)))
    stopped = run_with_stops(from_values(values_in(tmp_path / "broken", stages)), 3)
    assert stopped > 3
    whole, broken = (RunDirectory(tmp_path / name).finished() for name in ("whole", "broken"))
    assert len(broken) == 2
    for leg, entry in whole.items():
        assert broken[leg]["weights_sha256"] == entry["weights_sha256"]


def test_the_old_corpus_is_split_the_same_whether_or_not_a_stage_reads_it(
    values_in: MakeValues, tmp_path: Path
) -> None:
    """Otherwise variants of a plan would be scored on different documents."""
    for name, retention in (("with", "l2-sp"), ("without", "none")):
        run(from_values(values_in(tmp_path / name, [LAW | {"retention": retention}], old_corpus="old")))
    split = []
    for name in ("with", "without"):
        directory = RunDirectory(tmp_path / name)
        inputs = read_inputs(directory.resolved(), directory)
        split.append(inputs.watch_documents["old"].tolist())
        assert not set(inputs.watch_documents["old"]) & set(inputs.train_documents["old"])
    assert split[0] == split[1]


def test_rows_of_a_text_are_the_same_whenever_they_are_read(make_values: MakeValues, tmp_path: Path) -> None:
    stages = [LAW | {"replay": {"from": "old", "share": 0.25}}]
    run(from_values(make_values(stages)))
    directory = RunDirectory(tmp_path / "run")
    inputs = read_inputs(directory.resolved(), directory)
    leg = legs(inputs.plan, inputs.trainable_tokens)[0]
    first, again = (list(_rows(inputs, leg, "old", 5)) for _ in range(2))
    assert [batch.tokens_BT.shape for batch in first] == [(1, 64)] * 5
    assert all(torch.equal(one.tokens_BT, other.tokens_BT) for one, other in zip(first, again, strict=True))
    named = list(_rows(inputs, leg, "law", 3))
    new = list(_rows(inputs, leg, "new", 3))
    assert all(torch.equal(one.tokens_BT, other.tokens_BT) for one, other in zip(named, new, strict=True))
    assert not torch.equal(first[0].tokens_BT, new[0].tokens_BT)


@pytest.mark.parametrize(
    ("changes", "stage", "message"),
    [
        ({}, {"retention": "l2sp"}, "no retention method is called 'l2sp'. Did you mean 'l2-sp'"),
        ({}, {"retention": ["l2-sp", PULL]}, "'l2-sp' is given twice"),
        ({}, {"retention": {"type": "l2-sp", "strenght": 1}}, "strenght: unknown key. Did you mean 'strength'"),
        ({}, {"retention": {"type": "l2-sp", "strength": -1}}, "greater than or equal to 0"),
        ({"old_corpus": "lore"}, {}, "old_corpus 'lore' is not in corpora"),
        ({}, {"adapter": "lorra"}, "no adapters method is called 'lorra'"),
        ({"old": "law"}, {}, "old: unknown key. Did you mean 'old_corpus'"),
    ],
)
def test_what_a_plan_gets_wrong_is_named(
    changes: dict[str, Any], stage: dict[str, Any], message: str, make_values: MakeValues
) -> None:
    with pytest.raises(UserError, match=message):
        from_values(make_values([LAW | stage], **changes))


@pytest.mark.parametrize(
    ("retention", "message"),
    [
        ({"type": "ema", "horizon": "10%"}, "stage-1-law: retention 'ema': a horizon of 10% of 8 steps is 0.8 steps"),
        ({"type": "freeze", "layers": "first-9"}, "stage-1-law: retention 'freeze': 'first-9' is more than the"),
    ],
)
def test_what_cannot_hold_the_model_is_told_before_any_work(
    retention: dict[str, Any], message: str, make_values: MakeValues, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        forecast(from_values(make_values([LAW | {"retention": retention}])))
    assert not (tmp_path / "run").exists()


def test_a_method_finds_what_it_left_before_a_stage_without_it(make_values: MakeValues, tmp_path: Path) -> None:
    held = {"retention": {"type": "ewc", "rows": 4, "gamma": 1}}
    stages = [LAW | held, CODE, {"name": "again", "data": "law", **held}]
    run(from_values(make_values(stages, old_corpus="old")))
    folder = tmp_path / "run" / "training"
    left, found = (
        load_file(folder / f"stage-{leg}" / "kept" / f"ewc-{what}.safetensors")
        for leg, what in (("1-law", "left"), ("3-again", "measured"))
    )
    assert left.keys() == found.keys() != set()
    assert all(torch.equal(left[name], found[name]) for name in left)


def test_a_release_is_not_held_back_from_annealing(make_values: MakeValues, tmp_path: Path) -> None:
    held = ["l2-sp", {"type": "reptile", "every": 2}, {"type": "recadam", "center": 0.5}]
    stage = LAW | {"retention": held, "release": {"tokens": 512}}
    run(from_values(make_values([stage])))
    entries = [entry for entry in RunDirectory(tmp_path / "run").ledger() if entry["event"] == "retention"]
    methods: dict[str, list[str]] = {}
    for entry in entries:
        methods.setdefault(entry["leg"], []).append(entry["method"])
    assert methods == {"stage-1-law": ["l2-sp", "reptile", "recadam"], "stage-1-law-release": ["l2-sp"]}
