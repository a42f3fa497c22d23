"""lm-evaluation-harness, where it is installed, on a task of a local file; and what is said where it is not."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewarm.suites.lm_eval import LmEval, answers_from
from rewarm.types import UserError

INSTALLED = importlib.util.find_spec("lm_eval") is not None
TASK = """task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{query}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{gold}}}}"
target_delimiter: " "
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""


@pytest.fixture
def folder(tmp_path: Path, write_rows: Any, words: Any) -> Path:
    """A folder with two tasks over 20 questions each."""
    made = tmp_path / "tasks"
    made.mkdir()
    for start, name in ((0, "invented"), (50, "made_up")):
        texts = [words(start + seed, 9).split() for seed in range(20)]
        rows = [
            {"query": " ".join(text[:4]), "choices": [text[4], " ".join(text[5:8])], "gold": place % 2}
            for place, text in enumerate(texts)
        ]
        (made / f"{name}.yaml").write_text(TASK.format(name=name, file=write_rows(rows, name)))
    return made


@pytest.mark.skipif(INSTALLED, reason="lm-eval is installed here")
def test_what_is_missing_is_said_with_the_remedy(folder: Path) -> None:
    with pytest.raises(UserError, match=r"suites\.mine needs lm-evaluation-harness.*pip install 'rewarm\[lm-eval\]'"):
        LmEval(tasks=("arc_easy",)).check("mine", 0.0)


@pytest.mark.skipif(not INSTALLED, reason="lm-eval is not installed: pip install 'rewarm[lm-eval]'")
def test_the_library_and_our_own_suite_agree(
    folder: Path, answers_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    own = answers_of({"type": "choices", "path": str(tmp_path / "invented.jsonl")})
    theirs = answers_of({"type": "lm-eval", "tasks": "invented", "folder": str(folder), "limit": None})
    assert theirs.measures["acc"].values_N.tolist() == own.measures["accuracy"].values_N.tolist()
    assert theirs.extra["results"]["invented"]["acc,none"] == pytest.approx(own.measures["accuracy"].value)
    both = answers_of({"type": "lm-eval", "tasks": ["invented", "made_up"], "folder": str(folder), "limit": 5})
    assert len(both.ids) == 10
    assert list(both.measures) == ["mean", "invented.acc", "made_up.acc"]
    apart = [both.measures[f"{task}.acc"].value for task in ("invented", "made_up")]
    assert both.measures["mean"].value == pytest.approx(np.mean(apart))
    with pytest.raises(UserError, match=r"has no task 'inventde'\. Did you mean 'invented'"):
        LmEval(tasks=("inventde",), folder=str(folder)).check("mine", 0.0)


def test_the_fingerprint_is_of_options_and_files(folder: Path) -> None:
    suite = LmEval(tasks=("invented",), folder=str(folder))
    first = suite.fingerprint()
    assert first == LmEval(tasks=("invented",), folder=str(folder), batch_size=2).fingerprint()
    assert first != LmEval(tasks=("invented",), folder=str(folder), shots=1).fingerprint()
    (folder / "invented.yaml").write_text("task: other\n")
    assert first != suite.fingerprint()
    with pytest.raises(UserError, match="does not exist"):
        LmEval(tasks=("invented",), folder=str(folder / "gone")).files()


def test_answers_are_taken_from_what_the_library_returns() -> None:
    """Two filters of one document, documents out of order, a metric of pairs, one of which lower is better."""
    samples = {
        "b": [
            {"doc_id": 1, "metrics": ["acc", "nll"], "acc": 1.0, "nll": 3.0},
            {"doc_id": 0, "metrics": ["acc", "nll"], "acc": 0.0, "nll": 2.5},
            {"doc_id": 0, "metrics": ["acc", "nll"], "acc": 1.0, "nll": 9.0},
        ],
        "a": [{"doc_id": 7, "metrics": ["words", "em"], "words": (1.0, 2), "em": 1}],
    }
    found = answers_from(
        {
            "samples": samples,
            "higher_is_better": {"b": {"acc": True, "nll": False}, "a": {"em": True}},
            "results": {"a": {"em,none": 1.0, "alias": "a"}, "b": {"acc,none": 0.5}},
        }
    )
    assert found.ids == ("a 7", "b 0", "b 1")
    assert list(found.measures) == ["mean", "a.em", "b.acc", "b.nll"]
    assert found.measures["b.acc"].values_N[1:].tolist() == [0, 1]
    assert (found.measures["b.nll"].better, found.measures["b.nll"].unit) == ("lower", "nll")
    assert found.measures["mean"].value == pytest.approx((1 + 0.5) / 2)
    assert found.extra["results"] == {"a": {"em,none": 1.0}, "b": {"acc,none": 0.5}}
    json.dumps(found.as_json())
