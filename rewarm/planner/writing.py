"""The plan that was chosen, as YAML: an ordinary plan, with its forecast in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from rewarm.expected import Expected, Foretold, Spoken
from rewarm.plan import Plan, from_values
from rewarm.planner.asked import Asked
from rewarm.planner.judging import Corpus
from rewarm.planner.pilots import Pilot, at_settings
from rewarm.planner.solving import Solved
from rewarm.storage import replaced

_KEPT = (
    "base", "revision", "output_dir", "prepared_dir", "seed", "seq_len", "batch_tokens", "precision", "corpora",
    "stages", "watch", "controls", "eval_tokens", "forecast",
)  # fmt: skip


def foretold(asked: Asked, corpora: Sequence[Corpus], solved: Solved, pilots: Sequence[Pilot]) -> Foretold:
    """What the plan is expected to do, for the run to be held against: from these pilots, in as many seconds as so many
    tokens take at the pace of the longest."""
    changes = {}
    for one in corpora:
        found = solved.forecasts[one.name]
        low, point, high = (float(bound[0]) for bound in (found.low_G, found.point_G, found.high_G))
        changes[one.name] = Expected(point=point, low=low, high=high, law=one.best.name)
    longest = max(pilots, key=lambda one: one.tokens)
    values = _settled(asked.plan, solved)
    spoken = Spoken(
        learning_rate=values["stages"][0]["learning_rate"],
        replay=values["stages"][0]["replay"]["share"],
        tokens=sum(stage["tokens"] for stage in values["stages"]),
        seq_len=asked.plan.seq_len,
        batch_tokens=asked.plan.batch_tokens,
    )
    return Foretold(
        changes=changes,
        seconds=longest.seconds * spoken.tokens / longest.tokens if longest.seconds else None,
        max_forget=asked.max_forget,
        pilots=str(asked.work),
        stage=asked.plan.stages[-1].name,
        learned_from=len(pilots),
        longest=longest.tokens,
        speaks_of=spoken,
    )


def _settled(plan: Plan, solved: Solved) -> dict[str, Any]:
    """The plan's values at the solved settings, rounded as they are written."""
    return at_settings(plan, float(f"{solved.peak:.3g}"), round(solved.share, 4), solved.tokens)


def chosen_plan(plan: Plan, solved: Solved, expected: Foretold) -> Plan:
    """The plan to run: at the solved settings, scored on the final part of the held-out documents."""
    values = _settled(plan, solved)
    values["watch"] = [{**watch, "part": "final"} for watch in values["watch"]]
    values["forecast"] = expected.model_dump(mode="json")
    return from_values(values)


def text_of(plan: Plan, why: Sequence[str]) -> str:
    """The plan as YAML, with comments before it that say why it is what it is."""
    resolved = plan.resolved()
    values: Mapping[str, Any] = {
        key: _short(key, resolved[key]) for key in _KEPT if resolved[key] not in (None, [], ())
    }
    lines = ["# Written by rewarm plan. Next: rewarm check, then rewarm run."]
    lines += [f"# {' '.join(sentence.split())}" for sentence in why]
    # Through JSON: values used twice would be written as YAML anchors.
    body = yaml.safe_dump(json.loads(json.dumps(values)), sort_keys=False, allow_unicode=True, width=120)
    return "\n".join(lines) + "\n" + body


def _short(key: str, value: Any) -> Any:
    """A value without what is empty: keys that a reader need not see."""
    if key == "stages":
        return [{name: one for name, one in stage.items() if one not in (None, [], ())} for stage in value]
    return value


def write(file: Path, text: str) -> None:
    """Writes the plan; it is never seen half-written."""
    with replaced(file) as written:
        written.write(text.encode())
