"""`rewarm recycle`: options to order, the answer, and nothing written on a dry run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rewarm.cli.recycle import Options, order
from rewarm.evaluation.tuning import Distil, Tuning
from rewarm.river.recycle_order import RecycleOrder


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prompts with one of two responses."""
    file = tmp_path_factory.mktemp("task") / "task.jsonl"
    rows = [{"prompt": f"ba ke {row} =", "response": ("lolo", "titi")[row % 2]} for row in range(60)]
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


def test_options_make_an_order() -> None:
    found = order(Options("a", "b", "c", Path("out")))
    tuning = Tuning(2e-5, batch_size=16, precision="auto")
    assert found == RecycleOrder("a", "b", "c", tuning=tuning, taught=tuning, distil=Distil(0.9, 5.0, 0.0))
    found = order(Options("a", "b", "c", Path("out"), Path("t"), "init, fresh", steps=7, seed=3, shots=32, merge=True))
    assert (found.ways, found.tuning.max_steps, found.taught.seed) == (("init", "fresh"), 7, 3)
    assert (found.shots, found.merge, found.task) == (32, True, Path("t"))
    found = order(Options("a", "b", "c", Path("out"), preset="published"))
    assert (found.taught.warmup, found.shots, found.max_length) == (2000, 32, 128)


def test_recycle_tells_what_came_of_it(cli: Any, finished: Path, base: Path, task: Path, tmp_path: Path) -> None:
    """A run's stage stands for both the tuned model and the new base."""
    out = tmp_path / "out"
    arguments = (
        "recycle", base, finished / "stage-1-update", finished / "stage-1-update", "--task", task, "--way",
        "direct,fresh", "--steps", 2, "--precision", "fp32", "--out", out,
    )  # fmt: skip
    dry = cli(*arguments, "--dry-run", "--json").json()
    assert (dry["ways"], dry["steps"]) == (["direct", "fresh"], {"direct": 0, "fresh": 2})
    assert sum(dry["rows"].values()) == 60
    assert not out.exists()
    called = cli(*arguments, "--quiet")
    assert (called.code, called.err) == (0, "")
    found = cli(*arguments, "--json").json()
    assert found["recycled"]["verdict"] in called.out
    assert called.out.splitlines()[-1] == f"Page: {out / 'recycle.html'}"
    assert (out / "direct" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--way", "inti"], "there is no way 'inti'. Did you mean 'init'?"),
        (["--way", "init"], "init need a task to train or score on: give --task FILE"),
        (["--preset", "paper"], "there is no preset 'paper'"),
        (["--precision", "fp8"], "--precision fp8: give auto, bf16 or fp32"),
        (["--alpha", "2"], "alpha must be from 0 to 1"),
        (["--task", "nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_wrong_options_are_wrong_input(
    arguments: list[str], message: str, cli: Any, base: Path, tmp_path: Path
) -> None:
    called = cli("recycle", base, base, base, "--out", tmp_path / "out", *arguments)
    assert (called.code, called.out) == (3, "")
    assert message in called.err
    assert not (tmp_path / "out").exists()
