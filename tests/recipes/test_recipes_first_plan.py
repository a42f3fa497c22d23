"""The plan that init writes: it loads, and says why each value is what it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import yaml

from rewarm.models.load import make_model, save_model
from rewarm.plan import from_values
from rewarm.recipes.first_plan import _batch_tokens, _peak, _row_length, first_plan
from rewarm.recipes.text_fields import text_fields
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import UserError


@pytest.fixture
def base(tmp_path: Path, tiny_tokenizer_folder: Path, tiny_configs: dict[str, dict[str, Any]]) -> str:
    folder = tmp_path / "model"
    save_model(
        make_model(tiny_configs["llama"], TextTokenizer(tiny_tokenizer_folder), 0), tiny_tokenizer_folder, folder
    )
    return str(folder)


@pytest.fixture
def texts(tmp_path: Path, words: Any, write_jsonl: Any) -> dict[str, str]:
    """Files of 100 documents: news, code, and old text."""
    return {
        name: str(write_jsonl(tmp_path / f"{name}.jsonl", [words(1000 * place + number, 60) for number in range(100)]))
        for place, name in enumerate(("news", "code", "web"))
    }


def test_one_stage_for_each_new_text_with_replay_of_the_old(base: str, texts: dict[str, str]) -> None:
    values = yaml.safe_load(first_plan(base, [texts["news"], texts["code"]], [texts["web"]], "runs/x"))
    plan = from_values(values)
    assert [(stage.name, stage.replay.from_, stage.replay.share) for stage in plan.stages if stage.replay] == [
        ("news", "web", 0.05),
        ("code", "web", 0.05),
    ]
    assert [watch.corpus for watch in plan.watch] == ["web", "news", "code"]
    assert plan.controls == ("new-only",)
    assert (plan.output_dir, plan.role("web"), plan.role("news")) == ("runs/x", "old", "new")
    # 100 documents: 50 are wanted held out, and no more than a fifth may be.
    assert values["corpora"]["news"]["holdout"] == "20%"


def test_the_budget_is_one_pass_over_what_may_be_trained_on(base: str, texts: dict[str, str]) -> None:
    values = yaml.safe_load(first_plan(base, [texts["news"]], [texts["web"]], "runs/x"))
    tokenizer = TextTokenizer(Path(base))
    rows = [json.loads(line)["text"] for line in Path(texts["news"]).read_text().splitlines()]
    trainable = 0.8 * sum(map(len, tokenizer.encode(rows)))
    budget, batch = values["stages"][0]["tokens"], values["batch_tokens"]
    assert trainable - batch < budget <= trainable
    assert budget % batch == 0
    assert budget / batch >= 100


def test_comments_say_where_defaults_come_from(base: str, texts: dict[str, str]) -> None:
    text = first_plan(base, [texts["news"]], [texts["web"]], "runs/x")
    assert "rule of thumb: sweep it" in text
    assert "from 1/60 to 1 times the original peak" in text
    assert "the base has 128 positions and" in text
    assert "--vary retention=none,ewc,l2-sp" in text
    assert "&id" not in text  # YAML anchors would be hard to edit


def test_without_old_text_the_model_replays_itself(base: str, texts: dict[str, str]) -> None:
    text = first_plan(base, [texts["news"]], [], "runs/x")
    assert from_values(yaml.safe_load(text)).stages[0].replay is not None
    assert yaml.safe_load(text)["stages"][0]["replay"]["from"] == "self"
    assert "forgetting is not measured" in text
    assert "--vary" not in text  # a comparison needs old text to judge by


def test_names_are_made_unique(base: str, texts: dict[str, str], tmp_path: Path) -> None:
    copy = tmp_path / "more" / "news.jsonl"
    copy.parent.mkdir()
    copy.write_bytes(Path(texts["news"]).read_bytes())
    (tmp_path / "self.jsonl").write_bytes(copy.read_bytes())
    values = yaml.safe_load(first_plan(base, [texts["news"], str(copy), str(tmp_path / "self.jsonl")], [], "r"))
    assert list(values["corpora"]) == ["news", "news-2", "self-2"]


def test_a_text_under_another_name_is_found(base: str, tmp_path: Path, words: Any) -> None:
    rows = [{"id": "a", "title": "Short", "body": words(number, 40)} for number in range(100)]
    (tmp_path / "new.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = first_plan(base, [str(tmp_path / "new.jsonl")], [], "r")
    assert yaml.safe_load(text)["corpora"]["new"]["text_field"] == "body"
    assert "text_field of new: the field with the longest texts; also in its rows: title, id" in text


def test_a_line_break_in_a_field_name_does_not_end_the_comment(base: str, tmp_path: Path, words: Any) -> None:
    rows = [{"body": words(number, 40), "a\nbase: other": "x"} for number in range(100)]
    (tmp_path / "new.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = first_plan(base, [str(tmp_path / "new.jsonl")], [], "r")
    assert yaml.safe_load(text)["base"] == base
    assert "also in its rows: a base: other\n" in text


def test_a_single_document_cannot_be_held_out(base: str, tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("a long book " * 1000)
    with pytest.raises(UserError, match="holds 1 documents: too few to hold some out"):
        first_plan(base, [str(tmp_path / "book.txt")], [], "r")


def test_what_is_no_model_is_refused(tmp_path: Path, texts: dict[str, str]) -> None:
    with pytest.raises(UserError, match="is no causal language model that could be read"):
        first_plan(str(tmp_path / "nothing"), [texts["news"]], [], "r")


def test_fields_by_length_with_text_first_where_it_is(tmp_path: Path) -> None:
    rows = [{"text": "short", "body": "a much longer one", "n": 1, "empty": " "}] * 3
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows) + "\n{broken\n")
    assert text_fields("jsonl", file) == ["text", "body"]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"a": "x", "b": "long"}]), tmp_path / "a.parquet")
    assert text_fields("parquet", tmp_path / "a.parquet") == ["b", "a"]
    assert text_fields("text", file) == []


@pytest.mark.parametrize(("parameters", "peak"), [(10**8, 3e-4), (10**9, 1e-4), (7 * 10**9, 1e-4), (7 * 10**10, 5e-5)])
def test_the_peak_is_a_third_of_a_usual_one(parameters: int, peak: float) -> None:
    assert _peak(parameters) == peak


def test_steps_are_at_least_a_hundred() -> None:
    # 1 M tokens leave 100 steps of 10,000: 512 positions go 19 times into it.
    assert _row_length(1_000_000, 4096) == 1024
    assert _row_length(1_000_000, 600) == 512
    assert _row_length(100_000, 4096) == 128  # 250 tokens a row at most, for four rows in each of 100 steps
    assert _batch_tokens(512, 1_000_000, 10**8) == 19 * 512
    assert _batch_tokens(1024, 10**9, 10**8) == 32 * 1024
    assert _batch_tokens(1024, 10**9, 10**9) == 256 * 1024
