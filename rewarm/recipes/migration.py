"""A plan from a configuration of LLaMA-Factory or axolotl: what `rewarm init --from` writes.

Every key is told: what it became, why it has no meaning here, what is otherwise here than it asks for, or that it is
unknown. Such a configuration names no old text, so nothing would be replayed and forgetting would not be measured: the
plan has a commented place for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rewarm.plan import from_values
from rewarm.plan_file import read_yaml
from rewarm.recipes import migration_programs as programs
from rewarm.recipes import migration_training as training
from rewarm.recipes.migration_data import Corpora, weights
from rewarm.recipes.migration_given import Given
from rewarm.types import UserError

REPLAY = 0.05
NO_OLD = (
    "it names no old text, so nothing is replayed and what is forgotten is not measured: give --old TEXT, or fill in "
    "the lines marked 'old text' in the plan"
)


@dataclass(frozen=True, slots=True)
class Migration:
    """The plan's text, and what became of every key of the configuration of `program`."""

    text: str
    given: Given

    def described(self) -> dict[str, Any]:
        """What became of the keys, as plain values."""
        given = self.given
        return {
            "program": given.program,
            "translated": dict(sorted(given.translated.items())),
            "meaningless": dict(sorted(given.idle.items())),
            "differs": dict(sorted(given.differs.items())),
            "unknown": sorted(given.unknown),
            "defaults": dict(sorted(given.defaults.items())),
            "notes": list(given.notes),
        }


def migrated(config: Path, old: Sequence[str], output_dir: str | None, devices: int) -> Migration:
    """The plan behind a configuration; `old` is text to keep, `devices` how many the configuration was for.

    UserError when the file cannot be read, is none of the two programs', or trains something a plan cannot say.
    """
    if devices < 1:
        raise UserError(f"--devices {devices} must be 1 or more")
    values = read_yaml(config, "Give the YAML file that LLaMA-Factory or axolotl was started with.", "configuration")
    strange = [str(key)[:40] for key in values if not isinstance(key, str)]
    if strange:
        raise UserError(f"configuration '{config}' has keys that are no words: {', '.join(strange[:6])}")
    given = Given(programs.program_of(values), values)
    plan, found = _plan(given, config, old, output_dir, devices)
    given.sort_rest()
    if not old:
        given.notes.append(NO_OLD)
    from_values(plan)
    return Migration(_written(plan, given, found, bool(old), config), given)


def _plan(
    given: Given, config: Path, old: Sequence[str], output_dir: str | None, devices: int
) -> tuple[dict[str, Any], Corpora]:
    beside = config.resolve().parent
    word = programs.kind(given)
    plan = programs.base(given)
    theirs = given.take("output_dir", "output_dir")
    plan["output_dir"] = output_dir or str(theirs or f"runs/{config.stem}")
    plan |= training.rows_and_batch(given, devices)
    found = programs.corpora(given, word, _shown(config))
    steps = given.values.get("max_steps")
    known = steps if isinstance(steps, int) and not isinstance(steps, bool) and steps > 0 else None
    stage = {
        "name": programs.STAGES[word],
        "data": weights(found),
        **training.budget(given, plan["batch_tokens"]),
        **training.rate(given, known),
        **programs.objective(given, word),
        **programs.adapter(given),
    }
    learned = list(found.learned)
    for number, text in enumerate(old):
        name = "old-text" if number == 0 else f"old-text-{number + 1}"
        found.add(name, {"path": text}, learned=False)
    kept = [name for name in found.watched if name not in learned]
    if old:
        stage["replay"] = {"from": [name for name in kept if name.startswith("old-text")], "share": REPLAY}
    plan |= {"corpora": found.options, "stages": [stage], "watch": [*kept, *learned]}
    plan |= {**({"controls": ["new-only"]} if old else {}), **training.optimizer(given)}
    return plan | training.machine(given, beside) | training.saving(given, plan["batch_tokens"]), found


def _shown(config: Path) -> Path:
    """The folder of the configuration, as it was typed."""
    return config.parent


def _written(plan: Mapping[str, Any], given: Given, found: Corpora, has_old: bool, config: Path) -> str:
    lines = [
        f"# Written by rewarm init from a configuration of {given.program}, {config.name}. Next: rewarm check.",
        *_told("What is otherwise here than it asks for", given.differs.items()),
        *_told("Unknown keys, of which nothing was made", [(key, "") for key in given.unknown]),
        *_told("Where it says nothing", given.defaults.items()),
        *_told("To know", [(note, "") for note in given.notes]),
    ]
    for key, value in plan.items():
        lines += _part(key, value, found, has_old)
    return "\n".join(lines) + "\n"


def _told(title: str, items: Any) -> list[str]:
    said = [f"#   {_line(f'{key}: {why}' if why else key)}" for key, why in items]
    return [f"# {title}:", *said] if said else []


def _part(key: str, value: Any, found: Corpora, has_old: bool) -> list[str]:
    """One key of the plan, with its remarks before it and the place for old text behind it."""
    before = [f"# {name}: {_line(remark)}" for name, remarks in found.comments.items() for remark in remarks]
    # Through JSON: values used twice would be written as YAML anchors.
    plain = json.loads(json.dumps({key: value}))
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120).rstrip()
    after = {} if has_old else {
        "corpora": ["# old text: a sample of what the base was trained on", "#  old-text:", "#    path: old/*.jsonl"],
        "stages": ["# old text: 5% of the tokens are it", "#  replay:", "#    from: old-text", f"#    share: {REPLAY}"],
        "watch": ["# old text: what is forgotten", "#- old-text"],
    }  # fmt: skip
    return [*(before if key == "corpora" else []), text, *after.get(key, [])]


def _line(text: str) -> str:
    """One line of a comment, whatever the text holds."""
    return " ".join(text.split())[:300]
