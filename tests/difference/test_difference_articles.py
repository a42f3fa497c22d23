"""Two versions of an article: nothing new is lost, nothing old comes again (research B, test T6)."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from rewarm.difference.articles import Change, Piece, compare
from rewarm.difference.sentences import key, paragraphs, sentences


def texts(change: Change) -> list[tuple[str, str]]:
    return [(piece.kind, piece.text) for piece in change.pieces]


def all_sentences(text: str) -> list[str]:
    return [key(one) for paragraph in paragraphs(text) for one in sentences(paragraph)]


def test_paragraphs_at_the_head_and_at_the_tail_are_found() -> None:
    change = compare("A one.\nB two.", "Head.\nA one.\nB two.\nTail.")
    assert texts(change) == [("new_paragraph", "Head."), ("new_paragraph", "Tail.")]
    assert change.deleted == []
    assert change.counts == {"new_paragraph": 2, "new_sentence": 2, "same_sentence": 2, "deleted_sentence": 0}


def test_a_changed_number_gives_its_sentence_alone_with_its_context() -> None:
    change = compare("X is big. It has 1,204 people. It is old.", "X is big. It has 1,310 people. It is old.")
    whole = "X is big. It has 1,310 people. It is old."
    assert change.pieces == [Piece("changed_sentence", "It has 1,310 people.", whole, "It has 1,204 people.")]
    assert change.deleted == ["It has 1,204 people."]
    assert change.unchanged == ["X is big. It is old."]
    assert change.text("sentence") == "It has 1,310 people."
    assert change.text("paragraph") == whole


def test_a_changed_first_and_last_paragraph_are_changes_not_new_paragraphs() -> None:
    change = compare("Population: 100\nsame\nArea: 5 km", "Population: 120\nsame\nArea: 6 km")
    assert [(piece.kind, piece.text, piece.old) for piece in change.pieces] == [
        ("changed_sentence", "Population: 120", "Population: 100"),
        ("changed_sentence", "Area: 6 km", "Area: 5 km"),
    ]


def test_a_new_paragraph_beside_a_changed_one_is_new() -> None:
    change = compare("Population: 100", "Population: 120\nA bridge was opened in May.")
    assert texts(change) == [("changed_sentence", "Population: 120"), ("new_paragraph", "A bridge was opened in May.")]
    assert change.pieces[1].old == ""


def test_an_article_written_anew_comes_whole_and_in_order() -> None:
    new = "It was founded in 1850. Trade grew.\nLater came rails.\nEnd of the tale."
    change = compare("Nothing alike here.\nNor there, at all.", new)
    assert change.text("sentence") == new
    assert change.deleted == ["Nothing alike here.", "Nor there, at all."]
    assert change.unchanged == []


def test_lines_that_repeat_do_not_bring_old_text_again() -> None:
    old = "Alpha was.\nReferences\nBeta was.\nReferences\nGamma was.\nReferences"
    new = "Alpha was.\nReferences\nBeta is.\nReferences\nGamma was.\nReferences\nReferences"
    assert texts(compare(old, new)) == [("changed_sentence", "Beta is.")]


def test_digits_stay_as_they_are() -> None:
    change = compare("a", "In 2021, 4,567 of 12345 (3.14 %) were 007.")
    assert change.text("sentence") == "In 2021, 4,567 of 12345 (3.14 %) were 007."


def test_case_is_a_change_and_white_space_is_none() -> None:
    assert texts(compare("the west bank.", "the West Bank.")) == [("changed_sentence", "the West Bank.")]
    same = compare("A  b.\tC d.\n\nE", " A b. C d.\r\nE ")
    assert (same.pieces, same.deleted) == ([], [])


def test_text_wrapped_anew_is_no_change_in_blocks() -> None:
    old, new = "One two\nthree. Four\nfive.\n\nSix.", "One\ntwo three.\nFour five.\n\nSix."
    assert compare(old, new, "blocks").pieces == []
    assert len(compare(old, new, "lines").pieces) > 0


def test_what_moved_is_not_new() -> None:
    moved = compare("One.\nTwo.\nThree.", "Three.\nOne.\nTwo.")
    assert (moved.pieces, moved.deleted) == ([], [])
    between = compare("One. Two.\nThree. Four.", "Two. Three.\nOne. Four. Five.")
    assert texts(between) == [("changed_sentence", "Five.")]


def test_joined_paragraphs_are_not_new() -> None:
    assert compare("One.\nTwo.", "One. Two.").pieces == []


VERSIONS = st.lists(st.lists(st.sampled_from("ABCDEFGHIJKL"), min_size=1, max_size=4), max_size=8).map(
    lambda parts: "\n".join(" ".join(f"{letter} is {ord(letter)}." for letter in part) for part in parts)
)
ANY = VERSIONS | st.text(alphabet="aB1. \n。")


@given(ANY, ANY)
def test_every_sentence_of_the_new_version_is_in_the_old_one_or_in_the_difference(old: str, new: str) -> None:
    change = compare(old, new)
    known = set(all_sentences(old))
    emitted = [sentence for piece in change.pieces for sentence in all_sentences(piece.text)]
    expected = [sentence for sentence in all_sentences(new) if sentence not in known]
    # In order, each as often as it stands there, and nothing that the old version says.
    assert "".join(emitted).replace(" ", "") == "".join(expected).replace(" ", "")
    assert change.counts["new_sentence"] == len(expected)


@given(ANY, ANY)
def test_what_is_deleted_is_what_the_new_version_does_not_say(old: str, new: str) -> None:
    known = set(all_sentences(new))
    assert [key(one) for one in compare(old, new).deleted] == [one for one in all_sentences(old) if one not in known]


@given(ANY)
def test_a_text_has_no_difference_from_itself(text: str) -> None:
    change = compare(text, text)
    assert (change.pieces, change.deleted) == ([], [])
    assert "".join(change.unchanged).split() == "".join(paragraphs(text)).split()


@given(ANY, ANY)
def test_unchanged_and_new_together_are_the_new_version(old: str, new: str) -> None:
    change = compare(old, new)
    pieces = [*change.unchanged, *(piece.text for piece in change.pieces)]
    assert Counter("".join("".join(pieces).split())) == Counter("".join(new.split()))


@given(ANY, ANY)
def test_the_same_versions_give_the_same_change(old: str, new: str) -> None:
    assert compare(old, new) == compare(old, new)
