"""Languages of text: shares, samples of lines, and distances worked out by hand."""

from __future__ import annotations

from math import log2, sqrt

import numpy as np
import pytest

from rewarm.evaluation import languages
from rewarm.evaluation.languages import LINES, Profile, detector, distance, profile, trigrams
from rewarm.types import UserError

DANISH = "Hvad er det for en bog, du læser i dag, og hvorfor har du ikke fortalt mig om den?"
ENGLISH = "What is the book that you are reading today, and why have you not told me about it?"


def of(text: str) -> Profile:
    return profile([text], lambda line: "en")


def test_real_lines_are_detected() -> None:
    detect = detector()
    assert [detect(DANISH), detect(ENGLISH)] == ["da", "en"]


def test_shares_are_of_lines_that_are_long_enough() -> None:
    """Three long lines, two of them said to be Danish; a short one and an empty one are not asked about."""
    text = f"{DANISH}\nKapitel 1\n\n{ENGLISH}\n{DANISH} Ja."
    found = profile([text], lambda line: "da" if "Hvad" in line else "en")
    assert (found.lines, found.short, dict(found.languages)) == (3, 1, {"da": 2, "en": 1})
    assert found.share("da") == pytest.approx(2 / 3)
    assert found.share("is") == 0
    assert found.main() == "da"
    assert Profile().share("da") is None
    assert Profile().main() is None


def test_the_sample_of_lines_depends_on_the_seed_and_not_on_their_order() -> None:
    lines = [f"this is line number {number} of the text" for number in range(200)]
    asked: list[list[str]] = []
    for texts, seed in ((lines, 0), (lines[::-1], 0), (lines, 1)):
        asked.append([])
        profile(texts, lambda line: asked[-1].append(line) or "en", lines=20, seed=seed)  # type: ignore[func-returns-value]
    assert [len(one) for one in asked] == [20, 20, 20]
    assert asked[0] == asked[1]
    assert set(asked[0]) != set(asked[2])


def test_few_lines_are_refused() -> None:
    with pytest.raises(UserError, match=f"lines 0: give 1 or more lines to detect; {LINES} is usual"):
        profile([], lambda line: "en", lines=0)


def test_trigrams_by_hand() -> None:
    """`abab` holds aba and bab; case and white space do not count."""
    assert sorted(trigrams("abab")[trigrams("abab") > 0]) == [1, 1]
    assert np.array_equal(trigrams("A \n b"), trigrams("a b"))
    assert trigrams("ab").sum() == 0


def test_distance_by_hand() -> None:
    """P is half aba, half bab; Q is all aba: the mean is 3/4 and 1/4."""
    divergences = (0.5 * log2(0.5 / 0.75) + 0.5 * log2(0.5 / 0.25), log2(1 / 0.75))
    assert distance(of("abab"), of("aba")) == pytest.approx(sqrt(sum(divergences) / 2))
    assert distance(of("aba"), of("abab")) == pytest.approx(sqrt(sum(divergences) / 2))
    assert distance(of("abab"), of("abab")) == 0
    assert distance(of("abc"), of("xyz")) == pytest.approx(1)
    assert distance(of("abc"), of("")) is None


def test_two_profiles_add_up_to_that_of_both_texts() -> None:
    both = of("aba") + of("bab")
    assert distance(both, of("abab")) == 0
    assert both.characters == 6


def test_a_missing_library_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(languages, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'rewarm\[languages\]'"):
        detector()
