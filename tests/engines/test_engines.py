"""Engines: the same results in the same order whatever does the work, and parts that are not made twice."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewarm.engines import Engine
from rewarm.engines.local import Here, Processes, Threads
from rewarm.engines.parts import Parts, digest, kept
from rewarm.types import UserError


def squared(number: int) -> int:
    return number * number


def broken(number: int) -> int:
    if number == 3:
        raise KeyError("three")
    return number


def refused(number: int) -> int:
    raise UserError("no such thing")


def counted(folder: Path, number: int) -> dict[str, Any]:
    """Adds a letter to the number's file each time that it is worked on."""
    with (folder / str(number)).open("a") as file:
        file.write("x")
    return {"square": np.array([number * number])}


@pytest.mark.parametrize("engine", [Here(), Threads(2), Processes(1), Processes(2)], ids=repr)
def test_results_are_in_the_order_of_the_items(engine: Engine) -> None:
    assert list(engine.map(squared, iter(range(20)))) == [number * number for number in range(20)]
    assert list(engine.map(squared, [7])) == [49]
    assert list(engine.map(squared, [])) == []


def test_items_are_taken_as_they_are_needed() -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = Threads(2).map(squared, items())
    next(results)
    assert len(taken) <= 3
    results = Here().map(squared, items())
    taken.clear()
    next(results)
    assert taken == [0]


@pytest.mark.parametrize("engine", [Here(), Threads(2), Processes(2)], ids=repr)
def test_an_error_tells_its_shard_and_a_users_error_needs_none(engine: Engine) -> None:
    with pytest.raises(KeyError, match="three") as caught:
        list(engine.map(broken, range(5)))
    assert "shard 3" in caught.value.__notes__[0]
    with pytest.raises(UserError, match="no such thing") as refusal:
        list(engine.map(refused, range(5)))
    assert not hasattr(refusal.value, "__notes__")


def test_parts_are_made_once_and_a_damaged_one_again(tmp_path: Path) -> None:
    parts, work = Parts(tmp_path / "parts"), partial(counted, tmp_path)
    items = [(digest([str(number)]), number) for number in range(6)]
    begun = parts.map(Here(), work, items)
    assert [next(begun)["square"].tolist() for _ in range(3)] == [[0], [1], [4]]
    begun.close()  # type: ignore[attr-defined]
    made = sorted((tmp_path / "parts").glob("*/*.npz"))
    assert len(made) == 3
    made[1].write_bytes(made[1].read_bytes()[:-40])
    found = [one["square"].tolist() for one in parts.map(Here(), work, items)]
    assert found == [[number * number] for number in range(6)]
    assert [(tmp_path / str(number)).read_text() for number in range(6)] == ["x", "xx", "x", "x", "x", "x"]


def test_a_part_of_another_item_is_not_taken(tmp_path: Path) -> None:
    parts, work = Parts(tmp_path / "parts"), partial(counted, tmp_path)
    for numbers in ([1, 2], [1, 3]):
        items = [(digest([str(number)]), number) for number in numbers]
        assert [one["square"][0] for one in parts.map(Here(), work, items)] == [one * one for one in numbers]
    assert [(tmp_path / str(number)).read_text() for number in (1, 2, 3)] == ["x", "x", "x"]


def test_parts_go_when_the_whole_is_made_and_stay_when_it_is_stopped(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    for error in (None, KeyboardInterrupt, UserError):
        items = [(digest([str(number)]), number) for number in range(2)]
        try:
            with kept(folder) as parts:
                list(parts.map(Here(), partial(counted, tmp_path), items))
                if error is not None:
                    raise error
        except (KeyboardInterrupt, UserError):
            pass
        assert folder.exists() == (error is KeyboardInterrupt)
    assert (tmp_path / "1").read_text() == "xx"


def test_digests_tell_lists_apart() -> None:
    assert (
        len({digest(["ab"]), digest(["a", "b"]), digest(["a"], ["b"]), digest(["b"], ["a"]), digest(["\ud800"])}) == 5
    )
