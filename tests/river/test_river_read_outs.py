"""Labelled and similarity suites in a run: asked of the base and every stage, shown, and nothing is changed by them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rewarm.plan import from_values
from rewarm.report.page import html
from rewarm.river.run import run


@pytest.fixture
def labelled(tmp_path: Path, words: Any) -> Path:
    """Texts of two kinds, told apart by a word."""
    file = tmp_path / "kinds.jsonl"
    rows = [{"text": f"{words(seed, 8)} {('ba', 'zu')[seed % 2] * 3}", "label": seed % 2} for seed in range(120)]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return file


def test_read_outs_of_every_stage_do_not_change_it(make_values: Any, labelled: Path, tmp_path: Path) -> None:
    stages = [{"name": "law", "data": "law", "tokens": 1024}, {"name": "code", "data": "code", "tokens": 1024}]
    asked = {
        "kinds": {
            "type": "labelled",
            "path": str(labelled),
            "read": ["linear", "full"],
            "epochs": 1,
            "ability": "domain",
            "train_limit": 40,
        },
        "features": {"type": "similarity", "path": str(labelled), "batch": 16},
    }
    values = make_values(stages, suites=asked, watch=["old"])
    plain = make_values(stages, watch=["old"], output_dir=str(tmp_path / "plain"))
    result, without = run(from_values(values)), run(from_values(plain))
    for name in ("weights base", "weights stage-1-law", "weights stage-2-code"):
        assert result.hashes[name] == without.hashes[name]

    assert result.suites is not None
    kinds, features = result.suites.sets
    assert [row.name for row in features.rows] == ["base", "stage-1-law", "stage-2-code"]
    assert features.rows[0].measures["cka"].value == pytest.approx(1)
    assert features.rows[2].measures["cka"].delta < 0
    assert set(kinds.rows[1].measures) == {"linear_accuracy", "full_accuracy"}
    assert [one.ability for one in result.suites.abilities] == ["domain", "domain"]
    assert result.suites.apart == ["features"]
    assert "features: CKA of each layer with the base" in html(result)
