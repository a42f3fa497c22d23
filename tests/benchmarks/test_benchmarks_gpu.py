"""The benchmark for GPUs in its small mode, from the command to its JSON: both sides run, and their losses agree."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


@pytest.mark.skipif(importlib.util.find_spec("accelerate") is None, reason="Trainer's side needs accelerate")
@pytest.mark.skipif(torch.cuda.is_available(), reason="the small mode is for machines without a GPU")
def test_both_sides_run_and_agree(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    command = [sys.executable, str(SCRIPT), "--out", str(out)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert finished.returncode == 0, finished.stderr[-2000:]
    result = json.loads(out.read_text(encoding="utf-8"))
    assert json.loads(finished.stdout) == result
    assert [row["workload"] for row in result["rows"]] == ["rows", "packed"]
    assert [(bar["better"], bar["met"]) for bar in result["bars"]] == [("lower", True)] * 2
    for row in result["rows"]:
        # Two timed intervals of the nine steps, in which both sides learn.
        assert [len(run["losses"]) for side in ("rewarm", "trainer") for run in row["runs"][side]] == [2, 2]
        assert row["runs"]["trainer"][0]["losses"][1] < row["runs"]["trainer"][0]["losses"][0] < 6.26  # of 512 ids
        for side in ("rewarm", "trainer"):
            speed, peak = row[side]["tokens_per_second"], result["peaks"]["measured"]
            flops = row["runs"]["rewarm"][0]["flops_per_token"]
            assert row[side]["mfu, measured peak"] == pytest.approx(speed * flops / peak, abs=1e-4)
    # 6 per weight of the products (4 matrices of attention, 3 inside, the head), and attention over whole rows.
    weights = 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 176) + 512 * 64
    assert result["rows"][0]["runs"]["rewarm"][0]["flops_per_token"] == 6 * weights + 6 * 2 * 64 * 128
    assert result["rows"][1]["runs"]["rewarm"][0]["flops_per_token"] < 6 * weights + 6 * 2 * 64 * 128
