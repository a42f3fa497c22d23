"""Legs: branches, optimizer state and rows handed on, nothing watched in any batch, the saved model the trained one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

import rewarm.river.train as river_train
from rewarm.plan import from_values
from rewarm.river.directory import RunDirectory
from rewarm.river.inputs import read_inputs
from rewarm.river.run import run
from rewarm.river.train import Hooks
from rewarm.tokens.shards import Store
from rewarm.training import activations
from rewarm.training.loop import Leg, Outcome
from rewarm.training.optimizer import Optimizer
from rewarm.types import Stopped, UserError

MakeValues = Callable[..., dict[str, Any]]
REPLAY = {"from": "old", "share": 0.25}


def test_a_release_anneals_while_the_trunk_goes_on(values_in: MakeValues, tmp_path: Path) -> None:
    infinite = {"type": "infinite", "warmup": 0.25, "cooldown": 0.5}
    law = {"name": "law", "data": "law", "schedule": infinite}
    code = {"name": "code", "data": "code", "schedule": infinite, "optimizer_state": "keep"}
    result = run(from_values(values_in(tmp_path / "branched", [law | {"release": {"tokens": 1024}}, code])))
    rates = {curve.leg: curve.rate for curve in result.curves}
    assert rates["stage-1-law"][-1] == pytest.approx(0.55 * 2e-3)
    assert rates["stage-1-law-release"][-1] == pytest.approx(0.1 * 2e-3)
    assert rates["stage-2-code"] == pytest.approx([0.55 * 2e-3] * 8)
    run(from_values(values_in(tmp_path / "trunk", [law, code])))
    branched, trunk = (RunDirectory(tmp_path / name).finished() for name in ("branched", "trunk"))
    assert list(branched) == ["stage-1-law", "stage-1-law-release", "stage-2-code"]
    for leg, entry in trunk.items():
        assert branched[leg]["weights_sha256"] == entry["weights_sha256"]
    assert branched["stage-1-law-release"]["weights_sha256"] != trunk["stage-1-law"]["weights_sha256"]
    # Every optimizer state was taken over, and none is left on the disk.
    assert not list((tmp_path / "branched" / "training").glob("*/checkpoint-*"))


def test_a_stage_may_start_from_any_earlier_one(make_values: MakeValues, tmp_path: Path) -> None:
    stages = [
        {"name": "law", "data": "law", "release": {"tokens": 512}},
        {"name": "from-release", "data": "code", "from": "law-release"},
        {"name": "again", "data": "law", "from": "base"},
    ]
    result = run(from_values(make_values(stages, watch=["law"])))
    hashes = {name: entry["weights_sha256"] for name, entry in RunDirectory(tmp_path / "run").finished().items()}
    # The same corpus, steps and rates from the same weights: a branch from the base repeats the first stage's bits.
    assert hashes["stage-3-again"] == hashes["stage-1-law"]
    starts = {name: entry["start"] for name, entry in RunDirectory(tmp_path / "run").finished().items()}
    assert starts["stage-2-from-release"] == "stage-1-law-release"
    assert {row.name: row.tokens for row in result.rows} == {
        "base": 0, "stage-1-law": 2048, "stage-1-law-release": 2560, "stage-2-from-release": 4608,
        "stage-3-again": 2048,
    }  # fmt: skip
    annealed = next(curve.rate[-1] for curve in result.curves if curve.leg == "stage-1-law-release")
    after = next(curve.rate[0] for curve in result.curves if curve.leg == "stage-2-from-release")
    assert after == pytest.approx(annealed + (2e-3 - annealed) / 2)


@dataclass
class Trained:
    """A leg that was trained, the logits that its model then gives for 32 ids, and its optimizer before and after."""

    leg: Leg
    logits: torch.Tensor
    before: dict[str, torch.Tensor]
    after: dict[str, torch.Tensor]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Trained]:
    """Fills with each leg that is trained."""
    seen: list[Trained] = []
    honest = river_train.train

    def train(model: Any, optimizer: Optimizer, leg: Leg, *rest: Any) -> Outcome:
        before = {name: value.clone() for name, value in optimizer.state().items()}
        outcome = honest(model, optimizer, leg, *rest)
        model.eval()
        with torch.no_grad():
            seen.append(Trained(leg, model(torch.arange(32)[None]).logits, before, optimizer.state()))
        return outcome

    monkeypatch.setattr(river_train, "train", train)
    return seen


def test_a_saved_stage_gives_the_logits_of_the_model_that_was_trained(
    make_values: MakeValues, tmp_path: Path, trained: list[Trained]
) -> None:
    run(from_values(make_values([{"name": "law", "data": "law"}], watch=["old"])))
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "stage-1-law").eval()
    with torch.no_grad():
        assert torch.equal(saved(torch.arange(32)[None]).logits, trained[0].logits)
    assert saved.config.use_cache


def test_what_is_trained_on_is_what_the_ledger_says_and_never_watched(
    make_values: MakeValues, tmp_path: Path, trained: list[Trained]
) -> None:
    """Every document in every row of every batch is looked up in the corpus it is said to be from.

    `law` holds a copy of every text of `old`, so what is held out of `old` must be missing from `law` too.
    """
    stages = [
        {"name": "law", "data": "law", "replay": REPLAY, "tokens": 8192},
        {"name": "code", "data": "code", "replay": REPLAY},
    ]
    values = make_values(stages)
    values["corpora"]["law"]["holdout"] = 0.02  # at equal shares a copy is held out by its own corpus already
    run(from_values(values))
    directory = RunDirectory(tmp_path / "run")
    begun = directory.recorded("inputs")
    assert begun is not None
    stores = {name: Store(directory.prepared / known["store"]) for name, known in begun["corpora"].items()}
    inputs = read_inputs(from_values(values), directory)
    watched = {
        store.ids(document).tobytes()
        for store in stores.values()
        for document in range(store.documents)
        if int(store.hashes[document]) in set(map(int, inputs.watched_hashes))
    }
    allowed = {
        name: [store.ids(document).tobytes() for document in inputs.train_documents[name]]
        for name, store in stores.items()
    }
    assert len(watched) > 20
    assert not watched & {document for documents in allowed.values() for document in documents}
    assert inputs.copies["law"] > 5
    assert len(trained) == 2
    for seen in trained:
        assert _walked(seen.leg, allowed) == directory.finished()[seen.leg.name]["rows"]


def _walked(leg: Leg, allowed: dict[str, list[bytes]]) -> dict[str, int]:
    """Rows of each corpus, each piece of each row found in a training document of that corpus."""
    joined = {name: b"\xff\xff".join(documents) for name, documents in allowed.items()}
    counts = dict.fromkeys((source.name for source in leg.rows.sources), 0)
    for step, batches in enumerate(leg.rows.iterate(0)):
        rows = [row for batch in batches for row in zip(batch.tokens_BT, batch.positions_BT, strict=True)]
        for source, (tokens, positions) in zip(leg.rows.source_SR[step], rows, strict=True):
            name = leg.rows.sources[source].name
            counts[name] += 1
            starts = [*torch.nonzero(positions == 0)[:, 0].tolist(), len(tokens)]
            for start, end in pairwise(starts):
                piece = tokens[start:end].numpy().astype("uint16").tobytes()
                assert piece in joined[name], (leg.name, step, name)
    return counts


def test_later_legs_do_not_repeat_rows_of_a_corpus(make_values: MakeValues, trained: list[Trained]) -> None:
    """Two stages that replay the same corpus take its rows one after the other."""
    run(from_values(make_values([{"name": name, "data": name, "replay": REPLAY} for name in ("law", "code")])))
    first, second = (seen.leg.rows for seen in trained)
    assert [source.first_row for source in first.sources] == [0, 0]
    assert [(source.name, source.first_row) for source in second.sources] == [("code", 0), ("old", 8)]


def test_optimizer_state_is_handed_on_as_the_plan_says(make_values: MakeValues, trained: list[Trained]) -> None:
    stages = [
        {"name": "first", "data": "law", "release": {"tokens": 512}},
        {"name": "second", "data": "code", "optimizer_state": "keep"},
        {"name": "third", "data": "law", "optimizer_state": "keep-second-moment"},
        {"name": "fourth", "data": "code"},
    ]
    run(from_values(make_values(stages, watch=[])))
    first, release, second, third, fourth = trained
    assert first.before == fourth.before == {}
    for name, value in first.after.items():
        assert torch.equal(release.before[name], value)
        assert torch.equal(second.before[name], value)  # from the trunk, not from its release
    for name, value in second.after.items():
        assert torch.equal(third.before[name], torch.zeros_like(value) if name.startswith("exp_avg.") else value)
    steps = [int(seen.after["step.model.norm.weight"]) for seen in trained]
    assert steps == [8, 10, 16, 24, 8]


def test_other_models_do_not_pass_for_a_finished_stage(make_values: MakeValues, tmp_path: Path, base: Path) -> None:
    plan = from_values(make_values([{"name": "law", "data": "law"}, {"name": "code", "data": "code"}], watch=[]))
    run(plan)
    for name in ("stage-1-law", "stage-2-code"):
        shutil.rmtree(tmp_path / "run" / name)
    shutil.copytree(base, tmp_path / "run" / "stage-1-law")
    with pytest.raises(UserError, match="are not those that stage-1-law ended with"):
        run(plan)


def test_a_deleted_stage_is_trained_again_to_the_same_weights(make_values: MakeValues, tmp_path: Path) -> None:
    stages = [{"name": "law", "data": "law"}, {"name": "code", "data": "code", "optimizer_state": "keep"}]
    plan = from_values(make_values(stages, watch=["code"]))
    run(plan)
    before = {name: entry["weights_sha256"] for name, entry in RunDirectory(tmp_path / "run").finished().items()}
    shutil.rmtree(tmp_path / "run" / "stage-2-code")
    with pytest.raises(UserError, match=r"optimizer_state: keep needs .*stage-1-law.checkpoint-8"):
        run(plan)
    shutil.rmtree(tmp_path / "run" / "stage-1-law")
    assert run(plan).complete
    after = {name: entry["weights_sha256"] for name, entry in RunDirectory(tmp_path / "run").finished().items()}
    assert after == before
    ledger = [json.loads(line) for line in (tmp_path / "run" / "ledger.jsonl").read_text().splitlines()]
    assert [entry["leg"] for entry in ledger if entry["event"] == "leg finished"] == ["stage-1-law", "stage-2-code"] * 2


def test_short_memory_is_met_once_and_changes_no_bit(
    values_in: MakeValues, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decided before the leg and recorded: the resumed run has all memory, and goes on as it began."""
    plans = {name: from_values(values_in(tmp_path / name, [{"name": "law", "data": "law"}])) for name in ("a", "b")}
    run(plans["a"])

    def just_enough(model: Any) -> int:
        way = activations.Passes(256, checkpointed=True)
        return int(sum(activations.needed(plans["b"], model, way).values()) / activations.USABLE) + 1

    monkeypatch.setattr(activations, "room_for", just_enough)
    with pytest.raises(Stopped, match=r"saved\. The same command goes on"):
        run(plans["b"], Hooks(stop=lambda: any((tmp_path / "b" / "training").glob("*/checkpoint-3"))))
    monkeypatch.setattr(activations, "room_for", lambda model: 1 << 40)
    result = run(plans["b"])
    whole, short = RunDirectory(tmp_path / "a"), RunDirectory(tmp_path / "b")
    starts = [entry for entry in short.ledger() if entry["event"] == "leg started"]
    assert [(entry["micro_batch_tokens"], entry["checkpointed"]) for entry in starts] == [(256, True)] * 2
    assert whole.started("stage-1-law")["checkpointed"] is False  # type: ignore[index]
    assert [note for note in result.notes if "memory" in note] == [
        "to fit into memory, layers compute their activations twice (gradient_checkpointing)"
    ]
    hashes = [found.finished()["stage-1-law"]["weights_sha256"] for found in (whole, short)]
    assert hashes[0] == hashes[1]


def test_a_run_under_way_may_be_given_more_room(values_in: MakeValues, tmp_path: Path) -> None:
    """What an error of memory says to change is taken by the same directory, and what was recorded gives way."""
    values = values_in(tmp_path / "run", [{"name": "law", "data": "law"}])
    with pytest.raises(Stopped):
        run(from_values(values), Hooks(stop=lambda: RunDirectory(tmp_path / "run").started("stage-1-law") is not None))
    run(from_values(values | {"gradient_checkpointing": True, "micro_batch_tokens": 128}))
    found = RunDirectory(tmp_path / "run").started("stage-1-law")
    assert found is not None
    assert (found["micro_batch_tokens"], found["checkpointed"]) == (128, True)
