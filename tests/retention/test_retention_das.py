"""Soft masks hold what they cover under AdamW, importance only grows, and the contrast pairs what belongs together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from safetensors.torch import load_file
from torch import Tensor

from rewarm.adapters.block_expansion import BlockExpansion
from rewarm.models.load import weights_hash
from rewarm.plan import from_values
from rewarm.retention import Scene, Tensors
from rewarm.retention.contrast import contrast, document_means
from rewarm.retention.das import DAS
from rewarm.retention.units import find_units, masks
from rewarm.river.run import run
from rewarm.training import activations, journal
from rewarm.training.leg import Leg
from rewarm.types import Batch, UserError

Make = Callable[..., Any]


def same_for_all(model: Any, value: float) -> Tensors:
    return {some.name: torch.full((some.count,), value) for some in find_units(model)}


def every_second(model: Any, value: float) -> Tensors:
    """Importance of half the units of each layer and kind; the others have none."""
    return {some.name: value * (torch.arange(some.count) % 2).float() for some in find_units(model)}


def elsewhere(leg: Leg, name: str) -> Leg:
    return dataclasses.replace(leg, folder=leg.folder.with_name(name))


def covered(model: Any) -> dict[str, Tensor]:
    """The parameters under a mask, by name."""
    laid = masks(find_units(model), same_for_all(model, 1))
    return {name: value.detach() for name, value in model.named_parameters() if any(value is mask for mask in laid)}


def test_full_importance_freezes_what_it_covers_bit_for_bit(family: str, leg: Leg, make_tiny: Make, fit: Make) -> None:
    fresh, model = make_tiny(family), make_tiny(family)
    fit(model, DAS(), leg, family, measured=same_for_all(model, 1.0))
    held = covered(model)
    assert {
        name for name, value in fresh.named_parameters() if torch.equal(value, held.get(name, torch.tensor(0)))
    } == (set(held))
    assert weights_hash(model) != weights_hash(fresh)


@pytest.mark.parametrize("mask", ["update", "gradients"])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_no_importance_is_plain_training_bit_for_bit(
    mask: Any, kind: str, leg: Leg, make_tiny: Make, fit: Make
) -> None:
    plain, model = make_tiny(kind), make_tiny(kind)
    fit(plain, None, leg, kind)
    fit(model, DAS(mask=mask), elsewhere(leg, "held"), kind, measured=same_for_all(model, 0.0))
    assert weights_hash(model) == weights_hash(plain)


def displacement(fresh: Any, model: Any, held: Tensors) -> dict[bool, Tensor]:
    """How far the weights of protected units (True) and of free ones (False) moved, absolute, all in one row."""
    laid = {id(parameter): mask for parameter, mask in masks(find_units(model), held).items()}
    found: dict[bool, list[Tensor]] = {True: [], False: []}
    for before, after in zip(fresh.parameters(), model.parameters(), strict=True):
        mask = laid.get(id(after))
        if mask is not None:
            moved = (after - before).detach().abs()
            found[True].append(moved[(mask > 0).expand_as(moved)])
            found[False].append(moved[(mask == 0).expand_as(moved)])
    return {kind: torch.cat(parts) for kind, parts in found.items()}


@pytest.mark.parametrize("kind", ["llama", "gpt-neox", "gpt2"])
def test_protected_units_hardly_move_under_adamw(kind: str, leg: Leg, make_tiny: Make, fit: Make) -> None:
    """With the mask on the update, at importance 0.9. The published mask on gradients moves them as plain training."""
    fresh, plain, model, published = (make_tiny(kind) for _ in range(4))
    held = every_second(fresh, 0.9)
    fit(plain, None, leg, kind)
    fit(model, DAS(), elsewhere(leg, "held"), kind, measured=held)
    fit(published, DAS(mask="gradients"), elsewhere(leg, "published"), kind, measured=held)
    freely, ours, theirs = (displacement(fresh, trained, held) for trained in (plain, model, published))
    assert float(ours[True].median() / freely[True].median()) < 0.2
    assert float(ours[False].median() / freely[False].median()) == pytest.approx(1, abs=0.15)
    assert float(theirs[True].median() / freely[True].median()) == pytest.approx(1, abs=0.15)


def test_strength_scales_the_mask(leg: Leg, make_tiny: Make, make_scene: Make) -> None:
    """An update by 1 of every weight, at importance 1 and strength 0.25, is one by 0.75."""
    model = make_tiny("llama")
    keeper = DAS(strength=0.25).keeper(make_scene(model), same_for_all(model, 1.0))
    up, embedding = model.model.layers[0].mlp.up_proj.weight, model.model.embed_tokens.weight
    before = up.detach().clone(), embedding.detach().clone()
    keeper.before_update(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 1
    keeper.update(0, 1e-3)
    assert torch.allclose(up, before[0] + 0.75, atol=1e-6)
    assert torch.allclose(embedding, before[1] + 1, atol=1e-6)


def test_the_share_of_parameters_reached_by_hand(make_tiny: Make, make_scene: Make) -> None:
    """Llama of width 32, 2 key heads: q, o 32 x 32, k, v 16 x 32, gate, up, down 64 x 32; two layers."""
    model = make_tiny("llama")
    total = sum(parameter.numel() for parameter in model.parameters())
    keeper = DAS().keeper(make_scene(model), same_for_all(model, 0.5))
    assert keeper.reached == pytest.approx(2 * (2 * 1024 + 2 * 512 + 3 * 2048) / total)


def test_only_units_that_matter_are_reached(make_tiny: Make, make_scene: Make) -> None:
    """Of the second layer, whose heads alone do: q, o 32 x 32, k, v 16 x 32. With nothing known yet, it waits."""
    model = make_tiny("llama")
    held = {name: value * (name == "heads.1") for name, value in same_for_all(model, 0.5).items()}
    total = sum(parameter.numel() for parameter in model.parameters())
    assert DAS().keeper(make_scene(model), held).reached == pytest.approx((2 * 1024 + 2 * 512) / total)
    nothing = same_for_all(model, 0.0)
    assert DAS().keeper(make_scene(model), nothing).reached == 0
    assert DAS(general="none").keeper(make_scene(model), nothing).reached is None
    assert DAS(general="none").keeper(make_scene(model, before=nothing), nothing).reached == 0


def test_layers_that_begin_as_the_identity_are_not_reached(make_tiny: Make, make_scene: Make) -> None:
    """What they compute is 0 whatever their gates are: as good as no importance, and a run says so."""
    model = make_tiny("llama")
    BlockExpansion(blocks=1).attach(model, 0)
    scene = make_scene(model)
    for norm in ("one-sided", "paper", "rank"):
        method = DAS(rows=2, norm=norm)  # type: ignore[arg-type]  # mypy does not see that these are the three
        assert method.keeper(scene, method.measure(scene)).reached == 0


def test_an_adapter_on_frozen_weights_is_not_reached(make_tiny: Make, make_scene: Make) -> None:
    model = make_tiny("llama")
    held = same_for_all(model, 0.5)
    model = inject_adapter_in_model(LoraConfig(r=2, target_modules="all-linear"), model)
    assert DAS().keeper(make_scene(model), held).reached == 0
    with pytest.raises(UserError, match="no weight of a head or neuron of LlamaForCausalLM trains"):
        DAS().check(model.to("meta"), 100)


def test_importance_grows_from_stage_to_stage(make_tiny: Make, make_scene: Make) -> None:
    """The maximum, unit by unit, of what was there and of the new stage's own: the next stage starts with that."""
    model, method = make_tiny("llama"), DAS(rows=4)
    scene: Scene = make_scene(model)
    first = method.measure(scene)
    left = method.leave(scene, first)
    own = method.leave(scene, same_for_all(model, 0.0))
    assert all(torch.equal(left[name], torch.maximum(first[name], own[name])) for name in left)
    assert any((left[name] > first[name]).any() for name in left)
    again = method.measure(dataclasses.replace(scene, before=left))
    assert all(torch.equal(again[name], left[name]) for name in left)


def test_general_knowledge_is_measured_as_asked(make_tiny: Make, make_scene: Make) -> None:
    scene = make_scene(make_tiny("llama"))
    asked: list[str] = []

    def rows(text: str, count: int) -> Any:
        asked.append(f"{text} {count}")
        return scene.rows(text, count)

    watched = dataclasses.replace(scene, rows=rows)
    none = DAS(general="none").measure(watched)
    assert float(torch.cat(list(none.values())).abs().max()) == 0
    DAS(rows=3).measure(watched)
    DAS(rows=4, general="text").measure(watched)
    DAS(rows=5, general="text", text="books").measure(watched)
    assert asked == ["new 3", "old 4", "books 5"]
    assert [DAS().texts(), DAS(general="text").texts(), DAS(general="text", text="new").texts()] == [(), ("old",), ()]


def test_the_control_has_the_same_values_at_other_units(make_tiny: Make, make_scene: Make) -> None:
    scene = make_scene(make_tiny("llama"))
    method = DAS(rows=4)
    measured = method.measure(scene)
    kept, mixed = (some.keeper(scene, measured).held for some in (method, method.control()))  # type: ignore[attr-defined]
    assert all(torch.equal(kept[name], measured[name]) for name in measured)
    assert all(torch.equal(mixed[name].sort().values, measured[name].sort().values) for name in measured)
    assert not torch.equal(mixed["neurons.0"], measured["neurons.0"])


def test_importance_of_another_model_is_refused(make_tiny: Make, make_scene: Make) -> None:
    model = make_tiny("llama")
    held = same_for_all(model, 0.5)
    with pytest.raises(UserError, match=r"another shape: heads\.1 differ"):
        DAS().keeper(make_scene(model), {name: value for name, value in held.items() if name != "heads.1"})
    with pytest.raises(UserError, match=r"another shape: neurons\.0 differ"):
        DAS().keeper(make_scene(model), {**held, "neurons.0": torch.ones(3)})


def test_readings_by_hand(leg: Leg, make_tiny: Make, fit: Make) -> None:
    """Half the units at 0.9: the mean is 0.45, half are above 0.8, and they move about a tenth as far as the others."""
    model = make_tiny("gpt-neox")
    fit(model, DAS(), leg, "gpt-neox", measured=every_second(model, 0.9))
    found = journal.read(leg.folder / "journal.jsonl")[-1]["retention"]["das"]
    assert found["importance"] == pytest.approx(0.45)
    assert found["protected"] == 0.5
    assert 0.05 < found["displacement"] < 0.2
    assert 0 < found["reached"] < 1


def packed(positions: list[list[int]], targets: list[list[int]]) -> Batch:
    places_BT = torch.tensor(positions)
    return Batch(torch.zeros_like(places_BT), torch.tensor(targets), places_BT, 1)


def test_means_of_documents_by_hand() -> None:
    """Row one: documents of 2 and 3 tokens; row two: one of 3, then two places of padding."""
    batch = packed([[0, 1, 0, 1, 2], [0, 1, 2, 0, 0]], [[7, -100, 7, 7, 7], [7, 7, -100, -100, -100]])
    hidden = torch.tensor([[1.0, 3.0, 4.0, 5.0, 9.0], [1.0, 2.0, 6.0, 100.0, 100.0]])[..., None]
    assert document_means(hidden, batch).flatten().tolist() == [2, 6, 3]
    # Of a conversation only the answer has targets; it is the same document.
    answers = batch.targets_BT.clone()
    answers[:, 0] = -100
    masked = Batch(batch.tokens_BT, answers, batch.positions_BT, 0)
    assert document_means(hidden, masked).flatten().tolist() == [2, 6, 3]


def test_the_contrast_by_hand() -> None:
    """Two documents, temperature 1. Cosines of full with positives: 1, 0 / 0, 1; with negatives: 0, 1 / 1, 0."""
    full, away = torch.tensor([[2.0, 0.0], [0.0, 3.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    e = torch.e
    wanted = torch.log(torch.tensor((2 * e + 2) / e))
    assert float(contrast(full, full / 2, away, 1.0)) == pytest.approx(float(wanted))
    assert float(contrast(full, full, -full, 0.05)) < 1e-6
    assert float(contrast(full, full.flip(0), -full, 0.05)) > 10  # views of different documents are no pair


def test_the_contrast_is_weighted_by_targets_and_shapes_the_weights(make_tiny: Make, make_scene: Make) -> None:
    """A micro-batch with a quarter of the step's eight targets counts a quarter of its contrast."""
    model = make_tiny("llama").train()
    (batch,) = make_scene(model).rows("new", 1)
    found = []
    for options, targets in ((DAS(contrast=1.0), 8), (DAS(contrast=0.5), 8), (DAS(contrast=1.0), 2)):
        torch.manual_seed(0)
        keeper = options.keeper(make_scene(model), every_second(model, 0.9))
        found.append(keeper.loss(dataclasses.replace(batch, num_targets=targets), 1 / 8))
    values = [float(loss.detach()) for loss in found]
    assert values[0] > 0
    assert values[1:] == pytest.approx([values[0] / 2, values[0] / 4])
    found[0].backward()
    assert float(model.model.layers[0].self_attn.q_proj.weight.grad.abs().sum()) > 0
    assert DAS().keeper(make_scene(model), every_second(model, 0.9)).loss(batch, 1.0) is None


def test_the_contrast_is_the_same_where_layers_recompute(make_tiny: Make, make_scene: Make) -> None:
    """A layer that recomputed its pass backwards would do so without gates and dropout, which are gone by then."""
    gradients = []
    for recomputing in (False, True):
        model = make_tiny("llama").train()
        (batch,) = make_scene(model).rows("new", 1)
        if recomputing:
            activations.checkpoint_layers(model)
        keeper = DAS(contrast=1.0).keeper(make_scene(model), every_second(model, 0.9))
        torch.manual_seed(0)
        loss = keeper.loss(batch, 1.0)
        assert loss is not None
        loss.backward()
        assert model.model.layers[0].gradient_checkpointing == recomputing
        gradients.append(model.model.layers[0].mlp.down_proj.weight.grad)
    assert torch.equal(gradients[0], gradients[1])


def test_a_run_hands_importance_from_stage_to_stage(scratch_plan: Make, tmp_path: Any) -> None:
    values = scratch_plan(old_corpus="old", watch=["old"])
    (first,) = values["stages"]
    held = {"type": "das", "rows": 4, "general": "text"}
    stages = [{**first, "name": name, "tokens": 512, "retention": held} for name in ("spring", "autumn")]
    run(from_values({**values, "stages": stages}))
    spring_measured, spring_left, autumn_measured, autumn_left = (
        load_file(tmp_path / "run" / "training" / leg / "kept" / f"das-{what}.safetensors")
        for leg in ("stage-1-spring", "stage-2-autumn")
        for what in ("measured", "left")
    )
    assert all(torch.equal(autumn_measured[name], spring_left[name]) for name in spring_left)
    assert all((spring_left[name] >= spring_measured[name]).all() for name in spring_left)
    assert all((autumn_left[name] >= spring_left[name]).all() for name in spring_left)
    assert any((autumn_left[name] > spring_left[name]).any() for name in spring_left)
