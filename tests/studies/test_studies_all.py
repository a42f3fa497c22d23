"""`make studies` knows every study, and its commands are ones that the studies understand."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def every() -> ModuleType:
    """The module studies/all.py."""
    spec = importlib.util.spec_from_file_location("all_studies", ROOT / "studies" / "all.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_every_study_has_an_entry(every: Any) -> None:
    told = {command.split()[0] for study in every.STUDIES for command in study.small}
    folder = ROOT / "studies"
    there = {str(file.relative_to(folder)) for file in [*folder.glob("*/study.py"), *folder.glob("*/losses.py")]}
    there |= {file.name for file in folder.glob("*.py")} - {"all.py"}
    assert there <= told
    assert {name for name in told if not (folder / name).is_file()} == set()


def test_what_is_kept_is_there_and_the_page_tells_it(every: Any) -> None:
    page = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")
    for study in every.STUDIES:
        assert f"| {study.name} | {study.question} |" in page
        assert not study.kept or (ROOT / "studies" / study.kept).is_file()
        assert not study.kept or study.kept in page


def test_small_and_long_forms_call_the_same_programs(every: Any) -> None:
    for study in every.STUDIES:
        assert [one.split()[0] for one in study.small] == [one.split()[0] for one in study.long]


def test_folders_stand_in_for_their_names(every: Any, tmp_path: Path) -> None:
    found = every.words("x.py '{path: DATA/a b, limit: 4}' OUTPUT/found --base BASE", tmp_path, tmp_path / "out", "b")
    assert found[1:] == [
        str(ROOT / "studies" / "x.py"), f"{{path: {tmp_path}/a b, limit: 4}}", f"{tmp_path}/out/found", "--base", "b",
    ]  # fmt: skip


def test_a_study_that_fails_is_told_and_one_that_is_done_is_not_repeated(
    every: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "good.py").write_text("import sys; open(sys.argv[1] + '/times', 'a').write('x')", encoding="utf-8")
    (tmp_path / "bad.py").write_text("raise SystemExit('no such thing')", encoding="utf-8")
    monkeypatch.setattr(every, "HERE", tmp_path)
    good = every.Study("good", "?", ("good.py OUTPUT",), ("good.py OUTPUT",), "")
    bad = every.Study("bad", "?", ("bad.py",), ("bad.py",), "")
    assert [every.finish(good, None, tmp_path) for _ in range(2)] == ["done", "done before"]
    assert (tmp_path / "good" / "times").read_text(encoding="utf-8") == "x"
    assert every.finish(bad, None, tmp_path) == "failed: no such thing"
    assert every.finish(bad, None, tmp_path) == "failed: no such thing"


def test_without_text_studies_are_left_out_and_said(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "studies" / "all.py"), str(tmp_path), "--only", "river", "vocabulary"],
        env={"REWARM_DATA": str(tmp_path / "none"), "PATH": ""}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.count("left out: it needs real text") == 2
