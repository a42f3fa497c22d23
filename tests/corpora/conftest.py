"""Reading a corpus to its end."""

from collections.abc import Callable

import pytest

from rewarm.corpora import Corpus
from rewarm.types import BadRows, Document

Collect = Callable[[Corpus], tuple[list[Document], BadRows]]


def _collect(corpus: Corpus) -> tuple[list[Document], BadRows]:
    bad = BadRows()
    documents = list(corpus.read(bad))
    assert bad.rows == len(documents) + bad.total
    return documents, bad


@pytest.fixture
def collect() -> Collect:
    """A function: corpus -> its documents and bad rows; fails where rows are not documents plus bad rows."""
    return _collect
