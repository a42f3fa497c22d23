"""A stage that learns a part of its data: what is chosen, by whose losses, what is told, and that runs stay exact."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewarm.evaluation.loss import document_losses
from rewarm.models.load import load_model
from rewarm.plan import Plan, from_values
from rewarm.river import selection_scores
from rewarm.river.controls import control_plan
from rewarm.river.directory import RunDirectory
from rewarm.river.forecast import forecast
from rewarm.river.inputs import make_inputs
from rewarm.river.legs import legs
from rewarm.river.run import run
from rewarm.river.stage_selection import EVENT, select
from rewarm.types import UserError

MakeValues = Callable[..., dict[str, Any]]
SEP = {"type": "loss", "keep": "median", "share": "25%"}


def selecting(asked: Any = SEP, **changes: Any) -> dict[str, Any]:
    return {"name": "law", "data": "law", "select": asked, "max_epochs": 50} | changes


def weights(root: Path) -> list[str]:
    return [entry["weights_sha256"] for entry in RunDirectory(root).finished().values()]


def chosen(root: Path, stage: str = "law", corpus: str = "law") -> list[int]:
    with np.load(root / "selected" / f"{stage}@{corpus}.npz") as held:
        found: list[int] = held["documents"].tolist()
        return found


def test_the_middle_by_the_starting_model_s_loss_is_learned_and_told(make_values: MakeValues, tmp_path: Path) -> None:
    plan = from_values(make_values([selecting()], eval_every=0))
    result = run(plan)
    directory = RunDirectory(tmp_path / "run")
    inputs = make_inputs(plan, directory)
    store, trained = inputs.stores["law"], inputs.train_documents["law"]
    losses = document_losses(load_model(plan.base), store, trained, plan.seq_len)  # type: ignore[arg-type]
    own = losses.nats_D / losses.tokens_D
    kept = np.isin(trained, chosen(tmp_path / "run"))
    # The kept are those around the middle, but for the two at the edges, whose losses may agree but for rounding.
    middle = np.argsort(np.abs(np.argsort(np.argsort(own)) / (len(own) - 1) - 0.5), kind="stable")[: kept.sum() - 2]
    assert kept[middle].all()
    assert (own[kept] < np.median(own)).sum() == pytest.approx(kept.sum() / 2, abs=1)
    entry = directory.recorded(EVENT)
    assert entry is not None
    assert (entry["documents"], entry["of"]) == (int(kept.sum()), len(trained))
    assert 0 <= 0.25 * entry["of_tokens"] - entry["tokens"] < 150
    share = entry["tokens"] / entry["of_tokens"]
    sentence = f"selection by loss keeps {entry['documents']} of {entry['of']} documents of law ({share:.1%} of tokens)"
    assert any(sentence in note for note in result.notes)
    (realised,) = result.shares
    assert realised.passes == pytest.approx(2048 / entry["tokens"])


def test_runs_are_alike_whether_broken_or_not(
    make_values: MakeValues, run_with_stops: Callable[[Plan, int], int], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(selection_scores, "PART_BYTES", 20_000)
    stages = [
        selecting({**SEP, "soft": True}, replay={"from": "old", "share": 0.25}, release={"tokens": 512}),
        {"name": "code", "data": "code", "select": {"type": "similarity", "share": 0.5, "task": "law"}},
    ]  # fmt: skip
    for name in ("whole", "broken"):
        plan = from_values(make_values(stages, eval_every=0) | {"output_dir": str(tmp_path / name)})
        _ = run(plan) if name == "whole" else run_with_stops(plan, 8)
    assert weights(tmp_path / "whole") == weights(tmp_path / "broken")
    assert len(weights(tmp_path / "whole")) == 3
    for stage in ("law", "code"):
        assert chosen(tmp_path / "whole", stage, stage) == chosen(tmp_path / "broken", stage, stage)
    events = [entry for entry in RunDirectory(tmp_path / "broken").ledger() if entry["event"] == EVENT]
    assert [entry["stage"] for entry in events] == ["law", "code"]


def test_the_seed_draws_and_the_whole_changes_nothing(make_values: MakeValues, tmp_path: Path) -> None:
    plain = selecting()
    del plain["select"]
    # Every text of code occurs once, so that all of it is chosen.
    stages = {
        "plain": plain | {"name": "code", "data": "code"},
        "all": selecting({"type": "random", "share": 1}, name="code", data="code"),
    }
    for name, stage in stages.items():
        run(from_values(make_values([stage], eval_every=0, watch=[]) | {"output_dir": str(tmp_path / name)}))
    assert weights(tmp_path / "plain") == weights(tmp_path / "all")


def test_the_seed_draws(make_values: MakeValues, tmp_path: Path) -> None:
    found = []
    for seed in (1, 2):
        plan = from_values(make_values([selecting({"type": "random", "share": 0.2})], watch=[], seed=seed))
        directory = RunDirectory(tmp_path / str(seed))
        inputs = make_inputs(plan, RunDirectory.of(plan))
        (leg,) = legs(plan, inputs.trainable_tokens)
        select(inputs, directory, leg, load_model(plan.base))  # type: ignore[arg-type]
        found.append(inputs.documents("law", "law").tolist())
        assert found[-1] == chosen(tmp_path / str(seed))
        assert inputs.documents("law", "another") is inputs.train_documents["law"]
    assert found[0] != found[1]


def test_epochs_and_passes_count_what_is_selected(make_values: MakeValues) -> None:
    def planned(stage: dict[str, Any]) -> int:
        (leg,) = legs(from_values(make_values([stage])), {"law": 40_000, "old": 10_000}.__getitem__)
        return leg.tokens(256)

    whole = {"tokens": None, "epochs": 2, "max_epochs": 2}
    assert planned(selecting(**whole)) == 256 * round(2 * 10_000 / 256)
    replay = {"from": "old", "share": 0.5}
    assert planned(selecting(**whole, replay=replay)) == 256 * round(4 * 10_000 / 256)
    with pytest.raises(
        UserError, match=r"wants 29,952 tokens of corpus 'law', which holds 10,000 to train on: 3.0 passes"
    ):
        planned(selecting(tokens=30_000, max_epochs=2))


def test_a_check_names_it_and_counts_passes_of_the_rest(make_values: MakeValues) -> None:
    found = forecast(from_values(make_values([selecting()], controls=["joint"]) | {"old_corpus": "old"}))
    assert any(
        "law will be scored by loss before the stage, and 0.25 of the tokens selected" in w for w in found.warnings
    )
    passes = {(leg.run, leg.name): leg.passes["law"] for leg in found.legs}
    whole = forecast(from_values(make_values([selecting({**SEP, "share": 1})]))).legs[0].passes["law"]
    assert passes["", "stage-1-law"] == pytest.approx(4 * whole, rel=1e-3)
    assert passes["joint", "stage-1-joint"] < 1.1 * whole


def test_controls_select_where_they_learn_the_same_data(make_values: MakeValues) -> None:
    stages = [selecting(replay={"from": "old", "share": 0.25}), selecting(name="code", data="code")]
    plan = from_values(make_values(stages))
    has_one = {word: [stage.select is not None for stage in control_plan(plan, word).stages]  # type: ignore[union-attr]
               for word in ("new-only", "joint", "same-data", "alone")}  # fmt: skip
    assert has_one == {"new-only": [True, True], "joint": [False], "same-data": [False, False], "alone": [True]}


def test_a_plan_says_it_back(make_values: MakeValues) -> None:
    similar = {"type": "similarity", "how": "max", "share": "10%", "task": "code", "soft": True, "gamma": 2}
    plan = from_values(make_values([selecting(similar), {"name": "code", "data": "code"}]))
    values = plan.resolved()
    assert values["stages"][0]["select"] == {
        "type": "similarity", "how": "max", "neighbours": 10, "folder": None, "column": None, "share": 0.1,
        "soft": True, "gamma": 2.0, "task": "code",
    }  # fmt: skip
    assert values["stages"][1]["select"] is None
    assert from_values(values) == plan
    assert plan.trained("code")


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ("loss", "select.share: required, and not given"),
        ({"type": "loss", "share": "10%", "kep": "top"}, "select.kep: unknown key. Did you mean 'keep'"),
        ({"type": "los", "share": "10%"}, "no selection method is called 'los'. Did you mean"),
        ({"type": "loss", "share": 0}, "select.share"),
        ({"type": "similarity", "share": 0.1}, "similarity compares with a task's text: name a corpus of it, as task"),
        (
            {"type": "similarity", "share": 0.1, "task": "cod"},
            "select task 'cod' is not in corpora. Did you mean 'code'",
        ),
        (["loss"], "give a mapping with a method's 'type', its options and a 'share'"),
    ],
)
def test_what_is_wrong_with_it_is_said(make_values: MakeValues, asked: Any, error: str) -> None:
    with pytest.raises(UserError) as refused:
        from_values(make_values([selecting(asked)]))
    assert error in str(refused.value)


def test_a_share_that_holds_no_document_is_refused(make_values: MakeValues) -> None:
    with pytest.raises(UserError, match=r"stage 'law' select from 'law': a budget of \d+ tokens holds no document"):
        run(from_values(make_values([selecting({"type": "random", "share": 0.001}, max_epochs=1e9)], watch=[])))
