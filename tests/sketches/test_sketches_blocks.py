"""Documents of a generator, and which sources belong to a library."""

from __future__ import annotations

import ast

import pytest

from rewarm.sketches.blocks import blocks, interleave, recovered
from rewarm.sketches.libraries import checked_libraries, imports_any
from rewarm.sketches.sketching import Settings
from rewarm.sketches.source import Source
from rewarm.types import UserError

SOURCE = """import os
import numpy as np

# How many.
LIMIT = 10  # at most
OTHER = "a"


# Adds.
@deco(1)
def add(x):
    return x + 1  # one

if __name__ == "__main__":
    add(1)
# the end"""
EXPECTED = """import os
import numpy as np


LIMIT = number
OTHER = string
# [segmentation]

# How many.
LIMIT = 10  # at most
OTHER = "a"


@deco(number)
def add(x):
    return x + number
# [segmentation]


# Adds.
@deco(1)
def add(x):
    return x + 1  # one



if __name__ == "__main__":
    add(1)
# the end"""


def test_sketch_and_source_in_turns() -> None:
    document = interleave(SOURCE, Settings())
    assert document.text == EXPECTED
    assert [block.kind for block in blocks(Source(SOURCE), len(SOURCE))] == ["import", "other", "definition", "main"]
    assert recovered({"text": document.text, "blocks": document.spans}) == SOURCE


@pytest.mark.parametrize(
    "source",
    ["", "# [segmentation]\nx = 1\n# [segmentation]\n", "x = 1; import a; y = 2\nz = 3", "\ufeffdef f(): pass\r\n\r\n"],
)
def test_any_source_comes_back(source: str) -> None:
    document = interleave(source, Settings("both"))
    assert recovered({"text": document.text, "blocks": document.spans}) == source


@pytest.mark.parametrize(
    ("source", "libraries", "expected"),
    [
        ("import pandas as pd", ["pandas"], True),
        ("import numpy.linalg as la", ["numpy"], True),
        ("import numpy.linalg as la", ["numpy.linalg"], True),
        ("from pandas import DataFrame", ["pandas"], True),
        ("from numpy import linalg", ["numpy.linalg"], True),
        ("def f():\n    try:\n        import pandas\n    except ImportError: pass", ["numpy", "pandas"], True),
        ("import pandas_extra, a.pandas", ["pandas"], False),
        ("from . import pandas\nfrom .pandas import x", ["pandas"], False),
        ("import numpy", ["numpy.linalg"], False),
        ("x = 'import pandas'", ["pandas"], False),
    ],
)
def test_libraries(source: str, libraries: list[str], expected: bool) -> None:
    assert imports_any(ast.parse(source), libraries) is expected


def test_a_library_is_a_name() -> None:
    assert checked_libraries(["numpy.linalg", "pandas", "pandas"]) == ("numpy.linalg", "pandas")
    with pytest.raises(UserError, match="scikit-learn"):
        checked_libraries(["scikit-learn"])
