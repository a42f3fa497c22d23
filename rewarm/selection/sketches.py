"""What near duplicates are found by, kept on disk for each document: columns in files, so that memory stays flat.

A document is the set of its runs of a few words. The MinHash signature of that set (Broder, 1997; by the library
`rensa`, whose R-MinHash needs a fraction of the hashes) is cut into bands: documents that share a band are candidates.
Kept are the bands (8 bytes each), the set itself as 4 bytes a run, which the exact similarity is counted from, and the
document's id. That is less than the text.

Shapes: G documents of a block, D documents, W runs of words, B bands, R signature values of a band.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from rewarm.hashing import text_hash
from rewarm.selection.word_grams import Hashes, Worded, gram_sets
from rewarm.types import StorageError

PERMUTATIONS = 128
RECALL = 0.985
"""Of pairs exactly at the threshold, at least as many become candidates; of pairs above it, more."""
_SEED = 1
_COLUMNS = {"texts": np.uint64, "names": np.uint64, "wholes": np.uint64, "counts": np.uint32, "sets": np.uint8,
            "grams": np.uint32, "ids": np.uint8, "id_sizes": np.uint32}  # fmt: skip


def band_width(threshold: float) -> int:
    """Signature values of a band: as many as `RECALL` allows, since each more leaves fewer pairs to look at."""
    fitting = [
        width for width in range(1, PERMUTATIONS + 1) if 1 - (1 - threshold**width) ** (PERMUTATIONS // width) >= RECALL
    ]
    return max(fitting, default=1)


class SketchWriter:
    """Writes columns into a folder, which must exist; leave the `with` block before they are read.

    `add` takes documents of one set, a number below 256.
    """

    def __init__(self, folder: Path, threshold: float, size: int) -> None:
        self.folder = folder
        self.size = size
        self.width = band_width(threshold)
        self.bands = PERMUTATIONS // self.width
        self._open = ExitStack()

    def __enter__(self) -> SketchWriter:
        names = [*_COLUMNS, *(f"band-{number}" for number in range(self.bands))]
        try:
            self._files: dict[str, BinaryIO] = {
                name: self._open.enter_context((self.folder / f"{name}.bin").open("wb")) for name in names
            }
        except OSError as error:
            raise StorageError(f"could not write sketches to '{self.folder}': {error}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._open.close()
        except OSError as fault:
            raise StorageError(f"could not write sketches to '{self.folder}': {fault}") from fault

    def add(self, texts: Sequence[str], words: Worded, ids: Sequence[str], set_number: int) -> None:
        """Appends documents with their words and ids."""
        self.write(sketched(texts, words, ids, self.size, self.width), set_number)

    def write(self, columns: Mapping[str, NDArray[Any]], set_number: int) -> None:
        """Appends documents that `sketched` gave, of the same threshold and size; other columns are passed over."""
        sets = np.full(len(columns["counts"]), set_number, np.uint8)
        try:
            for name, file in self._files.items():
                file.write((sets if name == "sets" else columns[name]).tobytes())
        except OSError as error:
            raise StorageError(f"could not write sketches to '{self.folder}': {error}") from error


def sketched(texts: Sequence[str], words: Worded, ids: Sequence[str], size: int, width: int) -> dict[str, NDArray[Any]]:
    """The columns of some documents but for `sets`, with a column for each band of so many signature values."""
    run_W, counts_G = gram_sets(words, size)
    named = [name.encode("utf-8", "surrogatepass") for name in ids]
    columns: dict[str, Any] = {
        "texts": [text_hash(text) for text in texts],
        "names": [text_hash(name) for name in ids],
        "wholes": _sums(run_W, counts_G),
        "counts": counts_G,
        "grams": run_W >> np.uint64(32),  # still ascending
        "ids": np.frombuffer(b"".join(named), np.uint8),
        "id_sizes": [len(name) for name in named],
    }
    found = {name: np.asarray(values, np.uint64).astype(_COLUMNS[name], copy=False) for name, values in columns.items()}
    bands_BG = _bands(run_W, counts_G, PERMUTATIONS // width, width)
    return found | {f"band-{number}": values_G for number, values_G in enumerate(bands_BG)}


def _sums(run_W: Hashes, counts_G: NDArray[np.int64]) -> Hashes:
    """One number for each set of runs (G,): equal sets have equal ones."""
    total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(run_W, dtype=np.uint64)])
    ends_G = np.cumsum(counts_G)
    sums_G: Hashes = total[ends_G] - total[ends_G - counts_G]
    return sums_G


def _bands(run_W: Hashes, counts_G: NDArray[np.int64], bands: int, width: int) -> list[Hashes]:
    """The bands of each document's signature, one array (G,) for each band."""
    from rensa import RMinHash

    if not len(counts_G):
        return [np.zeros(0, np.uint64)] * bands
    offsets = np.concatenate([np.zeros(1, np.uint64), np.cumsum(counts_G).astype(np.uint64)])
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(run_W, offsets, PERMUTATIONS, _SEED)
    signature_GP = np.array(matrix.to_rows(), np.uint64)
    found = []
    for band in range(bands):
        mixed_G = np.zeros(len(counts_G), np.uint64)
        for column in range(band * width, (band + 1) * width):
            mixed_G = (mixed_G ^ signature_GP[:, column]) * np.uint64(0x9E3779B97F4A7C15)
            mixed_G ^= mixed_G >> np.uint64(32)
        found.append(mixed_G)
    return found


class Sketches:
    """What `SketchWriter` wrote, memory-mapped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sets_D = self._column("sets", np.uint8)
        self.counts_D = self._column("counts", np.uint32)
        self.wholes_D = self._column("wholes", np.uint64)
        self.bands = len(list(folder.glob("band-*.bin")))
        self._grams = self._column("grams", np.uint32)
        self._ends_D = np.cumsum(self.counts_D, dtype=np.int64)
        self._ids = self._column("ids", np.uint8)
        self._id_ends_D = np.cumsum(self._column("id_sizes", np.uint32), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.sets_D)

    def _column(self, name: str, dtype: type[Any]) -> NDArray[Any]:
        file = self.folder / f"{name}.bin"
        return np.memmap(file, dtype, "r").view(np.ndarray) if file.stat().st_size else np.zeros(0, dtype)

    def band(self, number: int) -> Hashes:
        """One band of every document (D,)."""
        return self._column(f"band-{number}", np.uint64)

    def rank(self) -> NDArray[np.int64]:
        """Each document's place in an order that depends on texts and ids only (D,)."""
        order = np.lexsort((self._column("names", np.uint64), self._column("texts", np.uint64)))
        rank_D = np.empty(len(order), np.int64)
        rank_D[order] = np.arange(len(order))
        return rank_D

    def id(self, document: int) -> str:
        """The id that the document was added with."""
        start = int(self._id_ends_D[document - 1]) if document else 0
        return self._ids[start : int(self._id_ends_D[document])].tobytes().decode("utf-8", "surrogatepass")

    def similarity(self, first: int, second: int, least: float = 0.0) -> float:
        """The Jaccard similarity of two documents; 0 without looking when their sizes rule out `least`."""
        small, large = sorted((first, second), key=lambda document: int(self.counts_D[document]))
        few, many = int(self.counts_D[small]), int(self.counts_D[large])
        if few == 0 or few < least * many:
            return 0.0
        wanted, held = self._grams_of(small), self._grams_of(large)
        common = int((held[np.minimum(np.searchsorted(held, wanted), many - 1)] == wanted).sum())
        return common / (few + many - common)

    def _grams_of(self, document: int) -> NDArray[np.uint32]:
        end = int(self._ends_D[document])
        return self._grams[end - int(self.counts_D[document]) : end]
