"""A Ray cluster of two workers on this machine: the bytes of the local path, also when workers or the driver die."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewarm.cli.engine import chosen
from rewarm.corpora.chat import Chat
from rewarm.corpora.jsonl import Jsonl
from rewarm.engines import Engine
from rewarm.engines import cluster as cluster_engine
from rewarm.engines.local import Processes
from rewarm.engines.parts import Parts, digest
from rewarm.tokens import prepare as preparing
from rewarm.tokens.prepare import prepare
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import UserError

HAS_RAY = importlib.util.find_spec("ray") is not None
with_ray = pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed: make test-cluster installs it beside")
WORKERS = 2


@pytest.fixture(scope="module")
def cluster() -> Iterator[Engine]:
    """A cluster whose workers find what is defined in this file."""
    if not HAS_RAY:
        pytest.skip("Ray is not installed: make test-cluster installs it beside")
    from rewarm.engines.cluster import Cluster

    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), before])
    with Cluster("local", WORKERS) as made:
        yield made
    os.environ["PYTHONPATH"] = before


def square(folder: Path, number: int) -> dict[str, Any]:
    with (folder / str(number)).open("a") as file:
        file.write("x")
    return {"square": np.array([number * number])}


def dies_once(folder: Path, number: int) -> int:
    """The worker of item 2 is killed, the first time."""
    if number == 2 and not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def dies(number: int) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def wrong(number: int) -> int:
    if number == 1:
        raise KeyError("one")
    return number


def refuses(number: int) -> int:
    raise UserError(f"item {number} is of no use")


def test_results_come_in_order_and_a_lost_worker_is_replaced(cluster: Engine, tmp_path: Path) -> None:
    assert list(cluster.map(partial(dies_once, tmp_path), range(9))) == list(range(9))
    assert (tmp_path / "died").exists()


def test_a_worker_that_is_lost_each_time_is_told_with_its_shard(cluster: Engine) -> None:
    with pytest.raises(RuntimeError, match=r"shard 1, counted from 0: its worker was lost 4 times"):
        list(cluster.map(dies, range(3)))


def test_errors_of_the_work_are_those_of_the_local_path(cluster: Engine) -> None:
    with pytest.raises(KeyError, match="one") as caught:
        list(cluster.map(wrong, range(3)))
    assert "shard 1" in caught.value.__notes__[0]
    with pytest.raises(UserError, match="item 0 is of no use"):
        list(cluster.map(refuses, range(3)))


def test_parts_that_are_there_are_not_made_again(cluster: Engine, tmp_path: Path) -> None:
    items = [(digest([str(number)]), number) for number in range(12)]
    begun = Parts(tmp_path / "parts").map(cluster, partial(square, tmp_path), items)
    next(begun)
    begun.close()  # type: ignore[attr-defined]
    there = {int(file.name[:7]): file.stat().st_mtime_ns for file in (tmp_path / "parts").glob("*/*.npz")}
    assert there
    found = list(Parts(tmp_path / "parts").map(cluster, partial(square, tmp_path), items))
    assert [one["square"][0] for one in found] == [number * number for number in range(12)]
    after = {int(file.name[:7]): file.stat().st_mtime_ns for file in (tmp_path / "parts").glob("*/*.npz")}
    assert there.items() <= after.items()
    assert len(after) == 12


@pytest.mark.parametrize("kind", ["text", "chat"])
def test_tokens_and_manifest_are_those_of_the_local_path(
    kind: str, cluster: Engine, tmp_path: Path, tiny_tokenizer_folder: Path, words: Any, digests: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(preparing, "BLOCK_CHARACTERS", 800)
    rows: list[dict[str, Any]] = [
        {"text": words(seed, 30), "book": f"b{seed // 4}"} if kind == "text"
        else {"instruction": words(seed, 9), "output": words(seed + 100, 20)}
        for seed in range(40)
    ]  # fmt: skip
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{\n")
    corpus = Jsonl(path=str(file), holdout_by="book") if kind == "text" else Chat(path=str(file))
    tokenizer = TextTokenizer(tiny_tokenizer_folder)
    for name, engine in (("local", None), ("processes", Processes(2)), ("ray", cluster)):
        prepare("a", corpus, tokenizer, tmp_path / name, 0.1, engine=engine)
    made = digests(tmp_path / "local")
    assert any(name.endswith("manifest.json") for name in made)
    assert made == digests(tmp_path / "processes") == digests(tmp_path / "ray")


DRIVER = """
import os, signal, sys
from pathlib import Path
from rewarm.corpora.jsonl import Jsonl
from rewarm.tokens import prepare as preparing
from rewarm.tokens.tokenizer import TextTokenizer
folder, tokenizer, after = Path(sys.argv[1]), TextTokenizer(Path(sys.argv[2])), int(sys.argv[3])
preparing.BLOCK_CHARACTERS = 800
told = []
def tell(*_):
    told.append(1)
    if len(told) == after:
        os.kill(os.getpid(), signal.SIGKILL)
preparing.prepare("a", Jsonl(path=str(folder / "a.jsonl")), tokenizer, folder / "prepared", 0.0, tell)
"""


@pytest.mark.parametrize("where", ["local", "ray"])
def test_a_killed_driver_goes_on_with_the_shards_that_are_there(
    where: str, tmp_path: Path, tiny_tokenizer_folder: Path, words: Any, digests: Any, monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    engine = None if where == "local" else request.getfixturevalue("cluster")
    monkeypatch.setattr(preparing, "BLOCK_CHARACTERS", 800)
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": words(seed, 60)}) + "\n" for seed in range(60)))
    corpus, tokenizer = Jsonl(path=str(tmp_path / "a.jsonl")), TextTokenizer(tiny_tokenizer_folder)
    ended = subprocess.run([sys.executable, "-c", DRIVER, tmp_path, tiny_tokenizer_folder, "5"], check=False)
    assert ended.returncode == -signal.SIGKILL
    there = [one.name for one in (tmp_path / "prepared").glob("*.parts/*/*.npz")]
    assert len(there) >= 5
    worked: list[int] = []
    taken = preparing.Encoding.__call__
    monkeypatch.setattr(preparing.Encoding, "__call__", lambda *given: worked.append(1) or taken(*given))
    store = prepare("a", corpus, tokenizer, tmp_path / "prepared", 0.0, engine=engine)
    total = len(list(preparing._blocks(corpus.read(preparing.BadRows()))))
    assert len(worked) == (total - len(there) if engine is None else 0)
    whole = prepare("a", corpus, tokenizer, tmp_path / "whole", 0.0)
    assert digests(store.folder) == digests(whole.folder)
    assert not list((tmp_path / "prepared").glob("*.p*"))


def test_an_engine_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match=r"--engine spark: .*Allowed: local, ray"), chosen("spark", None):
        pass
    with pytest.raises(UserError, match="--address h:1 is of a Ray cluster"), chosen("local", "h:1"):
        pass
    with chosen("local", None) as engine:
        assert engine is None


@pytest.mark.skipif(HAS_RAY, reason="Ray is installed here")
def test_without_ray_the_extra_is_named() -> None:
    with pytest.raises(UserError, match=r"pip install 'rewarm\[cluster\]'"), chosen("ray", None):
        pass


def test_an_address_where_nobody_answers_is_told_at_once() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]  # taken, and nobody listens
        for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
            with pytest.raises(OSError, match="refused"):
                cluster_engine.look_for(address)
        held.listen()
        cluster_engine.look_for(f"127.0.0.1:{port}")
    cluster_engine.look_for("auto")


@with_ray
def test_nothing_is_reported_and_signals_stay_the_callers(cluster: Engine) -> None:
    from ray._common.usage.usage_lib import usage_stats_enabled

    assert not usage_stats_enabled()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
