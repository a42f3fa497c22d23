"""The commit of a base on the hub: found once, kept with the run, and loaded ever after.

A name on the hub, or a branch of it, is another model after its owner's next upload. A run that goes on, is scored
again or gets another stage must load the one it began with.
"""

from __future__ import annotations

from pathlib import Path

from rewarm.hub import COMMIT, commit_of, is_name
from rewarm.plan import Plan
from rewarm.river.directory import RunDirectory
from rewarm.storage import read_json, write_json

LOCK = "base.lock.json"
"""In a run directory: the name and revision that were asked for, and the commit they were."""


def pinned(plan: Plan, run: RunDirectory) -> Plan:
    """The plan with the commit of its base as `revision`, the one that the run began with if it has.

    As it is for a folder, a base from scratch, a revision that is a commit, and a run begun before commits were kept.
    UserError when the base has no configuration that can be read. For the process that holds the run directory.
    """
    if not isinstance(plan.base, str) or not is_name(plan.base) or COMMIT.fullmatch(plan.revision or ""):
        return plan
    commit = locked_commit(run.root, plan.base, plan.revision, begun=bool(run.ledger()))
    return plan.model_copy(update={"revision": commit or plan.revision})


def as_begun(plan: Plan, folder: Path) -> Plan:
    """The plan with the commit that a folder's lock has for its base; as it is where none is kept. Asks nobody."""
    kept = read_json(folder / LOCK)
    if not isinstance(kept, dict) or (kept.get("base"), kept.get("asked")) != (plan.base, plan.revision):
        return plan
    return plan.model_copy(update={"revision": kept.get("commit") or plan.revision})


def locked_commit(folder: Path, base: str, revision: str | None, begun: bool) -> str | None:
    """The commit of a name on the hub as a folder's lock has it, found and kept there the first time.

    None for a folder, and for work that had `begun` before commits were kept. UserError for no such model.
    """
    if not is_name(base):
        return None
    kept, asked = read_json(folder / LOCK), {"base": base, "asked": revision}
    if not isinstance(kept, dict) or {key: kept.get(key) for key in asked} != asked:
        if begun:
            return None
        kept = {**asked, "commit": commit_of(base, revision)}
        write_json(folder / LOCK, kept)
    commit: str | None = kept["commit"]
    return commit
