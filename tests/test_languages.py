"""The languages of a plan: what a user may write, and what errors say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rewarm.evaluation.languages import detector
from rewarm.languages import CODES, OTHER_NAMES, unknown_languages
from rewarm.plan import from_values
from rewarm.types import UserError


def test_corpora_and_codes_are_checked_and_the_nearest_are_named() -> None:
    assert unknown_languages(True, ["da"]) == []
    assert unknown_languages({"da": "da", "no": "nn"}, ["da", "no"]) == []
    problems = unknown_languages({"dansk": "da", "no": "nb", "is": "xx"}, ["danska", "no", "is"])
    assert "'dansk', which is no corpus. Did you mean 'danska'?" in problems[0]
    assert "languages.no: 'nb' is no ISO 639-1 code that can be detected. Did you mean 'no'?" in problems[1]
    assert "'xx' is no ISO 639-1 code" in problems[2]


def test_a_plan_takes_true_or_a_mapping(scratch_plan: Callable[..., dict[str, Any]]) -> None:
    assert from_values(scratch_plan()).languages is False
    assert from_values(scratch_plan(languages=True)).languages is True
    assert from_values(scratch_plan(languages={"new": False})).languages == {"new": "no"}, "YAML's reading of no"
    assert from_values(scratch_plan(languages={"new": "da"})).resolved()["languages"] == {"new": "da"}
    with pytest.raises(UserError, match="'newer', which is no corpus"):
        from_values(scratch_plan(languages={"newer": "da"}))


def test_every_code_is_one_that_the_detector_knows() -> None:
    detector()("this loads the model, which takes a moment")
    from py3langid import langid

    assert set(langid._get_identifier().labels) >= CODES
    assert set(OTHER_NAMES.values()) <= CODES
