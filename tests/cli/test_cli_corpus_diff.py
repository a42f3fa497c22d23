"""`rewarm corpus diff` from the command line."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

DIFF = ("corpus", "diff")


@pytest.fixture
def snapshots(tmp_path: Path) -> tuple[Path, Path]:
    """Two small sets of rows: 1 stays, 2 changes, 3 is new."""
    made = []
    for name, texts in (
        ("old", {"1": "Same.", "2": "It is 1."}),
        ("new", {"1": "Same.", "2": "It is 2.", "3": "New."}),
    ):
        made.append(tmp_path / f"{name}.jsonl")
        made[-1].write_text("".join(json.dumps({"id": key, "text": text}) + "\n" for key, text in texts.items()))
    return made[0], made[1]


def test_it_answers_with_the_counts(snapshots: tuple[Path, Path], tmp_path: Path, cli: Any) -> None:
    called = cli(*DIFF, *snapshots, "--output", tmp_path / "out", "--json")
    assert called.code == 0, called.err
    assert called.json()["articles"] == {"same": 1, "changed": 1, "added": 1, "removed": 0}
    assert (tmp_path / "out" / "diff.jsonl.zst").is_file()
    again = cli(*DIFF, *snapshots, "--output", tmp_path / "out")
    assert again.code == 0
    assert again.out.endswith(f"12 characters to train on, of 17 read of NEW.\nFolder: {tmp_path / 'out'}\n")


def test_a_dry_run_forecasts_and_writes_nothing(snapshots: tuple[Path, Path], tmp_path: Path, cli: Any) -> None:
    before = sorted(tmp_path.iterdir())
    called = cli(*DIFF, *snapshots, "--output", tmp_path / "out", "--dry-run", "--json")
    assert called.code == 0, called.err
    found = called.json()["forecast"]
    assert (found["articles"], found["compared"], found["share"], found["in_order"]) == (3, 3, 1.0, True)
    assert found["bytes"] == sum(file.stat().st_size for file in snapshots)
    assert found["seconds"] > 0
    assert sorted(tmp_path.iterdir()) == before
    shown = cli(*DIFF, *snapshots, "--output", tmp_path / "out", "--dry-run")
    assert (
        "Measured on the first 3 articles (100.00% of the input), 3 of them compared. Nothing was written." in shown.out
    )


def test_a_dry_run_says_when_ids_do_not_ascend(snapshots: tuple[Path, Path], tmp_path: Path, cli: Any) -> None:
    old, new = snapshots
    new.write_text("\n".join(reversed(new.read_text().splitlines())) + "\n")
    called = cli(*DIFF, old, new, "--output", tmp_path / "out", "--dry-run", "--json")
    assert called.json()["forecast"]["in_order"] is False
    assert called.json()["forecast"]["articles"] == 3


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--context", "page"), "--context page: "),
        (("--paragraphs", "line"), "Did you mean 'lines'?"),
        (("--unchanged", "x.csv"), "give a name that ends with .jsonl.zst"),
        (("--workers", "-1"), "--workers -1: give 1 or more"),
        (("--memory", "lots"), "--memory lots, --bad-rows 0.1%: give a whole number"),
        (("--bad-rows", "2"), "a share from 0 to 1"),
        (("--id-field", "page"), "has a field 'page'"),
        (("--id-pattern", "x"), "has no group"),
    ],
)
def test_a_wrong_option_is_refused_before_any_work(
    snapshots: tuple[Path, Path], tmp_path: Path, cli: Any, option: tuple[str, str], message: str
) -> None:
    called = cli(*DIFF, *snapshots, "--output", tmp_path / "out", *option)
    assert called.code == 3
    assert message in called.err
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_or_holds_an_input_is_refused(snapshots: Any, tmp_path: Path, cli: Any) -> None:
    before = sorted(tmp_path.iterdir())
    for output, message in ((snapshots[0], "is a file: give a folder"), (tmp_path, "holds files of OLD")):
        for dry in ((), ("--dry-run",)):
            called = cli(*DIFF, *snapshots, "--output", output, *dry)
            assert (called.code, message in called.err) == (3, True)
    assert sorted(tmp_path.iterdir()) == before


def test_a_snapshot_that_is_not_there_is_named(tmp_path: Path, cli: Any) -> None:
    called = cli(*DIFF, tmp_path / "a.jsonl", tmp_path / "b.jsonl", "--output", tmp_path / "out")
    assert (called.code, "a.jsonl' does not exist" in called.err) == (3, True)


def test_killed_at_any_moment_it_leaves_no_process_and_ends_with_the_same_bytes(
    tmp_path: Path, cli: Any, python: Any
) -> None:
    files = []
    for name, number in (("old", 1), ("new", 2)):
        files.append(tmp_path / f"{name}.jsonl")
        text = "\n".join(f"Line {line} of it says {line * 7}." for line in range(30))
        with files[-1].open("w") as file:
            for key in range(3000):
                file.write(json.dumps({"id": str(key), "text": f"{text}\nIt is {key % 7 // number}."}) + "\n")
    arguments = [*DIFF, *map(str, files), "--quiet", "--workers", "2", "--output"]
    assert cli(*arguments, tmp_path / "whole").code == 0
    code = (
        "import sys\nfrom rewarm.difference import run\nrun.PART_TASKS = 1\n"
        "from rewarm.cli import main\nif __name__ == '__main__': main(sys.argv[1:])"
    )
    started = python(code, *arguments, tmp_path / "killed")
    parts = tmp_path / "killed" / "unfinished" / "parts"
    end = time.monotonic() + 60
    while not (parts / "000001").is_dir() and started.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    workers = psutil.Process(started.pid).children(recursive=True)
    os.kill(started.pid, signal.SIGKILL)
    started.communicate()
    assert started.returncode == -signal.SIGKILL
    assert psutil.wait_procs(workers, timeout=20)[1] == []
    resumed = python(code, *arguments, tmp_path / "killed")
    resumed.communicate()
    assert resumed.returncode == 0
    names = ("diff.jsonl.zst", "pieces.jsonl.zst", "deleted.jsonl.zst")
    unpacked = [[_rows(tmp_path / folder / name) for name in names] for folder in ("whole", "killed")]
    assert unpacked[0] == unpacked[1]


def _rows(file: Path) -> bytes:
    import zstandard

    with file.open("rb") as opened:
        content: bytes = zstandard.ZstdDecompressor().stream_reader(opened, read_across_frames=True).read()
    return content
