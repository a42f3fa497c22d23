"""A whole merge on a finished run: every point on the run's matrix, nothing scored twice, one model that loads."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from rewarm.models.load import load_model, save_model, weights_hash
from rewarm.plan import from_values
from rewarm.report.frontier import Merge
from rewarm.report.result import Result
from rewarm.river.merge import merge
from rewarm.river.merge_order import MergeOrder, plan_merge
from rewarm.river.merge_parts import ModelPart, check_shapes, covers, special_rows
from rewarm.river.merge_scores import Scorer
from rewarm.river.run import run as run_plan
from rewarm.river.train import Hooks
from rewarm.types import Stopped, UserError

THIRDS = (0.0, 0.25, 1.0)


class Told:
    """Progress of a merge, and the labels of what was scored and loaded."""

    def __init__(self) -> None:
        self.labels: list[str] = []

    def hooks(self, **changes: Any) -> Hooks:
        """Hooks that note every label."""
        return Hooks(tell=lambda label, done, total, unit: self.labels.append(label), **changes)

    def began(self, word: str) -> set[str]:
        """Labels that begin with a word."""
        return {label for label in self.labels if label.startswith(word)}


@pytest.fixture
def root(stream: tuple[Path, Result]) -> Path:
    """The directory of a finished run of two stages, the last with a release. Read only."""
    return stream[0]


def parameters(folder: str | Path) -> dict[str, torch.Tensor]:
    return {name: parameter.detach() for name, parameter in load_model(str(folder)).named_parameters()}


def test_a_sweep_on_the_runs_matrix(stream: tuple[Path, Result], base: Path, tmp_path: Path) -> None:
    root, result = stream
    out, told = tmp_path / "out", Told()
    order = MergeOrder(stage="code", weights=THIRDS, prefer="old")
    found = merge(plan_merge(root, order, out), told.hooks())
    assert [(point.name, point.weight) for point in found.points] == [
        ("base", 0.0), ("weight 0.25", 0.25), ("stage-2-code", 1.0),
    ]  # fmt: skip
    # the ends are rows of the run, taken over; only the point between them was scored
    rows = {row.name: row for row in result.rows}
    assert all(found.points[place].cells == rows[name].cells for place, name in ((0, "base"), (2, "stage-2-code")))
    assert {label.rsplit(" ", 1)[1] for label in told.began("score ")} == {"old", "law", "code"}
    assert {label.split("-0.25-")[0] for label in told.began("score ")} == {"score wise-ft"}
    # every loss of this run falls with training, so the point in between lies between the ends
    for corpus in ("old", "law", "code"):
        assert (
            found.points[2].cells[corpus].loss < found.points[1].cells[corpus].loss < found.points[0].cells[corpus].loss
        )
    assert found.choice == "stage-2-code"
    assert "merging does not help here" in found.reason
    assert Merge.model_validate_json((out / "merge.json").read_text()) == found
    assert found.parts == {"base": result.hashes["weights base"], "stage-2-code": result.hashes["weights stage-2-code"]}
    assert [point.frontier for point in found.points] == [False, False, True]
    assert found.barrier is not None
    assert set(found.barrier) == {"old", "law", "code"}
    assert weights_hash(load_model(str(out / "model"))) == found.points[2].weights_sha256


def test_the_chosen_merge_is_saved_and_a_second_call_does_nothing_again(root: Path, base: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    order = MergeOrder(method="chat-vector", stage="law", chat=str(root / "stage-2-code"), weights=(0.0, 0.5))
    found = merge(plan_merge(root, order, out), Hooks())
    assert found.choice == "weight 0.5"
    law, code, start = (parameters(place) for place in (root / "stage-1-law", root / "stage-2-code", base))
    for name, merged in parameters(out / "model").items():
        torch.testing.assert_close(merged, law[name] + 0.5 * (code[name] - start[name]))
    assert weights_hash(load_model(str(out / "model"))) == found.points[1].weights_sha256
    assert (out / "model" / "tokenizer.json").is_file()
    before = (out / "model" / "model.safetensors").stat().st_mtime_ns
    told = Told()
    assert merge(plan_merge(root, order, out), told.hooks()) == found
    assert told.began("score ") == set()
    # the hash of a model that no run recorded has to be made from its weights
    assert told.began("load ") == {f"load {root / 'stage-2-code'}"}
    assert (out / "model" / "model.safetensors").stat().st_mtime_ns == before


def test_points_of_another_sweep_and_another_folder_are_kept(root: Path, tmp_path: Path) -> None:
    first = merge(plan_merge(root, MergeOrder(stage="law", weights=(0.375,)), tmp_path / "a"), Hooks())
    told = Told()
    wider = MergeOrder(stage="law", weights=(0.375, 0.625))
    merge(plan_merge(root, wider, tmp_path / "a"), told.hooks())
    assert {label.split("-0.625-")[0] for label in told.began("score ")} == {"score wise-ft"}
    told = Told()
    again = merge(plan_merge(root, MergeOrder(stage="law", weights=(0.375,)), tmp_path / "b"), told.hooks())
    assert told.began("score ") == set()  # the same weights were scored on the same documents
    assert again.points == first.points


def test_a_stopped_merge_goes_on(root: Path, tmp_path: Path) -> None:
    out, told = tmp_path / "out", Told()
    order = MergeOrder(stage="law", weights=(0.3125, 0.6875))
    with pytest.raises(Stopped):
        merge(plan_merge(root, order, out), told.hooks(stop=lambda: any("0.6875" in label for label in told.labels)))
    assert not (out / "merge.json").exists()
    told = Told()
    merge(plan_merge(root, order, out), told.hooks())
    assert not [label for label in told.began("score ") if "0.3125" in label]
    assert [label for label in told.began("score ") if "0.6875" in label]


def test_a_soup_takes_what_makes_it_better(root: Path, tmp_path: Path) -> None:
    order = MergeOrder(method="soup", stage="law", others=("code", str(root / "stage-2-code-release")))
    found = merge(plan_merge(root, order, tmp_path / "out"), Hooks())
    points = {point.name: point for point in found.points}
    names = ["stage-1-law", "stage-2-code", "stage-2-code-release"]
    assert [name for name in points if points[name].untouched] == ["base", *names]
    # greedy begins with the best model and tries the second best: two neighbours on one path
    ordered = sorted(names, key=lambda name: points[name].mean)
    pair = " + ".join(name for name in names if name in ordered[:2])
    assert points[pair].members == pair.split(" + ")
    assert points["uniform soup"].members == names
    assert all(point.weight is None for point in found.points)
    assert found.barrier is None


@pytest.mark.parametrize("method", ["ties", "dare"])
def test_task_vectors_of_stages_and_of_controls(method: Any, root: Path, tmp_path: Path) -> None:
    joint = str(root / "controls" / "joint" / "stage-1-joint")
    order = MergeOrder(method=method, stage="law", others=(joint,), weights=(0.0, 1.0), density=0.5)
    found = merge(plan_merge(root, order, tmp_path / "out"), Hooks())
    assert [(point.name, point.weight) for point in found.points] == [
        ("base", 0.0), ("weight 1", 1.0), ("stage-1-law", None), (joint, None),
    ]  # fmt: skip
    assert found.density == 0.5
    assert set(found.parts) == {"base", "stage-1-law", joint}


def test_a_limit_of_forgetting_is_kept(root: Path, tmp_path: Path) -> None:
    order = MergeOrder(stage="law", weights=(0.5,), max_forgetting=0.0)
    found = merge(plan_merge(root, order, tmp_path / "out"), Hooks())
    chosen = next(point for point in found.points if point.name == found.choice)
    assert chosen.new == min(point.new or 0.0 for point in found.points if (point.old or 0.0) <= 0)
    assert "forget at most 0% of old text" in found.reason


def test_the_page_shows_the_figure_and_the_reason(root: Path, tmp_path: Path) -> None:
    found = merge(plan_merge(root, MergeOrder(stage="law", weights=(0.5,)), tmp_path / "out"), Hooks())
    page = (tmp_path / "out" / "merge.html").read_text()
    assert found.reason in page
    assert page.count("<svg") == 1
    assert "http" not in page.replace("http://www.w3.org", "")
    for word in ("Pareto frontier", "sweep", "chosen", "weight 0.5"):
        assert word in page


def test_a_model_that_changed_since_the_run_is_refused(root: Path, base: Path, tmp_path: Path) -> None:
    moved = tmp_path / "run"
    shutil.copytree(root, moved)
    save_model(load_model(str(base)), moved / "tokenizer", moved / "stage-1-law")
    with pytest.raises(UserError, match="are not those that the run recorded"):
        merge(plan_merge(moved, MergeOrder(stage="law", weights=(0.4375,)), tmp_path / "out"), Hooks())


def test_copies_of_one_model_are_refused_before_any_scoring(root: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(root / "stage-1-law", copied)
    told = Told()
    order = MergeOrder(method="soup", stage="law", others=(str(copied),))
    with pytest.raises(UserError, match="have the same weights: give models that differ"):
        merge(plan_merge(root, order, tmp_path / "out"), told.hooks())
    assert told.began("score ") == set()


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (MergeOrder(method="wise", weights=(0.5,)), "no merging method 'wise'. Did you mean 'wise-ft'"),  # type: ignore[arg-type]
        (MergeOrder(stage="lwa", weights=(0.5,)), "has no stage 'lwa'. Did you mean 'law'"),
        (MergeOrder(weights=(0.5, 1.5)), r"wise-ft weighs from 0 to 1, at least one point; got \[1.5\]"),
        (MergeOrder(weights=()), "at least one point; got none"),
        (MergeOrder(others=("law",), weights=(0.5,)), "takes no --with"),
        (MergeOrder(method="soup"), "name the others with --with"),
        (MergeOrder(method="soup", others=("law",), weights=(0.5,)), "soup sweeps no weight"),
        (MergeOrder(method="soup", others=("law",), stage="law"), "'stage-1-law' and 'stage-1-law' are the same model"),
        (MergeOrder(method="ties", others=("law",), weights=(1.0,), density=0.0), "--density 0 must be above 0"),
        (MergeOrder(method="chat-vector", weights=(1.0,)), "belong together"),
        (MergeOrder(chat="x", weights=(1.0,)), "belong together"),
        (MergeOrder(weights=(1.0,), prefer="old", max_forgetting=0.1), "goes without --prefer"),
        (MergeOrder(method="soup", others=("no/such/model",)), "is no model that could be read"),
    ],
)  # fmt: skip
def test_what_cannot_be_merged_is_refused_before_any_work(order: MergeOrder, message: str, root: Path) -> None:
    with pytest.raises(UserError, match=message):
        plan_merge(root, order)
    assert not (root / "merges").exists()


def test_other_families_and_vocabularies_are_refused(
    root: Path, base: Path, make_tiny: Any, tiny_tokenizer_folder: Path, tmp_path: Path
) -> None:
    save_model(make_tiny("qwen2"), root / "tokenizer", tmp_path / "qwen2")
    with pytest.raises(UserError, match="another architecture"):
        plan_merge(root, MergeOrder(method="soup", others=(str(tmp_path / "qwen2"),)))
    model = load_model(str(base))
    with torch.no_grad():
        model.get_output_embeddings().weight.add_(0.01)  # type: ignore[union-attr, operator]
    # the run's base has a tokenizer of its own, made from other text
    save_model(model, tiny_tokenizer_folder, tmp_path / "other")
    with pytest.raises(UserError, match="has another vocabulary than the run"):
        plan_merge(root, MergeOrder(method="soup", others=(str(tmp_path / "other"),)))


def test_task_vectors_need_one_base(root: Path, values_in: Any, make_tiny: Any, tmp_path: Path) -> None:
    save_model(load_model(str(root / "stage-1-law")), root / "tokenizer", tmp_path / "base")
    values = values_in(tmp_path / "run", [{"name": "law", "data": "law", "tokens": 512}], base=str(tmp_path / "base"))
    run_plan(from_values(values))
    order = MergeOrder(method="ties", stage="code", others=(str(tmp_path / "run"),), weights=(1.0,))
    with pytest.raises(UserError, match="started from another base"):
        plan_merge(root, order)
    work = plan_merge(root, MergeOrder(method="soup", stage="code", others=(str(tmp_path / "run"),)))
    assert [part.place for part in work.parts] == [str(root / "stage-2-code"), str(tmp_path / "run" / "stage-1-law")]


def test_a_run_whose_base_is_not_scored_is_refused(root: Path, tmp_path: Path) -> None:
    moved = tmp_path / "run"
    shutil.copytree(root, moved)
    (moved / "evaluations" / "base" / "law.npz").unlink()
    with pytest.raises(UserError, match="has not scored its base on every watched corpus"):
        plan_merge(moved, MergeOrder(weights=(0.5,)))
    shutil.rmtree(moved / "stage-1-law")
    shutil.copytree(root / "evaluations", moved / "evaluations", dirs_exist_ok=True)
    with pytest.raises(
        UserError, match=r"'stage-1-law' .* is not finished.* Finished: stage-2-code, stage-2-code-release"
    ):
        plan_merge(moved, MergeOrder(stage="law", weights=(0.5,)))


def chat_model(base: Path, folder: Path, *, words: int) -> Path:
    """A model of the base whose vocabulary has one special token and `words` words more, each row all ones."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|turn|>"]})
    tokenizer.add_tokens([f"zyzzy{word}" for word in range(words)])
    tokenizer.save_pretrained(folder.with_name("tokenizer"))
    model, rows = load_model(str(base)), len(tokenizer)
    model.resize_token_embeddings(rows, mean_resizing=False)
    with torch.no_grad():
        for end in (model.get_input_embeddings(), model.get_output_embeddings()):
            end.weight[-1 - words :] = 1.0  # type: ignore[union-attr, index, operator]
    save_model(model, folder.with_name("tokenizer"), folder)
    return folder


def test_a_chat_model_with_tokens_of_its_own(root: Path, base: Path, tmp_path: Path) -> None:
    chat = chat_model(base, tmp_path / "chat", words=1)
    order = MergeOrder(method="chat-vector", stage="law", chat=str(chat), weights=(0.0, 1.0), prefer="new")
    found = merge(plan_merge(root, order, tmp_path / "out"), Hooks())
    assert [(point.name, point.weight, point.untouched) for point in found.points] == [
        ("stage-1-law", 0.0, True), ("weight 1", 1.0, False), ("base", None, True),
    ]  # fmt: skip
    scorer = Scorer(plan_merge(root, order, tmp_path / "out"), Hooks())
    scorer.untouched(scorer.work.base)
    saved = scorer.save(scorer.merged("weight 1", scorer.work.between()[0], scorer.work.parts))
    law, merged = parameters(root / "stage-1-law"), parameters(saved)
    # the chat model is the base but for its new rows, so the stage is left as it is but for those
    for name, before in law.items():
        torch.testing.assert_close(merged[name][: len(before)], before, atol=1e-6, rtol=0)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        assert merged[name][len(law[name]) :].tolist() == [[1.0] * 32] * 2
    assert AutoTokenizer.from_pretrained(saved).convert_tokens_to_ids("<|turn|>") == len(law["lm_head.weight"])


def test_special_rows_of_a_chat_model_and_who_may_take_its_tokenizer(root: Path, base: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(root / "tokenizer")
    own = special_rows(root / "tokenizer", str(root / "stage-1-law"))
    assert own == tuple(sorted(tokenizer.all_special_ids))
    chat = str(chat_model(base, tmp_path / "chat", words=0))
    assert special_rows(root / "tokenizer", chat) == (*own, len(tokenizer))
    assert covers(root / "tokenizer", chat)
    assert not covers(Path(chat), str(root / "tokenizer"))
    # the run gave that row to a word of its own, so the chat model's is not copied over it
    tokenizer.add_tokens(["zyzzy"])
    tokenizer.save_pretrained(tmp_path / "grown")
    assert special_rows(tmp_path / "grown", chat) == own
    assert not covers(tmp_path / "grown", chat)


def test_a_stage_and_a_chat_model_that_both_grew_are_refused(base: Path, tmp_path: Path) -> None:
    parts = [
        ModelPart("stage", str(chat_model(base, tmp_path / "a" / "model", words=0))),
        ModelPart("base", str(base)),
        ModelPart("chat", str(chat_model(base, tmp_path / "b" / "model", words=1))),
    ]
    with pytest.raises(UserError, match="'chat' and 'stage' both have another number of rows than the base"):
        check_shapes(parts, free_rows=True)
    with pytest.raises(UserError, match="Only chat-vector takes vocabularies of different sizes"):
        check_shapes(parts[:2], free_rows=False)
    check_shapes([parts[0], parts[1], parts[0]], free_rows=True)
