"""Which kind of corpus a path is, so that a plan may give the path alone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from rewarm.methods import Method
from rewarm.types import UserError

_SUFFIXES = {
    ".jsonl": "jsonl",
    ".json": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".txt": "text",
    ".md": "text",
    ".xml": "wiki",
}
_PACKED = (".gz", ".bz2", ".zst")
# Parts of a dump are named after the pages they hold: articles1.xml-p1p41242.bz2.
_PART = re.compile(r"-p\d+p\d+$")


def corpus_options(value: Any) -> Any:
    """A corpus's options with `type` filled in from its path; a bare path stands for all defaults.

    UserError for a mapping with neither.
    """
    options = {"path": value} if isinstance(value, str | Path | list | tuple) else value
    if isinstance(options, Method) or not isinstance(options, Mapping) or "type" in options:
        return options
    if not options.get("path"):
        raise UserError(
            f"give a path, or a mapping with 'path' or 'type'; this has {', '.join(map(str, options)) or 'no key'}"
        )
    paths = options["path"] if isinstance(options["path"], list | tuple) else [options["path"]]
    texts = [str(path) if isinstance(path, Path) else path for path in paths]  # a wrong type is pydantic's to name
    return {"type": _type_of_path(str(texts[0])), **options, "path": texts if len(texts) > 1 else texts[0]}


def _type_of_path(path: str) -> str:
    suffixes = [_PART.sub("", suffix) for suffix in Path(path).suffixes if suffix not in _PACKED]
    if suffixes and suffixes[-1] in _SUFFIXES:
        return _SUFFIXES[suffixes[-1]]
    if Path(path).expanduser().is_dir():
        kinds = [_type_of_path(name) for name in islice(_names_inside(Path(path).expanduser()), 200)]
        return max(sorted(set(kinds)), key=kinds.count) if kinds else "text"
    return "code" if suffixes else "text"


def _names_inside(folder: Path) -> Iterator[str]:
    """Names of the files below a folder in a fixed order, hidden ones left out."""
    for _, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from sorted(name for name in files if not name.startswith("."))
