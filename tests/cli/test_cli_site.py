"""`rewarm report --site` and `rewarm init --from`, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rewarm.report.result import Cell, Column, Metrics, Result, Row


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with a run that has only scored its base, and one whose report is broken."""
    cell = Cell(loss=1, delta=0, low=0, high=0, relative=0, verdict="base", documents=9, bytes=90, tokens=30)
    result = Result(
        rewarm="0.1.0", created="2026-01-01", command="x", plan={}, base="m", parameters=1, complete=True,
        rows=[Row(name="base", kind="base", cells={"web": cell})], columns=[Column(name="web", role="old")],
        metrics=Metrics(),
    )  # fmt: skip
    for name, text in (("one", result.model_dump_json()), ("two", "{}")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "report.json").write_text(text, encoding="utf-8")
    return tmp_path / "runs"


def test_a_site_of_a_folder_of_runs(cli: Any, runs: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    planned = cli("report", runs, "--site", site, "--dry-run", "--json").json()
    assert (planned["runs"], site.exists()) == (["one", "two"], False)
    found = cli("report", runs, "--site", site, "--max-forget", "1%", "--json").json()
    assert [(run["name"], run["state"]) for run in found["runs"]] == [("one", "finished"), ("two", "unreadable")]
    assert Path(found["index"]).is_file()
    assert found["alone"] == [["one", "its report records no digest of the base's weights"]]
    assert json.loads((site / "site.json").read_text(encoding="utf-8"))["runs"] == found["runs"]
    told = cli("report", runs, "--site", site)
    assert "2 runs: 1 finished, 1 unreadable" in told.out
    assert "two: its report.json" in told.out


def test_what_is_asked_of_a_site_is_refused_without_one(cli: Any, runs: Path, tmp_path: Path) -> None:
    for arguments, said in (
        (("report", runs / "one", runs / "two"), "--site FOLDER writes pages"),
        (("report", runs / "one", "--max-forget", "1%"), "belong to --site"),
        (("report", runs, "--site", tmp_path), "is no site of ours"),
        (("report", runs, "--site", tmp_path / "s", "--max-forget", "5"), "--max-forget 5 would be 500 %"),
        (("report", tmp_path / "no", "--site", tmp_path / "s"), "is no folder"),
    ):
        called = cli(*arguments)
        assert (called.code, said in called.err) == (3, True), called.err


def test_a_translated_plan_passes_check(cli: Any, base: Path, texts: dict[str, Path], tmp_path: Path) -> None:
    sets = {name: {"file_name": str(path), "columns": {"prompt": "text"}} for name, path in texts.items()}
    (tmp_path / "dataset_info.json").write_text(json.dumps(sets), encoding="utf-8")
    config, output = tmp_path / "llama.yaml", tmp_path / "plan.yaml"
    config.write_text(
        f"model_name_or_path: {base}\nstage: pt\nfinetuning_type: full\ndataset: new\ncutoff_len: 32\nwandb: 1\n"
        "per_device_train_batch_size: 2\nlearning_rate: 1.0e-4\nnum_train_epochs: 1.0\nval_size: 0.2\n"
        f"dataset_dir: .\noutput_dir: {tmp_path / 'run'}\nreport_to: none\n",
        encoding="utf-8",
    )
    arguments = ("init", "--from", config, "--output", output, "--old", texts["old"], "--devices", "2")
    found = cli(*arguments, "--json").json()
    assert (found["program"], found["unknown"], found["meaningless"].keys()) == (
        "LLaMA-Factory", ["wandb"], {"report_to"},
    )  # fmt: skip
    checked = cli("check", output, "--json")
    assert checked.code == 0, checked.err
    assert "replay" in output.read_text(encoding="utf-8")
    told = cli(*arguments, "--force")
    assert "1 unknown" in told.out


def test_what_init_is_given_must_agree(cli: Any, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("base: x\n", encoding="utf-8")
    for arguments, said in (
        (("--base", "m"), "--new missing"),
        ((), "--base and --new missing"),
        (("--from", config, "--base", "m"), "leave out --base and --new"),
        (("--from", config), "no training configuration"),
        (("--base", "m", "--new", "t", "--devices", "2"), "--devices belongs to --from"),
    ):
        called = cli("init", "--output", tmp_path / "plan.yaml", *arguments)
        assert (called.code, said in called.err) == (3, True), called.err
