"""The loop: the applied rate is the schedule's, a fault stops before the update, a resumed leg is the unbroken one."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rewarm.models.load import weights_hash
from rewarm.schedules.cosine import Cosine
from rewarm.schedules.inverse_sqrt import InverseSqrt
from rewarm.training import compiling, journal
from rewarm.training.activations import OutOfMemory
from rewarm.training.guard import Guard, NonFinite
from rewarm.training.leg import Leg
from rewarm.training.loop import Due, Outcome, train
from rewarm.training.optimizer import AdamWOptions, Optimizer
from rewarm.types import StreamState, UserError

STEPS = 12
OPTIONS = AdamWOptions(0.1, (0.9, 0.95), 1e-8, 1.0)
MakeTiny = Callable[..., Any]
LOGGED = ("step", "tokens", "loss", "rate", "norm")


@pytest.fixture
def leg(tmp_path: Path, stage_rows: Callable[..., Any]) -> Leg:
    """Twelve steps of four rows of 16 tokens, in two micro-batches."""
    rows = stage_rows(STEPS, 4, 2)
    return Leg(
        name="leg", folder=tmp_path / "leg", rows=rows, schedule=Cosine(warmup=0.25), peak=1e-3, past=StreamState(),
        key="key", precision=torch.float32, seed=3, log_every=5, save_steps=3,
    )  # fmt: skip


def fit(model: Any, leg: Leg, stop_after: int | None = None, due: list[Due] | None = None) -> Outcome:
    """Trains; asks to stop after that many steps of this call."""
    done = 0

    def stop() -> bool:
        nonlocal done
        done += 1
        return done == stop_after

    return train(model, Optimizer(model, OPTIONS), leg, due or [], stop, lambda step, entry: None)


def logged(leg: Leg) -> list[dict[str, Any]]:
    """The leg's journal but for speed."""
    return [{key: entry[key] for key in LOGGED} for entry in journal.read(leg.folder / "journal.jsonl")]


def test_the_journal_holds_the_schedules_rates(leg: Leg, make_tiny: MakeTiny) -> None:
    fit(make_tiny("llama"), leg)
    entries = journal.read(leg.folder / "journal.jsonl")
    assert [entry["step"] for entry in entries] == [1, 2, 3, 5, 10, 12]
    assert [entry["tokens"] for entry in entries] == [64, 128, 192, 320, 640, 768]
    for entry in entries:
        assert entry["rate"] == Cosine(warmup=0.25).rate(entry["step"] - 1, STEPS, 1e-3, StreamState())
        assert entry["tokens_per_second"] > 0
    assert entries[0]["rate"] == pytest.approx(1e-3 / 3)
    assert entries[-1]["rate"] == pytest.approx(1e-4)


def test_a_logged_loss_is_the_mean_of_its_interval(leg: Leg, make_tiny: MakeTiny) -> None:
    fine = dataclasses.replace(leg, folder=leg.folder.with_name("fine"), log_every=1)
    fit(make_tiny("llama"), leg)
    fit(make_tiny("llama"), fine)
    losses = [entry["loss"] for entry in logged(fine)]
    assert [entry["loss"] for entry in logged(leg)] == pytest.approx(
        [*losses[:3], sum(losses[3:5]) / 2, sum(losses[5:10]) / 5, sum(losses[10:]) / 2], rel=1e-12
    )


def test_micro_batches_give_the_loss_and_weights_of_the_batch(leg: Leg, make_tiny: MakeTiny) -> None:
    """A sum over tokens divided by their number, not a mean of means: micro-batches hold unequal numbers of targets."""
    whole = dataclasses.replace(leg, folder=leg.folder.with_name("whole"), log_every=1)
    whole = dataclasses.replace(whole, rows=dataclasses.replace(leg.rows, micro_rows=4))
    split = dataclasses.replace(whole, folder=leg.folder, rows=dataclasses.replace(leg.rows, micro_rows=1))
    models = [make_tiny("llama") for _ in range(2)]
    for model, chosen in zip(models, (whole, split), strict=True):
        fit(model, chosen)
    counts = {batch.num_targets for batches in split.rows.iterate(0) for batch in batches}
    assert len(counts) > 2
    assert [entry["loss"] for entry in logged(whole)] == pytest.approx(
        [entry["loss"] for entry in logged(split)], rel=1e-4
    )
    for first, second in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.allclose(first, second, atol=1e-4)


def test_the_loss_falls(leg: Leg, make_tiny: MakeTiny) -> None:
    long = dataclasses.replace(
        leg, peak=1e-2, rows=dataclasses.replace(leg.rows, source_SR=np.zeros((60, 4), np.uint8))
    )
    fit(make_tiny("llama"), long)
    losses = [entry["loss"] for entry in logged(long)]
    assert losses[0] == pytest.approx(np.log(400), rel=0.02)  # a fresh model knows nothing: one of 400 tokens
    assert losses[-1] < losses[0] - 0.5


def test_a_resumed_leg_equals_the_unbroken_one(leg: Leg, make_tiny: MakeTiny) -> None:
    """With dropout, stopped inside logging intervals; the resumed process made other random numbers before."""
    whole, broken_leg = make_tiny("gpt2"), dataclasses.replace(leg, folder=leg.folder.with_name("broken"))
    assert whole.config.resid_pdrop == 0.1
    fit(whole, leg)
    for stop_after, steps in ((4, 4), (5, 9), (2, 11), (None, 12)):
        broken = make_tiny("gpt2", seed=0 if stop_after == 4 else 9)  # a resumed run must restore its own weights
        torch.rand(7)
        outcome = fit(broken, broken_leg, stop_after)
        assert (outcome.steps, outcome.stopped) == (steps, stop_after is not None)
    assert weights_hash(broken) == weights_hash(whole)
    assert logged(broken_leg) == logged(leg)


def test_what_was_computed_before_memory_ran_out_is_saved(leg: Leg, make_tiny: MakeTiny) -> None:
    """In the second micro-batch of step 5 (no step is saved but every third); with dropout, drawn again on resuming."""
    whole, broken, broken_leg = make_tiny("gpt2"), make_tiny("gpt2"), dataclasses.replace(leg, folder=leg.folder / "b")
    fit(whole, leg)
    forwards: list[int] = []

    def fill_memory(module: object, inputs: object, output: object) -> None:
        forwards.append(torch.is_grad_enabled())
        if sum(forwards) == 10:
            torch.empty(1 << 58)

    broken.transformer.register_forward_hook(fill_memory)
    with pytest.raises(OutOfMemory, match="leg: out of memory"):
        fit(broken, broken_leg)
    assert (broken_leg.folder / "checkpoint-4" / "complete.json").is_file()
    fit(again := make_tiny("gpt2", seed=9), dataclasses.replace(broken_leg, checkpointed=True))
    assert weights_hash(again) == weights_hash(whole)
    assert logged(broken_leg) == logged(leg)


def test_memory_that_never_sufficed_saves_nothing(leg: Leg, make_tiny: MakeTiny) -> None:
    model = make_tiny("llama")
    model.model.register_forward_pre_hook(lambda module, inputs: torch.empty(1 << 58) if module.training else None)
    with pytest.raises(OutOfMemory):
        fit(model, leg)
    assert not list(leg.folder.glob("*checkpoint-*"))


def test_dropout_is_drawn_from_the_legs_own_seed(leg: Leg, make_tiny: MakeTiny) -> None:
    hashes = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        model = make_tiny("gpt2")
        torch.rand(len(hashes))
        fit(model, dataclasses.replace(leg, folder=leg.folder.with_name(name), seed=seed))
        hashes.append(weights_hash(model))
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_finished_leg_is_left_alone(leg: Leg, make_tiny: MakeTiny, monkeypatch: pytest.MonkeyPatch) -> None:
    model, again = make_tiny("llama"), make_tiny("llama", seed=1)
    fit(model, leg)
    entries = logged(leg)
    monkeypatch.setattr(compiling, "try_compiling", lambda *more: pytest.fail("half a minute for nothing"))
    outcome = fit(again, dataclasses.replace(leg, compile=True))
    assert (outcome.steps, outcome.stopped) == (12, False)
    assert weights_hash(again) == weights_hash(model)
    assert logged(leg) == entries


def test_damage_costs_the_steps_since_the_checkpoint_before(leg: Leg, make_tiny: MakeTiny) -> None:
    """Also when as many are damaged as are kept: new ones are older than those, and must not be pruned for them."""
    whole, broken_leg = make_tiny("llama"), dataclasses.replace(leg, folder=leg.folder.with_name("broken"))
    fit(whole, leg)
    fit(make_tiny("llama"), dataclasses.replace(broken_leg, save_total_limit=9), stop_after=11)
    for step in (9, 11):
        file = broken_leg.folder / f"checkpoint-{step}" / "weights.safetensors"
        file.write_bytes(file.read_bytes()[:-1])
    resumed = make_tiny("llama", seed=9)
    outcome = fit(resumed, broken_leg, stop_after=1)
    assert outcome.steps == 7
    assert len(outcome.notes) == 2
    assert sorted(entry.name for entry in broken_leg.folder.glob("checkpoint-*")) == ["checkpoint-6", "checkpoint-7"]
    resumed = make_tiny("llama", seed=9)
    assert fit(resumed, broken_leg).notes == []
    assert weights_hash(resumed) == weights_hash(whole)
    assert logged(broken_leg) == logged(leg)


def test_checkpoints_are_kept_up_to_the_limit(leg: Leg, make_tiny: MakeTiny) -> None:
    fit(make_tiny("llama"), dataclasses.replace(leg, save_total_limit=3))
    assert {entry.name for entry in leg.folder.glob("checkpoint-*")} == {f"checkpoint-{step}" for step in (6, 9, 12)}


def test_another_key_is_refused(leg: Leg, make_tiny: MakeTiny) -> None:
    fit(make_tiny("llama"), leg, stop_after=4)
    with pytest.raises(UserError, match="written by another plan or from other data"):
        fit(make_tiny("llama"), dataclasses.replace(leg, key="other"))


def test_what_is_due_is_done_and_changes_nothing(leg: Leg, make_tiny: MakeTiny) -> None:
    """Every 4 steps, but not at step 12, where the leg ends; it may leave the model in evaluation mode."""
    plain, watched = make_tiny("gpt2"), make_tiny("gpt2")
    fit(plain, leg)
    done: list[tuple[int, bool]] = []

    def action(model: Any, step: int) -> None:
        done.append((step, model is watched))
        model.eval()

    fit(watched, dataclasses.replace(leg, folder=leg.folder.with_name("watched")), due=[Due(4, action)])
    assert done == [(4, True), (8, True)]
    assert weights_hash(plain) == weights_hash(watched)


@pytest.mark.parametrize("rate", [1.01, 0.99, 0.0])
def test_the_lie_detector_fires_when_another_rate_trains(
    leg: Leg, make_tiny: MakeTiny, monkeypatch: pytest.MonkeyPatch, rate: float
) -> None:
    honest = torch.optim.AdamW.step

    def tampered(self: torch.optim.AdamW, *arguments: object) -> object:
        for group in self.param_groups:
            group["lr"] *= rate
        return honest(self)

    monkeypatch.setattr(torch.optim.AdamW, "step", tampered)
    with pytest.raises(RuntimeError, match=r"step 0 was to be made at learning rate 0\.00033"):
        fit(make_tiny("llama"), leg)


@pytest.mark.parametrize("peak", [1e-2, 1e-5, 1e-8, 1e-12])
def test_it_believes_an_honest_schedule_at_any_rate(leg: Leg, make_tiny: MakeTiny, peak: float) -> None:
    """Rates fall to 0 within the leg; untied embeddings hold tokens that never occur, and nothing decays."""
    rows = dataclasses.replace(leg.rows, source_SR=np.zeros((40, 4), np.uint8))
    honest = dataclasses.replace(leg, rows=rows, peak=peak, log_every=1, schedule=Cosine(warmup=0.5, floor=0.0))
    model = make_tiny("llama")
    options = dataclasses.replace(OPTIONS, weight_decay=0.0)
    outcome = train(model, Optimizer(model, options), honest, [], lambda: False, lambda step, entry: None)
    assert outcome.steps == 40


def test_a_loss_that_is_no_number_stops_before_the_update(leg: Leg, make_tiny: MakeTiny) -> None:
    model = make_tiny("llama")
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight[0, 0] = float("nan")
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    with pytest.raises(NonFinite, match=r"leg: step 0 has loss nan .* was not made.* from documents \d+, "):
        fit(model, leg)
    for name, own in model.named_parameters():
        assert torch.equal(before[name].nan_to_num(), own.nan_to_num()), name
    assert logged(leg) == []
    assert not list(leg.folder.glob("checkpoint-*"))


def test_an_infinite_loss_stops_though_every_gradient_is_finite(leg: Leg, make_tiny: MakeTiny) -> None:
    """A head whose bias rules a token out that the text has."""
    model = make_tiny("llama")
    model.lm_head = torch.nn.Linear(32, 400, bias=True)
    targets = leg.rows.batches(0)[0].targets_BT
    with torch.no_grad():
        model.lm_head.bias.zero_()
        model.lm_head.bias[int(targets[targets >= 0][0])] = float("-inf")
    with pytest.raises(NonFinite, match=r"step 0 has loss inf and gradient norm \d"):
        fit(model, leg)


def test_the_first_bad_step_is_the_one_that_is_told() -> None:
    """However late it is asked for, and whatever came after: on a GPU a few steps pass before anybody looks."""
    guard, wrong, fine = Guard("leg", torch.device("cpu")), torch.tensor(float("nan")), torch.tensor(2.5)
    guard.watch(2, fine.double(), fine)
    for step, loss, norm in ((3, fine, wrong), (4, wrong, fine), (5, fine, fine)):
        with pytest.raises(
            NonFinite, match=r"leg: step 3 has loss 2\.5 and gradient norm nan; the update was not made"
        ):
            guard.watch(step, loss.double(), norm)
        assert float(guard.skip) == 1.0  # no update is made any more, not even where a step would be fine


def test_it_names_the_step_that_broke(leg: Leg, make_tiny: MakeTiny) -> None:
    """The weights are those before it. Checkpoints are there, so a rerun with another rate may begin from them."""
    model, before = make_tiny("llama"), list[torch.Tensor]()

    def poison(model: Any, step: int) -> None:
        with torch.no_grad():
            model.model.norm.weight[0] = float("inf")
        before.extend(parameter.detach().clone() for parameter in model.parameters())

    with pytest.raises(NonFinite, match="step 7 has loss"):
        fit(model, leg, due=[Due(7, poison)])
    assert all(torch.equal(own, kept) for own, kept in zip(model.parameters(), before, strict=True))
    assert {entry.name for entry in leg.folder.glob("checkpoint-*")} == {"checkpoint-3", "checkpoint-6"}


def test_a_schedule_may_know_the_past(leg: Leg, make_tiny: MakeTiny) -> None:
    past = StreamState(stage=2, steps_before=100, last_rate=1e-4)
    later = dataclasses.replace(leg, past=past, schedule=InverseSqrt(), log_every=1)
    fit(make_tiny("llama"), later)
    assert [entry["rate"] for entry in logged(later)] == [
        InverseSqrt().rate(step, STEPS, 1e-3, past) for step in range(STEPS)
    ]


def test_stopping_saves_and_says_so(leg: Leg, make_tiny: MakeTiny) -> None:
    outcome = fit(make_tiny("llama"), leg, stop_after=1)
    assert (outcome.stopped, outcome.steps) == (True, 1)
    assert (leg.folder / "checkpoint-1" / "complete.json").is_file()


def test_seconds_do_not_count_pauses(leg: Leg, make_tiny: MakeTiny) -> None:
    start = time.perf_counter()
    outcome = fit(make_tiny("llama"), leg, due=[Due(4, lambda model, step: time.sleep(0.2))])
    assert 0 < outcome.seconds < time.perf_counter() - start - 0.4


def test_the_leg_trains_on_while_it_is_saved(leg: Leg, make_tiny: MakeTiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk answers to the save of step 3 when step 5 is made: a loop that waited for it would never get there."""
    made, sync, answered = threading.Event(), journal.Journal.sync, []

    def held(self: journal.Journal) -> None:
        answered.append(made.wait(60))
        sync(self)

    def tell(step: int, entry: dict[str, Any]) -> None:
        if step == 5:
            made.set()

    monkeypatch.setattr(journal.Journal, "sync", held)
    model = make_tiny("llama")
    train(model, Optimizer(model, OPTIONS), leg, [], lambda: False, tell)
    assert answered == [True] * 4
    assert {entry.name for entry in leg.folder.glob("checkpoint-*")} == {"checkpoint-9", "checkpoint-12"}
