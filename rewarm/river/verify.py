"""Holds what lies in a run directory against what was recorded of it: nothing is written, nothing is trained.

The ledgers' chains, the weights of base and legs, checkpoints, prepared text, a sample of the kept losses scored again,
and every number of the report made again from what the run has kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rewarm.report.result import Result, read
from rewarm.river.checks import Check
from rewarm.river.directory import RunDirectory
from rewarm.river.inputs import read_inputs, stores_begun_with
from rewarm.river.run import collected
from rewarm.river.status import is_held
from rewarm.river.verify_models import Sample, models
from rewarm.tokens.damage import damage as store_damage
from rewarm.training import checkpoint
from rewarm.types import Tell, UserError, silent

SAME = 1e-9
"""Relative difference that two sums of the same numbers may have."""
NOT_COMPARED = {"created", "command", "rewarm", "notes"}
"""What a report holds besides numbers that follow from what is kept: when and by what it was made, and words."""


def verify(root: Path, documents: int = 4, seed: int = 0, tell: Tell = silent) -> list[Check]:
    """Every check of a run, in the order of its files; `documents` of each model and watched corpus are scored again.

    UserError when the directory holds no run, or a process works in it.
    """
    plan = RunDirectory(root).resolved()
    run = RunDirectory.of(plan, root)
    if is_held(root / ".lock"):
        raise UserError(f"a rewarm process works in '{root}': verify it when that has ended")
    checks = [*_ledgers(run), *_checkpoints(run, tell)]
    try:
        stores = [*_stores(run, tell), *_samples(run)]
    except UserError as error:  # the run has not begun, or a line of its ledger is no event
        return [*checks, Check.skipped(str(root), "everything else", str(error))]
    checks += stores
    if any(check.right is not True for check in stores):
        why = "the prepared text that it needs is damaged or gone"
        return [*checks, *(Check.skipped(str(root), what, why) for what in ("models", "report.json"))]
    inputs = read_inputs(plan, run)
    checks += models(inputs, run, Sample(documents, seed), tell)
    return [*checks, *_report(root)]


def _ledgers(run: RunDirectory) -> Iterator[Check]:
    for ledger in run.ledgers().values():
        chain, name = ledger.chain(), str(ledger.file.relative_to(run.root))
        for line, fault in chain.faults:
            yield Check(f"{name}, line {line}", "chain", "as it was written", fault, False)
        if not chain.faults:
            chained = f"{chain.lines - chain.unchained} lines in the chain"
            older = f"; {chain.unchained} before it, by a version that had none" if chain.unchained else ""
            yield Check(name, "chain", "no line altered, taken out or put in", chained + older, True)


def _checkpoints(run: RunDirectory, tell: Tell) -> Iterator[Check]:
    """Complete checkpoints against their markers; half-written ones are named, and were never used."""
    folders = sorted([*run.root.glob("training/*/*"), *run.root.glob("controls/*/training/*/*")])
    for folder in folders:
        name = str(folder.relative_to(run.root))
        if folder.name.startswith("partial-checkpoint-"):
            yield Check.skipped(name, "checkpoint", "half-written, and never used")
        elif folder.name.startswith("checkpoint-"):
            tell(f"verify {name}", 0, None, "")
            damaged = checkpoint.damage(folder)
            found = f"damaged: {', '.join(damaged)}" if damaged else "as its marker says"
            yield Check(name, "checkpoint", "as its marker says", found, not damaged)


def _stores(run: RunDirectory, tell: Tell) -> Iterator[Check]:
    """Prepared text against its manifest, and its manifest against the ledger."""
    begun = run.recorded("inputs")
    for corpus, folder in stores_begun_with(run).items():
        assert begun is not None  # its folders were read from it
        if not (folder / "manifest.json").is_file():
            yield Check(str(folder), "prepared text", "there", "gone", False)
            continue
        recorded = begun["corpora"][corpus]["hash"]
        faults = store_damage(folder, recorded, partial(_told, tell, f"verify {corpus}"))
        yield from (Check(str(folder / file), "prepared text", "as recorded", fault, False) for file, fault in faults)
        if not faults:
            yield Check(str(folder), "prepared text", "as recorded", "as recorded", True)


def _samples(run: RunDirectory) -> Iterator[Check]:
    """Text that models have sampled for themselves, against its own manifests: no ledger tells of it."""
    for file in sorted([*run.root.glob("samples/*/manifest.json"), *run.controls.glob("*/samples/*/manifest.json")]):
        faults = store_damage(file.parent, None)
        yield from (Check(str(file.parent / name), "samples", "as written", fault, False) for name, fault in faults)
        if not faults:
            yield Check(str(file.parent), "samples", "as written", "as written", True)


def _told(tell: Tell, label: str, done: int, total: int) -> None:
    tell(label, done, total, "tokens")


def _report(root: Path) -> Iterator[Check]:
    """Every number of report.json, made again from what the run keeps."""
    if not (root / "report.json").is_file():
        yield Check.skipped("report.json", "numbers", "there is none yet")
        return
    held = read(root)
    made = collected(root)
    count = 0
    for path, before, after in _differences(_plain(held), _plain(made)):
        count += 1
        yield Check(f"report.json, {path}", "number", str(after), str(before), False)
    if not count:
        numbers = sum(1 for _ in _leaves(_plain(held)))
        yield Check("report.json", "numbers", "as what is kept gives them", f"{numbers:,} values, all of them", True)


def _plain(result: Result) -> dict[str, Any]:
    return result.model_dump(exclude=NOT_COMPARED)


def _leaves(value: Any) -> Iterator[Any]:
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else None
    if parts is None:
        yield value
        return
    for part in parts:
        yield from _leaves(part)


def _differences(held: Any, made: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two values differ: the path to it, what is held there, and what it should be."""
    if isinstance(held, Mapping) and isinstance(made, Mapping):
        for key in [*held, *(key for key in made if key not in held)]:
            yield from _differences(held.get(key), made.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(held, list | tuple) and isinstance(made, list | tuple) and len(held) == len(made):
        for number, (old, new) in enumerate(zip(held, made, strict=True)):
            yield from _differences(old, new, f"{path}.{number}")
    elif not _same(held, made):
        yield path, held, made


def _same(held: Any, made: Any) -> bool:
    if isinstance(held, float) and isinstance(made, float):
        return math.isclose(held, made, rel_tol=SAME, abs_tol=1e-12) or (math.isnan(held) and math.isnan(made))
    return bool(held == made)
