"""From what a user types for a snapshot to the snapshot: a path alone, or options as in a plan."""

from __future__ import annotations

from pathlib import Path

from rewarm.corpora import paths
from rewarm.facts import Snapshot
from rewarm.methods import build
from rewarm.plan_file import yaml_value
from rewarm.types import UserError

_TYPES = {".csv": "triples", ".tsv": "triples", ".jsonl": "triples", ".ndjson": "triples", ".json": "wikidata"}


def snapshot_of(given: str) -> Snapshot:
    """A snapshot from a path, or from options in braces: `{type: terms, path: a.csv, at: 2021-01-03}`.

    Without a type, `.json` is a dump of Wikidata and anything else holds triples. UserError when it is neither, or
    when an option is wrong or a file is missing.
    """
    text = given.strip()
    options = _mapping(text) if text.startswith("{") else {"path": given}
    if "type" not in options:
        options = {"type": _TYPES.get(paths.suffix_of(str(options.get("path", ""))), "triples"), **options}
    snapshot = build("facts", options)
    assert isinstance(snapshot, Snapshot)  # a method of the folder is of its slot
    snapshot.files()
    return snapshot


def name_of(given: str) -> str:
    """What a snapshot is called in the probes made of it: the name of its file or folder."""
    text = given.strip()
    return Path(str(_mapping(text).get("path", ""))).name if text.startswith("{") else Path(text).name


def _mapping(text: str) -> dict[str, object]:
    try:
        options = yaml_value(text)
    except UserError as error:
        raise UserError(f"{text!r} is no mapping: {error}. Write {{type: triples, path: facts.csv}}") from None
    if not isinstance(options, dict):
        raise UserError(f"{text!r} is no mapping. Write {{type: triples, path: facts.csv}}")
    return options
