"""What was found, in sentences: why the plan is what it is, and where its forecast stands on little."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rewarm.plan import Plan
from rewarm.planner.asked import Asked
from rewarm.planner.design import SWEEP
from rewarm.planner.judging import Corpus
from rewarm.planner.pilots import ENOUGH_DOCUMENTS, Pilot
from rewarm.planner.room import Text
from rewarm.planner.solving import Solved
from rewarm.quantities import short

_EDGE, _AGAIN, _FURTHER = 1.001, 1.1, 1.2
"""How near an edge is at it; passes over a text above which it is said to be read again; times the largest change of
any pilot above which a forecast is said to go beyond them."""


def replayed(plan: Plan) -> str:
    """What each stage learns and replays, and which old corpora are watched only."""
    stages = plan.stages
    sources = {name for stage in stages if stage.replay is not None for name in stage.replay.sources}
    parts = [f"{stage.name} ({short(stage.tokens or 0)} tokens)" for stage in stages]
    order = "one stage" if len(stages) == 1 else "stages, one after another"
    old = [watch.corpus for watch in plan.watch if plan.role(watch.corpus) == "old"]
    only = [name for name in old if name not in sources]
    held = f"; watched, but not replayed: {', '.join(only)}" if only else ""
    each = "it" if len(stages) == 1 else "each"
    return f"{order}: {', '.join(parts)}; {each} replays {', '.join(sorted(sources))}{held}"


def laws(corpora: Sequence[Corpus]) -> list[str]:
    """For each corpus the law that is believed, and whether a published one was."""
    found = []
    for one in corpora:
        best = one.best
        published = min((law for law in one.laws if not law.fitted.law.baseline), key=lambda law: law.error)
        words = f"{one.name}: the law {best.name}, {100 * best.points:.2f} points off on pilots it had not seen"
        if best.fitted.law.baseline:
            words += (
                f"; no published law came nearer than the baseline (the best of them, {published.name}: "
                f"{100 * published.points:.2f}), so the baseline is believed"
            )
        found.append(words)
    return found


def pilots_notes(asked: Asked, pilots: Sequence[Pilot], text: Text) -> list[str]:
    """Where the pilots themselves say less than they seem to: few documents, text read again, peaks at an edge."""
    said = []
    scored: dict[str, int] = {}
    for pilot in pilots:
        scored |= pilot.scored
    for name, documents in scored.items():
        if documents < ENOUGH_DOCUMENTS:
            said.append(
                f"{name}: pilots are scored on {documents} documents; fewer than {ENOUGH_DOCUMENTS}, so that part of "
                "its interval is widened (Student's t)"
            )
    again, text_again = max(text.worst(one.point.share, one.tokens) for one in pilots)
    if again > _AGAIN:
        said.append(
            f"a pilot went through {text_again} {again:.1f} times; no law tells text that is read again from new text"
        )
    known = max((one.tokens for one in pilots if one.point.why != "long"), default=0)
    if max(one.tokens for one in pilots) <= 1.05 * known:
        said.append(
            f"no pilot is longer than those of the grid ({known:,} tokens), so how laws err on longer runs is known "
            "from short ones only"
        )
    swept = [one.point.peak for one in pilots if one.point.why == "sweep"]
    grid = [one.point.peak for one in pilots if one.point.why == "grid"]
    if grid and asked.design.sweeps and max(grid) * _EDGE > asked.plan.stages[0].learning_rate * SWEEP[-1]:
        said.append(f"of the sweep its highest peak, {max(swept):.2g}, learned most: a higher one may learn more")
    return said


def plan_notes(solved: Solved, corpora: Sequence[Corpus], pilots: Sequence[Pilot], text: Text) -> list[str]:
    """Where the settings, or what is forecast of them, lie beyond what pilots have seen, or at its edge."""
    said = []
    if solved.beyond:
        said.append(
            f"{solved.beyond} of {solved.tried} settings are left out: a law forecasts there that no loss is left, so "
            "it does not hold so far from the pilots; near them take its forecast with care"
        )
    longest = max(one.tokens for one in pilots)
    if solved.tokens > 1.05 * longest:
        said.append(
            f"{solved.tokens:,} tokens are {solved.tokens / longest:.1f} times those of the longest pilot "
            f"({longest:,}): the forecast goes beyond what was seen, and 'reach' widens its intervals"
        )
    for one in corpora:
        point, most = float(solved.forecasts[one.name].point_G[0]), float(np.abs(one.change_N).max())
        if abs(point) > _FURTHER * most:
            said.append(
                f"{one.name}: the forecast change, {100 * point:+.1f} %, is larger than any pilot's (up to "
                f"{100 * most:.1f} %): beyond what was seen"
            )
    again, name = text.worst(solved.share, solved.tokens)
    seen, _ = max(text.worst(one.point.share, one.tokens) for one in pilots)
    if again > _AGAIN and again > 1.05 * seen:
        said.append(
            f"the plan goes through {name} {again:.1f} times, and no pilot went through any text more than {seen:.1f} "
            "times: what reading it again does is not in the forecast"
        )
    shares, peaks = [one.point.share for one in pilots], [one.point.peak for one in pilots if one.point.why != "sweep"]
    edges = [
        f"{name} {value:.3g} is the {word} that pilots had"
        for name, value, tried in (("replay", solved.share, shares), ("peak", solved.peak, peaks))
        for word, edge in (("lowest", min(tried)), ("highest", max(tried)))
        if edge / _EDGE <= value <= edge * _EDGE
    ]
    if edges:
        said.append(f"{', '.join(edges)}: better settings may lie beyond, where nothing was tried")
    return said


def reasons(asked: Asked, plan: Plan, corpora: Sequence[Corpus], solved: Solved, pilots: int) -> list[str]:
    """Why the plan that was chosen is what it is, sentence by sentence."""
    said = [
        f"From {pilots} pilots; peaks: {asked.ending.how}.",
        f"Text: {replayed(plan)}.",
        f"Of all settings tried whose forgetting keeps below {100 * asked.max_forget:g} % with its upper bound, the "
        f"surest gain: peak {solved.peak:.3g}, replay {100 * solved.share:.1f} %, {solved.tokens:,} tokens.",
        "Forecasts are changes of loss in percent of the base's loss (nats per byte), with 95 % intervals.",
    ]
    for one in corpora:
        here = solved.forecasts[one.name]
        low, point, high = (100 * float(bound[0]) for bound in (here.low_G, here.point_G, here.high_G))
        interval = f"{point:+.2f} % [{low:+.2f}, {high:+.2f}]"
        said.append(f"Forecast for {one.name} ({one.role}): {interval} by the law {one.best.name}.")
    return said
