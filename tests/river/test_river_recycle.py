"""A whole recycling on tiny models: every way, what is kept, what is refused, and the models it writes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from rewarm.evaluation.classifier import Tuning, score
from rewarm.evaluation.labelling import Labeller
from rewarm.evaluation.learners import Outcome
from rewarm.evaluation.tuning import Distil, tune
from rewarm.models.load import load_model, save_model, weights_hash
from rewarm.models.recycling import classifier_of, load_whole, with_adapter
from rewarm.report.recycling import Recycled
from rewarm.river.recycle import recycle
from rewarm.river.recycle_order import RecycleOrder, plan_recycle, published
from rewarm.river.recycle_paths import path
from rewarm.river.recycle_task import read_task
from rewarm.river.train import Hooks
from rewarm.types import Stopped, UserError

QUICK = Tuning(3e-3, max_steps=12, batch_size=8, eval_every=4)
WAYS = ("direct", "init", "teacher", "both", "fresh")


def moved(model: Any, seed: int) -> Any:
    """A copy with noise on every parameter, as if it had been trained on."""
    source = torch.Generator().manual_seed(seed)
    made = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.01 * torch.randn(parameter.shape, generator=source)
    return made


@pytest.fixture(scope="module")
def task_file(tmp_path_factory: pytest.TempPathFactory, words: Any) -> Path:
    """Texts of two classes that their first word tells apart; a broken row among them."""
    rows = [
        {"text": f"{('keke', 'lolo')[row % 2]} {words(row, 4)}", "label": ("b", "a")[row % 2]} for row in range(160)
    ]
    file = tmp_path_factory.mktemp("task") / "task.jsonl"
    file.write_text("\n".join([*map(json.dumps, rows), '{"text": "no label"}', "{broken"]) + "\n")
    return file


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, base: Path, task_file: Path) -> dict[str, str]:
    """Folders: an old base, what it became when tuned on the task, and the base after some training."""
    folder = tmp_path_factory.mktemp("models")
    old = load_model(str(base))
    tokens = base.parent / "tokenizer"
    save_model(moved(old, 2), tokens, folder / "new")
    tuned = classifier_of(old, ["b", "a"], 2, seed=1)
    task = read_task(task_file, None, 0)
    rows = [task.rows(split, base, ["b", "a"], 64) for split in ("train", "dev")]  # type: ignore[arg-type]
    course = tune(Labeller(tuned), *rows, replace(QUICK, max_steps=30))
    assert course.best.accuracy == 1.0
    save_model(tuned, tokens, folder / "tuned")
    save_model(moved(old, 9), tokens, folder / "chat")
    return {"old": str(base), **{name: str(folder / name) for name in ("new", "tuned", "chat")}}


def order(models: dict[str, str], task_file: Path | None, **changes: Any) -> RecycleOrder:
    made = RecycleOrder(
        models["old"], models["tuned"], models["new"], task_file, WAYS, tuning=QUICK, taught=QUICK,
        distil=Distil(0.5, 2.0, 1.0),
    )  # fmt: skip
    return replace(made, **changes)


def test_every_way_on_a_classifier(models: dict[str, str], task_file: Path, tmp_path: Path) -> None:
    labels: list[str] = []
    hooks = Hooks(tell=lambda label, done, total, unit: labels.append(label))
    work = plan_recycle(order(models, task_file, sweep=True, curve=True), tmp_path / "out")
    assert work.classes == ["b", "a"]  # as the tuned model has them, not by name
    found = recycle(work, hooks)
    arms = {arm.way: arm for arm in found.arms}
    assert tuple(arms) == WAYS
    assert found.teacher is not None
    assert found.teacher.accuracy == 1.0
    # what the old base learned still works on the new one, which differs by little noise
    assert arms["direct"].test is not None
    assert arms["direct"].test.accuracy == 1.0
    assert [point.step for point in arms["direct"].readings] == [0]
    assert arms["init"].readings[0] == arms["direct"].readings[0] == arms["both"].readings[0]
    assert arms["fresh"].readings[0] == arms["teacher"].readings[0]
    assert arms["fresh"].readings[0].accuracy < 1.0
    assert arms["init"].steps_to_target == 0
    assert found.bad_rows == {"neither text and label nor prompt and response": 1, "broken JSON": 1}
    assert [one.scale for one in found.sweep] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5]
    best = arms["direct"].readings[0]
    assert (found.sweep[4].accuracy, found.sweep[4].loss) == (best.accuracy, best.loss)
    lines = {one.way: one for one in found.paths}
    assert set(lines) == set(WAYS[1:])
    assert len(lines["init"].places) == 26
    assert lines["init"].losses[-1] == pytest.approx(arms["init"].best.loss, rel=1e-5)  # type: ignore[union-attr]
    assert lines["init"].barrier < 0.05
    # all the weights that were saved are what was scored
    for way in WAYS:
        model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out" / way)
        assert model.config.id2label == {0: "b", 1: "a"}
        rows = work.task.rows("test", Path(models["old"]), work.classes, 256)  # type: ignore[union-attr]
        assert score(Labeller(model), rows).loss == pytest.approx(arms[way].test.loss, rel=1e-5)  # type: ignore[union-attr]
    page = (tmp_path / "out" / "recycle.html").read_text()
    assert page.count("<svg") == 3
    assert found.verdict.split(".")[0] in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert Recycled.model_validate_json((tmp_path / "out" / "recycle.json").read_text()) == found
    # once more: nothing is done again
    labels.clear()
    assert recycle(plan_recycle(order(models, task_file, sweep=True, curve=True), tmp_path / "out"), hooks) == found
    assert labels == []
    with pytest.raises(UserError, match=r"begun with other settings \(scale\)"):
        recycle(plan_recycle(order(models, task_file, scale=0.5), tmp_path / "out"))


def test_a_stopped_recycling_goes_on_arm_by_arm(models: dict[str, str], task_file: Path, tmp_path: Path) -> None:
    labels: list[str] = []
    asked = order(models, task_file, ways=("init", "fresh"))
    hooks = Hooks(
        tell=lambda label, done, total, unit: labels.append(label),
        stop=lambda: "fresh: load" in labels,
    )
    with pytest.raises(Stopped):
        recycle(plan_recycle(asked, tmp_path / "out"), hooks)
    assert not (tmp_path / "out" / "recycle.json").exists()
    assert (tmp_path / "out" / "init" / "model.safetensors").is_file()
    assert not (tmp_path / "out" / "fresh").exists()
    labels.clear()
    hooks = Hooks(tell=lambda label, done, total, unit: labels.append(label))
    found = recycle(plan_recycle(asked, tmp_path / "out"), hooks)
    assert not [label for label in labels if label.startswith("init")]
    whole = recycle(plan_recycle(asked, tmp_path / "whole"))
    drop = {"arms": {"__all__": {"model"}}}
    assert found.model_dump(exclude=drop) == whole.model_dump(exclude=drop)


def test_a_chat_vector_without_a_task(models: dict[str, str], tmp_path: Path) -> None:
    asked = replace(order(models, None), tuned=models["chat"], ways=("direct",), scale=0.5)
    found = recycle(plan_recycle(asked, tmp_path / "out"))
    assert found.kind is None
    assert "No task was given" in found.verdict
    made = dict(AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "direct").named_parameters())
    old, new, chat = (dict(load_model(models[name]).named_parameters()) for name in ("old", "new", "chat"))
    for name, value in made.items():
        torch.testing.assert_close(value, new[name] + 0.5 * (chat[name] - old[name]))
    nothing = replace(asked, new=models["old"], scale=1.0)
    recycle(plan_recycle(nothing, tmp_path / "same"))
    assert weights_hash(load_model(str(tmp_path / "same" / "direct"))) == weights_hash(load_model(models["chat"]))


def test_prompts_and_responses(models: dict[str, str], tmp_path: Path) -> None:
    """Answers are compared by their loss, and what is not better than the target did not reach it."""
    file = tmp_path / "task.jsonl"
    rows = [{"prompt": f"ba ke {row % 7} =", "response": ("lolo", "titi")[row % 2]} for row in range(60)]
    splits = ["dev" if row % 10 == 8 else "test" if row % 10 == 9 else "train" for row in range(60)]
    lines = [json.dumps(row | {"split": split}) for row, split in zip(rows, splits, strict=True)]
    file.write_text("\n".join(lines))
    asked = replace(order(models, file), tuned=models["chat"], ways=("both", "fresh"), target=0.0)
    found = recycle(plan_recycle(asked, tmp_path / "out"))
    assert (found.kind, found.judged, found.rows) == ("answers", "loss", {"train": 48, "dev": 6, "test": 6})
    assert [arm.steps_to_target for arm in found.arms] == [None, None]
    assert "No way reached the target" in found.verdict
    assert found.arms[1].best is not None
    assert found.arms[1].best.loss < found.arms[1].readings[0].loss


def test_an_adapter_stays_an_adapter(models: dict[str, str], task_file: Path, tmp_path: Path) -> None:
    old = classifier_of(load_model(models["old"]), ["a", "b"], 2, seed=1)
    torch.manual_seed(0)
    wrapped: Any = get_peft_model(old, LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj"], task_type="SEQ_CLS"))
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            parameter += 0.1 * torch.randn(parameter.shape) if "lora_" in name else 0.0
    wrapped.save_pretrained(str(tmp_path / "adapter"))
    asked = replace(order(models, task_file), tuned=str(tmp_path / "adapter"), ways=("direct", "both", "fresh"))
    found = recycle(plan_recycle(asked, tmp_path / "out"))
    assert found.adapter
    for arm in found.arms:
        assert not (Path(arm.model) / "model.safetensors").exists()
        base = classifier_of(load_model(models["new"]), ["a", "b"], 2, seed=5)
        model = PeftModel.from_pretrained(base, arm.model).base_model.model
        rows = read_task(task_file, None, 0).rows("test", Path(models["old"]), ["a", "b"], 256)
        assert arm.test is not None
        assert score(Labeller(model), rows).loss == pytest.approx(arm.test.loss, rel=1e-5)
    merged = recycle(plan_recycle(replace(asked, ways=("direct",), merge=True), tmp_path / "merged"))
    assert merged.arms[0].readings == found.arms[0].readings
    whole = load_whole(merged.arms[0].model, "labels")
    base = classifier_of(load_model(models["new"]), ["a", "b"], 2, seed=5)
    again = with_adapter(base, found.arms[0].model).merged()
    assert weights_hash(again) == weights_hash(whole)


def test_the_line_between_two_equal_models_is_flat(models: dict[str, str], task_file: Path) -> None:
    learner = Labeller(load_whole(models["tuned"], "labels"))
    before = weights_hash(learner)
    rows = read_task(task_file, None, 0).rows("dev", Path(models["old"]), ["b", "a"], 256)
    first = {name: value.detach().clone() for name, value in learner.body.named_parameters()}
    found: list[Outcome] = path(learner, first, rows, "fp32", Hooks())
    assert {round(one.loss, 6) for one in found} == {round(found[0].loss, 6)}
    assert weights_hash(learner) == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ways": ("inti",)}, "no way 'inti'. Did you mean 'init'"),
        ({"ways": ()}, "give one or more of direct"),
        ({"ways": ("direct",), "curve": True}, "drawn to models that are trained"),
        ({"scale": 3.0}, "--scale 3 must be from 0 to 2"),
        ({"shots": 0}, "--shots 0 must be 1 or more"),
        ({"task": None}, "init, teacher, both, fresh need a task"),
        ({"task": None, "ways": ("direct",), "sweep": True}, "--sweep need a task"),
    ],
)
def test_orders_that_make_no_sense_are_refused(
    changes: dict[str, Any], said: str, models: dict[str, str], task_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        plan_recycle(order(models, task_file, **changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_models_that_do_not_fit_are_refused_by_name(
    models: dict[str, str], task_file: Path, tmp_path: Path, make_tiny: Callable[..., Any], tiny_tokenizer_folder: Path
) -> None:
    tokens = Path(models["old"]).parent / "tokenizer"
    save_model(make_tiny("gpt2"), tokens, tmp_path / "gpt2")
    with pytest.raises(UserError, match="it has another architecture \\(model_type gpt2 instead of llama"):
        plan_recycle(order(models, task_file, new=str(tmp_path / "gpt2")), tmp_path / "out")
    grown = load_model(models["new"])
    grown.resize_token_embeddings(410, mean_resizing=False)
    save_model(grown, tokens, tmp_path / "grown")
    wider = order(models, task_file, new=str(tmp_path / "grown"))
    with pytest.raises(UserError, match="teacher, both need vocabularies of one size, and these have 400, 410, 400"):
        plan_recycle(wider, tmp_path / "out")
    found = recycle(plan_recycle(replace(wider, ways=("direct",)), tmp_path / "out"))
    assert found.arms[0].test is not None
    assert found.arms[0].test.accuracy == 1.0
    save_model(load_model(models["new"]), tiny_tokenizer_folder, tmp_path / "tokens")
    with pytest.raises(UserError, match="has another vocabulary than"):
        plan_recycle(order(models, task_file, new=str(tmp_path / "tokens")), tmp_path / "out")
    three = tmp_path / "three.jsonl"
    three.write_text("\n".join(json.dumps({"text": f"x {row}", "label": row % 3}) for row in range(60)))
    with pytest.raises(UserError, match="the task has 3 labels and"):
        plan_recycle(order(models, three), tmp_path / "out")


def test_shots_are_so_many_rows_of_each_label(task_file: Path, tmp_path: Path) -> None:
    task = read_task(task_file, 5, 0)
    assert sorted(label for _, label in task.given["train"]) == ["a"] * 5 + ["b"] * 5
    assert read_task(task_file, 5, 0) == task
    assert read_task(task_file, 5, 1).given["train"] != task.given["train"]
    assert read_task(task_file, 5, 1).given["test"] == task.given["test"]
    every = read_task(task_file, None, 0)
    assert sum(every.counts().values()) == 160
    assert (every.bad.total, every.bad.rows) == (2, 162)
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_text('{"text": "a", "label": 1}\n{"prompt": "a", "response": "b"}\n')
    with pytest.raises(UserError, match="has both kinds of rows"):
        read_task(mixed, None, 0)
    mixed.write_text('{"text": "a", "label": 1, "split": "train"}\n')
    with pytest.raises(UserError, match="has no row for dev"):
        read_task(mixed, None, 0)


def test_the_published_settings(models: dict[str, str], task_file: Path) -> None:
    found = published(order(models, task_file))
    assert (found.tuning.learning_rate, found.tuning.epochs, found.tuning.batch_size) == (2e-5, 10, 16)
    taught = found.taught
    assert (taught.learning_rate, taught.batch_size, taught.warmup, taught.max_steps, taught.eval_every) == (
        1e-5, 2, 2000, 100_000, 1000,
    )  # fmt: skip
    assert (found.distil, found.shots, found.max_length) == (Distil(0.9, 5, 0), 32, 128)
