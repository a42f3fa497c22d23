"""A plan with `clean`: what a run leaves out of training, and that it is looked for once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewarm.plan import Plan, from_values
from rewarm.river import cleaning
from rewarm.river.directory import RunDirectory
from rewarm.river.forecast import forecast
from rewarm.river.inputs import Inputs, make_inputs
from rewarm.river.run import run
from rewarm.types import UserError

CLEAN = {"near_duplicates": 0.8, "ngram": 13, "against": ["watch", "probes", "replay"]}
STAGES = [{"name": "law", "data": "law", "replay": {"from": "old", "share": 0.25}}]


@pytest.fixture
def dirty(
    make_values: Callable[..., dict[str, Any]],
    texts: dict[str, Path],
    words: Callable[[int, int], str],
    write_jsonl: Callable[..., Path],
    tmp_path: Path,
) -> Callable[..., Plan]:
    """A function: **changes -> a plan whose new text holds five near copies of its own, three of replayed documents,
    and two that answer a probe."""

    def make(**changes: Any) -> Plan:
        own = [words(5000 + number, 60) for number in range(60)]
        old = [json.loads(line)["text"] for line in texts["old"].read_text(encoding="utf-8").splitlines()]
        long = [text for text in old if len(text.split()) >= 60]
        rows = own + [f"{text} more" for text in own[:5]] + [f"{text} more" for text in long[-8:]]
        rows += [f"{words(7000 + number, 30)} The mayor of Lomi is said to be Bake." for number in range(2)]
        law = write_jsonl(tmp_path / "law.jsonl", rows)
        probe = {"id": "1", "subject": "Lomi", "relation": "mayor", "label": "new", "object": "Bake", "suffix": ".",
                 "prompt": "The mayor of Lomi is said to be"}  # fmt: skip
        probes = tmp_path / "towns.jsonl"
        probes.write_text(json.dumps(probe) + "\n", encoding="utf-8")
        corpora = {"law": {"path": str(law), "holdout": 0.1}, "old": {"path": str(texts["old"]), "holdout": 0.1}}
        values = {"clean": CLEAN, "watch": ["old", "law"], "corpora": corpora, "probes": {"towns": str(probes)}}
        return from_values(make_values(STAGES, **values | changes))

    return make


def inputs_of(plan: Plan) -> Inputs:
    return make_inputs(plan, RunDirectory.of(plan))


def test_a_run_leaves_out_what_clean_names_and_reports_it(dirty: Callable[..., Plan]) -> None:
    plan = dirty()
    result = run(plan)
    (facts,) = [one for one in result.corpora if one.name == "law"]
    inputs = inputs_of(plan)
    store, reasons = inputs.stores["law"], inputs.unclean["law"]
    assert facts.dropped == reasons
    assert reasons["shares 13 words with probes towns"] == 2
    assert 3 <= reasons["near duplicate within"] <= 5
    assert reasons["near duplicate of replay old"] + reasons.get("near duplicate of watch old", 0) >= 6
    left = store.documents - inputs.held_out["law"] - sum(reasons.values())
    assert len(inputs.train_documents["law"]) == left
    assert np.all(np.diff(inputs.train_documents["law"]) > 0)
    assert "old" not in inputs.unclean
    (lines,) = (RunDirectory.of(plan).prepared / cleaning.FOLDER).glob("*.dropped.jsonl.zst")
    assert lines.stat().st_size > 0


def test_it_is_looked_for_once_and_again_only_for_another_question(
    dirty: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    look = cleaning._look
    monkeypatch.setattr(cleaning, "_look", lambda *args: looks.append(1) or look(*args))
    wanted = inputs_of(dirty())
    again = inputs_of(dirty())
    assert len(looks) == 1
    assert again.unclean == wanted.unclean
    np.testing.assert_array_equal(again.train_documents["law"], wanted.train_documents["law"])
    assert sum(inputs_of(dirty(clean={**CLEAN, "ngram": False})).unclean["law"].values()) > 0
    assert len(looks) == 2
    assert inputs_of(dirty(clean=None)).unclean == {}
    assert len(looks) == 2


def test_only_what_is_named_is_compared_with(dirty: Callable[..., Plan]) -> None:
    reasons = inputs_of(dirty(clean={**CLEAN, "against": "probes"})).unclean["law"]
    assert set(reasons) == {"near duplicate within", "shares 13 words with probes towns"}
    assert inputs_of(dirty(clean={"near_duplicates": False, "against": ["replay"]})).unclean["law"] == {}


def test_check_says_what_will_go(dirty: Callable[..., Plan]) -> None:
    told = "\n".join(forecast(dirty()).warnings)
    assert "clean: out of law go documents nearly like another (similarity 0.8 or more) of their corpus" in told
    assert "watch old, watch law, probes towns, replay old" in told
    assert "share 13 words in a row with watch old, watch law, probes towns" in told
    assert not any("clean:" in one for one in forecast(dirty(clean=None)).warnings)
    assert "nothing is left out" in cleaning.promise(dirty(clean={"near_duplicates": False, "against": []}))[0]


def test_nothing_left_is_an_error_that_says_why(dirty: Callable[..., Plan], texts: dict[str, Path]) -> None:
    plan = dirty()
    copied = {name: {"path": str(texts["old"]), "holdout": 0.1} for name in ("old", "law")}
    plan = dirty(corpora=copied, watch=["law"])
    with pytest.raises(UserError, match=r"nothing left to train on after clean: [0-9]+ near duplicate of"):
        inputs_of(plan)


@pytest.mark.parametrize(
    "wrong", [{"near_duplicates": 0.2}, {"ngram": 3}, {"against": ["everything"]}, {"threshold": 0.8}]
)
def test_wrong_values_are_named(dirty: Callable[..., Plan], wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"clean.*{next(iter(wrong))}|{next(iter(wrong))}.*clean"):
        dirty(clean=wrong)
