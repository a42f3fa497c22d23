"""The finished runs of a comparison -> a row for each arm: changes with both intervals, cost, standing. Shapes: D
documents, S seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import numpy as np

from rewarm.evaluation.frontier import Point, over_seeds, standing
from rewarm.evaluation.intervals import DocumentLosses, paired_delta
from rewarm.report.arm_transfers import ArmTransfer
from rewarm.report.arms import ArmRow, Measured, SeedRun
from rewarm.report.part import Verdict
from rewarm.report.result import Result, check_same_base
from rewarm.report.wording import NOISE, Change, columns, mean_of
from rewarm.river.directory import RunDirectory
from rewarm.river.legs import BASE
from rewarm.river.outcome import scored
from rewarm.river.stream_metrics import Losses
from rewarm.river.variants import Arm

FEW_SEEDS = 3
SAME_TOKENS = 0.01
"""A mixture gives each corpus whole rows, so new tokens of arms may differ by a few."""


@dataclass(frozen=True, slots=True)
class Finished:
    """One finished run: its number among the seeds, its directory and what it found."""

    seed: int
    directory: RunDirectory
    result: Result

    def losses(self) -> tuple[Losses, Losses]:
        """The base's and the final model's losses per document."""
        corpora = [column.name for column in self.result.columns]
        names = (BASE, self.result.final().name)
        base, final = (scored(self.directory, name, corpora) for name in names)
        return base, final


def check_alike(runs: Mapping[str, Sequence[Finished]]) -> None:
    """UserError unless all runs scored the same base on the same documents."""
    check_same_base({str(one.directory.root): one.result for found in runs.values() for one in found})


def seed_run(one: Finished) -> SeedRun:
    """What a single run found."""
    base, final = one.losses()
    costs = [cost for cost in one.result.costs if cost.run == ""]
    tokens, seconds = sum(cost.tokens for cost in costs), sum(cost.seconds for cost in costs)
    root = one.directory.root
    return SeedRun(
        seed=one.result.plan["seed"],
        folder="/".join(root.parts[-3:]),
        old=_mean(base, final, _corpora(one.result, "old")),
        new=_mean(base, final, _corpora(one.result, "new")),
        tokens=tokens,
        new_tokens=sum(part.tokens for part in one.result.shares if part.run == "" and not part.replay),
        seconds=seconds,
        tokens_per_second=tokens / seconds if seconds else 0.0,
    )


def arm_rows(arms: Sequence[Arm], runs: Mapping[str, Sequence[Finished]]) -> tuple[list[ArmRow], list[str]]:
    """The rows in the order of the arms, the first of which is plain training, and what a reader should know."""
    found = {arm.name: [seed_run(one) for one in runs[arm.name]] for arm in arms}
    plain = found[arms[0].name]
    sweep = [found[arm.name] for arm in arms if arm.kind == "sweep"]
    sweeps_S = [[Point(one.old, one.new) for one in of_seed] for of_seed in zip(*sweep, strict=True)]
    rows = []
    for arm in arms:
        own = found[arm.name]
        cells = _cells(runs[arm.name])
        ratios = [
            _over(before.tokens_per_second, one.tokens_per_second) for one, before in zip(own, plain, strict=True)
        ]
        rows.append(
            ArmRow(
                name=arm.name,
                kind=arm.kind,
                change=arm.change(),
                factor=arm.factor,
                control_of=arm.control_of,
                old=cells["old", None],
                new=cells["new", None],
                columns={name: one for (_, name), one in cells.items() if name is not None},
                runs=own,
                cost=median(ratios),
                standing=standing([Point(one.old, one.new) for one in own], sweeps_S) if arm.kind != "sweep" else None,
                transfers=_transfers([one.result for one in runs[arm.name]]),
            )
        )
    return rows, _notes(rows)


def _transfers(results: Sequence[Result]) -> tuple[ArmTransfer, ...]:
    """The transfers of the runs of an arm, each over its seeds."""
    held = [one.languages.transfers if one.languages is not None else [] for one in results]
    found = []
    for of_seed in zip(*held, strict=True):
        first = of_seed[0]
        value, low, high = over_seeds([one.value for one in of_seed])
        verdict: Verdict = "better" if low > 0 else "worse" if high < 0 else NOISE
        if len(of_seed) == 1 or not math.isfinite(value):
            low, high, verdict = first.low, first.high, first.verdict
        found.append(
            ArmTransfer(
                kind=first.kind, stage=first.stage, corpus=first.corpus, value=value, low=low, high=high,
                verdict=verdict,
            )
        )  # fmt: skip
    return tuple(found)


def _over(first: float, second: float) -> float:
    return first / second if second else math.nan


def _corpora(result: Result, role: Literal["old", "new"]) -> list[str]:
    return [column.name for column in columns(result, role)]


def _cells(found: Sequence[Finished]) -> dict[tuple[str, str | None], Measured]:
    """What an arm measured, by role and column; the mean over a role's columns has None for its column."""
    held = [one.losses() for one in found]
    base, finals_S = held[0][0], [final for _, final in held]
    cells: dict[tuple[str, str | None], Measured] = {}
    roles: tuple[Literal["old", "new"], ...] = ("old", "new")
    for role in roles:
        corpora = _corpora(found[0].result, role)
        cells[role, None] = _measured(base, finals_S, corpora)
        cells |= {(role, corpus): _measured(base, finals_S, [corpus]) for corpus in corpora}
    return cells


def _measured(base: Losses, finals_S: Sequence[Losses], corpora: Sequence[str]) -> Measured:
    mean, *seeds = over_seeds([_mean(base, final, corpora) for final in finals_S])
    if not math.isfinite(mean):
        return Measured(point=math.inf, documents=(math.inf, math.inf), seeds=(math.inf, math.inf))
    changes = []
    for corpus in corpora:
        before = base[corpus]
        nats_D = np.mean([final[corpus].nats_D for final in finals_S], axis=0)
        delta = paired_delta(before, DocumentLosses(nats_D, before.bytes_D, before.tokens_D))
        changes.append(Change(*(bound / before.per_byte for bound in (delta.delta, delta.low, delta.high))))
    documents = mean_of(changes)
    return Measured(point=mean, documents=(documents.low, documents.high), seeds=(seeds[0], seeds[1]))


def _mean(base: Losses, final: Losses, corpora: Sequence[str]) -> float:
    """The mean change over some corpora, as a share of the base's loss on each."""
    return sum(final[corpus].per_byte / base[corpus].per_byte - 1 for corpus in corpora) / len(corpora)


def _notes(rows: Sequence[ArmRow]) -> list[str]:
    notes = []
    seeds = len(rows[0].runs)
    if seeds < FEW_SEEDS:
        notes.append(
            f"{seeds} seed{'s' * (seeds != 1)} for each arm: intervals over seeds are "
            f"{'unknown, so no verdict is possible' if seeds == 1 else 'very wide'}. Give --seeds 3 or more"
        )
    plain = rows[0].runs[0]
    for row in rows:
        one = row.runs[0]
        if abs(one.new_tokens - plain.new_tokens) > SAME_TOKENS * plain.new_tokens:
            notes.append(
                f"'{row.name}' trained on {one.new_tokens:,} new tokens, '{rows[0].name}' on {plain.new_tokens:,}: "
                f"replay {'takes from the new' if one.tokens == plain.tokens else 'comes on top or is left out'}"
            )
    return notes
