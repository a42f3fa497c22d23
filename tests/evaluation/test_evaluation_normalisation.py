"""CKL's normalisation, and what a generated text may be read as."""

from __future__ import annotations

import pytest

from rewarm.evaluation.normalisation import endings, f1, is_exact, normalised


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  The  U.S.  Navy ", "us navy"),
        ("an Apple, a day", "apple day"),
        ("Theatre", "theatre"),
        ("St. Petersburg", "st petersburg"),
        ("The The", "the the"),
        ("+", "+"),
        ("Ñandú", "ñandú"),
        ("1,234.5", "12345"),
    ],
)
def test_normalised(text: str, expected: str) -> None:
    assert normalised(text) == expected


def test_a_text_ends_where_a_sentence_may() -> None:
    assert endings(" St. Petersburg. It is 3.5 km wide\nNext") == [
        "St",
        "St. Petersburg",
        "St. Petersburg. It is 3.5 km wide",
    ]
    assert endings("Rome as its capital. So", " as its capital.") == [
        "Rome ",
        "Rome as its capital",
        "Rome as its capital. So",
    ]
    assert endings("") == [""]


@pytest.mark.parametrize(
    ("text", "answers", "suffix", "exact"),
    [
        (" Paris. The city", ["paris"], ".", True),
        (" St. Petersburg. The", ["St. Petersburg"], ".", True),
        (" the U.S. It", ["US"], ".", True),
        (" Paris", ["London", "The Paris"], ".", True),
        (" Paris and", ["Paris"], ".", False),
        (" Parisian.", ["Paris"], ".", False),
        ("\nParis", ["Paris"], ".", True),
        (" Rome as its capital.", ["Rome"], " as its capital.", True),
        (" Rome as its capital.", ["Rome"], ".", False),
        ("", ["The The"], ".", False),
        ("anything", [], ".", False),
    ],
)
def test_exact(text: str, answers: list[str], suffix: str, exact: bool) -> None:
    assert is_exact(text, answers, suffix) is exact


def test_f1_by_hand() -> None:
    """Two of three given words are two of the answer's four: precision 2/3, recall 1/2, F1 4/7."""
    assert f1(" red green blue", ["red green black white"]) == pytest.approx(4 / 7)
    assert f1(" red green blue", ["grey", "green"]) == pytest.approx(2 / 4)
    assert f1(" nothing", ["red"]) == 0
    assert f1(" red. And more of it", ["the red"]) == 1
    assert f1(" red", []) == 0
