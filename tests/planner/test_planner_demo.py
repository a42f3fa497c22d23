"""A plan for the shipped base from real pilots, and its run: half a minute alone on one core."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from rewarm.plan import from_values
from rewarm.planner import job
from rewarm.planner.asked import Limits, asked
from rewarm.recipes.demo import BASE
from rewarm.river.run import run


def test_the_demo_base_is_planned_and_run_from_end_to_end(tmp_path: Path, words: Any, write_jsonl: Any) -> None:
    """Real pilots and the planned run itself, as short as they may be: the forecast comes back in the report."""
    for place, name in enumerate(("old", "new")):
        write_jsonl(tmp_path / f"{name}.jsonl", [words(1000 * place + number, 12) for number in range(400)])
    values = {
        "base": str(BASE), "output_dir": str(tmp_path / "run"), "seq_len": 32, "batch_tokens": 32, "eval_tokens": 500,
        "corpora": {name: {"path": str(tmp_path / f"{name}.jsonl"), "holdout": "10%"} for name in ("old", "new")},
        "stages": [{"name": "new", "data": "new", "tokens": 16_500, "max_epochs": 20, "learning_rate": 1e-3,
                    "replay": {"from": "old", "share": "5%"}}],
        "watch": ["old", "new"], "precision": "fp32",
    }  # fmt: skip
    limits = Limits(9.0, pilot_tokens=14_800, max_pilots=14, smallest=0)
    found = job.plan_update(asked(values, limits, tmp_path / "plan.yaml", tmp_path / "pilots"))
    assert found.plan is not None
    assert [one.point.why for one in found.pilots].count("sweep") == 4
    result = run(from_values(yaml.safe_load(found.text)), command="test")
    assert result.forecast is not None
    assert {one.corpus: one.inside is not None for one in result.forecast.corpora} == {"old": True, "new": True}
    assert "Forecast and outcome" in (tmp_path / "run" / "report.html").read_text()
