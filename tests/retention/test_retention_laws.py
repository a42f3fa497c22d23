"""Laws of the folder: every retention method passes them, and a new file is tested by being there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from rewarm.methods import build, known
from rewarm.models.load import weights_hash
from rewarm.retention import Keeper, Retention
from rewarm.training import journal
from rewarm.training.leg import Leg
from rewarm.types import StreamState

Make = Callable[..., Any]
METHODS: dict[str, Any] = known("retention")
by_method = pytest.mark.parametrize("name", METHODS)


def brisk(name: str) -> Retention:
    """The method with options at which it shows within the leg."""
    kind = METHODS[name]
    made: Retention = kind(**kind.brisk)
    return made


@by_method
def test_it_says_where_it_comes_from_and_what_it_costs(name: str) -> None:
    method = METHODS[name]
    assert method.paper
    assert method.cost
    assert set(method.sweep) | set(method.brisk) <= set(method.model_fields)


@by_method
def test_a_plan_gives_back_what_it_was_made_of(name: str) -> None:
    method = brisk(name)
    assert build("retention", method.described()) == method
    assert build("retention", name) == METHODS[name]()


@by_method
@pytest.mark.parametrize("kind", ["llama-tied", "gpt2"])
def test_off_changes_nothing_bit_for_bit(name: str, kind: str, leg: Leg, make_tiny: Make, fit: Make) -> None:
    """With dropout in gpt2: the method draws no random numbers that the training would have drawn."""
    plain, off = make_tiny(kind), make_tiny(kind)
    method = METHODS[name].off()
    fit(plain, None, family=kind)
    held = dataclasses.replace(leg, folder=leg.folder.with_name("off"), peak=method.peak(leg.peak, StreamState(3)))
    fit(off, method, held, family=kind)
    assert weights_hash(off) == weights_hash(plain)


@by_method
def test_it_changes_what_is_learned(name: str, leg: Leg, make_tiny: Make, fit: Make) -> None:
    plain, held, method = make_tiny("llama"), make_tiny("llama"), brisk(name)
    fit(plain, None)
    peak = method.peak(leg.peak, StreamState(stage=3))
    fit(held, method, dataclasses.replace(leg, folder=leg.folder.with_name("held"), peak=peak))
    assert weights_hash(held) != weights_hash(plain)
    assert all(torch.isfinite(parameter).all() for parameter in held.parameters())


@by_method
@pytest.mark.parametrize("kind", ["llama-tied", "gpt2"])
def test_a_resumed_leg_is_the_unbroken_one(
    name: str, kind: str, leg: Leg, make_tiny: Make, fit: Make, make_scene: Make
) -> None:
    """What was measured is measured once and read again, as a run does it."""
    whole, same, method = make_tiny(kind), make_tiny(kind), brisk(name)
    method.select(same)
    measured = method.measure(make_scene(same, kind))
    fit(whole, method, family=kind, measured=measured)
    broken = dataclasses.replace(leg, folder=leg.folder.with_name("broken"))
    for stop_after in (4, 3, 2, None):
        torch.manual_seed(99)
        model = make_tiny(kind)
        fit(model, method, broken, family=kind, stop_after=stop_after, measured=measured)
    assert weights_hash(model) == weights_hash(whole)
    first, second = (journal.read(folder / "journal.jsonl") for folder in (leg.folder, broken.folder))
    assert [entry.get("retention") for entry in first] == [entry.get("retention") for entry in second]


@by_method
def test_it_works_on_every_family(name: str, family: str, leg: Leg, make_tiny: Make, fit: Make) -> None:
    model, method = make_tiny(family), brisk(name)
    short = dataclasses.replace(leg, rows=dataclasses.replace(leg.rows, source_SR=leg.rows.source_SR[:4]))
    fit(model, method, short, family=family)
    entries = journal.read(leg.folder / "journal.jsonl")
    held = entries[-1].get("retention", {}).get(name, {})
    assert held.get("reached", 1) > 0
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


@by_method
def test_measuring_and_keeping_leave_the_model_alone(name: str, make_tiny: Make, make_scene: Make) -> None:
    model, method = make_tiny("gpt2").train(), brisk(name)
    before, random = weights_hash(model), torch.get_rng_state()
    scene = make_scene(model, "gpt2")
    keeper = method.keeper(scene, method.measure(scene))
    assert isinstance(keeper, Keeper)
    assert weights_hash(model) == before
    assert model.training
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@by_method
def test_what_is_left_can_be_kept_on_disk(name: str, make_tiny: Make, make_scene: Make, tmp_path: Any) -> None:
    from safetensors.torch import load_file, save_file

    model, method = make_tiny("llama"), brisk(name)
    scene = make_scene(model)
    measured = method.measure(scene)
    left = method.leave(scene, measured)
    for number, tensors in enumerate((measured, left)):
        save_file({key: value.contiguous() for key, value in tensors.items()}, tmp_path / f"{number}.safetensors")
        again = load_file(tmp_path / f"{number}.safetensors")
        assert all(torch.equal(again[key], value.cpu()) for key, value in tensors.items())
    method.keeper(dataclasses.replace(scene, before=left), method.measure(dataclasses.replace(scene, before=left)))


@by_method
def test_it_holds_an_adapter_or_is_refused(name: str, leg: Leg, make_tiny: Make, fit: Make, make_scene: Make) -> None:
    """What is frozen below an adapter stays as it is, whatever the method does to what trains."""
    from rewarm.adapters.lora import Lora

    model, method = make_tiny("llama"), brisk(name)
    Lora(r=4).attach(model, 0)
    frozen = {key: value.detach().clone() for key, value in model.named_parameters() if not value.requires_grad}
    short = dataclasses.replace(leg, rows=dataclasses.replace(leg.rows, source_SR=leg.rows.source_SR[:4]))
    if name == "das":  # it masks the frozen weights only, so a run refuses it: what it reaches is nothing
        scene = make_scene(model)
        assert method.keeper(scene, method.measure(scene)).reached == 0
        return
    fit(model, method, short)
    held = journal.read(leg.folder / "journal.jsonl")[-1].get("retention", {}).get(name, {})
    assert held.get("reached") is None or held["reached"] > 0
    now = dict(model.named_parameters())
    assert all(torch.equal(now[key], value) for key, value in frozen.items())


@by_method
@pytest.mark.parametrize("other", ["l2-sp", "ema"])
def test_two_methods_off_change_nothing(name: str, other: str, leg: Leg, make_tiny: Make, make_scene: Make) -> None:
    from rewarm.training.keepers import Keepers
    from rewarm.training.loop import train
    from rewarm.training.optimizer import AdamWOptions, Optimizer

    hashes = []
    for number, names in enumerate([(), (name, other)]):
        model = make_tiny("gpt2")
        offs = {one: METHODS[one].off() for one in names}
        scene = make_scene(model, "gpt2")
        keepers = Keepers({one: method.keeper(scene, method.measure(scene)) for one, method in offs.items()})
        optimizer = Optimizer(model, AdamWOptions(0.1, (0.9, 0.95), 1e-8, 1.0))
        folder = leg.folder.with_name(f"leg-{number}")
        train(model, optimizer, dataclasses.replace(leg, folder=folder), [], lambda: False, lambda *told: None, keepers)
        keepers.finish()
        hashes.append(weights_hash(model))
    assert hashes[0] == hashes[1]
