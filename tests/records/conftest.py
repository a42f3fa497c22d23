"""Invented records, and ways to make stores and documents of them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import zstandard

from rewarm.methods import checked
from rewarm.records.building import Question, Reading, build, surveyed
from rewarm.records.job import Job
from rewarm.records.spec import Spec
from rewarm.records.store import Store
from rewarm.types import silent


def _write(file: Path, rows: Iterable[Any]) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(file)


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The rows of a packed JSON lines file."""
    with file.open("rb") as packed:
        text = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(packed), encoding="utf-8")
        return [json.loads(line) for line in text]


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., str]:
    """A function: name, rows -> the path of a JSON lines file with them."""
    return lambda name, rows: _write(tmp_path / f"{name}.jsonl", rows)


@pytest.fixture
def stored(tmp_path: Path) -> Callable[..., tuple[Store, Reading]]:
    """A function: sources, **options of the spec -> their store and what was met while reading."""

    def make(sources: Mapping[str, Any], without: Iterable[str] = (), **options: Any) -> tuple[Store, Reading]:
        spec, _ = surveyed(checked(Spec, {"sources": sources, "bad_rows": 1, **options}))
        return build(Question(spec, frozenset(without)), tmp_path / "records.bin")

    return make


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., tuple[dict[str, Any], list[list[dict[str, Any]]], list[Any]]]:
    """A function: sources, arm, epochs, folder, **options -> summary, documents and provenance by epoch."""

    def make(
        sources: Mapping[str, Any], arm: Any = "cluster", epochs: int = 1, folder: str = "",
        without: Iterable[str] = (), **options: Any,
    ) -> tuple[dict[str, Any], list[list[dict[str, Any]]], list[Any]]:  # fmt: skip
        spec, _ = surveyed(checked(Spec, {"sources": sources, "bad_rows": 1, **options}))
        output = tmp_path / (folder or f"out-{arm}")
        summary = Job(Question(spec, frozenset(without)), output, arm, epochs).run(silent, lambda: False)
        names = [f"epoch-{number + 1}.jsonl.zst" for number in range(epochs)]
        return (
            summary,
            [read_lines(output / "text" / name) for name in names],
            [read_lines(output / "provenance" / name) for name in names],
        )

    return make


@pytest.fixture
def shop(rows: Callable[..., str]) -> dict[str, Any]:
    """Sources of an invented shop: 60 lamps and 90 reviews of them, every field known."""
    brands = ("Lumo", "Varda", "Ostra", "Pell")
    lamps = [
        {"id": f"lamp-{n}", "name": f"Lamp {n}", "brand": brands[n % 4], "watt": n % 7 + 3,
         "colour": ["red", "blue"][n % 2], "goes_with": [f"lamp-{(n + 1) % 60}"]}
        for n in range(60)
    ]  # fmt: skip
    reviews = [{"id": f"r{n}", "lamp_id": f"lamp-{n * 2 % 60}", "words": f"Review {n} says so."} for n in range(90)]
    return {
        "lamps": {
            "path": rows("lamps", lamps),
            "id": "id",
            "title": "name",
            "edges": ["brand", {"kind": "link", "field": "goes_with", "to": "lamps"}],
        },
        "reviews": {
            "path": rows("reviews", reviews),
            "id": "id",
            "title": None,
            "texts": ["words"],
            "edges": [{"kind": "link", "field": "lamp_id", "to": "lamps", "name": "reviews of"}],
        },
    }
