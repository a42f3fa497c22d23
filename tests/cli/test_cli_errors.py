"""Each class of error has its exit code, its sentence, and no traceback."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

WritePlan = Callable[..., Path]


def refused(called: Any, code: int, *parts: str) -> None:
    """The call failed with this code, in plain sentences that hold these parts."""
    assert called.code == code, called.err
    assert called.out == ""
    assert called.err.startswith("rewarm: ")
    assert "Traceback" not in called.err
    for part in parts:
        assert part in called.err


@pytest.mark.parametrize("verb", ["check", "run", "prepare"])
def test_a_missing_plan_names_init(verb: str, cli: Any, tmp_path: Path) -> None:
    refused(cli(verb, tmp_path / "plan.yaml"), 3, "does not exist", "rewarm init --base")


def test_a_wrong_key_names_the_right_one(cli: Any, write_plan: WritePlan, tmp_path: Path) -> None:
    refused(cli("check", write_plan(tmp_path, sequence_len=64)), 3, "sequence_len", "'seq_len'")


@pytest.mark.parametrize("verb", ["check", "run", "prepare"])
def test_a_missing_file_is_named_before_any_work(
    verb: str, cli: Any, write_plan: WritePlan, texts: dict[str, Path], tmp_path: Path
) -> None:
    corpora = {"old": str(texts["old"]), "new": str(tmp_path / "nwe.jsonl")}
    refused(cli(verb, write_plan(tmp_path, corpora=corpora)), 3, "corpora.new", "nwe.jsonl", "does not exist")
    assert not (tmp_path / "run" / "tokenizer").exists()


@pytest.mark.parametrize("verb", ["check", "run"])
def test_an_empty_corpus(verb: str, cli: Any, write_plan: WritePlan, texts: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "new.jsonl").touch()
    plan = write_plan(tmp_path, corpora={"old": str(texts["old"]), "new": str(tmp_path / "new.jsonl")})
    refused(cli(verb, plan), 3, "corpus 'new' is empty")
    assert not (tmp_path / "run" / "tokenizer").exists()


def test_rows_without_their_text_field(cli: Any, write_plan: WritePlan, texts: dict[str, Path], tmp_path: Path) -> None:
    plan = write_plan(
        tmp_path, corpora={"old": str(texts["old"]), "new": {"path": str(texts["new"]), "text_field": "body"}}
    )
    refused(
        cli("check", plan), 3, "corpus 'new': 150 of 150 rows (100 %) cannot be used", "no text field", "text_field"
    )


def test_a_tokenizer_with_more_ids_than_the_base_has_rows(
    cli: Any, write_plan: WritePlan, base: Path, tiny_tokenizer_folder: Path, tmp_path: Path
) -> None:
    from rewarm.models.load import make_model
    from rewarm.tokens.tokenizer import TextTokenizer

    from_other = tmp_path / "small"
    config = yaml.safe_load((base / "config.json").read_text())
    keys = ("model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    make_model(
        {**{key: config[key] for key in keys}, "vocab_size": 300}, TextTokenizer(tiny_tokenizer_folder), 0
    ).save_pretrained(from_other)
    shutil.copytree(tiny_tokenizer_folder, from_other, dirs_exist_ok=True)
    plan = write_plan(tmp_path, base=str(from_other))
    for verb in ("check", "run"):
        refused(cli(verb, plan), 3, "tokenizer mismatch", "ids up to 399", "300 embedding rows")


def test_a_base_that_holds_no_weights(cli: Any, write_plan: WritePlan, base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "bare")
    (tmp_path / "bare" / "model.safetensors").unlink()
    refused(cli("check", write_plan(tmp_path, base=str(tmp_path / "bare"))), 3, "holds no weights")


def test_rows_longer_than_the_base_has_positions(cli: Any, write_plan: WritePlan, tmp_path: Path) -> None:
    refused(cli("check", write_plan(tmp_path, seq_len=256)), 3, "seq_len 256 is more than the model's 128 positions")


def test_a_budget_beyond_the_text(cli: Any, write_plan: WritePlan, tmp_path: Path) -> None:
    stage = {"name": "update", "data": "new", "tokens": "50M", "learning_rate": 1e-3}
    plan = write_plan(tmp_path, stages=[stage])
    for verb in ("check", "run"):
        refused(cli(verb, plan), 3, "stage 'update'", "more than max_epochs 4", "Lower the budget")


def test_a_run_that_cannot_fit_the_disk(
    cli: Any, write_plan: WritePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rewarm.river import costs

    monkeypatch.setattr(costs.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6 - 1000, 1000))  # type: ignore[attr-defined]
    plan = write_plan(tmp_path)
    refused(cli("run", plan), 3, "disk at", "1 kB are free", "Make room, lower save_total_limit")
    assert not (tmp_path / "run" / "tokenizer").exists()
    called = cli("check", plan)
    assert called.code == 3
    assert "Text" in called.out  # the forecast is shown all the same
    assert "1 kB are free" in called.err
    assert cli("check", plan, "--json").json().keys() >= {"corpora", "needs", "error", "exit_code"}


def test_a_directory_that_is_no_run(cli: Any, tmp_path: Path) -> None:
    refused(cli("status", tmp_path), 3, "no run directory")
    refused(cli("report", tmp_path), 3, "no run directory")
    refused(cli("report", tmp_path, "--dry-run"), 3, "no run directory")
    refused(cli("gate", tmp_path, "--max-forget", "1%"), 3, "holds no report.json")
    refused(cli("evaluate", "model", "--on", tmp_path), 3, "no run directory")


def test_a_write_that_fails_is_code_1(cli: Any, base: Path, texts: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    called = cli("init", "--base", base, "--new", texts["new"], "--output", tmp_path / "file" / "plan.yaml")
    refused(called, 1, "was not written")


def test_a_traceback_is_shown_on_request(cli: Any, tmp_path: Path) -> None:
    called = cli("status", tmp_path, "--debug")
    assert called.code == 3
    assert "Traceback (most recent call last)" in called.err
    assert "rewarm: " in called.err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ("check missing.yaml", "does not exist"),
        ("run missing.yaml", "does not exist"),
        ("run missing.yaml --dry-run", "does not exist"),
        ("prepare missing.yaml", "does not exist"),
        ("init --base missing --new missing.jsonl", "is no causal language model"),
        ("init --base missing", "--new"),
        ("init --base missing --new missing.jsonl --output .", "--output '.' is a folder: name a file in it"),
        ("status missing", "no run directory"),
        ("report missing", "no run directory"),
        ("gate missing --max-forget 1%", "holds no report.json"),
        ("gate missing --max-forget many", "give a share"),
        ("evaluate missing --on missing", "no run directory"),
        ("compare missing other", "holds no report.json"),
        ("compare missing", "at least two run directories"),
        ("methods missing", "no folder of methods"),
        ("demo --output 1 --train-bas", "Did you mean '--train-base'"),
    ],
)
def test_every_verb_says_what_is_wrong_as_one_object(
    arguments: str, part: str, cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    called = cli(*arguments.split(), "--json")
    assert (called.code, called.err) == (3, "")
    found = called.json()
    assert (set(found), found["exit_code"]) == ({"error", "exit_code"}, 3)
    assert part in found["error"]
    assert not list(tmp_path.iterdir())


def test_errors_are_one_object_with_json(cli: Any, write_plan: WritePlan, tmp_path: Path) -> None:
    called = cli("run", write_plan(tmp_path, sequence_len=64), "--json")
    assert called.code == 3
    assert called.err == ""
    assert called.json()["exit_code"] == 3
    assert "seq_len" in called.json()["error"]
