"""Losses kept beside the prepared tokens: the same weights on the same documents are scored once, whatever run asks.

An entry is a file of 24 bytes per document, named by everything its numbers depend on. It is never changed; deleting
it, or the whole folder `scores`, costs a new scoring and nothing else. Shapes: D documents.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from rewarm.evaluation.intervals import DocumentLosses
from rewarm.evaluation.loss import load
from rewarm.tokens.order import Indices
from rewarm.tokens.shards import Store

SCORING_VERSION = 1
"""To be raised whenever the same model would get other losses; rounding does not count."""
_IRRELEVANT = frozenset({"_name_or_path", "architectures", "transformers_version", "use_cache", "dtype"})
"""What a configuration says of where a model came from; its precision is asked of the model itself."""


def kept_file(
    model: PreTrainedModel, weights: str, store: Store, documents: Indices, seq_len: int, measure: Sequence[Any] = ()
) -> Path:
    """Where the losses of a model, whose `weights_hash` is `weights`, on these documents are or would be kept.

    `measure` names losses of another kind than of the next token.
    """
    chosen = np.ascontiguousarray(documents, np.int64)
    what = [seq_len, store.hash, hashlib.sha256(chosen.tobytes()).hexdigest(), *measure]
    return (
        store.folder.parent / "scores" / f"{store.folder.name}-{scoring_key(SCORING_VERSION, model, weights, what)}.npz"
    )


def scoring_key(version: int, model: PreTrainedModel, weights: str, what: Sequence[Any]) -> str:
    """16 digits that name everything scores depend on: the version of their code, the model, and what is scored."""
    config = {name: value for name, value in model.config.to_dict().items() if name not in _IRRELEVANT}
    parts = [version, weights, config, str(model.dtype), model.device.type, *what]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def read_kept(file: Path, store: Store, documents: Indices) -> DocumentLosses | None:
    """The losses an entry holds; None when it is damaged, or is about other documents than these."""
    try:
        losses = load(file)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return losses if np.array_equal(losses.bytes_D, np.asarray(store.bytes[documents], np.int64)) else None
