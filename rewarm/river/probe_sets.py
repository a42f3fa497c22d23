"""The probe sets of a plan: read before any work, named by what they ask, and kept with the run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import orjson

from rewarm.facts import Tally
from rewarm.plan import Plan
from rewarm.probes import Probe, ProbeSet, load_set
from rewarm.river.directory import RunDirectory
from rewarm.types import UserError

Sets = dict[str, list[Probe]]
Records = dict[str, dict[str, Any]]


def missing_files(plan: Plan, kept: Container[str] = ()) -> list[str]:
    """A sentence for each probe set whose files are not there; those `kept` with the run do not need them."""
    problems = []
    for name in (name for name in plan.probes if name not in kept):
        try:
            _source(plan, name).files()
        except UserError as error:
            problems.append(f"probes.{name}: {error}")
    return problems


def load_sets(plan: Plan, kept: Container[str] = ()) -> tuple[Sets, Records]:
    """The probes of each set of a plan but those `kept`, and what the ledger keeps of each: a hash of what is asked,
    and every count.

    UserError when a set holds no probe, or more bad rows than the plan allows.
    """
    sets: Sets = {}
    records: Records = {}
    for name in (name for name in plan.probes if name not in kept):
        tally = Tally()
        sets[name] = load_set(name, _source(plan, name), plan.bad_rows, tally)
        records[name] = {
            "hash": _hash(sets[name]),
            "rows": tally.rows,
            "left_out": dict(tally.left_out),
            "bad_rows": dict(tally.counts),
        }
    return sets, records


def _source(plan: Plan, name: str) -> ProbeSet:
    source = plan.probes[name].probes
    assert isinstance(source, ProbeSet)  # the plan built it from the probes folder
    return source


def _hash(probes: Sequence[Probe]) -> str:
    """Of what is asked, wherever the file lies."""
    names = [field.name for field in fields(Probe) if field.name != "place"]
    digest = hashlib.sha256()
    for probe in probes:
        digest.update(orjson.dumps([getattr(probe, name) for name in names]) + b"\n")
    return digest.hexdigest()


def changed_sets(records: Records, begun: Mapping[str, Any]) -> list[str]:
    """The sets that ask something else than when the run began; a set that it did not have then is none of them."""
    known = begun.get("probes", {})
    return [f"probes {name}" for name, one in records.items() if name in known and known[name]["hash"] != one["hash"]]


def keep_sets(sets: Sets, names: Iterable[str], run: RunDirectory) -> None:
    """Writes sets into the run directory, so that it can ask another model without their files."""
    for name in names:
        run.write_json(_kept(name), [asdict(probe) for probe in sets[name]])


def kept_sets(run: RunDirectory, names: Iterable[str]) -> Sets:
    """The sets that `keep_sets` wrote; UserError when one is gone."""
    sets: Sets = {}
    for name in names:
        file = run.root / _kept(name)
        if not file.is_file():
            raise UserError(f"'{file}' is gone, which holds what the run asks. Restore it, or give another output_dir")
        sets[name] = [_probe(row) for row in json.loads(file.read_bytes())]
    return sets


def _kept(name: str) -> str:
    return f"probes/{name}.json"


def _probe(row: Mapping[str, Any]) -> Probe:
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    return Probe(**values)
