"""Damage of a prepared corpus: every file that is not what was written is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewarm.tokens.damage import damage
from rewarm.tokens.shards import Store, StoreWriter


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store of ten documents in two shards."""
    ids: list[Any] = [np.arange(number + 3, dtype=np.uint16) for number in range(10)]
    with StoreWriter(tmp_path / "store", np.dtype(np.uint16), shard_tokens=40) as writer:
        writer.add(ids, [2 * len(one) for one in ids], range(10), range(10))
    return tmp_path / "store"


def test_what_was_written_is_right_and_its_tokens_are_told(folder: Path) -> None:
    told: list[tuple[int, int]] = []
    assert damage(folder, Store(folder).hash, lambda done, total: told.append((done, total))) == []
    assert told[-1] == (75, 75)


@pytest.mark.parametrize("name", ["tokens-00000.bin", "tokens-00001.bin", "offsets.bin", "bytes.bin"])
def test_a_changed_file_is_named(folder: Path, name: str) -> None:
    recorded = Store(folder).hash
    data = bytearray((folder / name).read_bytes())
    data[8] ^= 4
    (folder / name).write_bytes(data)
    assert [file for file, _ in damage(folder, recorded)] == [name]


def test_a_file_that_is_short_or_gone_is_told_by_the_store(folder: Path) -> None:
    recorded = Store(folder).hash
    (folder / "tokens-00001.bin").unlink()
    [(file, fault)] = damage(folder, recorded)
    assert file == "manifest.json"
    assert "tokens-00001.bin' holds 0 bytes" in fault


def test_another_manifest_is_not_the_one_the_run_began_with(folder: Path) -> None:
    recorded = Store(folder).hash
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["shards"][0]["blake2b"] = "0" * 32
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert [file for file, _ in damage(folder, recorded)] == ["manifest.json", "tokens-00000.bin"]
