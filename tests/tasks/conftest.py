"""A tiny base, and a stream of two invented languages with the same words under shifted marks."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from rewarm.models.load import make_model, save_model
from rewarm.tasks.plan import LearnPlan, from_values
from rewarm.tokens.tokenizer import TextTokenizer

WORDS = ("ba", "ke", "lo", "mi")
MARKS = {"east": "nu", "west": "zu"}


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_folder: Path) -> Path:
    """A folder with a Llama of two layers of width 32, random. Read only."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
             "max_position_embeddings": 128}  # fmt: skip
    model = make_model({"model_type": "llama", **sizes}, TextTokenizer(tiny_tokenizer_folder), 0)
    folder = tmp_path_factory.mktemp("base") / "base"
    save_model(model, tiny_tokenizer_folder, folder)
    return folder


def _write_rows(file: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def write_rows() -> Callable[..., Path]:
    """A function: file, rows -> the file with the rows as lines of JSON."""
    return _write_rows


@pytest.fixture(scope="session")
def class_rows() -> Callable[..., list[dict[str, str]]]:
    """A function: language, count=48 -> rows of a task of classes, whose rule is turned around between languages."""
    return _class_rows


def _class_rows(language: str, count: int = 48) -> list[dict[str, str]]:
    source = random.Random(language)
    first_is_yes = language == "east"
    rows = []
    for number in range(count):
        word = source.choice(WORDS)
        part = ("train", "train", "train", "dev", "test", "test")[number % 6]
        label = "yes" if (WORDS.index(word) < 2) == first_is_yes else "no"
        rows.append(
            {
                "text": " ".join([MARKS[language], word] * (1 + number % 2)),
                "label": label,
                "split": part,
                "lang": language,
            }
        )
    return rows


@pytest.fixture
def make_plan(tiny_base: Path, tmp_path: Path) -> Callable[..., LearnPlan]:
    """A function: **changes -> a plan of two tasks of classes for the tiny base, few steps, one seed and order."""
    file = _write_rows(tmp_path / "rows.jsonl", [*_class_rows("east"), *_class_rows("west")])

    def make(**changes: Any) -> LearnPlan:
        each = {"kind": "classes", "path": str(file), "split": "split"}
        values: dict[str, Any] = {
            "base": str(tiny_base),
            "output_dir": str(tmp_path / "out"),
            "tasks": {name: {**each, "where": {"lang": name}} for name in MARKS},
            "ways": ["naive"],
            "orders": [["east", "west"]],
            "seeds": 1,
            "max_length": 32,
            "precision": "fp32",
            "tuning": {"learning_rate": 3e-3, "max_steps": 6, "batch_size": 8, "eval_every": 6},
        }
        return from_values(values | changes)

    return make
