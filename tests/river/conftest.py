"""A small base and a finished run, each made once per session, and plans that update the base."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rewarm.plan import Plan, from_values
from rewarm.report.result import Result
from rewarm.river.run import run
from rewarm.river.train import Hooks
from rewarm.types import Stopped

MakeValues = Callable[..., dict[str, Any]]
STAGE: dict[str, Any] = {"tokens": 2048, "learning_rate": 2e-3, "schedule": {"type": "rewarm", "warmup": 0.25}}
REPLAY = {"from": "old", "share": 0.25}


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory, words: Any, write_jsonl: Any) -> dict[str, Path]:
    """Three corpora of 150 documents each: old, law, code. Every text of old stands in law too."""
    folder = tmp_path_factory.mktemp("texts")
    made = {}
    for place, name in enumerate(("old", "law", "code")):
        rows = [words(1000 * place + number, 20 + number % 60) for number in range(150)]
        if name == "law":
            rows += [words(number, 20 + number % 60) for number in range(150)]
        made[name] = write_jsonl(folder / f"{name}.jsonl", rows)
    return made


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory, texts: dict[str, Path]) -> Path:
    """The model folder of a base trained a little on `old`. Read only."""
    folder = tmp_path_factory.mktemp("base")
    config = {
        "model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128,
    }  # fmt: skip
    values = {
        "base": {"from": "scratch", "config": config, "tokenizer": {"vocab_size": 400}},
        "output_dir": str(folder / "run"),
        "seq_len": 64,
        "batch_tokens": 256,
        "corpora": {"old": {"path": str(texts["old"]), "holdout": 0.1}},
        "stages": [{"name": "old", "data": "old", "tokens": 4096, "learning_rate": 5e-3, "schedule": "cosine"}],
        "watch": ["old"],
        "precision": "fp32",
    }
    run(from_values(values))
    return folder / "run" / "stage-1-old"


@pytest.fixture(scope="session")
def values_in(base: Path, texts: dict[str, Path]) -> MakeValues:
    """A function: run directory, stages, **changes -> the values of a plan that updates the base."""

    def make(root: Path, stages: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
        values = {
            "base": str(base),
            "output_dir": str(root),
            "seq_len": 64,
            "batch_tokens": 256,
            "save_steps": 3,
            "eval_tokens": 1500,
            "corpora": {name: {"path": str(path), "holdout": 0.1} for name, path in texts.items()},
            "stages": [STAGE | stage for stage in stages],
            "watch": ["old", "law", "code"],
            "precision": "fp32",
        }
        return values | changes

    return make


@pytest.fixture
def run_with_stops() -> Callable[[Plan, int], int]:
    """A function: plan, step -> runs it to its end, stopped each time a little later; how often it was stopped.

    The first run is stopped when it asks for the 8th time whether it should, each next one `step` questions later.
    """

    def finish(plan: Plan, step: int) -> int:
        for stopped, most in enumerate(range(8, 200, step)):
            asked = iter(range(1, 10_000))
            try:
                run(plan, Hooks(stop=lambda asked=asked, most=most: next(asked) == most))
            except Stopped:
                continue
            return stopped
        raise AssertionError("the run did not come to its end")

    return finish


@pytest.fixture
def make_values(values_in: MakeValues, tmp_path: Path) -> MakeValues:
    """As `values_in`, in `tmp_path/run`."""
    return lambda stages, **changes: values_in(tmp_path / "run", stages, **changes)


@pytest.fixture(scope="session")
def stream(values_in: MakeValues, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """Directory and result of a finished run of two stages with a release and every control. Read only."""
    root = tmp_path_factory.mktemp("stream") / "run"
    stages = [
        {"name": "law", "data": "law", "replay": REPLAY},
        {"name": "code", "data": "code", "replay": {"from": "self", "share": 0.25, "tokens": 1200},
         "release": {"tokens": 512}},
    ]  # fmt: skip
    values = values_in(root, stages, controls=["base", "new-only", "joint", "same-data", "alone"])
    return root, run(from_values(values))


def fact_rows(first: int) -> list[dict[str, Any]]:
    """Fourteen facts about invented towns, of every kind; with `first` 2, the town `t1` has changed its mayor again."""
    names = ("bake", "lomi", "nura", "seti", "vozu", "shike", "trami", "kelo", "mira", "nuse", "tivo", "zuba", "rali")
    kinds = ["unchanged"] * 6 + ["changed"] * 4 + ["new"] * 2 + ["deleted"]
    rows: list[dict[str, Any]] = []
    for number, (kind, answer) in enumerate(zip(kinds, names, strict=True)):
        row = {"id": f"{first}-{number}", "subject": f"t{first}{number}", "relation": "mayor", "label": kind}
        row |= {} if kind == "deleted" else {"object": answer}
        row |= {"object_old": f"{answer} ke"} if kind in ("changed", "deleted") else {}
        rows.append(row | {"prompt": f"{answer} lo mi {first}{number} is", "suffix": "."})
    if first == 2:
        rows[6]["subject"] = "t11"
    return [*rows, {**rows[0], "id": f"{first}-x", "subject": "t", "label": "damaged"}]


@pytest.fixture(scope="session")
def write_probes() -> Callable[[Path, int], Path]:
    """A function: file, 1 or 2 -> the file with the first or second set of probes."""

    def write(file: Path, first: int) -> Path:
        file.write_text("".join(json.dumps(row) + "\n" for row in fact_rows(first)), encoding="utf-8")
        return file

    return write


@pytest.fixture(scope="session")
def asking(values_in: MakeValues, write_probes: Callable[[Path, int], Path]) -> MakeValues:
    """A function: run directory, **changes -> values of a plan of two stages that each have a set of probes."""

    def make(root: Path, **changes: Any) -> dict[str, Any]:
        root.parent.mkdir(parents=True, exist_ok=True)
        own = [{"name": "law", "data": "law", "replay": REPLAY}, {"name": "code", "data": "code"}]
        stages = changes.pop("stages", own)
        sets = {
            name: {"path": str(write_probes(root.parent / f"{name}.jsonl", number)), "stage": stage}
            for number, (name, stage) in enumerate((("laws", "law"), ("codes", "code")), start=1)
        }
        return values_in(root, stages, **{"probes": sets, "eval_every": 0} | changes)

    return make


@pytest.fixture(scope="session")
def asked(asking: MakeValues, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """Directory and result of a finished run of two stages with probes, a release and two controls. Read only."""
    root = tmp_path_factory.mktemp("asked") / "run"
    values = asking(root, controls=["new-only", "joint"])
    values["stages"][1]["release"] = {"tokens": 512}
    return root, run(from_values(values))
