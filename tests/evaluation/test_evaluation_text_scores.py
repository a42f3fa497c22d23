"""Exact match and BLEU against cases worked out by hand."""

from __future__ import annotations

import importlib.util
import math

import pytest

from rewarm.evaluation import text_scores
from rewarm.evaluation.text_scores import bleu, bleu_signature, exact_match, smoothed_bleu
from rewarm.types import UserError


def test_space_around_a_text_and_at_the_ends_of_lines_is_no_difference() -> None:
    said = ["a  \nb\n", "\na\r\nb", "a\n b", "a b"]
    assert exact_match(said, ["a\nb"] * 4).tolist() == [1, 1, 0, 0]


def test_bleu_of_a_copy_is_100_and_of_foreign_words_0() -> None:
    assert bleu(["a b c d e"], ["a b c d e"]) == pytest.approx(100)
    assert bleu(["v w x y z"], ["a b c d e"]) == 0


def test_bleu_by_hand() -> None:
    # 6 words each; n-grams that match: 5 of 6, 4 of 5, 3 of 4, 2 of 3.
    by_hand = 100 * (5 / 6 * 4 / 5 * 3 / 4 * 2 / 3) ** 0.25
    assert bleu(["a b c d e x"], ["a b c d e f"]) == pytest.approx(by_hand)


def test_what_is_too_short_pays_and_counts_add_up_over_the_corpus() -> None:
    # All n-grams of 4 + 6 words match but those of the x: the right answers have 6 words each.
    precisions = (4 + 5) / 10 * (3 + 4) / 8 * (2 + 3) / 6 * (1 + 2) / 4
    by_hand = 100 * precisions**0.25 * math.exp(1 - 12 / 10)
    assert bleu(["a b c d", "a b c d e x"], ["a b c d e f"] * 2) == pytest.approx(by_hand)


def test_repeats_count_as_often_as_the_right_answer_has_them() -> None:
    # One of four words, and no pair: smoothed, 1/4, 1/4, 1/3 and 1/2.
    by_hand = 100 * (1 / 4 * 1 / 4 * 1 / 3 * 1 / 2) ** 0.25
    assert smoothed_bleu(["a a a a"], ["a b c d"]) == pytest.approx([by_hand])


def test_smoothing_makes_short_texts_comparable() -> None:
    assert smoothed_bleu(["a b", "x"], ["a b", "a"])[0] == pytest.approx(100)
    assert bleu(["a b"], ["a b"]) == 0


def test_a_score_says_how_it_was_made() -> None:
    assert "tok:13a" in bleu_signature()
    assert "smooth:exp" in bleu_signature()
    assert "smooth:add-k[1.00]" in bleu_signature(smoothed=True)


@pytest.mark.parametrize(("said", "right"), [([], []), (["a"], ["a", "b"])])
def test_texts_without_answers_are_refused(said: list[str], right: list[str]) -> None:
    for score in (bleu, smoothed_bleu, exact_match):
        with pytest.raises(UserError, match="give one answer for each"):
            score(said, right)


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(text_scores, "find_spec", lambda name: None if name == "sacrebleu" else find(name))
    with pytest.raises(UserError, match=r"pip install 'rewarm\[bleu\]'"):
        bleu(["a"], ["a"])
