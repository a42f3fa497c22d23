"""A plan that trains an encoder and a decoder, through the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

CONFIG = {"model_type": "t5", "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
SENTINELS = 100


def test_check_run_and_evaluate(cli: Callable[..., Any], scratch_plan: Callable[..., Any], tmp_path: Path) -> None:
    base = {"from": "scratch", "config": CONFIG, "tokenizer": {"vocab_size": 400 + SENTINELS}}
    values = scratch_plan(base=base, eval_every=0)
    values["stages"][0] |= {"objective": {"type": "span-corruption", "rate": 0.2, "mean_length": 2}}
    values["stages"][0] |= {"tokens": 4096, "max_epochs": 4, "learning_rate": 1e-2}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    assert cli("check", tmp_path / "plan.yaml").code == 0
    found = cli("run", tmp_path / "plan.yaml", "--json")
    assert found.code == 0, found.err
    assert "span loss" in (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    scored = cli("evaluate", tmp_path / "run" / "stage-1-update", "--on", tmp_path / "run", "--json")
    assert scored.code == 0, scored.err
    cell = scored.json()["cells"]["new"]
    assert cell["verdict"] == "better"
    assert cell["delta"] < 0


def test_a_wrong_option_is_told(cli: Callable[..., Any], scratch_plan: Callable[..., Any], tmp_path: Path) -> None:
    values = scratch_plan()
    values["stages"][0] |= {"objective": {"type": "span-corruption", "noise_density": 0.2}}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    found = cli("check", tmp_path / "plan.yaml")
    assert found.code == 3
    assert "noise_density" in found.err
    assert "Did you mean 'rate'?" in found.err
