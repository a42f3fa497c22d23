"""Documents of a corpus, each followed by the user's own paraphrases of it."""

import hashlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from rewarm.corpora import Corpus, faults, paths
from rewarm.corpora.rows import text_fault
from rewarm.corpora.sources import LimitedCorpus, Name
from rewarm.corpora.streams import opened
from rewarm.hashing import text_hash
from rewarm.kinds import corpus_options
from rewarm.methods import build
from rewarm.quantities import Count
from rewarm.types import BadRows, Document, UserError

UNMATCHED = "a paraphrase of no document"
NO_KEY = "a paraphrase without id or sha256"
ORIGINALS = "originals (originals: false)"
BARE = "paraphrases of documents that have none"
REPEATED = "repeats the original"
ABOVE_CAP = "paraphrases above per_document"


class Paraphrased(LimitedCorpus):
    """The documents of the corpus at `path`, each with its paraphrases behind it.

    `source` holds that corpus's further options, such as {text_field: body, id_field: id}; a path tells its type, as in
    a plan. `paraphrases` is a plain JSONL file. A row names its document by `id`, which is the document's, or by
    `sha256`, the hexadecimal digest of its text, and holds one `text` or a list of them in `paraphrases`; a document
    may have several rows. Without `originals` only the paraphrases are read. `per_document` keeps the first so many.

    A document is held out with all its paraphrases, and is so exactly when the corpus of the originals holds it out at
    the same share. Paraphrases without a document, empty ones and those that repeat the original are bad rows; what is
    left out by an option is counted. The index of the file takes 40 bytes of memory for each row.
    """

    paper: ClassVar[str] = "arXiv 2409.07431 (EntiGraph); Physics of Language Models, part 3.1"

    path: Name | Annotated[tuple[Name, ...], Field(min_length=1)]
    paraphrases: Name
    source: dict[str, Any] = Field(default_factory=dict)
    originals: bool = True
    per_document: Annotated[Count, Field(ge=1)] | None = None
    holdout_by: str | None = "original"

    @field_validator("holdout_by")
    @classmethod
    def _by_the_original(cls, value: str | None) -> str | None:
        if value != "original":
            raise ValueError("a document is held out with its paraphrases: put holdout_by into 'source' instead")
        return value

    @model_validator(mode="after")
    def _source_can_be_built(self) -> "Paraphrased":
        if isinstance(self._corpus(), Paraphrased):
            raise ValueError("paraphrases of paraphrases are not read: name the corpus of the originals")
        return self

    def files(self) -> list[Path]:
        """The files of the originals and that of the paraphrases, sorted; UserError when one is missing."""
        file = self._file()
        if not file.is_file():
            raise UserError(f"paraphrases '{self.paraphrases}' is no file. Give JSONL with id or sha256, and text")
        if paths.suffix_of(file.name) != file.suffix.lower() or file.suffix.lower() == ".parquet":
            raise UserError(f"paraphrases '{self.paraphrases}' cannot be searched: give it as plain JSONL")
        return sorted({*self._corpus().files(), file}, key=Path.as_posix)

    def _corpus(self) -> Corpus:
        found = build("corpora", corpus_options({"path": self.path, **self.source}), "source")
        assert isinstance(found, Corpus)  # it is from the corpora folder
        return found

    def _file(self) -> Path:
        return Path(self.paraphrases).expanduser()

    def _documents(self, bad: BadRows) -> Iterator[Document]:
        corpus, index = self._corpus(), _Index(self._file())
        place = paths.printable(self._file())
        with opened(self._file()) as file:
            for document in corpus.read(bad):
                found = list(index.rows(document))
                group = str(document.meta.get(corpus.holdout_by or "", document.text))
                meta = {**document.meta, "original": group}
                if self.originals:
                    yield Document(document.id, document.text, document.place, meta)
                else:
                    bad.rows -= 1
                    bad.left_out[ORIGINALS] += 1
                if not found:
                    bad.left_out[BARE] += 1
                number = 0
                for row in found:
                    file.seek(int(index.offsets[row]))
                    where = f"{place}:{int(index.lines[row])}"
                    for text in _texts(orjson.loads(file.readline())):
                        number += 1
                        if self._takes(number, text, document.text, where, bad):
                            yield Document(f"{document.id}#{number}", text, where, meta)
        index.count_the_rest(bad, place)

    def _takes(self, number: int, text: Any, original: str, where: str, bad: BadRows) -> bool:
        """Whether a document's paraphrase of that number is read; counts it, or what is wrong with it."""
        if self.per_document is not None and number > self.per_document:
            bad.left_out[ABOVE_CAP] += 1
            return False
        bad.rows += 1
        reason = text_fault(text) or (REPEATED if text == original else None)
        if reason is not None:
            bad.add(f"paraphrase: {reason}", where)
        return reason is None


def _texts(row: dict[str, Any]) -> list[Any]:
    """The paraphrases of a row: a list of them, one text, or one that is none."""
    several = row.get("paraphrases")
    return several if isinstance(several, list) else [row.get("text")]


def _key(kind: str, value: str) -> int:
    return text_hash(f"{kind}:{value}")


class _Index:
    """Where in a file the paraphrases of a document are: keys ascending, and offset and line number of each row."""

    def __init__(self, file: Path) -> None:
        keys, offsets, lines = array("Q"), array("Q"), array("Q")
        self.bad: list[tuple[str, int]] = []
        for number, offset, line in _lines(file):
            key = _read_key(line)
            if isinstance(key, int):
                for column, value in ((keys, key), (offsets, offset), (lines, number)):
                    column.append(value)
            else:
                self.bad.append((key, number))
        order = np.argsort(np.frombuffer(keys, np.uint64), kind="stable") if keys else np.zeros(0, np.int64)
        self.keys, self.offsets, self.lines = (_ordered(column, order) for column in (keys, offsets, lines))
        self.used = np.zeros(len(order), bool)

    def rows(self, document: Document) -> Iterator[int]:
        """The numbers of a document's rows, in the order of the file for each kind of key."""
        digest = hashlib.sha256(document.text.encode()).hexdigest()
        for key in (_key("id", document.id), _key("sha256", digest)):
            first, end = (int(np.searchsorted(self.keys, np.uint64(key), side)) for side in ("left", "right"))
            self.used[first:end] = True
            yield from range(first, end)

    def count_the_rest(self, bad: BadRows, place: str) -> None:
        """Counts the rows that cannot be read, and those of no document."""
        faulty = [*self.bad, *((UNMATCHED, int(self.lines[row])) for row in np.flatnonzero(~self.used))]
        for reason, number in faulty:
            bad.rows += 1
            bad.add(reason, f"{place}:{number}")


def _ordered(column: "array[int]", order: NDArray[np.int64]) -> NDArray[np.uint64]:
    found: NDArray[np.uint64] = np.frombuffer(column, np.uint64)[order] if column else np.zeros(0, np.uint64)
    return found


def _lines(file: Path) -> Iterator[tuple[int, int, bytes]]:
    """Number (from 1), offset and content of each line that is not blank."""
    with opened(file) as plain:
        offset = 0
        for number, line in enumerate(plain, 1):
            if not line.isspace():
                yield number, offset, line
            offset += len(line)


def _read_key(line: bytes) -> int | str:
    """The key of a row, or why it has none."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return faults.BROKEN_JSON
    if type(row) is not dict:
        return faults.NOT_AN_OBJECT
    given = row.get("id")
    if isinstance(given, str | int) and not isinstance(given, bool):
        return _key("id", str(given))
    digest = row.get("sha256")
    return _key("sha256", digest.lower()) if isinstance(digest, str) else NO_KEY
