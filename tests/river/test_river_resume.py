"""Stopped or killed anywhere, any number of times: the final weights are those of the unbroken run, bit for bit."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from rewarm.plan import from_values
from rewarm.report.result import Result, read
from rewarm.river.directory import RunDirectory
from rewarm.river.run import run
from rewarm.river.train import Hooks
from rewarm.training import journal
from rewarm.types import Stopped, StorageError, UserError

MountDisk = Callable[[int], Path]
MakeValues = Callable[..., dict[str, Any]]
STAGES: list[dict[str, Any]] = [
    {"name": "law", "data": "law", "replay": {"from": "old", "share": 0.25}},
    {"name": "code", "data": "code", "optimizer_state": "keep", "release": {"tokens": 1024},
     "replay": {"from": "self", "share": 0.25, "tokens": 1200}},
    {"name": "again", "data": ["law", {"corpus": "code", "weight": 2}], "optimizer_state": "keep-second-moment"},
]  # fmt: skip
LEGS = ["stage-1-law", "stage-2-code", "stage-2-code-release", "stage-3-again"]


class PowerCut(BaseException):
    """Ends the process at an instant: nothing may catch it, nothing is saved."""


@dataclasses.dataclass(frozen=True)
class Unbroken:
    """A run nobody disturbed: its directory, its result, and how often it asked whether to stop."""

    root: Path
    result: Result
    asked: int


@pytest.fixture(scope="session")
def from_scratch(values_in: MakeValues, tiny_configs_of_session: dict[str, Any]) -> MakeValues:
    """As `values_in`, from a GPT-2 that does not exist yet: its three kinds of dropout are on while it trains."""
    config = {**tiny_configs_of_session["gpt2"], "attn_pdrop": 0.1, "resid_pdrop": 0.1, "embd_pdrop": 0.1}
    base = {"from": "scratch", "config": config, "tokenizer": {"vocab_size": 400}}
    return lambda root, **changes: values_in(root, STAGES, **{"base": base, "save_total_limit": 2} | changes)


@pytest.fixture(scope="session")
def tiny_configs_of_session() -> dict[str, Any]:
    """A GPT-2 of two layers and width 32."""
    return {"gpt2": {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}}


@pytest.fixture(scope="session")
def unbroken(from_scratch: MakeValues, tmp_path_factory: pytest.TempPathFactory) -> Unbroken:
    """The run that all others are compared with."""
    root = tmp_path_factory.mktemp("unbroken") / "run"
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return False

    result = run(from_values(from_scratch(root)), Hooks(stop=stop))
    return Unbroken(root, result, asked)


def assert_equal(root: Path, unbroken: Unbroken) -> None:
    """Weights bit for bit, journals but for speed, scores, shares, and the report but for time."""
    ended, whole = RunDirectory(root).finished(), RunDirectory(unbroken.root).finished()
    assert list(ended) == LEGS
    for leg in LEGS:
        for key in ("weights_sha256", "rows", "trainable", "steps", "start"):
            assert ended[leg][key] == whole[leg][key], (leg, key)
        saved, expected = (load_file(folder / leg / "model.safetensors") for folder in (root, unbroken.root))
        assert all((saved[name] == expected[name]).all() for name in expected)
        for file, left_out in (("journal.jsonl", {"tokens_per_second"}), ("scores.jsonl", set())):
            entries, wanted = (
                [
                    {key: value for key, value in entry.items() if key not in left_out}
                    for entry in journal.read(folder / "training" / leg / file)
                ]
                for folder in (root, unbroken.root)
            )
            assert entries == wanted, (leg, file)
    left_out = {"created", "command", "costs", "plan", "notes"}
    assert read(root).model_dump(exclude=left_out) == unbroken.result.model_dump(exclude=left_out)
    assert not list((root / "training").glob("*/*checkpoint-*"))
    assert not [file for file in root.rglob("*") if "partial" in file.name]


def stopping_at(number: int) -> Hooks:
    """Hooks that ask to stop from the given question on: while tokenising, sampling, scoring, or after a step."""
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked >= number

    return Hooks(stop=stop)


def cut_at(label: str, done: float, unit: str = "") -> Hooks:
    """Hooks under which the power fails when that much of a piece of work is done."""

    def tell(told: str, so_far: float, total: float | None, word: str) -> None:
        if told == label and so_far >= done:
            raise PowerCut

    return Hooks(tell=tell)


@pytest.mark.parametrize("seed", [0, 1])
def test_stopped_at_random_instants(from_scratch: MakeValues, tmp_path: Path, unbroken: Unbroken, seed: int) -> None:
    plan = from_values(from_scratch(tmp_path / "run"))
    source = random.Random(seed)
    for _ in range(3):
        with pytest.raises(Stopped, match="The same command goes on from there"):
            run(plan, stopping_at(source.randrange(1, unbroken.asked // 3)))
    assert run(plan).complete
    assert_equal(tmp_path / "run", unbroken)


def test_stopped_between_legs_and_after_each_step(from_scratch: MakeValues, tmp_path: Path, unbroken: Unbroken) -> None:
    root = tmp_path / "run"
    plan = from_values(from_scratch(root))
    with pytest.raises(Stopped, match="stopped before stage-2-code"):
        run(plan, Hooks(stop=lambda: "stage-1-law" in RunDirectory(root).finished()))
    for leg, steps in (("stage-2-code", 1), ("stage-2-code", 2), ("stage-2-code", 6), ("stage-2-code-release", 3)):
        logged = root / "training" / leg / "journal.jsonl"
        with pytest.raises(Stopped, match=f"stopped at step {steps} of {leg}; saved"):
            run(plan, Hooks(stop=lambda file=logged, steps=steps: len(journal.read(file)) == steps))
    assert run(plan).complete
    assert_equal(root, unbroken)


def test_the_power_fails_in_bad_moments(from_scratch: MakeValues, tmp_path: Path, unbroken: Unbroken) -> None:
    root = tmp_path / "run"
    plan = from_values(from_scratch(root))
    for label, done in (
        ("score base on law", 1),
        ("train stage-1-law", 2),  # before its first checkpoint
        ("train stage-1-law", 4),  # right after its checkpoint of step 3
        ("score stage-1-law-6 on law", 1),  # while it trains: after a first corpus is scored, before step 6 is saved
        ("score stage-1-law on old", 1),  # trained, saved, not recorded
        ("sample the model's own text", 1),
        ("tokenise self-code", 1),
        ("train stage-2-code-release", 4),
        ("score stage-3-again on code", 1),
    ):
        with pytest.raises(PowerCut):
            run(plan, cut_at(label, done))
    assert run(plan).complete
    assert_equal(root, unbroken)


def test_killed_at_random_file_operations(from_scratch: MakeValues, tmp_path: Path, unbroken: Unbroken) -> None:
    """SIGKILL in the middle of whatever it writes: tokens, checkpoints, journals, models, scores, the report."""
    values = from_scratch(tmp_path / "run")
    (tmp_path / "plan.json").write_text(json.dumps(values))
    source = random.Random(2)
    kills = [source.randrange(1, 200) for _ in range(5)]
    program = [sys.executable, str(Path(__file__).with_name("kill_at.py")), str(tmp_path / "plan.json")]
    done = subprocess.run(
        [*program, *map(str, kills), "0"], capture_output=True, text=True, check=False,
        env=dict(os.environ, OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    outcomes = done.stdout.split()
    assert outcomes[:-1] == ["killed"] * 5
    assert outcomes[-1].isdigit()
    assert_equal(tmp_path / "run", unbroken)


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(
    from_scratch: MakeValues, tmp_path: Path, unbroken: Unbroken
) -> None:
    root = tmp_path / "run"
    plan = from_values(from_scratch(root))
    with pytest.raises(PowerCut):
        run(plan, cut_at("train stage-2-code", 7))
    folder = root / "training" / "stage-2-code"
    assert sorted(entry.name for entry in folder.glob("checkpoint-*")) == ["checkpoint-3", "checkpoint-6"]
    for name in ("checkpoint-3", "checkpoint-6"):
        file = folder / name / "optimizer.safetensors"
        file.write_bytes(file.read_bytes()[:-1])
    # Both are damaged: the leg begins again, and takes over the optimizer state of the stage before it once more.
    result = run(plan)
    notes = [note for note in result.notes if "optimizer.safetensors damaged; passed over" in note]
    assert [note.split(":")[0].rpartition("/")[2] for note in notes] == ["checkpoint-6", "checkpoint-3"]
    assert_equal(root, unbroken)


def test_optimizer_state_that_is_gone_is_no_reset(from_scratch: MakeValues, tmp_path: Path) -> None:
    root = tmp_path / "run"
    plan = from_values(from_scratch(root))
    with pytest.raises(PowerCut):
        run(plan, cut_at("sample the model's own text", 1))
    (root / "training" / "stage-1-law" / "checkpoint-8" / "optimizer.safetensors").unlink()
    with pytest.raises(UserError, match=r"keep needs .*damaged or gone \(optimizer.safetensors\)"):
        run(plan)


@pytest.fixture
def small_disk(mount_disk: MountDisk) -> Path:
    """A file system of 12 MiB."""
    return mount_disk(12)


@pytest.mark.parametrize(
    ("label", "done"), [("train stage-1-law", 2), ("train stage-2-code", 5), ("score stage-1-law on old", 1)]
)
def test_a_full_disk_loses_nothing(
    from_scratch: MakeValues, small_disk: Path, unbroken: Unbroken, label: str, done: int
) -> None:
    plan = from_values(from_scratch(small_disk / "run"))
    ballast = small_disk / "ballast"

    def tell(told: str, so_far: float, total: float | None, unit: str) -> None:
        if told == label and so_far >= done and not ballast.exists():
            free = shutil.disk_usage(small_disk).free
            ballast.write_bytes(bytes(free))

    with pytest.raises(StorageError, match="make room and run the same command again"):
        run(plan, Hooks(tell=tell))
    ballast.unlink()
    assert run(plan).complete
    assert_equal(small_disk / "run", unbroken)
