"""Raw material -> Document. One file per kind of source; the class is its options.

Laws: reading twice gives the same documents in the same order; ids are unique in the corpus; a row that cannot be
read is counted in `BadRows` with its reason and place, and never silently dropped.
"""

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from rewarm.methods import Method
from rewarm.quantities import Share
from rewarm.types import BadRows, Document


class Corpus(Method):
    """Slot: a source of documents.

    When the corpus is watched, `holdout` is the share of its documents kept out of training, chosen by a hash of the
    text (so copies of a text fall on the same side), or of the field `holdout_by` (so that a book or an article is
    held out whole). `holds` says what its documents are: text, unless an objective of its own learns from them.
    """

    holds: ClassVar[str] = "text"

    holdout: Share = 0.02
    holdout_by: str | None = None

    @abstractmethod
    def files(self) -> list[Path]:
        """The files read, sorted; UserError when there are none. Empty for a source that is not in files."""

    @abstractmethod
    def read(self, bad: BadRows) -> Iterator[Document]:
        """Every good document in a fixed order; bad rows and the number of rows seen are counted in `bad`."""

    def commit(self) -> str | None:
        """The commit of what is read, where it is on the hub; prepared text keeps it. None for what lies in files."""
        return None


SLOT = Corpus
