"""The difference of two snapshots: read, pair, compare, write; goes on where it was stopped.

Snapshots that ascend by id are merged as they are read. When one is found not to, what was made so far is dropped (an
article taken for new might still come) and both are sorted into buckets on disk first. Either way memory is flat.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

from rewarm.corpora import faults
from rewarm.corpora.wiki import STRIPPED
from rewarm.difference.articles import Context
from rewarm.difference.buckets import Buckets, buckets_needed
from rewarm.difference.editions import Edition, shown_files
from rewarm.difference.folder import OutputFolder
from rewarm.difference.pairs import OutOfOrder, Pair, merged
from rewarm.difference.progress import BytesRead, Pace
from rewarm.difference.sentences import Paragraphs
from rewarm.difference.tasks import Rows, Rules, Task, done
from rewarm.engines import Engine
from rewarm.engines.local import Processes
from rewarm.types import BadRows, Tell, UserError

TASK_CHARACTERS = 1_000_000
TASK_ARTICLES = 5_000
PART_TASKS = 48
"""A part holds at most so many tasks: what is compared again after a kill."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to compare, and with what: `memory` is what buckets may take, in bytes; `bad_rows` the share tolerated."""

    context: Context = "sentence"
    paragraphs: Paragraphs = "lines"
    workers: int = 1
    memory: int = 256_000_000
    bad_rows: float = 0.001


class Job:
    """One difference, from two snapshots into one folder."""

    def __init__(self, old: Edition, new: Edition, folder: OutputFolder, settings: Settings) -> None:
        self.engine: Engine = Processes(settings.workers)
        self.old = old
        self.new = new
        self.folder = folder
        self.settings = settings
        self.rules = Rules(old.as_markup, settings.context, settings.paragraphs, "unchanged" in folder.targets)

    def described(self) -> dict[str, Any]:
        """What has to stay the same for a job to go on. Workers and memory may change."""
        unchanged = self.folder.targets.get("unchanged")
        return {
            "old": self.old.fingerprint(),
            "new": self.new.fingerprint(),
            "context": self.settings.context,
            "paragraphs": self.settings.paragraphs,
            "unchanged": None if unchanged is None else str(unchanged),
            "cut": [TASK_CHARACTERS, TASK_ARTICLES, PART_TASKS],
        }

    def run(self, tell: Tell, stop: Callable[[], bool], engine: Engine | None = None) -> dict[str, Any]:
        """Makes the difference, or goes on with it; the summary, as summary.json holds it.

        Articles are compared by the engine; if none is given, by the settings' processes of this machine.
        Stopped when asked to stop, StorageError when the disk is full, UserError when more than the tolerated share
        of a snapshot's rows is bad, or one has no article.
        """
        self.engine = engine or self.engine
        with self.folder.locked():
            job = self.described()
            finished: dict[str, Any] | None = self.folder.claim(job)
            if finished is not None:
                return finished
            if self.folder.state("read") is None:
                self._compare(tell, stop)
            summary = self._summary(job, tell)
            self.folder.publish(summary)
            return summary

    def _compare(self, tell: Tell, stop: Callable[[], bool]) -> None:
        if self.folder.state("buckets") is None:
            try:
                self._compare_merged(tell, stop)
            except OutOfOrder:
                shutil.rmtree(self.folder.parts, ignore_errors=True)
                self.folder.save("buckets", {"count": buckets_needed(self.old, self.settings.memory)})
            else:
                return
        self._compare_buckets(tell, stop)

    def _compare_merged(self, tell: Tell, stop: Callable[[], bool]) -> None:
        bad_old, bad_new = BadRows(), BadRows()
        read = BytesRead((self.old, self.new))
        pace = Pace("compare", self.old.bytes + self.new.bytes, tell, stop)
        done = self.folder.finished_parts()

        def looked() -> Iterator[Pair]:
            for pair in merged(self.old, self.new, bad_old, bad_new):
                pace.look(read.now)
                yield pair

        def numbered() -> Iterator[Task]:
            for number, task in enumerate(tasks(looked(), self.rules.unchanged)):
                task.part = number // PART_TASKS
                if task.part >= done:
                    yield task
                elif number == done * PART_TASKS - 1:
                    pace.begin(read.now())

        self._write(numbered())
        self._save_read(bad_old, bad_new)

    def _compare_buckets(self, tell: Tell, stop: Callable[[], bool]) -> None:
        count = int(self.folder.state("buckets")["count"])
        old, new = (Buckets(self.folder.work / name, count, self.settings.memory) for name in ("old", "new"))
        if self.folder.state("filled") is None:
            bad = [BadRows(), BadRows()]
            read = BytesRead((self.old, self.new))
            pace = Pace("sort into buckets", self.old.bytes + self.new.bytes, tell, stop)
            for edition, buckets, rows in zip((self.old, self.new), (old, new), bad, strict=True):
                buckets.fill(edition, rows, lambda: pace.look(read.now))
            self.folder.save("filled", [_kept(rows) for rows in bad])
        pace = Pace("compare", count, tell, stop, in_bytes=False)

        def numbered() -> Iterator[Task]:
            for bucket in range(self.folder.finished_parts(), count):
                pace.look(lambda bucket=bucket: bucket)  # type: ignore[misc]
                counts: Counter[str] = Counter()
                for task in tasks(_joined(old, new, bucket, counts), self.rules.unchanged):
                    task.part = bucket
                    yield task
                # A pair is counted when it is read; what came twice is known when all of them were.
                yield Task(bucket, counts=counts)

        self._write(numbered())
        bad_old, bad_new = map(_restored, self.folder.state("filled"))
        total = self.folder.counts()
        for name, rows in (("old", bad_old), ("new", bad_new)):
            if total[f"duplicates_{name}"]:
                rows.counts[faults.DUPLICATE_ID] += total[f"duplicates_{name}"]
        self._save_read(bad_old, bad_new)

    def _write(self, tasks: Iterator[Task]) -> None:
        found: Iterator[Rows] = self.engine.map(partial(done, rules=self.rules), tasks)
        for number, rows in groupby(found, key=lambda one: one.part):
            self.folder.write_part(number, rows)

    def _save_read(self, bad_old: BadRows, bad_new: BadRows) -> None:
        for edition, bad in ((self.old, bad_old), (self.new, bad_new)):
            faults.check_budget(edition.name, bad, self.settings.bad_rows)
            if bad.rows == bad.total:
                raise UserError(f"{edition.name} is empty: no article in {shown_files(edition)}")
        self.folder.save("read", {"old": _kept(bad_old), "new": _kept(bad_new)})

    def _summary(self, job: dict[str, Any], tell: Tell) -> dict[str, Any]:
        total = self.folder.counts()
        bad = self.folder.state("read")
        found: dict[str, Any] = {
            "articles": {name: total[f"articles_{name}"] for name in ("same", "changed", "added", "removed")},
            "paragraphs": {name: total[f"{name}_paragraph"] for name in ("new", "changed")},
            "sentences": {name: total[f"{name}_sentence"] for name in ("new", "same", "deleted")},
            "characters": {"new": total["characters"], "old": total["characters_old"], "all": total["characters_new"]},
            "backdated": total["articles_backdated"],
            "paired": "by buckets" if self.folder.state("buckets") else "as read",
        }
        for name, edition in (("old", self.old), ("new", self.new)):
            tell(f"sha256 of {edition.name}", 0, edition.bytes / 1e6, "MB")
            rows = bad[name]
            # Pages of two dumps are converted where they are compared, so what was stripped is known only there.
            stripped = rows["left_out"].get(STRIPPED, 0) + total[f"stripped_{name}"]
            found[name] = {
                "files": len(edition.files),
                "bytes": edition.bytes,
                "sha256": edition.sha256(),
                "articles": total[f"articles_{name}"],
                "rows": rows["rows"],
                "bad_rows": rows["counts"],
                "bad_examples": rows["examples"],
                "left_out": rows["left_out"] | ({STRIPPED: stripped} if stripped else {}),
            }
        return {**found, "job": job}


def _kept(bad: BadRows) -> dict[str, Any]:
    return {
        "rows": bad.rows, "counts": dict(bad.counts), "examples": bad.examples, "left_out": dict(bad.left_out),
    }  # fmt: skip


def _restored(kept: dict[str, Any]) -> BadRows:
    counts, left_out = (Counter(kept[name]) for name in ("counts", "left_out"))
    return BadRows(kept["rows"], counts, kept["examples"], left_out=left_out)


def tasks(pairs: Iterable[Pair], unchanged: bool) -> Iterator[Task]:
    """Pairs in tasks of about a million characters; at least one task.

    A pair of equal bodies is only counted, unless unchanged text is asked for.
    """
    task, characters, articles = Task(0), 0, 0
    for old, new in pairs:
        sizes = [0 if article is None else len(article.body) for article in (old, new)]
        for name, article, held in zip(("old", "new"), (old, new), sizes, strict=True):
            task.counts[f"articles_{name}"] += article is not None
            task.counts[f"characters_{name}"] += held
        articles += 1
        if old is not None and new is not None and not unchanged and old.body == new.body:
            task.counts["articles_same"] += 1
        else:
            task.pairs.append((old, new))
            characters += sum(sizes)
        if characters >= TASK_CHARACTERS or articles >= TASK_ARTICLES:
            yield task
            task, characters, articles = Task(0), 0, 0
    yield task


def _joined(old: Buckets, new: Buckets, bucket: int, counts: Counter[str]) -> Iterator[Pair]:
    """The pairs of one bucket, in the order of the new snapshot, then what is only in the old one."""
    olds = {}
    for article in old.articles(bucket):
        if article.id in olds:
            counts["duplicates_old"] += 1
        else:
            olds[article.id] = article
    seen = set()
    for article in new.articles(bucket):
        if article.id in seen:
            counts["duplicates_new"] += 1
            continue
        seen.add(article.id)
        yield olds.pop(article.id, None), article
    for article in olds.values():
        yield article, None
