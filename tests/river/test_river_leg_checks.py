"""What the ledger says of a leg: rows of the embedding that moved, and whether it went on with the batch to come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rewarm.plan import from_values
from rewarm.river.directory import RunDirectory
from rewarm.river.leg_checks import RESUMED, SKIPPED
from rewarm.river.run import run
from rewarm.river.train import Hooks
from rewarm.stages import Spikes
from rewarm.training import journal
from rewarm.types import Stopped, UserError

MakeValues = Callable[..., dict[str, Any]]
STAGE: dict[str, Any] = {"name": "law", "data": "law", "tokens": 1536}


def stop_at(plan: Any, steps: int) -> None:
    """Runs a plan until its journal has so many entries."""
    file = RunDirectory(plan.directory).training("stage-1-law") / "journal.jsonl"
    with pytest.raises(Stopped):
        run(plan, Hooks(stop=lambda: len(journal.read(file)) == steps))


def test_a_leg_says_where_it_went_on_and_that_its_batch_was_the_one_to_come(make_values: MakeValues) -> None:
    plan = from_values(make_values([STAGE], watch=["law"], eval_every=0))
    stop_at(plan, 2)
    stop_at(plan, 4)
    run(plan)
    directory = RunDirectory(plan.directory)
    entry = directory.finished()["stage-1-law"]
    assert entry["resumed"] == [[2, True], [4, True]]
    assert sum(one["event"] == RESUMED for one in directory.ledger()) == 2
    # Weight decay moves every row; embedding and head are not tied in this model.
    assert entry["moved_rows"] == {"embedding": [400, 400], "head": [400, 400]}


def test_updates_that_were_skipped_are_in_ledger_and_report(make_values: MakeValues) -> None:
    """Nothing is learned at such a rate, so about every other loss is above the mean of those before."""
    values = make_values([{**STAGE, "tokens": 4096, "learning_rate": 1e-9}], watch=["law"], eval_every=0)
    plan = from_values({**values, "spikes": {"sigma": 0.01, "window": 8, "most": 1000}})
    result = run(plan)
    entries = [one for one in RunDirectory(plan.directory).ledger() if one["event"] == SKIPPED]
    assert entries
    assert all(one["read"].startswith("documents ") and one["step"] >= 8 for one in entries)
    told = [note for note in result.notes if "was skipped (loss" in note]
    assert len(told) == len(entries) == len({one["step"] for one in entries})
    assert from_values({**values, "spikes": "skip"}).spikes == Spikes()
    assert from_values({**values, "spikes": "stop"}).spikes is None


def test_text_that_changed_under_a_stopped_leg_is_refused(make_values: MakeValues, tmp_path: Path) -> None:
    """The manifest is untouched, so that nothing but the batch itself can tell."""
    plan = from_values(make_values([STAGE], watch=["law"], eval_every=0))
    stop_at(plan, 2)
    file = next((tmp_path / "run" / "prepared").glob("law-*/tokens-00000.bin"))
    file.write_bytes(bytes(reversed(file.read_bytes())))
    with pytest.raises(UserError, match="stage-1-law, step 2: the first batch after resuming is not the one"):
        run(plan)


def test_an_embedding_that_is_held_still_is_told(make_values: MakeValues) -> None:
    values = make_values([{**STAGE, "tokens": 512, "adapter": {"type": "lora", "r": 2}}], watch=["law"])
    result = run(from_values({**values, "eval_every": 0}))
    assert "stage-1-law: 0 of 400 rows of the embedding and 0 of 400 rows of the head moved" in result.notes
