"""The forecast against arithmetic done by hand and against what a run leaves behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from rewarm.plan import Plan, from_values
from rewarm.river import base_outline
from rewarm.river import forecast as forecasts
from rewarm.river.costs import Need, Work, disk, memory
from rewarm.river.directory import RunDirectory
from rewarm.river.forecast import Forecast, forecast
from rewarm.river.inputs import make_inputs
from rewarm.river.legs import LegPlan, legs
from rewarm.river.timing import Pace, scorings, seconds
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import UserError

ScratchPlan = Callable[..., dict[str, Any]]


def planned(values: dict[str, Any]) -> tuple[Plan, Forecast]:
    plan = from_values(values)
    return plan, forecast(plan)


def work(plan: Plan) -> Work:
    """The parts behind a forecast."""
    run = RunDirectory(plan.directory)
    model, tokenizer = base_outline.outline(plan, run)
    corpora = [forecasts._look(plan, name, tokenizer, run, {}) for name in plan.corpora]
    return Work(plan, run, corpora, forecasts._planned(plan, corpora, run, added=False), model)


def test_nothing_is_written(scratch_plan: ScratchPlan, tmp_path: Path) -> None:
    planned(scratch_plan())
    assert {file.name for file in tmp_path.iterdir()} == {"old.jsonl", "new.jsonl"}


def test_legs_are_those_of_the_plan_and_its_controls(scratch_plan: ScratchPlan) -> None:
    _, found = planned(scratch_plan(controls=["new-only"]))
    # 2048 tokens in steps of 256.
    assert [(leg.run, leg.name, leg.steps, leg.tokens) for leg in found.legs] == [
        ("", "stage-1-update", 8, 2048),
        ("new-only", "stage-1-update", 8, 2048),
    ]
    assert [leg.shares for leg in found.legs] == [{"new": 0.75, "old": 0.25}, {"new": 1.0}]
    held = {corpus.name: corpus.trainable for corpus in found.corpora}
    assert found.legs[0].passes == {"new": 1536 / held["new"], "old": 512 / held["old"]}
    # rewarm, no warmup at 1 % of 8 steps: a cosine from the peak, half a step in, to a tenth of it.
    first, highest, last = found.legs[0].rates
    assert (first == highest, last) == (True, pytest.approx(1e-4))


def test_a_tokenizer_yet_to_be_trained_is_said(scratch_plan: ScratchPlan) -> None:
    _, found = planned(scratch_plan())
    assert found.warnings == ["the tokenizer is yet to be trained: 3.5 bytes per token are assumed"]
    assert all(not corpus.counted for corpus in found.corpora)


def test_disk_is_models_checkpoints_and_tokens(scratch_plan: ScratchPlan) -> None:
    values = scratch_plan(controls=["new-only"])
    values["stages"][0]["release"] = {"tokens": 512}
    plan = from_values(values)
    known = work(plan)
    (need,) = disk(known)
    parameters = known.parameters
    # The stage, its release, the control's stage, and the base made from scratch.
    assert need.parts["models"] == 4 * parameters * (3 + 1)
    # Two kept and one being written; the release takes over the optimizer of its stage, whose two stay.
    assert need.parts["checkpoints"] == 12 * parameters * (3 + 2)
    assert need.parts["tokens"] == sum(corpus.store_bytes for corpus in known.corpora)
    assert need.needed == sum(need.parts.values())
    # While the larger corpus is prepared its shards lie beside its tokens; models and checkpoints take more later.
    assert need.preparing == need.parts["tokens"] + max(corpus.store_bytes for corpus in known.corpora)
    assert need.parts["shards"] == 0
    held = plan.directory / "stage-1-update"
    held.mkdir(parents=True)
    (held / "model.safetensors").write_bytes(bytes(1000))
    assert disk(known)[0].parts["models"] == need.parts["models"] - 1000


def test_memory_is_state_activations_and_logits(scratch_plan: ScratchPlan) -> None:
    known = work(from_values(scratch_plan()))
    need = memory(known)
    assert need.parts["weights and optimizer"] == 16 * known.parameters
    # 256 tokens in one pass, in each of 2 layers (and once more in the layer whose gradient is made) 10 values of width
    # 32 and 4 of inner width 64, and 3 values of width 32 at the ends.
    assert need.parts["activations"] == 4 * 256 * (3 * (10 * 32 + 4 * 64) + 3 * 32)
    # Two chunks of all 256 tokens' logits of 400 ids, and the gradient of the head.
    assert need.parts["logits"] == 4 * (2 * 256 * 400 + 400 * 32)


def test_a_need_says_what_is_missing_and_what_helps() -> None:
    need = Need("memory", 3_000_000_000, 2_000_000_000, "available", {"all": 3_000_000_000}, "Take a smaller base")
    assert need.fault() == "memory: the run needs about 3 GB and 2 GB are available. Take a smaller base."
    assert Need("memory", 5, 5, "available", {}, "").fault() is None


def leg(steps: int) -> LegPlan:
    values: dict[str, Any] = {
        "base": "b", "output_dir": "o", "seq_len": 64, "batch_tokens": 256, "corpora": {"new": "new.jsonl"},
        "stages": [{"name": "s", "data": "new", "tokens": steps * 256, "learning_rate": 1e-3}],
    }  # fmt: skip
    return legs(from_values(values), lambda name: 10**9)[0]


@pytest.mark.parametrize(
    ("every", "count"),
    # At 10, 20 and 30 of 40 steps, and at the end; every 12 steps: 12, 24 and 36 is too close; never but at the end.
    [(None, 4), (12 * 256, 3), (0, 1)],
)
def test_how_often_the_watch_list_is_scored(every: int | None, count: int, scratch_plan: ScratchPlan) -> None:
    assert scorings(from_values(scratch_plan(eval_every=every)), leg(40)) == count


def test_seconds_add_up(scratch_plan: ScratchPlan) -> None:
    known = work(from_values(scratch_plan(eval_tokens=100)))
    found = seconds(known, Pace(token=0.001, update=0.5, how=""), known.planned, {"old": 1, "new": 1})
    assert found["train"] == pytest.approx(2048 * 0.001 + 8 * 0.5)
    # The base once, three times during and once after; 100 tokens of each of two corpora; a third of a step's work.
    assert found["score"] == pytest.approx(5 * 200 * 0.001 / 3)


def test_time_is_measured_on_the_models_own_class(scratch_plan: ScratchPlan) -> None:
    found = forecast(from_values(scratch_plan()), timed=True)
    assert set(found.seconds) == {"prepare", "train", "score"}
    assert all(part > 0 for part in found.seconds.values())
    assert found.how == "4 x 64 tokens timed on this machine"


def test_an_estimate_does_not_refuse_what_the_count_may_allow(
    scratch_plan: ScratchPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rewarm.river import sampling

    values = scratch_plan()
    values["stages"][0] |= {"replay": None, "max_epochs": 1}
    held = next(corpus.trainable for corpus in planned(values)[1].corpora if corpus.name == "new")
    values["stages"][0]["tokens"] = round(held * 1.08) // 256 * 256
    with pytest.raises(UserError, match="more than max_epochs 1"):
        planned(values)  # every row was read: nothing is estimated but the tokenizer
    monkeypatch.setattr(sampling, "SAMPLE_BYTES", 8_000)
    assert planned(values)[1].legs[0].passes["new"] > 1
    values["stages"][0]["tokens"] = round(held * 1.5)
    with pytest.raises(UserError, match="estimated from a sample"):
        planned(values)


def test_documents_too_few_to_hold_one_out(scratch_plan: ScratchPlan) -> None:
    values = scratch_plan()
    values["corpora"]["new"]["holdout"] = 1e-6
    with pytest.raises(UserError, match="watch 'new': no document is held out"):
        planned(values)
    values["corpora"]["new"]["holdout"] = 1.0
    with pytest.raises(UserError, match="'new' has nothing left to train on"):
        planned(values)


@pytest.fixture(scope="module")
def rows(words: Callable[[int, int], str]) -> list[str]:
    """Documents of 5 to 400 words, 5.1 MB of text."""
    return [words(number, 5 + 79 * number % 396) for number in range(3_900)]


@pytest.mark.parametrize("packing", ["jsonl", "jsonl.zst"])
def test_tokens_are_near_before_preparing_and_exact_after(
    packing: str, rows: list[str], scratch_plan: ScratchPlan, tiny_tokenizer_folder: Path, tmp_path: Path
) -> None:
    data = b"".join(json.dumps({"text": text, "source": "x" * 50}).encode() + b"\n" for text in rows)
    file = tmp_path / f"large.{packing}"
    file.write_bytes(zstandard.compress(data) if packing.endswith("zst") else data)
    values = scratch_plan()
    values["base"]["tokenizer"] = str(tiny_tokenizer_folder)
    values["corpora"]["new"]["path"] = str(file)
    plan, before = planned(values)
    estimated = {corpus.name: corpus for corpus in before.corpora}
    encoded = TextTokenizer(tiny_tokenizer_folder).encode(rows)
    assert sum(len(text) for text in rows) > 5_000_000
    assert not estimated["new"].counted
    assert not estimated["new"].whole
    assert estimated["new"].rows < len(rows) / 2  # two of five megabytes are read
    assert estimated["new"].tokens == pytest.approx(sum(map(len, encoded)), rel=0.1)
    assert estimated["new"].documents == pytest.approx(len(rows), rel=0.1)
    run = RunDirectory(plan.directory)
    run.claim(plan)
    inputs = make_inputs(plan, run)
    after = {corpus.name: corpus for corpus in forecast(plan).corpora}
    assert after["new"].counted
    assert after["new"].tokens == sum(map(len, encoded))
    assert after["new"].documents == len(rows)
    assert {name: after[name].trainable for name in after} == {name: inputs.trainable_tokens(name) for name in after}


def test_a_tokenizer_of_another_base_is_not_taken(scratch_plan: ScratchPlan, tiny_tokenizer_folder: Path) -> None:
    values = scratch_plan()
    plan = from_values(values)
    run = RunDirectory(plan.directory)
    run.claim(plan)
    make_inputs(plan, run)
    assert all(corpus.counted for corpus in forecast(plan).corpora)
    values["base"]["tokenizer"] = str(tiny_tokenizer_folder)
    assert not any(corpus.counted for corpus in planned(values)[1].corpora)


def test_a_model_that_does_not_fit_is_not_timed(scratch_plan: ScratchPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    short = Need("memory", 2, 1, "available", {}, "Take a smaller base")
    monkeypatch.setattr(forecasts, "memory", lambda work: short)
    found = forecast(from_values(scratch_plan()), timed=True)
    assert (found.seconds, found.how) == ({}, "")
    with pytest.raises(UserError, match="the run needs about 2 bytes and 1 bytes are available"):
        found.refuse()
    found.refuse_preparing()
