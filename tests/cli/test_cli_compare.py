"""`rewarm compare` with a plan: variants of it, from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WritePlan = Callable[..., Path]


def test_a_plan_is_compared_with_its_variants(cli: Any, write_plan: WritePlan, tmp_path: Path) -> None:
    plan = write_plan(tmp_path)
    given = ["compare", plan, "--vary", "schedule=constant", "--seeds", "2", "--learning-rates", "0.5,1"]
    foreseen = cli(*given, "--dry-run", "--json").json()
    root = tmp_path / "run-compare"
    assert not root.exists()
    assert (foreseen["runs"], foreseen["finished"], foreseen["output"]) == (6, 0, str(root))
    assert [(row["name"], row["steps"]) for row in foreseen["arms"]] == [
        ("plan", 16), ("learning rate x0.5", 16), ("constant", 16),
    ]  # fmt: skip
    assert foreseen["seconds"]["train"] > 0

    called = cli(*given, "--json")
    found = called.json()
    assert (called.code, called.err) == (0, "")
    assert found["comparison"] == json.loads((root / "comparison.json").read_text())
    assert [row["kind"] for row in found["comparison"]["arms"]] == ["sweep", "sweep", "variant"]
    assert [run["seed"] for run in found["comparison"]["arms"][2]["runs"]] == [1, 2]
    assert "<svg" in Path(found["report"]).read_text()

    table = cli(*given, "--quiet")
    assert table.code == 0
    for text in ("constant", "against", "2 seeds for each arm", f"Page: {root / 'comparison.html'}"):
        assert text in table.out
    assert "6 runs, of which 6 have finished" in cli(*given, "--dry-run").out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--vary", "schedule=cosin"], "Did you mean 'cosine'"),
        (["--vary", "retention={type: l2-sp, strenght: 1}"], "strenght: unknown key. Did you mean 'strength'"),
        (["--vary", "tokens=1M"], "budgets must be equal"),
        (["--vary", "schedule=cosine,"], "has an empty value"),
        (["--vary", "schedule=cosine", "--seeds", "0"], "seeds 0 must be 1 or more"),
        (["--vary", "schedule=cosine", "--learning-rates", "1,two"], "give factors of the plan's own"),
        ([], "nothing varies"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(
    cli: Any, write_plan: WritePlan, tmp_path: Path, given: list[str], message: str
) -> None:
    called = cli("compare", write_plan(tmp_path), *given)
    assert called.code == 3
    assert message in called.err
    assert not (tmp_path / "run-compare").exists()


def test_runs_cannot_vary(cli: Any, finished: Path, tmp_path: Path) -> None:
    called = cli("compare", finished, tmp_path, "--vary", "schedule=cosine")
    assert (called.code, "--vary varies one plan" in called.err) == (3, True)


def test_a_comparison_stops_at_a_signal_and_goes_on(
    cli: Any, python: Any, write_plan: WritePlan, tmp_path: Path
) -> None:
    """SIGTERM arrives once the second run has begun."""
    plan = write_plan(tmp_path)
    given = ["compare", str(plan), "--vary", "schedule=constant", "--seeds", "1", "--learning-rates", "1"]
    code = (
        "import os, signal, sys\nimport rewarm.river.comparison as comparison\nfrom rewarm.cli import main\n"
        "own = comparison.run\n"
        "def run(plan, hooks):\n"
        "    if 'constant' in plan.output_dir:\n        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return own(plan, hooks)\n"
        "comparison.run = run\nmain(sys.argv[1:])"
    )
    process = python(code, *given)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1, err
    assert "The same command goes on from there" in err
    assert (tmp_path / "run-compare/arms/plan/seed-1/report.json").is_file()
    assert not (tmp_path / "run-compare/comparison.json").exists()
    assert cli(*given, "--quiet").code == 0
    assert (tmp_path / "run-compare/comparison.json").is_file()
