"""By likeness to a task's text (ETS): the cosine between vectors of documents and of the task.

Shapes: D documents, T documents of the task, E width of a vector.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from rewarm.selection import Column, Judged, Need, Scene, Selection
from rewarm.types import UserError

Vectors = NDArray[np.float32]


class Similarity(Selection):
    """Keeps what is most like the task's text: the cosine of a document's vector with the mean of the task's vectors,
    with the nearest of them (`how: max`), or the mean over the `neighbours` nearest ones (`how: knn`).

    ETS-DACP, arXiv 2311.08545. Vectors are the model's own last states, averaged over the document, or those of a
    sentence-transformers model in `folder`, or given as lists of numbers in the field `column` of the rows of both the
    pool and the task.
    """

    paper: ClassVar[str] = "arXiv 2311.08545"
    cost: ClassVar[str] = "a forward pass over the pool and the task, unless vectors are given"

    how: Literal["mean", "max", "knn"] = "mean"
    neighbours: Annotated[int, Field(ge=1)] = 10
    folder: str | None = None
    column: str | None = None

    @model_validator(mode="after")
    def _one_source_of_vectors(self) -> Similarity:
        if self.folder is not None and self.column is not None:
            raise ValueError("vectors come from a folder or from a column: give one of them, or none for the model's")
        return self

    def reads(self) -> frozenset[Need]:
        """The task, and what the vectors are made of."""
        own: Need = "states" if self.folder is None and self.column is None else "text"
        return frozenset({"task", own})

    def fields(self) -> tuple[str, ...]:
        """The given column."""
        return () if self.column is None else (self.column,)

    def measured(self) -> dict[str, Any]:
        """Without the number of neighbours where none is asked for."""
        return {key: value for key, value in self.described().items() if key != "neighbours" or self.how == "knn"}

    def learn(self, task: Scene | None, pool: Iterable[str]) -> Vectors:
        """The task's vectors (T, E) of length 1, or that of their mean (1, E)."""
        assert task is not None
        vectors_TE = self._vectors(task)
        vectors_TE = vectors_TE[~np.isnan(vectors_TE).any(axis=1)]
        if self.how == "mean":
            vectors_TE = vectors_TE.mean(axis=0, keepdims=True) if len(vectors_TE) else vectors_TE
        vectors_TE = vectors_TE[np.linalg.norm(vectors_TE, axis=1) > 0]
        if not len(vectors_TE):
            raise UserError("similarity: the task's text has no vector to compare with. Give another task")
        return _unit(vectors_TE)

    def measure(self, scene: Scene, learned: Any) -> Column:
        """The cosine (D,), from -1 to 1; NaN for a document without a vector."""
        vectors_DE = self._vectors(scene)
        if vectors_DE.shape[1] != learned.shape[1]:
            raise UserError(
                f"similarity: vectors of the pool have {vectors_DE.shape[1]} numbers, those of the task "
                f"{learned.shape[1]}. Make both with the same model"
            )
        found = np.full(len(vectors_DE), np.nan)
        real_D = np.flatnonzero(np.linalg.norm(vectors_DE, axis=1) > 0)  # False for NaN
        for start in range(0, len(real_D), 256):
            some = real_D[start : start + 256]
            cosine_DT = _unit(vectors_DE[some]) @ learned.T
            nearest = {"mean": 1, "max": 1, "knn": min(self.neighbours, cosine_DT.shape[1])}[self.how]
            found[some] = np.partition(cosine_DT, -nearest, axis=1)[:, -nearest:].mean(axis=1)
        return found

    def judge(self, values: Sequence[Column], draw_D: Column) -> Judged:
        """The cosine."""
        return Judged.of(values[0])

    def _vectors(self, scene: Scene) -> Vectors:
        if self.column is not None:
            return _given(self.column, scene.fields[self.column])
        if self.folder is None:
            assert scene.states_DE is not None
            return scene.states_DE
        encoded = _encoder(self.folder).encode(list(scene.texts), show_progress_bar=False)
        return np.asarray(encoded, np.float32)


def _unit(vectors_DE: Vectors) -> Vectors:
    unit: Vectors = vectors_DE / np.linalg.norm(vectors_DE, axis=1, keepdims=True)
    return unit


def _given(column: str, values: Sequence[Any]) -> Vectors:
    """Vectors (D, E) as rows hold them; NaN where a row has none."""
    width = next((len(value) for value in values if isinstance(value, list) and value), 0)
    if width == 0:
        raise UserError(
            f"similarity: rows have no vector in the field '{column}': name a field that holds a list of numbers"
        )
    rows = [value if isinstance(value, list) and len(value) == width else [np.nan] * width for value in values]
    try:
        return np.array(rows, np.float32)
    except (TypeError, ValueError):
        raise UserError(f"similarity: the field '{column}' holds lists of something else than numbers") from None


@cache
def _encoder(folder: str) -> Any:
    """A sentence-transformers model; UserError when the library or the folder is not there."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise UserError(
            f"similarity with folder '{folder}' needs sentence-transformers. Install it with: pip install "
            "'rewarm[embed]', or leave folder out to use the model's own states"
        ) from None
    if not Path(folder).is_dir():  # a name would be looked up in a cache, at whatever commit lies there
        raise UserError(f"similarity: '{folder}' is no folder: fetch the model, and give its folder")
    try:
        return SentenceTransformer(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UserError(f"'{folder}' is no sentence-transformers model: {error}") from error
