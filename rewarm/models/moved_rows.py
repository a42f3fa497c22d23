"""How many rows of a model's embedding training has moved, told from the weights it started with on the disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor
from transformers import PreTrainedModel

from rewarm.storage import read_json

AT_ONCE = 4096
"""Rows that are read from the disk at a time: no second copy of an embedding is held."""


def moved_rows(model: PreTrainedModel, start: Path) -> dict[str, tuple[int, int]] | None:
    """Rows that differ from those in the model folder `start`, and all rows: of the `embedding`, and of a `head` that
    is not tied to it. None when the folder does not hold them, or holds them in another shape.

    Weight decay moves every row of an embedding that decays; rows that nothing reaches are seen where it does not.
    """
    found = {}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    files = _files(start)
    for word, weight in _matrices(model).items():
        key = _key(files, names.get(id(weight)), weight.shape, set(names.values()))
        if key is None:
            return None
        with safe_open(files[key], framework="pt") as held:
            rows = held.get_slice(key)
            if list(rows.get_shape()) != list(weight.shape):
                return None
            parts = range(0, len(weight), AT_ONCE)
            moved = sum(_differing(rows[at : at + AT_ONCE], weight[at : at + AT_ONCE]) for at in parts)
        found[word] = (moved, len(weight))
    return found


def _matrices(model: PreTrainedModel) -> dict[str, Any]:
    """The embedding and an untied head, by what they are."""
    embedding: Any = model.get_input_embeddings()
    head: Any = model.get_output_embeddings()
    weights = {"embedding": embedding.weight}
    if head is not None and head.weight is not embedding.weight:
        weights["head"] = head.weight
    return weights


def _files(folder: Path) -> dict[str, Path]:
    """The file of every tensor in a model folder; none when it holds no weights."""
    index = read_json(folder / "model.safetensors.index.json")
    if index is not None:
        return {key: folder / file for key, file in index["weight_map"].items()}
    if not (folder / "model.safetensors").is_file():
        return {}
    with safe_open(folder / "model.safetensors", framework="pt") as held:
        return dict.fromkeys(held.keys(), folder / "model.safetensors")


def _key(files: dict[str, Path], name: str | None, shape: Sequence[int], known: set[str]) -> str | None:
    """What a parameter is called on the disk: its name; or that without its beginning; or, where a family has another
    word for it there (`embed_out` of GPT-NeoX), the tensor of its shape that goes by no name of the model."""
    if name is None or name in files:
        return name
    shorter = [key for key in files if name.endswith(f".{key}")]
    return next(iter(shorter or [key for key in files if key not in known and _shape(files, key) == list(shape)]), None)


def _shape(files: dict[str, Path], key: str) -> list[int]:
    with safe_open(files[key], framework="pt") as held:
        return list(held.get_slice(key).get_shape())


def _differing(before: Tensor, after: Tensor) -> int:
    """Rows in which some weight is another one, in fp32, in which models are trained."""
    return int((before.float() != after.detach().float().cpu()).any(dim=1).sum())
