"""What of a prepared corpus is no longer what was written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rewarm.storage import file_digest
from rewarm.tokens.shards import Store
from rewarm.types import UserError

OTHER = "it does not have the digest that the manifest holds"


def damage(
    folder: Path, recorded: str | None, done: Callable[[int, int], None] = lambda done, total: None
) -> list[tuple[str, str]]:
    """Files of a store that are damaged, each with what is wrong; none when all is as recorded.

    Files are held against their digests in the manifest, and those of the shards against the store's `recorded` hash,
    if one is known. Stores of earlier versions have no digests of documents' offsets, sizes and hashes. `done` is told
    tokens.
    """
    try:
        store = Store(folder)
    except (UserError, ValueError, KeyError) as error:
        return [("manifest.json", f"it cannot be opened: {error}")]
    found = []
    if recorded not in (None, store.hash):
        found.append(("manifest.json", "its digests are not those that the run began with"))
    read = 0
    for shard in store.manifest["shards"]:
        for file, digest in (("file", "blake2b"), ("learned", "learned_blake2b")):
            if file in shard and file_digest(folder / shard[file]) != shard[digest]:
                found.append((shard[file], OTHER))
        read += int(shard["tokens"])
        done(read, store.tokens)
    columns = store.manifest.get("columns", {})
    return [*found, *((file, OTHER) for file, digest in columns.items() if file_digest(folder / file) != digest)]
