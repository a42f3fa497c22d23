"""Probes of a plan, from the command line: forecast, run, evaluate, gate, compare."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Calls = Callable[..., Any]


@pytest.fixture(scope="session")
def with_probes(tmp_path_factory: pytest.TempPathFactory, write_plan: Calls, cli: Calls) -> Path:
    """The folder of a plan with probes, and of its finished run. Read only."""
    folder = tmp_path_factory.mktemp("probes")
    answers = ("bake", "lomi", "nura", "seti", "vozu", "shike", "trami", "kelo", "mira", "ti")
    rows = [
        {"subject": f"s{number}", "relation": "mayor", "object": answer, "object_old": f"{answer} ke",
         "label": ("unchanged", "changed")[number % 2], "prompt": f"lo mi {number} is"}
        for number, answer in enumerate(answers)
    ]  # fmt: skip
    file = folder / "changes.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    plan = write_plan(folder, probes={"changes": {"path": str(file), "stage": "update"}})
    called = cli("run", plan, "--quiet")
    assert called.code == 0, called.err
    return folder


def test_asking_is_in_the_forecast(cli: Calls, with_probes: Path) -> None:
    found = cli("check", with_probes / "plan.yaml", "--json").json()
    assert found["seconds"]["facts"] > 0
    broken = with_probes / "plan.yaml"
    gone = broken.read_text(encoding="utf-8").replace("changes.jsonl", "nowhere.jsonl")
    (with_probes / "other.yaml").write_text(gone, encoding="utf-8")
    called = cli("check", with_probes / "other.yaml")
    assert (called.code, "probes.changes" in called.err) == (3, True)


def test_the_runs_own_model_gets_the_figures_of_the_run(cli: Calls, with_probes: Path) -> None:
    run = with_probes / "run"
    (one,) = cli("report", run, "--json").json()["result"]["facts"]["sets"]
    (own,) = cli("evaluate", run / "stage-1-update", "--on", run, "--json").json()["facts"]
    assert [row["name"] for row in own["rows"]] == ["base", str(run / "stage-1-update")]
    for kind, cell in one["rows"][1]["cells"].items():
        found = own["rows"][1]["cells"][kind]
        assert found["facts"] == 5
        assert found["measures"]["nats_per_byte"]["value"] == pytest.approx(
            cell["measures"]["nats_per_byte"]["value"], rel=1e-5
        )
        assert found["measures"]["rank_1"] == cell["measures"]["rank_1"]
    said = cli("evaluate", run / "stage-1-update", "--on", run, "--quiet").out
    assert "changes" in said
    assert "Prefers the new" in said


def test_evaluate_needs_no_probe_file(cli: Calls, with_probes: Path) -> None:
    file = with_probes / "changes.jsonl"
    text = file.read_text(encoding="utf-8")
    file.unlink()
    try:
        assert cli("evaluate", with_probes / "run" / "stage-1-update", "--on", with_probes / "run").code == 0
    finally:
        file.write_text(text, encoding="utf-8")


def test_the_gate_judges_facts(cli: Calls, with_probes: Path) -> None:
    met = cli("gate", with_probes / "run", "--min-facts-learned", "0%")
    assert (met.code, met.out.splitlines()[-1]) == (0, "gate met")
    assert "learned of changed facts of changes" in met.out
    assert cli("gate", with_probes / "run", "--min-facts-learned", "100%").code == 2
    refused = cli("gate", with_probes / "run", "--min-facts-learned", "250%")
    assert (refused.code, "must be from 0 to 1" in refused.err) == (3, True)


def test_runs_with_and_without_probes_are_compared(
    cli: Calls, with_probes: Path, write_plan: Calls, tmp_path: Path
) -> None:
    assert cli("run", write_plan(tmp_path), "--quiet").code == 0
    called = cli("compare", with_probes / "run", tmp_path / "run", "--output", tmp_path / "page.html")
    assert called.code == 0, called.err
    assert (tmp_path / "page.html").is_file()
