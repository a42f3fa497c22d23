"""The labelled suite: splits, caps, what its two read-outs find, and that the model stays as it is."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM

from rewarm.methods import build
from rewarm.models.load import weights_hash
from rewarm.suites import Asked
from rewarm.suites.labelled import ANOTHER_CLASS, OVER_SHOTS, Labelled
from rewarm.suites.splits import TOLD, UNKNOWN, part_of
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import UserError

WORDS = {"north": ("bake", "lomi", "nura"), "south": ("seti", "vozu", "shike"), "west": ("trami", "kelo", "mira")}


def write(folder: Path, rows: list[dict[str, Any]]) -> Path:
    file = folder / "labelled.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def regions(count: int, shared: float = 0.3) -> list[dict[str, Any]]:
    """Texts of ten words, most of them their region's own."""
    source = np.random.default_rng(0)
    every = sum(WORDS.values(), ())
    rows = []
    for number in range(count):
        label = list(WORDS)[number % 3]
        own = [str(source.choice(every if source.random() < shared else WORDS[label])) for _ in range(10)]
        rows.append({"id": f"r{number}", "text": " ".join(own), "label": label, "book": f"{label} {number // 30}"})
    return rows


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path, regions(240))


@pytest.fixture
def ask(make_tiny: Any, tiny_tokenizer_folder: Path) -> Any:
    """A function: suite, model=None, seed=0 -> its answers; a fresh tiny model where none is given."""

    def answer(suite: Labelled, model: Any = None, seed: int = 0) -> Any:
        model = make_tiny("llama") if model is None else model
        tokenizer = TextTokenizer(tiny_tokenizer_folder)
        return suite.answer(Asked(model, tokenizer, lambda: model, 64, seed, torch.float32))

    return answer


def test_texts_of_one_split_stay_there_whatever_stands_beside() -> None:
    parts = [part_of(f"text {number}", 0.15, 0.25) for number in range(4000)]
    assert parts == [part_of(f"text {number}", 0.15, 0.25) for number in range(4000)]
    shares = {part: count / 4000 for part, count in Counter(parts).items()}
    assert shares["train"] == pytest.approx(0.6, abs=0.03)
    assert shares["dev"] == pytest.approx(0.15, abs=0.03)


def test_every_row_is_asked_told_or_left_out(file: Path, ask: Any) -> None:
    rows = [*regions(240), {"text": "bake", "label": ""}, {"label": "north"}, {"text": "a b", "label": "once"}]
    suite = Labelled(path=str(write(file.parent, rows)), limit=20, classes=tuple(WORDS))
    answers = ask(suite)
    assert len(answers.ids) == 20
    assert answers.left_out[ANOTHER_CLASS] == 1
    assert len(answers.ids) + sum(answers.left_out.values()) + sum(answers.bad_rows.values()) == len(rows)
    assert sum(answers.bad_rows.values()) == 2
    assert answers.extra["train"] == answers.left_out[TOLD["train"]]


def test_a_book_is_on_one_side(file: Path) -> None:
    drawn, _ = Labelled(path=str(file), split_by="book", limit=None)._drawn(0)
    books = {row["id"]: row["book"] for row in regions(240)}
    sides = {part: {books[name] for name, _ in found} for part, found in drawn.rows.items()}
    assert not sides["train"] & sides["test"]
    assert not sides["train"] & sides["dev"]


def test_a_field_may_name_the_split(tmp_path: Path) -> None:
    names = ("train", "Validation", "test")
    rows = [
        {"id": f"{number}", "text": f"t{number}", "label": number % 2, "split": names[number % 3]}
        for number in range(12)
    ]
    drawn, tally = Labelled(path=str(write(tmp_path, [*rows, {"text": "x", "label": 1}])), split="split")._drawn(0)
    assert [name for name, _ in drawn.rows["dev"]] == ["1", "4", "7", "10"]
    assert drawn.classes == ("0", "1")
    assert tally.counts == {"field 'split' names no split": 1}


def test_a_class_that_train_lacks_cannot_be_asked_for(tmp_path: Path) -> None:
    rows = [{"text": f"t{number}", "label": number % 2, "split": "train"} for number in range(6)]
    rows += [{"text": "u", "label": 2, "split": "test"}, {"text": "v", "label": 1, "split": "test"}]
    rows += [{"text": "w", "label": 1, "split": "dev"}]
    drawn, tally = Labelled(path=str(write(tmp_path, rows)), split="split")._drawn(0)
    assert [example.label for _, example in drawn.rows["test"]] == ["1"]
    assert tally.left_out[UNKNOWN] == 1


def test_shots_cap_each_class_of_train_and_dev_and_follow_the_seed(file: Path) -> None:
    suite = Labelled(path=str(file), shots=4)
    (first, tally), (again, _), (other, _) = (suite._drawn(seed) for seed in (1, 1, 2))
    assert Counter(example.label for _, example in first.rows["train"]) == dict.fromkeys(WORDS, 4)
    assert Counter(example.label for _, example in first.rows["dev"]) == dict.fromkeys(WORDS, 4)
    assert tally.left_out[OVER_SHOTS] > 0
    assert first == again
    assert first.rows["train"] != other.rows["train"]


def test_what_is_no_task_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, [{"text": f"t{number}", "label": "one"} for number in range(50)])
    with pytest.raises(UserError, match="1 classes by the field 'label'"):
        Labelled(path=str(file)).check("topics", 0.0)
    with pytest.raises(UserError, match="nothing to train on"):
        build("suites", {"type": "labelled", "path": str(file), "dev": 0.5, "test": 0.5})
    with pytest.raises(UserError, match="not both"):
        build("suites", {"type": "labelled", "path": str(file), "split": "a", "split_by": "b"})


def test_both_read_outs_learn_the_task_and_leave_the_model_as_it_is(file: Path, ask: Any, make_tiny: Any) -> None:
    model = make_tiny("llama")
    before, state = weights_hash(model), {name: value.clone() for name, value in model.state_dict().items()}
    suite = Labelled(path=str(file), read=("linear", "full"), epochs=4)
    answers = ask(suite, model)
    assert answers.measures["linear_accuracy"].value > 0.8
    assert answers.measures["full_accuracy"].value > 0.8
    assert answers.extra["chance"] < 0.5
    assert answers.extra["full"]["accuracy"] == answers.measures["full_accuracy"].value
    assert 0 < answers.extra["linear"]["macro_f1"] <= 1
    assert weights_hash(model) == before
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())


def test_labels_that_have_nothing_to_do_with_the_text_are_not_read_out(tmp_path: Path, ask: Any) -> None:
    rows = regions(240)
    labels = np.random.default_rng(3).permutation([row["label"] for row in rows])
    shuffled = [{**row, "label": str(label)} for row, label in zip(rows, labels, strict=True)]
    answers = ask(Labelled(path=str(write(tmp_path, shuffled))))
    assert answers.measures["linear_accuracy"].value < 0.55


def test_the_same_seed_gives_the_same_answers(file: Path, ask: Any) -> None:
    suite = Labelled(path=str(file), read=("linear", "full"), epochs=1, probe="published", limit=20, train_limit=60)
    first, again = ask(suite, seed=1), ask(suite, seed=1)
    assert first.as_json() == again.as_json()


def test_a_masked_model_is_read_out_as_well(file: Path, ask: Any) -> None:
    config = BertConfig(
        vocab_size=400, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=64,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BertForMaskedLM(config).eval()
    answers = ask(Labelled(path=str(file), read=("linear", "full"), epochs=4), model)
    assert answers.measures["linear_accuracy"].value > 0.8
    assert answers.measures["full_accuracy"].value > 0.6


def test_several_rates_are_tried_and_the_best_on_dev_is_taken(file: Path, ask: Any) -> None:
    suite = Labelled(path=str(file), read="full", epochs=2, learning_rates=(1e-6, 1e-3))
    assert ask(suite).extra["full"]["learning_rate"] == 1e-3
