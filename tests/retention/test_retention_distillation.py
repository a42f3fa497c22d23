"""Distillation in the loop: zero at the start, on the rows it names, blind to labels it may not read."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, kl_div

from rewarm.models.load import weights_hash
from rewarm.objectives.packed_loss import PackedLoss
from rewarm.plan import from_values
from rewarm.retention import Scene
from rewarm.retention.distillation import Distillation
from rewarm.tokens.packing import NO_TARGET
from rewarm.training import journal
from rewarm.training.keepers import Keepers
from rewarm.training.leg import Leg
from rewarm.training.optimizer import AdamWOptions, Optimizer
from rewarm.types import Batch, UserError

Make = Callable[..., Any]


def batch_of(leg: Leg) -> Batch:
    """The four rows of the leg's first step as one micro-batch; row 1 is replay."""
    return dataclasses.replace(leg.rows, micro_rows=4).batches(0)[0]


def passed(model: Any, scene: Scene, batch: Batch, **options: Any) -> tuple[float, dict[str, torch.Tensor], Any]:
    """KL per taught token, the gradient of the term alone, and the keeper."""
    method = Distillation(**options)
    keeper = method.keeper(scene, method.measure(scene))
    objective, found = PackedLoss(model), {}
    for terms in ((), (keeper.term(batch),)):
        model.zero_grad()
        objective.loss_sum(batch, 1 / batch.num_targets, terms).backward()
        for name, parameter in model.named_parameters():
            found[name] = parameter.grad.clone() - found.get(name, 0)
    return keeper.readings()["kl"], found, keeper


@pytest.mark.parametrize(("top_k", "tolerance"), [(None, 1e-6), (16, 1e-6), (400, 2e-5)])
def test_a_student_that_is_the_teacher_has_nothing_to_learn(
    top_k: int | None, tolerance: float, family: str, leg: Leg, make_tiny: Make, make_scene: Make
) -> None:
    """Measured: fp16 on disk costs 2e-7 nats at 64 of 8,192 ids, and 1e-5 where all ids are kept."""
    model = make_tiny(family)
    kl, slopes, _ = passed(model, make_scene(model, family), batch_of(leg), on="all", top_k=top_k)
    assert abs(kl) < tolerance
    largest = max(float(slope.abs().max()) for slope in slopes.values())
    assert largest < (1e-4 if top_k else 1e-6)


def test_the_term_is_torchs_through_every_model(family: str, leg: Leg, make_tiny: Make, make_scene: Make) -> None:
    """Against the logits of student and teacher as the models give them, in value and gradient of every parameter."""
    model, batch = make_tiny(family, seed=5), batch_of(leg)
    scene = make_scene(model, family)
    kl, slopes, _ = passed(model, scene, batch, on="all", strength=0.5, temperature=3.0)
    model.zero_grad()
    inputs = {"input_ids": batch.tokens_BT, "position_ids": batch.positions_BT, "use_cache": False}
    with torch.no_grad():
        teacher = scene.base()(**inputs).logits
    has_target = batch.targets_BT != NO_TARGET
    logs = [(logits[has_target].double() / 3).log_softmax(-1) for logits in (model(**inputs).logits, teacher)]
    expected = 9 * kl_div(*logs, reduction="batchmean", log_target=True)
    (0.5 * expected).backward()
    assert kl == pytest.approx(float(expected.detach()), rel=1e-4)
    for name, parameter in model.named_parameters():
        assert float((slopes[name] - parameter.grad).norm()) < 1e-3 * float(parameter.grad.norm()) + 1e-7, name


@pytest.mark.parametrize("top_k", [None, 400])
def test_in_bf16(top_k: int | None, leg: Leg, make_tiny: Make, make_scene: Make) -> None:
    """Products in bf16, 8 bits; the term alone, because every row is replay without labels."""
    model, batch = make_tiny("llama", seed=5), batch_of(leg)
    method, found = Distillation(on="all", labels="new", top_k=top_k), []
    for precision in (torch.float32, torch.bfloat16):
        scene = make_scene(model, replayed=frozenset([0, 1]), precision=precision)
        keeper = method.keeper(scene, method.measure(scene))
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            loss = PackedLoss(model).loss_sum(batch, 1 / batch.num_targets, (keeper.term(batch),))
        loss.backward()
        found.append((float(loss.detach()), [parameter.grad for parameter in model.parameters()]))
    (exact, slopes), (rounded, rounded_slopes) = found
    assert rounded == pytest.approx(exact, rel=0.03)
    for slope, other in zip(slopes, rounded_slopes, strict=True):
        assert float((other - slope).norm()) < 0.1 * float(slope.norm())


@pytest.mark.parametrize(("on", "rows"), [("replay", [1]), ("new", [0, 2, 3]), ("all", [0, 1, 2, 3])])
def test_it_acts_on_just_the_rows_it_names(
    on: str, rows: list[int], leg: Leg, make_tiny: Make, make_scene: Make
) -> None:
    """The hidden states of other rows get no gradient from the term: seen at the embeddings of each row's tokens."""
    model, batch = make_tiny("llama", seed=5), batch_of(leg)
    method = Distillation(on=on)
    term = method.keeper(make_scene(model), {}).term(batch)
    objective, found = PackedLoss(model), []
    for terms in ((), (term,)):
        embedded: list[Any] = []
        hook = model.get_input_embeddings().register_forward_hook(lambda m, i, out, kept=embedded: kept.append(out))
        loss = objective.loss_sum(batch, 1.0, terms)
        hook.remove()
        found.append(torch.autograd.grad(loss, embedded[0])[0])
    moved = (found[1] - found[0]).abs().amax((1, 2))
    assert [row for row in range(4) if moved[row] > 1e-6] == rows


def test_without_labels_only_new_rows_have_a_cross_entropy(leg: Leg, make_tiny: Make, make_scene: Make) -> None:
    """And the divisor still counts the targets of all rows."""
    model, batch = make_tiny("llama", seed=5), batch_of(leg)
    term = Distillation(labels="new").keeper(make_scene(model), {}).term(batch)
    loss = PackedLoss(model).loss_sum(batch, 1 / batch.num_targets, (term,)).detach()
    logits = model(input_ids=batch.tokens_BT, position_ids=batch.positions_BT, use_cache=False).logits.detach()
    new = cross_entropy(
        logits[[0, 2, 3]].flatten(0, 1), batch.targets_BT[[0, 2, 3]].flatten(), ignore_index=NO_TARGET, reduction="sum"
    )
    assert term is not None
    assert float(loss) == pytest.approx(float(new + term.value) / batch.num_targets, rel=1e-5)
    assert float(term.value) > 0


def test_no_label_of_a_replayed_row_is_read(leg: Leg, make_tiny: Make, make_scene: Make) -> None:
    """Their targets permuted in each row: the same weights bit for bit. With all labels they are not."""
    hashes = {}
    for labels in ("new", "all"):
        for shuffled in (False, True):
            model, method = make_tiny("llama"), Distillation(labels=labels, strength=3.0)
            optimizer = Optimizer(model, AdamWOptions(0.1, (0.9, 0.95), 1e-8, 1.0))
            objective, keepers = PackedLoss(model), Keepers({"distillation": method.keeper(make_scene(model), {})})
            for step in range(4):
                for batch in leg.rows.batches(step):
                    targets_BT = batch.targets_BT.clone()
                    for row in (row for row, source in enumerate(batch.sources_B) if source == 1 and shuffled):
                        places = (targets_BT[row] != NO_TARGET).nonzero()[:, 0]
                        targets_BT[row, places] = targets_BT[row, places.flip(0)]
                    given = dataclasses.replace(batch, targets_BT=targets_BT)
                    objective.loss_sum(given, 1 / 60, keepers.terms(given)).backward()
                optimizer.clip()
                optimizer.step(1e-2, torch.zeros(()))
            hashes[labels, shuffled] = weights_hash(model)
    assert hashes["new", True] == hashes["new", False]
    assert hashes["all", True] != hashes["all", False]


@pytest.mark.parametrize("teacher", ["base", "start"])
def test_the_teacher_never_moves(
    teacher: str, leg: Leg, make_tiny: Make, make_scene: Make, fit: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`start` is the model as the stage found it, not the base and not what it becomes."""
    loaded = []
    frozen = Distillation._teacher

    def kept(self: Distillation, scene: Scene) -> Any:
        found = frozen(self, scene)
        loaded.append(found)
        return found

    monkeypatch.setattr(Distillation, "_teacher", kept)
    model = make_tiny("gpt2", seed=4)
    before = weights_hash(model)
    fit(model, Distillation(teacher=teacher), family="gpt2")
    asked = loaded[0]._objective.model
    assert weights_hash(asked) == (weights_hash(make_tiny("gpt2")) if teacher == "base" else before)
    assert not asked.training
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in asked.parameters())
    assert weights_hash(model) != before


def test_it_holds_what_plain_training_on_the_same_rows_loses(
    leg: Leg, make_tiny: Make, make_scene: Make, fit: Make
) -> None:
    """A base that knows `old` learns `new`: after it, its distribution on old rows is nearer to what it was."""
    base = make_tiny("llama")
    old_first = dataclasses.replace(leg, folder=leg.folder.with_name("old"), rows=dataclasses.replace(
        leg.rows, source_SR=np.ones((40, 4), np.uint8)))  # fmt: skip
    fit(base, None, leg=old_first)
    away = {}
    for name, strength in (("plain", 0.0), ("held", 30.0)):
        model = copy.deepcopy(base)
        scene = make_scene(model, base=lambda: copy.deepcopy(base).requires_grad_(False))
        method = Distillation(strength=strength)
        keepers = Keepers({"distillation": method.keeper(scene, {})})
        objective, optimizer = PackedLoss(model), Optimizer(model, AdamWOptions(0.1, (0.9, 0.95), 1e-8, 1.0))
        for step in range(leg.rows.steps):
            for batch in leg.rows.batches(step):
                objective.loss_sum(batch, 1 / 60, keepers.terms(batch)).backward()
            optimizer.clip()
            optimizer.step(1e-2, torch.zeros(()))
        probe = Distillation(on="all", temperature=1.0)
        keeper = probe.keeper(scene, {})
        for row in scene.rows("old", 20):
            objective.loss_sum(row, 1.0, (keeper.term(dataclasses.replace(row, sources_B=(1,))),))
        away[name] = keeper.readings()["kl"]
    assert 0 < away["held"] < 0.8 * away["plain"]


def test_the_journal_holds_the_cross_entropy_alone(leg: Leg, make_tiny: Make, fit: Make) -> None:
    """At the first step the student is the teacher, and so is the loss; the KL grows from 0."""
    for name, method in (("plain", None), ("held", Distillation(strength=50.0, on="all"))):
        fit(make_tiny("llama"), method, leg=dataclasses.replace(leg, folder=leg.folder.with_name(name)))
    plain, held = (journal.read(leg.folder.with_name(name) / "journal.jsonl") for name in ("plain", "held"))
    assert held[0]["loss"] == pytest.approx(plain[0]["loss"], rel=1e-6)
    readings = [entry["retention"]["distillation"]["kl"] for entry in held]
    assert abs(readings[0]) < 1e-6 < readings[-1]
    assert abs(held[-1]["loss"] - held[0]["loss"]) < abs(plain[-1]["loss"] - plain[0]["loss"])
    assert held[-1]["loss"] < held[0]["loss"] + 0.1  # 50 x the KL would be more


def test_options_that_would_do_nothing_are_refused(scratch_plan: Make) -> None:
    stage = scratch_plan()["stages"][0]
    del stage["replay"]
    for options in ({"on": "replay"}, {"on": "all", "labels": "new"}):
        held = stage | {"retention": {"type": "distillation", **options}}
        with pytest.raises(UserError, match=r"acts on replayed rows, and the stage replays nothing: give it a replay"):
            from_values(scratch_plan(stages=[held]))
    from_values(scratch_plan(stages=[stage | {"retention": {"type": "distillation", "on": "new"}}]))
    for options in ({"on": "new"}, {"strength": 0}, {"swap": True}):
        with pytest.raises(ValueError, match="labels: new"):
            Distillation(labels="new", **options)
