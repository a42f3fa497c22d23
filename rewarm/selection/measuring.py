"""What methods measure of a part of a corpus, written where it is measured: in other processes, too, and without the
libraries that a model needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rewarm.selection import Scene, Selection
from rewarm.storage import replaced

Part = tuple[list[str], list[Scene]]
"""The files of a part, one for each method that measures it, and its documents."""


@dataclass(frozen=True, slots=True)
class Measuring:
    """Methods, by the folders of what they measure, each with what it has learned."""

    methods: Mapping[str, tuple[Selection, Any]]

    def __call__(self, part: Part) -> None:
        """Writes each file of the part: one number for each document (D,); StorageError when the disk is full."""
        files, scenes = part
        for file in map(Path, files):
            method, learned = self.methods[str(file.parent)]
            columns = [np.asarray(method.measure(scene, learned), np.float64) for scene in scenes]
            with replaced(file) as out:
                np.save(out, np.concatenate(columns))
