"""What a difference will take, from a few seconds of it: reading, comparing, packing, each measured on a sample."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

import orjson
import psutil
import zstandard

from rewarm.difference.editions import Article
from rewarm.difference.pairs import OutOfOrder, Pair, merged
from rewarm.difference.progress import BytesRead
from rewarm.difference.run import Job, tasks
from rewarm.difference.tasks import done
from rewarm.types import BadRows

_SAMPLE_CHARACTERS = 50_000_000
_TASKS_BYTES = 30_000_000
"""What a process is assumed to hold for the tasks under way: text, its pieces and the trees of mark-up."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Seconds, bytes of memory and bytes of disk of the whole job, and the sample that says so.

    `share` is the part of the input that was read for it, `articles` the pairs in that part, `compared` those of them
    that were compared. `disk` is the most at any moment, `output` what stays. `in_order` is what the sample shows.
    """

    bytes: int
    share: float
    articles: int
    compared: int
    in_order: bool
    read_bytes_per_second: float
    compare_seconds: float
    seconds: float
    memory: int
    disk: int
    output: int


def forecast(job: Job, seconds: float = 4.0) -> Forecast:
    """Reads and compares the beginning of a job for about `seconds`; writes nothing.

    The first articles of an encyclopedia are older, longer and more often edited than the rest, so it errs upwards.
    """
    resident = psutil.Process().memory_info().rss
    begun = time.perf_counter()
    in_order = True
    try:
        pairs, share = _sample(job, seconds / 2, merged(job.old, job.new, BadRows(), BadRows()))
    except OutOfOrder:
        in_order = False
        begun = time.perf_counter()
        pairs, share = _sample(job, seconds / 2, _by_id(job))
    reading = time.perf_counter() - begun
    packing, spilled = (0.0, 0) if in_order else _packing(pairs)
    comparing, compared, output = _comparing(job, pairs, seconds / 2)
    # What is in the sample of one side only may well be in the other: without order only pairs say what a pair costs.
    scale = len(pairs) / max(1, compared) / share
    reading, packing, comparing = reading / share, packing / share, comparing * scale
    workers = job.settings.workers
    made = round(output * scale)
    total = job.old.bytes + job.new.bytes
    return Forecast(
        bytes=total,
        share=share,
        articles=len(pairs),
        compared=compared,
        in_order=in_order,
        read_bytes_per_second=total / reading,
        compare_seconds=comparing,
        seconds=_together(reading + packing, comparing, workers),
        memory=(resident + _TASKS_BYTES) * (workers + 1 if workers > 1 else 1)
        + (0 if in_order else job.settings.memory),
        disk=2 * made + round(spilled / share),
        output=made,
    )


def _sample(job: Job, seconds: float, pairs: Iterator[Pair]) -> tuple[list[Pair], float]:
    """Pairs from the start, and the share of the input bytes that they are."""
    read = BytesRead((job.old, job.new))
    end = time.monotonic() + seconds
    found: list[Pair] = []
    characters = 0
    for pair in pairs:
        found.append(pair)
        characters += sum(len(article.body) for article in pair if article is not None)
        if time.monotonic() > end or characters > _SAMPLE_CHARACTERS:
            break
    total = job.old.bytes + job.new.bytes
    return found, min(1.0, max(read.now(), 1) / max(total, 1))


def _by_id(job: Job) -> Iterator[Pair]:
    """Articles of both sides as they come, paired with the other version where that came before, then the rest."""
    waiting: tuple[dict[str, Article], dict[str, Article]] = ({}, {})
    for both in zip_longest(job.old.articles(BadRows()), job.new.articles(BadRows())):
        for side, article in enumerate(both):
            if article is None:
                continue
            other = waiting[1 - side].pop(article.id, None)
            if other is None:
                waiting[side][article.id] = article
            else:
                yield (article, other) if side == 0 else (other, article)
    yield from ((article, None) for article in waiting[0].values())
    yield from ((None, article) for article in waiting[1].values())


def _packing(pairs: list[Pair]) -> tuple[float, int]:
    """Seconds to write and read the articles as buckets do, and the bytes of the buckets."""
    begun = time.perf_counter()
    rows = b"\n".join(orjson.dumps([*article]) for pair in pairs for article in pair if article is not None)
    packed = zstandard.ZstdCompressor(level=1).compress(rows)
    for row in zstandard.ZstdDecompressor().decompress(packed).split(b"\n"):
        if row:
            orjson.loads(row)
    return time.perf_counter() - begun, len(packed)


def _comparing(job: Job, pairs: list[Pair], seconds: float) -> tuple[float, int, int]:
    """Seconds spent, pairs compared in them, and packed bytes of the rows that they gave."""
    begun = time.perf_counter()
    compared = size = 0
    for task in tasks(pairs, job.rules.unchanged):
        rows = done(task, job.rules)
        size += sum(len(zstandard.ZstdCompressor(level=3).compress(lines)) for lines in rows.lines.values())
        compared += max(task.counts["articles_old"], task.counts["articles_new"])
        if time.perf_counter() - begun > seconds:
            break
    return time.perf_counter() - begun, compared, size


def _together(reading: float, comparing: float, workers: int) -> float:
    """Seconds of both, where one process reads and `workers` compare on the cores there are."""
    if workers <= 1:
        return reading + comparing
    cores = min(workers + 1, len(os.sched_getaffinity(0)))
    return max(reading, comparing / workers, (reading + comparing) / cores)
