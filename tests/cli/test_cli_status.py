"""The status of a run that has not come to its first leg, and what preparing leaves to the run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rewarm.river.directory import RunDirectory

WritePlan = Callable[..., Path]


@pytest.fixture
def prepared(cli: Any, write_plan: WritePlan, tmp_path: Path) -> RunDirectory:
    """A directory whose corpora are prepared; nothing has run."""
    called = cli("prepare", write_plan(tmp_path), "--quiet")
    assert called.code == 0, called.err
    return RunDirectory(tmp_path / "run")


def told(cli: Any, run: RunDirectory) -> tuple[str, str]:
    found = cli("status", run.root, "--json").json()
    assert [(leg["name"], leg["state"], leg["step"], leg["steps"]) for leg in found["legs"]] == [
        ("stage-1-update", "waiting", 0, None)
    ]
    assert (found["seconds_left"], found["base_scores"]) == (None, {})
    return found["state"], found["sentence"]


def test_corpora_are_counted_until_all_are_prepared(cli: Any, prepared: RunDirectory) -> None:
    goes_on = "rewarm run with its plan goes on"
    assert told(cli, prepared) == ("stopped", f"2 of 2 corpora are prepared, no leg has begun; {goes_on}")
    shutil.rmtree(next(prepared.prepared.glob("old-*")))
    assert told(cli, prepared) == ("stopped", f"1 of 2 corpora are prepared, no leg has begun; {goes_on}")
    with prepared.locked():
        assert told(cli, prepared) == ("running", "1 of 2 corpora are prepared, no leg has begun")
    shutil.rmtree(prepared.tokenizer)
    assert told(cli, prepared) == ("stopped", f"no text is prepared; {goes_on}")
    called = cli("status", prepared.root)
    assert (called.code, called.out.splitlines()[-1]) == (0, f"stopped: no text is prepared; {goes_on}")


def test_a_text_that_has_changed_is_to_be_prepared_again(
    cli: Any, write_plan: WritePlan, texts: dict[str, Path], tmp_path: Path
) -> None:
    own = {name: shutil.copy(path, tmp_path / path.name) for name, path in texts.items()}
    plan = write_plan(tmp_path, corpora={name: {"path": str(path), "holdout": "20%"} for name, path in own.items()})
    assert cli("prepare", plan).code == 0
    with own["new"].open("a", encoding="utf-8") as file:
        file.write('{"text": "one more row"}\n')
    assert told(cli, RunDirectory(tmp_path / "run"))[1].startswith("1 of 2 corpora are prepared")
    own["old"].unlink()
    assert told(cli, RunDirectory(tmp_path / "run"))[1].startswith("0 of 2 corpora are prepared")


def test_a_prepared_directory_of_a_plan_elsewhere(cli: Any, write_plan: WritePlan, tmp_path: Path) -> None:
    assert cli("prepare", write_plan(tmp_path, prepared_dir=str(tmp_path / "shared"))).code == 0
    assert not (tmp_path / "run" / "prepared").exists()
    assert told(cli, RunDirectory(tmp_path / "run"))[1].startswith("2 of 2 corpora are prepared")


def test_after_the_text_comes_the_base(cli: Any, prepared: RunDirectory) -> None:
    prepared.record("inputs", tokenizer="", corpora={})
    with prepared.locked():
        assert told(cli, prepared) == ("running", "the text is prepared, the base is to be scored")


def test_a_run_without_its_last_report_is_not_done(cli: Any, finished: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    assert cli("status", run, "--json").json()["state"] == "done"
    report = json.loads((run / "report.json").read_text())
    (run / "report.json").write_text(json.dumps({**report, "complete": False}))  # as before the controls
    found = cli("status", run, "--json").json()
    assert (found["state"], found["sentence"][:23]) == ("stopped", "2 of 2 legs are done; t")


def test_a_plan_with_another_base_gets_that_bases_tokenizer(
    cli: Any, write_plan: WritePlan, prepared: RunDirectory, base: Path, tmp_path: Path
) -> None:
    """Its ids would be those of the first base, whose tokens mean something else."""
    from rewarm.models.load import make_model, save_model
    from rewarm.tokens.tokenizer import TextTokenizer, train

    train(["other words entirely, " * 50], 300, tmp_path / "tokenizer")
    tokenizer = TextTokenizer(tmp_path / "tokenizer")
    config = json.loads((base / "config.json").read_text())
    sizes = {key: config[key] for key in ("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads")}
    save_model(make_model(sizes, tokenizer, 0), tmp_path / "tokenizer", tmp_path / "other")
    assert TextTokenizer(prepared.tokenizer).hash != tokenizer.hash
    plan = write_plan(tmp_path, base=str(tmp_path / "other"))
    assert cli("check", plan).code == 0  # 400 ids of the first tokenizer would not fit the second base
    assert cli("prepare", plan).code == 0
    assert TextTokenizer(prepared.tokenizer).hash == tokenizer.hash
