"""Suites asked of tiny models."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rewarm.methods import build
from rewarm.suites import Answers, Asked, Suite
from rewarm.tokens.tokenizer import TextTokenizer


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[..., str]:
    """A function: rows, name -> the path of a file with one JSON object a line."""

    def write(rows: list[Any], name: str = "rows") -> str:
        file = tmp_path / f"{name}.jsonl"
        file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        return str(file)

    return write


@pytest.fixture
def tokenizer(tiny_tokenizer_folder: Path) -> TextTokenizer:
    """The tiny tokenizer."""
    return TextTokenizer(tiny_tokenizer_folder)


@pytest.fixture
def asked(make_tiny: Any, tokenizer: TextTokenizer) -> Callable[..., Asked]:
    """A function: model (None: the tiny llama), seed -> the model as it is asked."""

    def make(model: Any = None, seed: int = 0) -> Asked:
        return Asked(model or make_tiny("llama"), tokenizer, lambda: make_tiny("llama"), 64, seed, torch.float32)

    return make


@pytest.fixture
def answers_of(asked: Callable[..., Asked]) -> Callable[..., Answers]:
    """A function: a suite's values as a plan gives them, model, seed -> its answers."""

    def answer(values: dict[str, Any], model: Any = None, seed: int = 0) -> Answers:
        suite = build("suites", values)
        assert isinstance(suite, Suite)
        suite.check("mine", 1.0)
        return suite.answer(asked(model, seed))

    return answer
