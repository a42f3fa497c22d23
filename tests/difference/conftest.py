"""Snapshots in files, and a difference of two of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from rewarm.difference.editions import editions
from rewarm.difference.folder import OutputFolder
from rewarm.difference.run import Job, Settings

Row = dict[str, Any]


def rows_of(file: Path) -> list[Row]:
    """The rows of a packed file of JSON lines."""
    with file.open("rb") as opened:
        content = zstandard.ZstdDecompressor().stream_reader(opened, read_across_frames=True).read()
    return [json.loads(line) for line in content.splitlines()]


@pytest.fixture
def snapshot(tmp_path: Path) -> Callable[..., Path]:
    """A function: name, {id: text} -> a file of JSON lines in that order."""

    def write(name: str, articles: dict[str, str]) -> Path:
        file = tmp_path / f"{name}.jsonl"
        lines = [json.dumps({"id": key, "title": f"T{key}", "text": text}) for key, text in articles.items()]
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return file

    return write


@pytest.fixture
def job() -> Callable[..., Job]:
    """A function: old, new, folder, **settings -> the job; `unchanged`, `id_field` and `pattern` are told apart."""

    def make(old: Path | str, new: Path | str, folder: Path, **settings: Any) -> Job:
        unchanged = settings.pop("unchanged", None)
        chosen = {name: settings.pop(name, None) for name in ("id_field", "pattern")}
        return Job(*editions(str(old), str(new), **chosen), OutputFolder(folder, unchanged), Settings(**settings))

    return make


@pytest.fixture
def diff(job: Any) -> Callable[..., dict[str, Any]]:
    """A function: old, new, folder, **settings -> the summary of a finished difference."""

    def run(*arguments: Any, **settings: Any) -> dict[str, Any]:
        summary: dict[str, Any] = job(*arguments, **settings).run(lambda *_: None, lambda: False)
        return summary

    return run


@pytest.fixture
def read() -> Callable[[Path], list[Row]]:
    """A function: packed file -> its rows."""
    return rows_of
