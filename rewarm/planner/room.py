"""How much text there is for pilots and update: how often each goes through it, and which settings it allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rewarm.planner.asked import Asked
from rewarm.planner.design import SHARES, Point
from rewarm.planner.solving import Tried, tried
from rewarm.river.forecast import Forecast
from rewarm.types import UserError


class Source(NamedTuple):
    """A text to train on: its name, whether it is replayed, the part it has of the tokens of its kind (new, replayed),
    and how many tokens of it there are."""

    name: str
    replayed: bool
    part: float
    held: int


@dataclass(frozen=True, slots=True)
class Text:
    """The texts whose size is known, and how often each may be gone through (`max_epochs`)."""

    sources: tuple[Source, ...]
    most: float

    def worst(self, share: float, tokens: float) -> tuple[float, str]:
        """How often so many tokens with this share of replay go through the text that they go through most often, and
        its name; 0 and no name where no size is known."""
        return max(
            (
                (tokens * one.part * (share if one.replayed else 1 - share) / max(1, one.held), one.name)
                for one in self.sources
            ),
            default=(0.0, ""),
        )

    def room(self, share: float) -> float:
        """The most tokens of an update with this share of replay."""
        once, _ = self.worst(share, 1.0)
        return self.most / once if once else float("inf")


def text_of(asked: Asked, foreseen: Forecast) -> Text:
    """What the forecast of the plan that is asked for says of its text."""
    held = {one.name: one.trainable for one in foreseen.corpora if one.known}
    found = []
    for stage in asked.plan.stages:
        weight = sum(portion.weight for portion in stage.data) * asked.budget
        found += [
            Source(one.corpus, False, one.weight * (stage.tokens or 0) / weight, held[one.corpus])
            for one in stage.data
            if one.corpus in held
        ]
    old = {name for stage in asked.plan.stages if stage.replay is not None for name in stage.replay.sources}
    found += [Source(name, True, 1 / len(old), held[name]) for name in sorted(old & held.keys())]
    return Text(tuple(found), min(stage.max_epochs for stage in asked.plan.stages))


def check_pilots(asked: Asked, text: Text) -> None:
    """UserError where the pilots of the grid would go through a text more often than a run may."""
    longest, share = asked.design.lengths[2], SHARES[-1]
    passes, name = text.worst(share, longest)
    if passes > text.most:
        raise UserError(
            f"pilots of {longest:,} tokens, {100 * share:g}% of them replayed, would go through '{name}' {passes:.1f} "
            f"times, more than max_epochs {text.most:g}: give more of it, or lower --budget or --pilot-tokens"
        )


def settings(asked: Asked, text: Text, peaks: Sequence[float]) -> Tried:
    """The settings to choose from: between the lowest and the highest of these peaks, the grid's shares, and what text
    there is."""
    return tried((min(peaks), max(peaks)), (SHARES[0], SHARES[-1]), asked.budget, text.room)


def sound_peaks(kept: Sequence[Point], lost: Sequence[Point]) -> list[float]:
    """The peaks of the grid's pilots that are below all at which a pilot diverged; none where all are above."""
    least = min((one.peak for one in lost), default=float("inf"))
    return [one.peak for one in kept if one.why in ("grid", "repeat") and one.peak < least]
