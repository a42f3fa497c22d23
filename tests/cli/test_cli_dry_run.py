"""With --dry-run nothing is written: not a file, not a folder, not a time of change."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WritePlan = Callable[..., Path]
Listing = dict[str, tuple[int, int]]


def listing(*folders: Path) -> Listing:
    """Every file and folder below, with its size and its time of change."""
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for folder in folders
        for path in [folder, *folder.rglob("*")]
    }


@pytest.fixture
def untouched(
    tmp_path: Path, base: Path, texts: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """A function that fails when anything has changed, in the working directory, its temporary files or the inputs.

    Given folders are looked at as well, from the first call on.
    """
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path)
    places = [tmp_path, base, texts["new"].parent]
    before: list[Listing] = []

    def check(*more: Path) -> None:
        found = listing(*places, *more)
        # A temporary folder that came and went leaves its mark on the time of the one around it.
        found.pop(str(tmp_path / "temporary"))
        before.append(found)
        assert found == before[0]

    return check


@pytest.mark.parametrize("verb", ["run", "prepare", "check"])
def test_a_plan_that_was_never_run(verb: str, cli: Any, write_plan: WritePlan, tmp_path: Path, untouched: Any) -> None:
    plan = write_plan(tmp_path, controls=["new-only"], prepared_dir=str(tmp_path / "shared"))
    untouched()
    called = cli(verb, plan, *(["--dry-run"] if verb != "check" else []))
    assert called.code == 0, called.err
    untouched()


@pytest.mark.parametrize(
    "arguments", [["run", "plan.yaml"], ["prepare", "plan.yaml"], ["report", "run"], ["merge", "run"]]
)
def test_a_run_that_is_finished(arguments: list[str], cli: Any, finished: Path, untouched: Any) -> None:
    untouched(finished.parent)
    word, name = arguments
    called = cli(word, finished.parent / name, "--dry-run")
    assert called.code == 0, called.err
    untouched(finished.parent)


def test_init_in_an_empty_folder(cli: Any, base: Path, texts: dict[str, Path], untouched: Any) -> None:
    untouched()
    called = cli("init", "--base", base, "--new", texts["new"], "--old", texts["old"], "--dry-run")
    assert called.code == 0, called.err
    assert called.out.startswith("# Written by rewarm init.")
    untouched()


def test_the_demo(cli: Any, tmp_path: Path, untouched: Any) -> None:
    untouched()
    found = cli("demo", "--dry-run", "--json", "--output", tmp_path / "demo").json()
    assert [leg["name"] for leg in found["legs"] if leg["run"] == ""] == ["stage-1-changes", "stage-2-code"]
    untouched()


def test_a_listing_sees_every_change(tmp_path: Path) -> None:
    """A check of the check."""
    (tmp_path / "a").write_text("1")
    before = listing(tmp_path)
    (tmp_path / "a").write_text("22")
    assert listing(tmp_path) != before
    before = listing(tmp_path)
    (tmp_path / "folder").mkdir()
    assert listing(tmp_path) != before
