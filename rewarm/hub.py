"""Names on the Hugging Face hub, and the commits that they are: a name is another model after its owner's next upload.

Nothing here runs code of a repository or fetches a pickle. `HF_HUB_OFFLINE=1` leaves what lies in the hub's cache.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rewarm.types import UserError

COMMIT = re.compile(r"[0-9a-f]{40}")
PATTERNS = (
    "*.json", "*.txt", "*.model", "*.jinja", "model.safetensors", "model-*.safetensors", "adapter_model.safetensors",
)  # fmt: skip
"""Files of a model that are fetched: settings, tokenizer and safetensors."""
_REMEDY = "Give a folder, or fetch it first where there is a network (hf download)"


@dataclass(frozen=True, slots=True)
class Pinned:
    """A model by the name that was given, the folder it lies in, and its commit (None for a folder of one's own)."""

    name: str
    folder: str
    commit: str | None


def is_name(place: str) -> bool:
    """Whether a place is a name on the hub: no folder of this machine."""
    return not Path(place).is_dir()


def commit_of(name: str, revision: str | None = None) -> str | None:
    """The commit of a model's name on the hub, or in its cache; None for a folder, and where the cache tells of none.

    UserError when there is no such model, or when it is neither on the hub nor in the cache.
    """
    if not is_name(name):
        return None
    if COMMIT.fullmatch(revision or ""):
        return revision
    from transformers.utils.hub import cached_file

    try:
        file = cached_file(name, "config.json", revision=revision)
    except (OSError, ValueError) as error:
        raise UserError(f"base '{name}' is no model that could be read: {error} {_REMEDY}") from error
    return _commit_in(file)


def fetched(name: str, revision: str | None = None) -> Pinned:
    """A model's files of one commit, fetched where they are not there; a folder stays as it is.

    UserError when there is no such model, or when it is neither on the hub nor in the cache.
    """
    if not is_name(name):
        return Pinned(name, name, None)
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(name, revision=revision, allow_patterns=list(PATTERNS))
    except (OSError, ValueError) as error:
        raise UserError(f"'{name}' is no folder, and no model that could be fetched: {error} {_REMEDY}") from error
    return Pinned(name, folder, _commit_in(folder))


@cache
def dataset_commit(name: str, revision: str | None = None) -> str | None:
    """The commit of a dataset's name, found once in a process, so that all its reads are of one text.

    From the hub, or from its cache where the hub cannot be asked. None where neither tells.
    """
    if COMMIT.fullmatch(revision or ""):
        return revision
    from huggingface_hub import HfApi, constants

    try:
        return HfApi().dataset_info(name, revision=revision).sha
    except (OSError, ValueError):  # the datasets library says what is wrong with a name
        file = Path(constants.HF_HUB_CACHE) / f"datasets--{name.replace('/', '--')}" / "refs" / (revision or "main")
    return file.read_text(encoding="utf-8").strip() if file.is_file() else None


def _commit_in(path: str | None) -> str | None:
    """The hub's cache keeps files of a commit in a folder of its name."""
    found = [part for part in Path(path or "").parts if COMMIT.fullmatch(part)]
    return found[-1] if found else None
