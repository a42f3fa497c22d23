"""Cutting text into paragraphs and sentences loses nothing, and cuts where a reader would."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewarm.difference.sentences import key, paragraphs, sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("It is 3.14 in all. Sold 1,000 of v2.0.", ["It is 3.14 in all.", "Sold 1,000 of v2.0."]),
        ("In 1999. Then 2000.", ["In 1999.", "Then 2000."]),
        ("Dr. Ada B. Moe met Mr. Li. They left.", ["Dr. Ada B. Moe met Mr. Li.", "They left."]),
        ("The U.S. Army left. See e.g. No. 5.", ["The U.S. Army left.", "See e.g. No. 5."]),
        ("He said (once.) Then he sat. so it went.", ["He said (once.)", "Then he sat. so it went."]),
        ('"Why?" She left.', ['"Why?"', "She left."]),
        ("So... Well. Fine.", ["So...", "Well.", "Fine."]),
        ("東京は首都です。人口は14人！「はい。」終", ["東京は首都です。", "人口は14人！", "「はい。」", "終"]),
        ("यह एक है। वह दो है।", ["यह एक है।", "वह दो है।"]),
        ("هل جاء؟ نعم.", ["هل جاء؟", "نعم."]),
        ("Écoute. Été vient. Öl ist da.", ["Écoute.", "Été vient.", "Öl ist da."]),
        ("see foo.bar() and a.b", ["see foo.bar() and a.b"]),
        ("", []),
    ],
)
def test_sentences_end_where_a_reader_sees_it(text: str, expected: list[str]) -> None:
    assert [one.strip() for one in sentences(text)] == expected


@given(st.text(alphabet="aB1.。!? \t\n\"'") | st.text())
def test_sentences_put_together_are_the_text(text: str) -> None:
    assert "".join(sentences(text)) == text
    assert all(sentences(text))


def test_a_word_without_end_is_cut_in_linear_time() -> None:
    """The search for the last word before each stop looks back a few characters only, or this would take minutes."""
    text = "a.b" * 100_000 + ". B" * 100_000
    assert "".join(sentences(text)) == text


def test_paragraphs_are_lines_without_the_blank_ones_and_keep_their_indentation() -> None:
    assert paragraphs("def f():\n    return 1  \n\n \nend") == ["def f():", "    return 1", "end"]


def test_blocks_stand_between_blank_lines() -> None:
    assert paragraphs("\na b\nc d\n \t\n\n  e\nf\n", "blocks") == ["a b\nc d", "  e\nf"]


@given(st.text(alphabet="ab \n\t"))
def test_paragraphs_of_either_kind_hold_every_word(text: str) -> None:
    assert " ".join(paragraphs(text)).split() == text.split()
    assert " ".join(paragraphs(text, "blocks")).split() == text.split()


def test_keys_ignore_white_space_and_nothing_else() -> None:
    assert key(" a\n b\tc ") == "a b c"
    assert len({key(text) for text in ("1,000", "1000", "A", "a", "a.")}) == 5
