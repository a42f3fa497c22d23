"""A whole run of several processes: the matrix of one, the first alone writes, refusals before work, a stop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from rewarm.plan import Plan, from_values
from rewarm.report.result import Result
from rewarm.river import beside
from rewarm.river.directory import RunDirectory
from rewarm.river.following import follow
from rewarm.river.run import run
from rewarm.river.train import Hooks
from rewarm.training import world
from rewarm.training.world import World
from rewarm.types import Stopped, UserError

Together = Callable[..., list[Any]]
CLOSE = 1e-5


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory, words: Any, write_jsonl: Any) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("texts")
    return {
        name: str(write_jsonl(folder / f"{name}.jsonl", [words(1000 * place + n, 20 + n % 60) for n in range(60)]))
        for place, name in enumerate(("old", "law"))
    }


def plan_in(root: Path, texts: dict[str, str], **changes: Any) -> Plan:
    """Eight steps of four rows, scored in their middle; each row is a pass where there are four processes."""
    config = {
        "model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": 128,
    }  # fmt: skip
    stage = {"name": "law", "data": "law", "tokens": 2048, "learning_rate": 2e-3, "retention": ["l2-sp"]}
    values = {
        "base": {"from": "scratch", "config": config, "tokenizer": {"vocab_size": 400}}, "output_dir": str(root),
        "seq_len": 64, "batch_tokens": 256, "save_steps": 3, "eval_tokens": 1000, "eval_every": 1024,
        "corpora": {name: {"path": path, "holdout": 0.1} for name, path in texts.items()},
        "stages": [stage | {"replay": {"from": "old", "share": 0.25}}], "watch": ["old", "law"], "precision": "fp32",
    }  # fmt: skip
    return from_values(values | changes)


def carry_out(plan: Plan, stop_after: int | None = None) -> Result | None:
    """What one process of a run does; the last one is asked to stop after so many steps."""
    here, asked = world.current(), 0

    def stop() -> bool:
        nonlocal asked
        asked += RunDirectory.of(plan).started("stage-1-law") is not None
        return stop_after is not None and asked > stop_after and here.rank == here.size - 1

    if here.is_first:
        return run(plan, Hooks(stop=lambda: here.asked_to_stop() or stop()))
    follow(plan, here, stop)
    return None


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, texts: dict[str, str]) -> Path:
    root = tmp_path_factory.mktemp("alone") / "run"
    carry_out(plan_in(root, texts))
    return root


def same(root: Path, alone: Path) -> None:
    name = "stage-1-law/model.safetensors"
    found, wanted = load_file(root / name), load_file(alone / name)
    assert all(float((found[key] - wanted[key]).abs().max()) <= CLOSE for key in wanted)


@pytest.mark.parametrize(("size", "sharding"), [(2, "none"), (2, "full")])
def test_a_run_of_several_processes_is_that_of_one(
    alone: Path, texts: dict[str, str], tmp_path: Path, together: Together, size: int, sharding: str
) -> None:
    plan = plan_in(tmp_path / "run", texts, sharding=sharding)
    result, other = together(size, carry_out, plan)
    assert isinstance(other, world.Ended)
    assert other.code == 0
    same(tmp_path / "run", alone)
    events = [[entry["event"] for entry in RunDirectory(root).ledger()] for root in (tmp_path / "run", alone)]
    assert events[0] == events[1]
    before, row = carry_out(plan_in(alone, texts)).rows[1], result.rows[1]  # type: ignore[union-attr]
    for corpus, cell in before.cells.items():
        assert row.cells[corpus].loss == pytest.approx(cell.loss, abs=CLOSE)
        assert row.cells[corpus].tokens == cell.tokens


def test_a_stop_of_any_process_stops_all_and_others_go_on(
    alone: Path, texts: dict[str, str], tmp_path: Path, together: Together
) -> None:
    plan = plan_in(tmp_path / "run", texts, sharding="full")
    first, second = together(2, carry_out, plan, 4)
    assert isinstance(first, Stopped)
    assert "saved" in str(first)
    assert isinstance(second, world.Ended)
    assert list((tmp_path / "run" / "training" / "stage-1-law").glob("checkpoint-*/complete.json"))
    carry_out(plan)
    same(tmp_path / "run", alone)


def test_what_was_not_shown_to_work_is_refused(texts: dict[str, str], tmp_path: Path) -> None:
    stage = {"name": "law", "data": "law", "tokens": 2048, "learning_rate": 1e-3, "retention": ["reptile"]}
    plan = plan_in(tmp_path / "run", texts, stages=[stage])
    beside.check(plan, World())
    with pytest.raises(UserError, match="retention 'reptile' has not been shown to train the same"):
        beside.check(plan, World(size=2))
    with pytest.raises(UserError, match="batch_tokens 256 are 4 rows of 64 tokens, too few for 8 processes: give 512"):
        beside.check(plan_in(tmp_path / "run", texts), World(size=8))


def test_micro_batches_are_cut_so_that_every_process_has_one() -> None:
    assert [beside.micro_rows(4, 10, World(size=size)) for size in (1, 2, 3, 4, 10)] == [4, 4, 4, 3, 1]
