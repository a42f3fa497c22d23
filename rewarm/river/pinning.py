"""The commit of a base on the hub: found once, kept with the run, and loaded ever after.

A name on the hub, or a branch of it, is another model after its owner's next upload. A run that goes on, is scored
again or gets another stage must load the one it began with.
"""

from __future__ import annotations

import re
from pathlib import Path

from transformers.utils.hub import cached_file

from rewarm.plan import Plan
from rewarm.river.directory import RunDirectory
from rewarm.storage import read_json, write_json
from rewarm.types import UserError

LOCK = "base.lock.json"
"""In a run directory: the name and revision that were asked for, and the commit they were."""
_COMMIT = re.compile(r"[0-9a-f]{40}")


def pinned(plan: Plan, run: RunDirectory) -> Plan:
    """The plan with the commit of its base as `revision`, the one that the run began with if it has.

    As it is for a folder, a base from scratch, a revision that is a commit, and a run begun before commits were kept.
    UserError when the base has no configuration that can be read. For the process that holds the run directory.
    """
    if not isinstance(plan.base, str) or Path(plan.base).is_dir() or _COMMIT.fullmatch(plan.revision or ""):
        return plan
    kept = read_json(run.root / LOCK)
    asked = {"base": plan.base, "asked": plan.revision}
    if not isinstance(kept, dict) or {key: kept.get(key) for key in asked} != asked:
        if run.ledger():
            return plan
        kept = {**asked, "commit": _commit(plan.base, plan.revision)}
        write_json(run.root / LOCK, kept)
    return plan.model_copy(update={"revision": kept["commit"] or plan.revision})


def _commit(base: str, revision: str | None) -> str | None:
    """The commit of a name on the hub, or in its cache: transformers keeps files of a commit in a folder of its name.
    None where it does not."""
    try:
        file = cached_file(base, "config.json", revision=revision)
    except (OSError, ValueError) as error:
        raise UserError(f"base '{base}' is no model that could be read: {error}") from error
    found = [part for part in Path(file or "").parts if _COMMIT.fullmatch(part)]
    return found[-1] if found else None
