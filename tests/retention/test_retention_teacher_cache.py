"""The teacher on disk: read again as it was written, by other runs too, and nothing damaged is ever believed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rewarm.models.load import weights_hash
from rewarm.retention import Scene
from rewarm.retention.distillation import Distillation
from rewarm.retention.teacher import Teacher
from rewarm.retention.teacher_cache import Kind, TeacherCache
from rewarm.training import journal
from rewarm.training.leg import Leg
from rewarm.types import Batch, StorageError

Make = Callable[..., Any]
KIND = Kind(length=16, kept=8, vocabulary=400, teacher="0" * 64)


@pytest.fixture
def batch(leg: Leg) -> Batch:
    """Four rows of 16 tokens."""
    return dataclasses.replace(leg.rows, micro_rows=4).batches(0)[0]


@pytest.fixture
def open_cache(tmp_path: Path, make_tiny: Make) -> Make:
    """A function: loads=True, swaps=False -> a cache in one folder; with loads=False its teacher must not be asked."""

    def refuse() -> Any:
        raise AssertionError("the teacher was loaded")

    def make(loads: bool = True, swaps: bool = False, kind: Kind = KIND) -> TeacherCache:
        teacher = Teacher((lambda: make_tiny("llama")) if loads else refuse, 2.0, swaps)
        return TeacherCache(tmp_path / "teachers", kind, teacher)

    return make


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "teachers").rglob("*.rows"))


def test_what_is_kept_is_the_teachers_distribution(batch: Batch, open_cache: Make, make_tiny: Make) -> None:
    ids_NK, logs_NK1 = open_cache().largest(batch)
    with torch.no_grad():
        logits = make_tiny("llama")(input_ids=batch.tokens_BT, position_ids=batch.positions_BT).logits
    wanted = (logits[batch.targets_BT >= 0] / 2).softmax(-1).sort(-1, descending=True)
    assert torch.allclose(logs_NK1.exp()[:, :8], wanted.values[:, :8], rtol=3e-3)
    assert torch.allclose(logs_NK1.exp()[:, 8], wanted.values[:, 8:].sum(1), rtol=3e-3)
    assert (ids_NK == wanted.indices[:, :8]).float().mean() > 0.99


def test_a_second_run_reads_all_and_loads_no_teacher(batch: Batch, open_cache: Make, tmp_path: Path) -> None:
    first = open_cache()
    made = first.largest(batch)
    assert first.hits == 0
    again = first.largest(batch)
    assert first.hits == 4
    second = open_cache(loads=False)
    read = second.largest(batch)
    assert second.hits == 4
    for tensors in zip(made, again, read, strict=True):
        assert torch.equal(tensors[0], tensors[1])
        assert torch.equal(tensors[0], tensors[2])
    assert len(files(tmp_path)) == 1


def test_a_record_does_not_depend_on_the_rows_beside_it(batch: Batch, open_cache: Make) -> None:
    order = [3, 0, 2, 1]
    turned = Batch(batch.tokens_BT[order], batch.targets_BT[order], batch.positions_BT[order], batch.num_targets)
    counts = (batch.targets_BT >= 0).sum(1).tolist()
    turned_counts = [counts[row] for row in order]
    straight = [
        part.split(counts) for part in open_cache(kind=dataclasses.replace(KIND, teacher="1" * 64)).largest(batch)
    ]
    found = [part.split(turned_counts) for part in open_cache().largest(turned)]
    for place, row in enumerate(order):
        assert torch.equal(found[0][place], straight[0][row])
        assert torch.equal(found[1][place], straight[1][row])


@pytest.mark.parametrize("damage", ["cut", "flipped", "zeros", "garbage"])
def test_damaged_records_are_made_again(damage: str, batch: Batch, open_cache: Make, tmp_path: Path) -> None:
    made = open_cache().largest(batch)
    (file,) = files(tmp_path)
    data = bytearray(file.read_bytes())
    size = KIND.dtype.itemsize
    assert len(data) == 4 * size
    if damage == "cut":
        data = data[: 4 * size - 5]
    elif damage == "flipped":
        data[4 * size - 5] ^= 1
    elif damage == "zeros":
        data[3 * size :] = bytes(size)
    else:
        data = bytearray(np.random.default_rng(0).bytes(3 * size + 100))
    file.write_bytes(bytes(data))
    cache = open_cache()
    found = cache.largest(batch)
    assert cache.hits == (0 if damage == "garbage" else 3)
    assert torch.equal(found[0], made[0])
    assert torch.equal(found[1], made[1])
    assert file.read_bytes() == bytes(data)  # nothing is ever written into another run's file
    assert open_cache(loads=False).largest(batch)[1].equal(made[1])


def test_runs_at_once_write_files_of_their_own(batch: Batch, open_cache: Make, tmp_path: Path) -> None:
    first, second = open_cache(), open_cache()
    assert torch.equal(first.largest(batch)[1], second.largest(batch)[1])
    assert len(files(tmp_path)) == 2
    files(tmp_path)[0].unlink()
    assert torch.equal(first.largest(batch)[1], second.largest(batch)[1])


def test_targets_are_part_of_a_row_only_where_logits_are_swapped(batch: Batch, open_cache: Make) -> None:
    other = dataclasses.replace(batch, targets_BT=torch.where(batch.targets_BT >= 0, 7, batch.targets_BT))
    for swaps in (False, True):
        kind = dataclasses.replace(KIND, teacher=str(int(swaps)) * 64)
        open_cache(swaps=swaps, kind=kind).largest(batch)
        cache = open_cache(swaps=swaps, kind=kind)
        ids, _ = cache.largest(other)
        assert cache.hits == (0 if swaps else 4)
        assert bool((ids[:, 0] == 7).all()) == swaps


def test_ids_beyond_sixteen_bits_have_room() -> None:
    assert dataclasses.replace(KIND, vocabulary=1 << 16).dtype["ids"].base == np.uint16
    assert dataclasses.replace(KIND, vocabulary=(1 << 16) + 1).dtype["ids"].base == np.uint32


def test_a_full_disk_is_said(batch: Batch, make_tiny: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = TeacherCache(tmp_path / "file", KIND, Teacher(lambda: make_tiny("llama"), 2.0, False))
    with pytest.raises(StorageError, match=r"could not be kept .* set top_k to null"):
        cache.largest(batch)


# In a run


def test_a_leg_learns_the_same_from_the_cache(leg: Leg, make_tiny: Make, fit: Make) -> None:
    """Bit for bit, and the second reads every row; keeping every id is near to asking the teacher."""
    found = {}
    for name, top_k in (("cold", 400), ("warm", 400), ("live", None)):
        model = make_tiny("llama")
        own = dataclasses.replace(leg, folder=leg.folder.with_name(name))
        fit(model, Distillation(strength=3.0, on="all", top_k=top_k), leg=own)
        found[name] = weights_hash(model), journal.read(own.folder / "journal.jsonl")
    assert found["cold"][0] == found["warm"][0]
    shares = [[entry["retention"]["distillation"].get("cached") for entry in found[name][1]] for name in found]
    assert [set(part) for part in shares] == [{0.0}, {1.0}, {None}]
    for cached, live in zip(found["warm"][1], found["live"][1], strict=True):
        assert cached["loss"] == pytest.approx(live["loss"], rel=1e-3)


def test_a_stopped_leg_goes_on_from_a_half_filled_cache(leg: Leg, make_tiny: Make, fit: Make) -> None:
    method = Distillation(strength=3.0, on="all", top_k=8)
    for stop_after in (4, None):
        broken = make_tiny("gpt2")
        fit(broken, method, leg=dataclasses.replace(leg, folder=leg.folder.with_name("broken")), family="gpt2",
            stop_after=stop_after)  # fmt: skip
    whole = make_tiny("gpt2")
    fit(whole, method, leg=leg, family="gpt2")
    assert weights_hash(broken) == weights_hash(whole)


def test_other_options_and_teachers_have_folders_of_their_own(
    batch: Batch, make_tiny: Make, make_scene: Make, tmp_path: Path
) -> None:
    def folders(scene: Scene, **options: Any) -> int:
        method = Distillation(on="all", **options)
        method.keeper(scene, method.measure(scene)).term(batch)
        return len(list((tmp_path / "cache").iterdir()))

    model = make_tiny("llama", seed=3)
    scene = make_scene(model)
    assert folders(scene, top_k=8) == 1
    assert folders(scene, top_k=8, strength=9.0) == 1
    assert folders(scene, top_k=9) == 2
    assert folders(scene, top_k=8, temperature=1.0) == 3
    assert folders(scene, top_k=8, swap=True) == 4
    assert folders(scene, top_k=8, teacher="start") == 5
    assert folders(dataclasses.replace(scene, precision=torch.bfloat16), top_k=8) == 6
