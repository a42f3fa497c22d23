"""Rows of an embedding that training moved, counted against the folder it started from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rewarm.models import moved_rows as counting
from rewarm.models.load import load_model, save_model
from rewarm.models.moved_rows import moved_rows

MakeTiny = Callable[..., Any]


@pytest.fixture
def saved(make_tiny: MakeTiny, tiny_tokenizer_folder: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A function: family -> the folder of a fresh model of it."""

    def save(family: str) -> Path:
        save_model(make_tiny(family), tiny_tokenizer_folder, tmp_path / family)
        return tmp_path / family

    return save


def move(model: Any, rows: list[int]) -> None:
    with torch.no_grad():
        model.get_input_embeddings().weight[rows, 3] += 1e-3


def test_the_rows_that_moved_are_counted(
    saved: Callable[[str], Path], family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "AT_ONCE", 64)
    model = load_model(str(saved(family)))
    move(model, [0, 63, 64, 399])
    found = moved_rows(model, saved(family))
    assert found is not None
    assert found["embedding"] == (4, 400)
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert found == ({"embedding": (4, 400)} if tied else {"embedding": (4, 400), "head": (0, 400)})


def test_weights_of_half_precision_are_those_the_model_was_loaded_with(saved: Callable[[str], Path]) -> None:
    folder = saved("qwen2")
    held = {name: value.bfloat16() for name, value in load_file(folder / "model.safetensors").items()}
    save_file(held, folder / "model.safetensors", {"format": "pt"})
    model = load_model(str(folder))
    move(model, [7])
    assert moved_rows(model, folder) == {"embedding": (1, 400)}


def test_weights_in_several_files_are_found_by_their_index(saved: Callable[[str], Path]) -> None:
    folder = saved("qwen2")
    model = load_model(str(folder))
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    names = load_file(folder / "model-00001-of-00001.safetensors")
    index = {"weight_map": dict.fromkeys(names, "model-00001-of-00001.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    move(model, [1, 2])
    assert moved_rows(model, folder) == {"embedding": (2, 400)}


def test_what_is_not_on_the_disk_is_not_counted(saved: Callable[[str], Path], make_tiny: MakeTiny) -> None:
    model = make_tiny("qwen2")
    assert moved_rows(model, Path("org/name")) is None
    folder = saved("qwen2")
    held = load_file(folder / "model.safetensors")
    name = next(name for name in held if "embed" in name)
    save_file({**held, name: held[name][:100].clone()}, folder / "model.safetensors", {"format": "pt"})
    assert moved_rows(model, folder) is None
    save_file({"other": torch.zeros(2)}, folder / "model.safetensors", {"format": "pt"})
    assert moved_rows(model, folder) is None
