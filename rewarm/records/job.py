"""Sources -> the documents of some epochs, their provenance and a summary, in one folder; goes on after a stop."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson

from rewarm.records import clusters, shares
from rewarm.records.building import Question, Reading, build
from rewarm.records.clusters import Partition
from rewarm.records.deletion import Inspection
from rewarm.records.documents import GAP, Written, documents
from rewarm.records.reading import files
from rewarm.records.store import Store
from rewarm.storage import held, read_json, replaced, write_json
from rewarm.types import Stopped, Tell, UserError

Arm = Literal["cluster", "isolated", "shuffled"]
SUMMARY = "summary.json"
HELD_OUT = "held_out.jsonl.zst"
_STOPPED = "stopped; finished epochs are kept. The same command goes on from there"
_LARGEST = 16


@dataclass(frozen=True)
class Job:
    """What `rewarm corpus records` does. `unit` says what the question's `measure` counts: bytes, or tokens and whose.

    In the folder: `text/epoch-N.jsonl.zst`, a corpus of a plan; `provenance/epoch-N.jsonl.zst`, of each document its
    nodes with record, fields, edge and place in the text; `held_out.jsonl.zst` where the spec holds records out; and
    `summary.json`.
    """

    question: Question
    folder: Path
    arm: Arm = "cluster"
    epochs: int = 1
    unit: str = "bytes"

    def described(self) -> dict[str, Any]:
        """What may not change between two runs of a job; more epochs may be asked for."""
        listed = [
            (str(file), file.stat().st_size, file.stat().st_mtime_ns)
            for source in self.question.spec.sources.values()
            for file, _ in files(source)
        ]
        return {
            "spec": self.question.spec.model_dump(mode="json"),
            "arm": self.arm,
            "unit": self.unit,
            "without": [len(self.question.without), _sha256(sorted(self.question.without))],
            "files": [len(listed), _sha256(listed)],
        }

    def finished(self) -> dict[str, Any] | None:
        """The summary so far; None when nothing is. UserError when the folder holds another job. Writes nothing."""
        summary = read_json(self.folder / SUMMARY)
        described = self.described()
        if summary is None:
            if self.folder.is_dir() and any(one.name not in (".lock", "unfinished") for one in self.folder.iterdir()):
                raise UserError(f"'{self.folder}' holds other files: give a folder of its own, or delete it")
            return None
        if summary["job"] != described:
            changed = sorted(key for key in described if summary["job"].get(key) != described[key])
            raise UserError(
                f"'{self.folder}' holds a job of other input or options; changed: {', '.join(changed)}. Give another "
                "folder, restore them, or delete the folder"
            )
        return dict(summary)

    def run(self, tell: Tell, stop: Callable[[], bool]) -> dict[str, Any]:
        """Writes every epoch that is not there yet; the summary. Stopped when asked to stop, with all before kept."""
        with held(self.folder, "Every finished epoch"):
            summary = self.finished()
            if summary is not None and self._is_whole(summary):
                return summary
            work = self.folder / "unfinished"
            work.mkdir(exist_ok=True)
            store, reading = build(self.question, work / "records.bin", _looking("read", None, "rows", tell, stop))
            try:
                summary = summary or {"job": self.described(), **described(store, reading), "epochs": []}
                self._write(store, reading, summary, tell, stop)
            finally:
                store.close()
            shutil.rmtree(work)
            return summary

    def _is_whole(self, summary: Mapping[str, Any]) -> bool:
        return len(summary["epochs"]) >= self.epochs and all(
            file.is_file() for number in range(self.epochs) for file in self._targets(number)
        )

    def _targets(self, epoch: int) -> tuple[Path, Path]:
        name = f"epoch-{epoch + 1}.jsonl.zst"
        return self.folder / "text" / name, self.folder / "provenance" / name

    def _write(
        self, store: Store, reading: Reading, summary: dict[str, Any], tell: Tell, stop: Callable[[], bool]
    ) -> None:
        out_E = shares.held_out(store)
        if self.question.spec.holdout and not (self.folder / HELD_OUT).is_file():
            partition = clusters.isolated(store, out_E, 0, self.question.measure(GAP))
            with replaced(self.folder / HELD_OUT) as file:
                for written in documents(store, partition, "held-out", 0):
                    file.write(_line(written.row))
            summary["held_out"] = {"records": int(out_E.sum()), "documents": partition.documents}
        write_json(self.folder / SUMMARY, summary)
        for epoch in range(self.epochs):
            if epoch < len(summary["epochs"]) and all(file.is_file() for file in self._targets(epoch)):
                continue
            done = self._epoch(store, reading, epoch, ~out_E, tell, stop)
            summary["epochs"][epoch : epoch + 1] = [done]
            write_json(self.folder / SUMMARY, summary)

    def _epoch(
        self, store: Store, reading: Reading, epoch: int, free_E: Any, tell: Tell, stop: Callable[[], bool]
    ) -> dict[str, Any]:
        label = f"epoch {epoch + 1} of {self.epochs}"
        gap = self.question.measure(GAP)
        taken_E = shares.chosen(store, free_E, epoch)
        look = _looking(label, store.nodes, "nodes in clusters", tell, stop)
        partition = parted(store, self.arm, taken_E, epoch, gap, look)
        look = _looking(label, partition.documents, "documents written", tell, stop)
        inspection = Inspection(reading.gone)
        sizes: Counter[str] = Counter()
        text, provenance = self._targets(epoch)
        with replaced(text) as text_file, replaced(provenance) as provenance_file:
            for number, written in enumerate(documents(store, partition, self.arm, epoch), 1):
                text_file.write(_line(written.row))
                provenance_file.write(_line(written.provenance))
                inspection.look(written.row, written.provenance["nodes"])
                sizes.update(written.sizes)
                look(number)
        found = facts(store, partition, gap) | {"shares": _shares(store, free_E, sizes)}
        return found | ({"without": inspection.result()} if reading.gone.asked else {})


def parted(
    store: Store, arm: Arm, taken_E: Any, epoch: int, gap: int, look: Callable[[int], None] = lambda done: None
) -> Partition:
    """The documents of one epoch in one arm."""
    if arm == "isolated":
        return clusters.isolated(store, taken_E, epoch, gap)
    made = clusters.cluster(store, taken_E, epoch, gap, look)
    return made if arm == "cluster" else clusters.shuffled(store, made, epoch, gap)


def described(store: Store, reading: Reading) -> dict[str, Any]:
    """What was read, for the summary: records, nodes and edges by kind, and all that was dropped, with reasons."""
    kinds = np.bincount(store.kind_N, minlength=len(store.kinds))
    records = np.bincount(store.source_E, minlength=len(store.spec.sources))
    return {
        "rows": {name: bad.rows for name, bad in reading.bad.items()},
        "records": dict(zip(store.spec.sources, records.tolist(), strict=True)),
        "nodes": dict(zip(store.kinds, kinds.tolist(), strict=True)),
        "edges": {adjacency.name: adjacency.facts for adjacency in store.adjacencies},
        "bad_rows": {name: [dict(bad.counts), bad.examples] for name, bad in reading.bad.items() if bad.counts},
        "left_out": {name: dict(bad.left_out) for name, bad in reading.bad.items() if bad.left_out},
        "dropped": {name: [dict(one.counts), one.examples] for name, one in reading.dropped.items() if one.counts},
    }  # fmt: skip


def facts(store: Store, partition: Partition, gap: int) -> dict[str, Any]:
    """Counts of an epoch: documents, nodes, documents by number of nodes, steps by edge, and what they measure."""
    sizes = partition.sizes(store, gap)
    counts = np.bincount(np.minimum(np.diff(partition.starts_D), _LARGEST), minlength=2)
    steps = np.bincount(partition.by_K, minlength=len(partition.names))
    return {
        "documents": partition.documents, "nodes": len(partition.nodes_K), "size": int(sizes.sum()),
        "largest": int(sizes.max(initial=0)), "longer_than_limit": int((sizes > store.spec.limit).sum()),
        "documents_by_nodes": {
            f"{number}{'+' if number == _LARGEST else ''}": int(count) for number, count in enumerate(counts) if count
        },
        "steps": dict(zip(partition.names[1:], steps[1:].tolist(), strict=True)),
    }  # fmt: skip


def _shares(store: Store, free_E: Any, sizes: Mapping[str, int]) -> dict[str, dict[str, float | None]]:
    """By source: the share of the text asked for (None without a weight), the share it has, and the part used."""
    total = max(1, sum(sizes.values()))
    weights = {name: source.weight for name, source in store.spec.sources.items()}
    asked = sum(weight for weight in weights.values() if weight is not None)
    weighed = sum(sizes.get(name, 0) for name, weight in weights.items() if weight is not None) / total
    return {
        name: {
            "asked": None if weight is None else weight / asked * weighed,
            "share": sizes.get(name, 0) / total,
            "used": part,
        }
        for (name, weight), part in zip(weights.items(), shares.parts(store, free_E).values(), strict=True)
    }  # fmt: skip


def preview(question: Question, file: Path, arm: Arm) -> tuple[Store, Reading, Iterator[Written]]:
    """The store of a question, and the documents of the first epoch, each made when it is asked for."""
    store, reading = build(question, file)
    gap = question.measure(GAP)
    partition = parted(store, arm, shares.chosen(store, ~shares.held_out(store), 0), 0, gap)
    return store, reading, documents(store, partition, arm, 0)


def _looking(label: str, total: int | None, unit: str, tell: Tell, stop: Callable[[], bool]) -> Callable[[int], None]:
    calls = 0

    def look(done: int) -> None:
        nonlocal calls
        calls += 1
        if stop():
            raise Stopped(_STOPPED)
        if calls % 256 == 1:
            tell(label, done, total, unit)

    return look


def _line(row: Mapping[str, Any]) -> bytes:
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


def _sha256(value: Any) -> str:
    return hashlib.sha256(repr(value).encode("utf-8", "backslashreplace")).hexdigest()
