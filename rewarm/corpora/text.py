"""Text files, one document per file."""

from collections.abc import Iterator
from typing import ClassVar

from rewarm.corpora import paths
from rewarm.corpora.sources import WholeFileCorpus
from rewarm.corpora.whole_files import read_text
from rewarm.quantities import Count
from rewarm.types import BadRows, Document


class Text(WholeFileCorpus):
    """One document per text file (`.txt`, `.md`, each also `.gz`, `.bz2` or `.zst`); the id is its path in the corpus.

    Text stays as it is, line ends included; only a byte-order mark is dropped. A file of more than `max_row_bytes`
    bytes, unpacked, is a bad row, and so is a damaged one, since half a document is none. A file without text is
    none either, and no fault.
    """

    suffixes_read: ClassVar[frozenset[str]] = frozenset({".txt", ".md"})

    max_row_bytes: Count = 64_000_000

    def _documents(self, bad: BadRows) -> Iterator[Document]:
        for file, name in self._named_files():
            text = read_text(file, self.max_row_bytes, bad)
            if text is not None:
                yield Document(name, text, paths.printable(file), {"path": name})
