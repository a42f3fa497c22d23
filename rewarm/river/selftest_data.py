"""Whether a plan's stages read what the plan asks for: shares of tokens, passes, and the same batches on going on.

Nothing is trained: rows are a function of the seed and the step, so that a stage's are known before it begins.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
from transformers import PreTrainedModel

from rewarm.objectives import Beginning, Rows
from rewarm.plan import Stage
from rewarm.river import stale
from rewarm.river.checks import Check
from rewarm.river.leg_rows import beginning, objective_of
from rewarm.river.legs import BASE, LegPlan
from rewarm.river.selftest import Bench
from rewarm.tokens.loader import Source
from rewarm.training.coming import fingerprint

SHARE = 0.005
"""What a realised share may be off by, or one row where that is more."""
WALKED = 200_000
"""Rows of a corpus that are walked one by one, at most; a leg that reads more is walked in part, which is said."""


def data(bench: Bench, steps: int) -> list[Check]:
    """Every leg: realised shares and passes over all its steps, and batches at a few places among its first `steps`."""
    ready = [leg for leg in bench.planned if all(name in bench.inputs.stores for name in leg.shares)]
    stale.find(bench.inputs, bench.run, ready, bench.hooks.tell_or_stop)
    used: dict[str, Counter[str]] = {BASE: Counter()}
    found: list[Check] = []
    for leg in bench.planned:
        if leg not in ready or leg.start not in used:
            found.append(Check.skipped(leg.name, "data", "it reads samples of a model that is not trained here"))
            continue
        begin = beginning(bench.inputs, bench.run, leg, used[leg.start], _no_model)
        counts = np.bincount(begin.source_SR.reshape(-1), minlength=len(begin.sources)).tolist()
        rows = Counter(dict(zip(leg.shares, counts, strict=True)))
        used[leg.name] = used[leg.start] + rows
        found += _shares(leg, rows)
        stage = next(stage for stage in bench.plan.stages if stage.name == leg.stage)
        for source in begin.sources:
            bench.hooks.tell_or_stop(f"walk {leg.name}", 0, None, f"rows of {source.name}")
            found.append(_passes(bench, stage, leg, source, rows[source.name]))
        found += _batches(leg, begin, steps)
    return found


def _no_model() -> PreTrainedModel:
    raise RuntimeError("no model is loaded where data alone is looked at")


def _shares(leg: LegPlan, rows: Mapping[str, int]) -> Iterator[Check]:
    total = sum(rows.values())
    most = max(SHARE, 1 / total)
    for corpus, planned in leg.shares.items():
        realised = rows[corpus] / total
        right = abs(realised - planned) <= most
        yield Check(leg.name, f"share of {corpus}", f"{planned:.2%} ± {most:.2%}", f"{realised:.2%}", right)


def _passes(bench: Bench, stage: Stage, leg: LegPlan, source: Source, rows: int) -> Check:
    """How often each document is read, counted token by token, against the passes that the leg's rows touch."""
    plan, stream = bench.plan, source.stream
    begin, count = source.first_row, min(rows, WALKED)
    read_D = np.zeros(stream.store.documents, np.int64)
    for row in range(begin, begin + count):
        for document, _, length in stream.pieces(row, plan.seq_len):
            read_D[document] += length
    start, end = begin * plan.seq_len, (begin + count) * plan.seq_len
    whole = max(0, end // stream.tokens - -(-start // stream.tokens))
    touched = 0 if end == start else (end - 1) // stream.tokens - start // stream.tokens + 1
    times_N = read_D[stream.documents] / np.maximum(1, stream.store.lengths_of(stream.documents))
    least, most = math.floor(float(times_N.min())), math.ceil(float(times_N.max()))
    passes = rows * plan.seq_len / stream.tokens
    slack = leg.shares[source.name] * plan.batch_tokens / 2 / stream.tokens  # whole steps may be half a step more
    right = most <= touched and least >= whole and passes <= stage.max_epochs + max(slack, plan.seq_len / stream.tokens)
    told = "" if count == rows else f"; the first {count:,} of {rows:,} rows"
    told += "; before the stage selects" if stage.select is not None else ""
    expected = f"{whole} to {touched} times, and {stage.max_epochs:g} passes or fewer"
    return Check(
        leg.name, f"documents of {source.name}", expected, f"{least} to {most} times, {passes:.3g} passes{told}", right
    )


def _batches(leg: LegPlan, begin: Beginning, steps: int) -> Iterator[Check]:
    """Batches on going on, in rows made anew as by another process, against those of one that went through."""
    objective = objective_of(leg)
    if objective.holds != "text":
        yield Check.skipped(leg.name, "batches", f"a {objective.method_name()} stage makes them with a model")
        return
    walked = _walked(objective.rows(begin), 0, min(steps, leg.steps))
    far = max(0, leg.steps - 3)
    for start, known in ((0, walked), (far, _walked(objective.rows(begin), far, leg.steps))):
        for step in sorted({start + 1, start + len(known) // 2, start + len(known) - 1} & set(known)):
            found = _walked(objective.rows(begin), step, step + 1)[step]
            told = found.partition(":")[2][:12], known[step].partition(":")[2][:12]
            yield Check(leg.name, f"first batch on going on at step {step}", told[1], told[0], found == known[step])


def _walked(rows: Rows, start: int, stop: int) -> dict[int, str]:
    """The fingerprint of each step from `start` to `stop`, one after the other."""
    return {step: fingerprint(batches) for step, batches in zip(range(start, stop), rows.iterate(start), strict=False)}
