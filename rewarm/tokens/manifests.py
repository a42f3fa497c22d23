"""The manifest of a store, checked before anything it names is opened."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from rewarm.types import UserError

MANIFEST = "manifest.json"
DTYPES = ("uint16", "uint32")
"""What ids are kept in."""
_SHARD = re.compile(r"(?:tokens|learned)-\d{5,}\.bin")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a store. UserError when it is cut short or no manifest, or names a type of number or a file that
    a store does not have: a store may come from somebody else, and its files lie in its folder."""
    file = folder / MANIFEST
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        shards = found["shards"]
        names = [shard[key] for shard in shards for key in ("file", "learned") if key in shard]
        counts = [found["documents"], found["tokens"], *(shard["tokens"] for shard in shards)]
        whole = (
            found["dtype"] in DTYPES
            and bool(shards)
            and all(isinstance(name, str) and _SHARD.fullmatch(name) for name in names)
            and all(isinstance(shard["blake2b"], str) for shard in shards)
            and all(type(count) is int and count >= 0 for count in counts)
        )
    except (ValueError, LookupError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise UserError(
            f"'{file}' is not as it was written: the prepared corpus is damaged. Delete the folder '{folder}'; it is "
            "made again from the corpus"
        )
    return found
