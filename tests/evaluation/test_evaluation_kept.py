"""An entry is named by all that its numbers depend on, and is used only when it is whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rewarm.evaluation.intervals import DocumentLosses
from rewarm.evaluation.kept import kept_file, read_kept
from rewarm.evaluation.loss import save
from rewarm.models.load import load_model, save_model
from rewarm.tokens.shards import Store, StoreWriter

ALL = np.arange(4)


def make_store(folder: Path, first: int = 5) -> Store:
    """Four documents of three tokens and seven bytes each."""
    with StoreWriter(folder, np.dtype(np.uint16)) as writer:
        writer.add([np.array([first, 6, 7], np.uint16)] * 4, [7] * 4, range(4), range(4))
    return Store(folder)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path / "prepared" / "law-0123")


def test_entries_lie_beside_the_stores(store: Store, make_tiny: Callable[..., Any]) -> None:
    file = kept_file(make_tiny("llama"), "abc", store, ALL, 16)
    assert file.parent == store.folder.parent / "scores"
    assert file.name.startswith("law-0123-")


def test_whatever_changes_the_numbers_changes_the_name(
    store: Store, make_tiny: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_tiny("llama")
    names = [
        kept_file(model, "abc", store, ALL, 16),
        kept_file(model, "abd", store, ALL, 16),
        kept_file(model, "abc", make_store(tmp_path / "other" / "law-0123", first=4), ALL, 16),
        kept_file(model, "abc", store, ALL[:3], 16),
        kept_file(model, "abc", store, ALL[::-1], 16),
        kept_file(model, "abc", store, ALL, 32),
        kept_file(make_tiny("llama").to(torch.bfloat16), "abc", store, ALL, 16),
    ]
    model.config.rms_norm_eps *= 2
    names.append(kept_file(model, "abc", store, ALL, 16))
    monkeypatch.setattr("rewarm.evaluation.kept.SCORING_VERSION", 0)
    names.append(kept_file(model, "abc", store, ALL, 16))
    assert len({file.name for file in names}) == len(names)


def test_a_model_has_one_name_before_and_after_the_disk(
    store: Store, make_tiny: Callable[..., Any], tmp_path: Path, tiny_tokenizer_folder: Path
) -> None:
    model = make_tiny("gpt-neox")
    before = kept_file(model, "abc", store, ALL, 16)
    save_model(model, tiny_tokenizer_folder, tmp_path / "model")
    assert kept_file(load_model(str(tmp_path / "model")), "abc", store, ALL, 16) == before


def test_a_whole_entry_is_read_and_a_damaged_one_is_not(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "entry.npz"
    losses = DocumentLosses(np.array([1.5, 2.5, 3.5, 4.5]), np.full(4, 7), np.full(4, 2))
    save(losses, file)
    held = read_kept(file, store, ALL)
    assert held is not None
    assert held.nats_D.tolist() == [1.5, 2.5, 3.5, 4.5]
    assert held.tokens_D.tolist() == [2, 2, 2, 2]
    assert read_kept(file, store, ALL[:3]) is None
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[whole.index(np.float64(2.5).tobytes())] ^= 1
    for damaged in (b"", b"no archive", whole[: len(whole) // 2], whole[:-30], bytes(flipped)):
        file.write_bytes(damaged)
        assert read_kept(file, store, ALL) is None, damaged[:20]
