"""The way an adopter goes: init, check, run, status, report, gate, evaluate, compare."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WritePlan = Callable[..., Path]


def test_init_writes_a_plan_that_check_accepts_and_run_forecasts(
    cli: Any, base: Path, texts: dict[str, Path], tmp_path: Path
) -> None:
    plan = tmp_path / "plan.yaml"
    given = [
        "--base",
        base,
        "--new",
        texts["new"],
        "--old",
        texts["old"],
        "--output",
        plan,
        "--output-dir",
        tmp_path / "r",
    ]
    assert cli("init", *given, "--dry-run").code == 0
    assert not plan.exists()
    assert cli("init", *given).out == f"wrote {plan}. Next: rewarm check {plan}\n"
    assert "exists" in cli("init", *given).err
    assert cli("init", *given, "--force", "--json").json()["text"] == plan.read_text()
    checked = cli("check", plan)
    assert checked.code == 0, checked.err
    assert "stage-1-new" in checked.out
    forecast = cli("run", plan, "--dry-run", "--json").json()
    assert [(leg["run"], leg["name"]) for leg in forecast["legs"]] == [("", "stage-1-new"), ("new-only", "stage-1-new")]
    assert not (tmp_path / "r").exists()


def test_a_forecast_is_what_the_run_then_does(cli: Any, write_plan: WritePlan, finished: Path, tmp_path: Path) -> None:
    forecast = cli("run", write_plan(tmp_path), "--dry-run", "--json").json()
    leg = forecast["legs"][0]
    done = next(leg for leg in cli("status", finished, "--json").json()["legs"] if leg["run"] == "")
    assert (leg["steps"], leg["tokens"]) == (done["steps"], 4096)
    assert leg["shares"] == {"new": 0.95, "old": 0.05}
    # warmup is 1 % of 16 steps, none; the first step is at the peak's neighbour on the cosine, the last at a tenth
    assert leg["rates"] == pytest.approx([leg["rates"][1], leg["rates"][1], 3e-4])
    assert set(forecast["seconds"]) == {"prepare", "train", "score"}


def test_prepare_counts_and_is_counted_from_then_on(cli: Any, write_plan: WritePlan, tmp_path: Path) -> None:
    plan = write_plan(tmp_path)
    before = cli("prepare", plan, "--dry-run", "--json").json()["corpora"]
    assert not (tmp_path / "run").exists()
    found = cli("prepare", plan, "--json").json()["corpora"]
    after = cli("check", plan, "--json").json()["corpora"]
    assert [corpus["counted"] for corpus in before] == [False, False]
    assert [corpus["counted"] for corpus in after] == [True, True]
    # The texts are smaller than a sample, so the forecast before has every token as well.
    assert [corpus["tokens"] for corpus in before] == [corpus["tokens"] for corpus in found]
    assert [corpus["tokens"] for corpus in after] == [corpus["tokens"] for corpus in found]
    assert [corpus["documents"] for corpus in found] == [150, 150]
    assert [corpus["trainable"] for corpus in after] == [corpus["trainable_tokens"] for corpus in found]
    assert "dropped" in cli("prepare", plan, "--quiet").out


def test_run_prints_the_matrix_and_where_the_report_is(cli: Any, finished: Path) -> None:
    plan = finished.parent / "plan.yaml"
    called = cli("run", plan, "--quiet")  # finished: nothing is trained again
    assert called.code == 0
    assert called.err == ""
    assert "new-only" in called.out
    assert str(finished / "report.html") in called.out.replace("\n", "")
    found = cli("run", plan, "--json").json()
    assert (found["complete"], found["report"]) == (True, str(finished / "report.html"))
    assert [row["kind"] for row in found["result"]["rows"]] == ["base", "stage", "control"]


def test_status_of_a_finished_run(cli: Any, finished: Path) -> None:
    found = cli("status", finished, "--json").json()
    assert found["state"] == "done"
    assert found["seconds_left"] is None
    assert [(leg["run"], leg["state"], leg["step"], leg["steps"]) for leg in found["legs"]] == [
        ("", "done", 16, 16),
        ("new-only", "done", 16, 16),
    ]
    assert all(set(leg["scores"]) == {"old", "new"} for leg in found["legs"])
    assert "stage-1-update" in cli("status", finished).out


def test_report_is_written_again(cli: Any, finished: Path) -> None:
    page = finished / "report.html"
    before = page.stat().st_mtime_ns
    assert cli("report", finished, "--dry-run", "--json").json()["would_write"][0] == str(page)
    assert page.stat().st_mtime_ns == before
    assert cli("report", finished, "--json").json()["complete"] is True
    assert page.stat().st_mtime_ns > before


def test_gate_is_0_when_met_and_2_when_not(cli: Any, finished: Path) -> None:
    met = cli("gate", finished, "--max-forget", "900%")
    assert (met.code, met.out.splitlines()[-1], met.err) == (0, "gate met", "")
    missed = cli("gate", finished, "--min-gain", "99%", "--json")
    assert (missed.code, missed.json()["passed"]) == (2, False)
    assert cli("gate", finished).code == 3
    assert "write 1% for 1 percent, or 0.01" in cli("gate", finished, "--max-forget", "1").err
    assert cli("gate", finished, "--max-forget", "a bit").code == 3


def test_evaluate_gives_the_rows_of_the_run_for_the_runs_own_models(cli: Any, base: Path, finished: Path) -> None:
    rows = cli("report", finished, "--json").json()["result"]["rows"]
    own = cli("evaluate", finished / "stage-1-update", "--on", finished, "--json").json()
    for corpus, cell in own["cells"].items():
        assert cell["loss"] == pytest.approx(rows[1]["cells"][corpus]["loss"], rel=1e-6)
        assert cell["verdict"] == rows[1]["cells"][corpus]["verdict"]
    untouched = cli("evaluate", base, "--on", finished, "--json").json()
    assert all(math.isclose(cell["delta"], 0, abs_tol=1e-9) for cell in untouched["cells"].values())
    assert "95% interval" in cli("evaluate", base, "--on", finished, "--quiet").out


def test_evaluate_refuses_a_model_with_another_tokenizer(cli: Any, base: Path, finished: Path, tmp_path: Path) -> None:
    import shutil

    from rewarm.tokens.tokenizer import train

    shutil.copytree(base, tmp_path / "other")
    train(["other words entirely, " * 50], 300, tmp_path / "other")
    called = cli("evaluate", tmp_path / "other", "--on", finished)
    assert called.code == 3
    assert "tokenizer mismatch" in called.err


def test_compare_puts_runs_of_one_base_side_by_side(
    cli: Any, finished: Path, write_plan: WritePlan, tmp_path: Path
) -> None:
    plan = write_plan(tmp_path, output_dir=str(tmp_path / "second"), seed=1)
    assert cli("run", plan, "--quiet").code == 0
    page = tmp_path / "compared.html"
    assert cli("compare", finished, tmp_path / "second", "--output", page, "--dry-run").code == 0
    assert not page.exists()
    found = cli("compare", finished, tmp_path / "second", "--output", page, "--json").json()
    assert list(found["runs"]) == ["run", "second"]
    first = found["runs"]["run"]
    assert (first["tokens"], set(first["cells"])) == (4096, {"old", "new"})
    text = page.read_text()
    assert "<svg" in text
    assert "second" in text
    assert "<script" not in text
    assert "second" in cli("compare", finished, tmp_path / "second").out


def test_compare_refuses_what_is_not_comparable(
    cli: Any, finished: Path, write_plan: WritePlan, tmp_path: Path
) -> None:
    assert "two run directories" in cli("compare", finished, finished).err
    plan = write_plan(tmp_path, eval_tokens=700)
    assert cli("run", plan, "--quiet").code == 0
    called = cli("compare", finished, tmp_path / "run")
    assert called.code == 3
    assert "watch other documents of new, old" in called.err


def test_methods_lists_every_slot_with_options(cli: Any) -> None:
    found = cli("methods", "--json").json()
    assert {"schedules", "mixtures", "corpora", "retention", "adapters", "merging"} <= set(found)
    for entry in (entry for slot in ("retention", "adapters", "merging") for entry in found[slot].values()):
        assert entry["paper"]
        assert entry["cost"]
    assert found["schedules"]["rewarm"]["options"]["floor"] == 0.1
    assert "2308.04014" in found["schedules"]["rewarm"]["paper"]
    assert list(cli("methods", "schedules", "--json").json()) == ["schedules"]
    assert "Did you mean 'schedules'?" in cli("methods", "schedule").err
