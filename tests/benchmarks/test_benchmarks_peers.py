"""The comparison with peers: what a side is given is the same for all, and the README's table is that of the result."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import peers_sides as sides
from peers_table import BEGIN, END, check_readme, replaced, table, write_readme

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "benchmarks" / "results" / "peers.json"


def result(**changes: Any) -> dict[str, Any]:
    """A result with a side that goes on exactly, one that does not, one without a report and one that cannot run."""
    repeat = {"old before": 1.25, "new before": 2.0, "old": 1.3, "new": 1.8}
    row = {"version": "x 1", "old": 1.3, "new": 1.8, "model": 10.2, "report": 12.0, "repeats": [repeat]}
    return {
        "machine": {"cores": 2, "load before": 1.0, "load after": 2.5},
        "settings": {"steps": 32, "rows": 4, "seq_len": 256, "repeats": 3},
        "rows": {
            "exact": {**row, "resume": {"difference": 0.0}},
            "other": {**row, "resume": {"difference": 2e-4, "undisturbed difference": 0.0}} | changes,
            "silent": {key: item for key, item in row.items() if key != "report"}
            | {"resume": {"difference": 1e-6, "undisturbed difference": 1e-6}},
            "none": {"version": "y 2", "error": "no module called z"},
        },
    }


@pytest.fixture
def job(tmp_path: Path) -> sides.Job:
    names = ("base", "old.jsonl", "new.jsonl", "old-held-out.jsonl", "new-held-out.jsonl")
    return sides.Job(*(tmp_path / name for name in names), steps=32)


def test_the_table_says_what_was_found() -> None:
    lines = table(result()).splitlines()
    assert (lines[0], lines[-1]) == (BEGIN, END)
    assert "| exact (x 1) | 1.300 (+4.0%) | 1.800 (-10.0%) | 10 s | 12 s | same bits |" in lines
    assert any("weights differ by up to 0.0002 |" in line for line in lines)
    assert any("| never | weights differ by up to 1e-06, as two undisturbed runs do |" in line for line in lines)
    assert any("does not run here: no module called z" in line for line in lines)
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    assert any("32,768 tokens in 32 updates, median of 3 runs" in line for line in lines)


def test_a_readme_is_written_and_checked(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n", encoding="utf-8")
    assert not check_readme(readme, result())
    assert write_readme(readme, result())
    assert check_readme(readme, result())
    assert not check_readme(readme, result(model=11.0))
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("before\n\n")
    assert text.endswith("\n\nafter\n")
    with pytest.raises(SystemExit, match="one pair of"):
        replaced("no marks", result())


def test_the_readme_has_the_table_of_the_committed_result() -> None:
    """Both are there, or neither."""
    readme = ROOT / "README.md"
    assert (BEGIN in readme.read_text(encoding="utf-8")) == RESULT.is_file()
    if RESULT.is_file():
        assert check_readme(readme, json.loads(RESULT.read_text(encoding="utf-8")))


def test_all_sides_get_the_same_update(job: sides.Job, tmp_path: Path) -> None:
    for side in (sides.PLAIN, sides.TRAINER, sides.FACTORY, sides.AXOLOTL):
        (tmp_path / side).mkdir()
        sides.start(side, job, tmp_path / side, seed=3)
    plan = yaml.safe_load((tmp_path / sides.PLAIN / "plan.yaml").read_text(encoding="utf-8"))
    trainer = json.loads((tmp_path / sides.TRAINER / "trainer.json").read_text(encoding="utf-8"))
    factory = yaml.safe_load((tmp_path / sides.FACTORY / "factory.yaml").read_text(encoding="utf-8"))
    axolotl = yaml.safe_load((tmp_path / sides.AXOLOTL / "axolotl.yaml").read_text(encoding="utf-8"))
    stage = plan["stages"][0]
    assert stage["tokens"] == job.steps * plan["batch_tokens"]
    for peer, rows in ((trainer["arguments"], "per_device_train_batch_size"), (factory, "per_device_train_batch_size"),
                       (axolotl, "micro_batch_size")):  # fmt: skip
        assert (peer["max_steps"], peer[rows]) == (job.steps, plan["batch_tokens"] // plan["seq_len"])
        assert (peer["learning_rate"], peer["warmup_steps"]) == (
            stage["learning_rate"],
            stage["schedule"]["warmup_steps"],
        )
        assert (peer["adam_beta1"], peer["adam_beta2"], peer["weight_decay"]) == (0.9, 0.95, 0.1)
        assert peer["save_steps"] == plan["save_steps"] == 8
    assert trainer["seq_len"] == factory["cutoff_len"] == axolotl["sequence_len"] == plan["seq_len"]
    assert trainer["seed"] == factory["seed"] == axolotl["seed"] == plan["seed"] == 3
    assert str(job.old) not in json.dumps([plan, trainer, factory, axolotl])


def test_only_rewarm_as_meant_replays_old_text(job: sides.Job, tmp_path: Path) -> None:
    sides.start(sides.USED, job, tmp_path, seed=0)
    plan = yaml.safe_load((tmp_path / "plan.yaml").read_text(encoding="utf-8"))
    assert plan["stages"][0]["replay"] == {"from": "old", "share": 0.05}
    assert "schedule" not in plan["stages"][0]
