"""The output folder of a difference: finished parts while it is made, whole files at the end.

Every part is a folder that appears whole or not at all, so a job that was killed at any time goes on after the last
of them. Parts are packed frames, which put one after the other are the files of the result.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import zstandard

from rewarm.difference.tasks import STREAMS, Rows
from rewarm.storage import held, read_json, write_json
from rewarm.types import UserError

SUMMARY = "summary.json"


class OutputFolder:
    """Paths and files of one job."""

    def __init__(self, root: Path, unchanged: Path | None = None) -> None:
        self.root = root
        self.work = root / "unfinished"
        self.parts = self.work / "parts"
        self.targets = {name: root / f"{name}.jsonl.zst" for name in STREAMS if name != "unchanged"}
        if unchanged is not None:
            self.targets["unchanged"] = unchanged

    def locked(self) -> AbstractContextManager[None]:
        """Holds the folder for this process; UserError when another has it, StorageError when the disk is full."""
        return held(self.root, "Everything finished before")

    def claim(self, job: Mapping[str, Any]) -> dict[str, Any] | None:
        """Takes the folder for a job; the summary when that job is finished already.

        UserError when the folder belongs to a job with other inputs or options.
        """
        finished = self.finished(job)
        if finished is None and not self.work.is_dir():
            self.work.mkdir()
        if finished is None and self.state("job") is None:
            self.save("job", job)
        return finished

    def finished(self, job: Mapping[str, Any]) -> dict[str, Any] | None:
        """The summary when this job is finished; UserError when the folder holds another one. Writes nothing."""
        summary = read_json(self.root / SUMMARY)
        before = summary.get("job") if summary else self.state("job")
        if before is not None and before != job:
            changed = sorted(key for key in before.keys() | job.keys() if before.get(key) != job.get(key))
            raise UserError(
                f"'{self.root}' holds a difference of other inputs or options; changed: {', '.join(changed)}. Give "
                "another --output, restore them, or delete the folder"
            )
        files = [*self.root.glob("*.jsonl.zst"), *(file for file in self.targets.values() if file.exists())]
        if before is None and files:
            raise UserError(f"'{files[0]}' is not from this command: give another name, or delete it")
        whole = all(file.is_file() for file in self.targets.values())
        return summary if summary and whole else None

    def state(self, name: str) -> Any:
        """What was saved under a name; None when nothing was."""
        return read_json(self.work / f"{name}.json")

    def save(self, name: str, value: Any) -> None:
        """Saves a value so that it is never seen half-written."""
        write_json(self.work / f"{name}.json", value)

    def finished_parts(self) -> int:
        """How many parts are whole; they are numbered from 0 without a gap."""
        return sum(1 for folder in self.parts.glob("*") if not folder.name.endswith(".partial"))

    def write_part(self, number: int, results: Iterable[Rows]) -> Counter[str]:
        """Writes one part from its results as they come; their counts together."""
        folder = self.parts / f"{number:06d}"
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        counts: Counter[str] = Counter()
        packers = {name: zstandard.ZstdCompressor(level=3).compressobj() for name in self.targets}
        files = {name: (partial / f"{name}.zst").open("wb") for name in self.targets}
        try:
            for rows in results:
                counts.update(rows.counts)
                for name, packer in packers.items():
                    files[name].write(packer.compress(rows.lines[name]))
            for name, packer in packers.items():
                files[name].write(packer.flush())
                files[name].flush()
                os.fsync(files[name].fileno())
        finally:
            for file in files.values():
                file.close()
        write_json(partial / "counts.json", counts)
        os.replace(partial, folder)
        return counts

    def counts(self) -> Counter[str]:
        """The counts of all parts together."""
        total: Counter[str] = Counter()
        for folder in sorted(self.parts.iterdir()):
            total.update(read_json(folder / "counts.json") or {})
        return total

    def publish(self, summary: Mapping[str, Any]) -> None:
        """Puts the parts together under their final names, the summary last, and removes what it worked with."""
        for name, target in self.targets.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(target.name + ".partial")
            with partial.open("wb") as joined:
                for folder in sorted(self.parts.iterdir()):
                    with (folder / f"{name}.zst").open("rb") as part:
                        shutil.copyfileobj(part, joined, 1 << 20)
                joined.flush()
                os.fsync(joined.fileno())
            os.replace(partial, target)
        write_json(self.root / SUMMARY, summary)
        self.discard()

    def discard(self) -> None:
        """Removes everything that is not the result."""
        shutil.rmtree(self.work, ignore_errors=True)
