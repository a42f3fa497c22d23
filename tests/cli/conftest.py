"""A tiny base, texts and plans for the command line, and ways to call it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

# A verb that trains would start the test process again in its tuned environment.
os.environ["REWARM_TUNED"] = "off"

CONFIG = {
    "model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 128, "tie_word_embeddings": True,
}  # fmt: skip


@dataclass(frozen=True)
class Called:
    """What a call of the command line left behind."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The one object on stdout; fails when there is anything else."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


@pytest.fixture(scope="session")
def cli() -> Callable[..., Called]:
    """A function: arguments -> the verb's exit code, stdout and stderr, run in this process."""
    from rewarm.cli import call as call_verb

    def call(*arguments: str | Path) -> Called:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = call_verb([str(argument) for argument in arguments])
        return Called(code, out.getvalue(), err.getvalue())

    return call


@pytest.fixture(scope="session")
def python() -> Callable[..., subprocess.Popen[str]]:
    """A function: code, *arguments -> that Python code started in a process of its own, on one thread."""

    def start(code: str, *arguments: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    return start


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_folder: Path) -> Path:
    """A model folder of some 20,000 parameters, never trained."""
    from rewarm.models.load import make_model, save_model
    from rewarm.tokens.tokenizer import TextTokenizer

    folder = tmp_path_factory.mktemp("base") / "tiny"
    save_model(make_model(CONFIG, TextTokenizer(tiny_tokenizer_folder), 0), tiny_tokenizer_folder, folder)
    return folder


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory, words: Any, write_jsonl: Any) -> dict[str, Path]:
    """Two JSON-lines files, `old` and `new`, of 150 documents each."""
    folder = tmp_path_factory.mktemp("texts")
    return {
        name: write_jsonl(folder / f"{name}.jsonl", [words(first + number, 40) for number in range(150)])
        for name, first in (("old", 0), ("new", 1000))
    }


@pytest.fixture(scope="session")
def write_plan(base: Path, texts: dict[str, Path]) -> Callable[..., Path]:
    """A function: folder, **changes -> a plan of one stage with replay, written to plan.yaml in the folder."""

    def write(folder: Path, **changes: Any) -> Path:
        stage = {"name": "update", "data": "new", "tokens": 4096, "learning_rate": 3e-3, "replay": {"from": "old"}}
        values = {
            "base": str(base),
            "output_dir": str(folder / "run"),
            "corpora": {name: {"path": str(path), "holdout": "20%"} for name, path in texts.items()},
            "stages": [stage],
            "watch": ["old", "new"],
            "seq_len": 64,
            "batch_tokens": 256,
            "eval_tokens": 1500,
            "precision": "fp32",
        }
        file = folder / "plan.yaml"
        file.write_text(yaml.safe_dump(values | changes), encoding="utf-8")
        return file

    return write


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, write_plan: Any, cli: Any) -> Path:
    """The directory of a finished run with a control. Read only."""
    folder = tmp_path_factory.mktemp("finished")
    called = cli("run", write_plan(folder, controls=["new-only"]), "--quiet")
    assert called.code == 0, called.err
    return folder / "run"
