"""Laws of every suite in files: deterministic, counts add up, a limit is a seeded draw, answers survive JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewarm.methods import build, known
from rewarm.sandbox.permission import executing
from rewarm.suites import ABILITIES, Answers, Measure, Suite
from rewarm.suites.rows import FileSuite
from rewarm.types import UserError

ROWS: dict[str, list[Any]] = {
    "choices": [{"query": f"ba {n}", "choices": [f"ke {n}", f"lo {n}"], "gold": n % 2} for n in range(20)],
    "continuation": [{"context": f"ba ke {n}", "continuation": f"lo {n}"} for n in range(20)],
    "instructions": [{"prompt": f"ba {n}", "rules": {"max_words": 3}} for n in range(20)],
    "refusals": [{"prompt": f"ba {n}", "expected": "refuse"} for n in range(20)],
    "labelled": [{"text": f"ba {n} {'ke' if n % 2 else 'lo'}", "label": n % 2} for n in range(60)],
    "similarity": [{"text": f"ba ke lo {n}"} for n in range(20)],
    "code": [{"text": f"ba {n}", "code": f"a = {n}", "test_list": [f"assert a == {n}"]} for n in range(20)],
}
OPTIONS: dict[str, dict[str, Any]] = {
    "instructions": {"new_tokens": 3},
    "refusals": {"new_tokens": 3, "patterns": ["ba"]},
    "similarity": {"batch": 4},
    "code": {"new_tokens": 3, "samples": 2, "temperature": 1.0},
}
IN_FILES = sorted(name for name, suite in known("suites").items() if issubclass(suite, FileSuite))

in_files = pytest.mark.parametrize("name", IN_FILES)


def values_of(name: str, path: str, **more: Any) -> dict[str, Any]:
    return {"type": name, "path": path, **OPTIONS.get(name, {}), **more}


def made(values: dict[str, Any]) -> FileSuite[Any]:
    suite = build("suites", values)
    assert isinstance(suite, FileSuite)
    return suite


def test_every_suite_in_files_is_held_to_the_laws() -> None:
    assert set(ROWS) >= set(IN_FILES), "give rows of the new suite in ROWS"


@pytest.fixture(autouse=True)
def _programs_may_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("REWARM_CACHE", str(tmp_path / "cache"))
    with executing():
        yield


@in_files
def test_the_same_model_gives_the_same_answers(name: str, write_rows: Any, answers_of: Any) -> None:
    if made(values_of(name, "x")).executes and sys.platform != "linux":
        pytest.skip("programs are run on Linux only")
    values = values_of(name, write_rows(ROWS[name]))
    first, second = (answers_of(values).as_json() for _ in range(2))
    assert first == second
    assert first["measures"]
    # JSON holds them whole.
    again = Answers.from_json(json.loads(json.dumps(first)))
    assert again.as_json() == first
    assert made(values).headline is None
    assert made(values).ability in ABILITIES


@in_files
def test_rows_are_items_left_out_or_bad(name: str, write_rows: Any) -> None:
    good = [row | {"split_of": "test"} for row in ROWS[name]]
    bad = [{"nothing": 1}, ["no object"], good[0] | {"id": "twice"}, good[1] | {"id": "twice"}]
    other = [row | {"split_of": "other"} for row in good[:3]]
    suite = made(values_of(name, write_rows([*good, *other, *bad]), limit=5, where={"split_of": "test"}))
    found = suite.choose(0)
    tally = found.tally
    assert tally.rows == len(good) + len(other) + len(bad)
    assert tally.rows == len(found.ids) + tally.total + tally.left_out.total()
    # The first bad row is of no split; what is no object, and the second of two ids, are bad.
    assert tally.counts == {"not an object": 1, "duplicate id": 1}
    assert tally.left_out["another value of split_of"] == 4
    assert len(found.ids) == 5
    assert [place.rpartition(":")[2] for place in tally.examples["not an object"]] == [str(len(good) + len(other) + 2)]


@in_files
def test_a_limit_is_a_seeded_draw_of_items(name: str, write_rows: Any) -> None:
    path = write_rows([row | {"id": f"r{place}"} for place, row in enumerate(ROWS[name])])
    suite = made(values_of(name, path, limit=5))
    whole = made(values_of(name, path, limit=None)).choose(0).ids
    first, again, other = (suite.choose(seed).ids for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert len(first) == len(other) == 5
    if name != "labelled":  # whose splits are drawn one by one
        assert [place for place in whole if place in first] == list(first)


@in_files
def test_too_many_bad_rows_and_no_row_are_refused(name: str, write_rows: Any) -> None:
    suite = made(values_of(name, write_rows([*ROWS[name], {"nothing": 1}])))
    with pytest.raises(UserError, match="cannot be used, and bad_rows allows 0 %"):
        suite.check("mine", 0.0)
    suite.check("mine", 0.1)
    empty = made(values_of(name, write_rows(ROWS[name], "other"), where={"a": "b"}))
    with pytest.raises(UserError, match=r"suites\.mine"):
        empty.check("mine", 0.0)


@in_files
def test_the_fingerprint_is_of_what_is_asked(name: str, write_rows: Any) -> None:
    first, moved = (made(values_of(name, write_rows(ROWS[name], place))) for place in ("a", "b"))
    assert first.fingerprint() == moved.fingerprint()
    assert first.fingerprint() != made(values_of(name, write_rows(ROWS[name][1:], "c"))).fingerprint()
    assert first.fingerprint() != made(values_of(name, write_rows(ROWS[name], "a"), limit=7)).fingerprint()
    assert first.cost(4.0) > 0


def test_a_measure_is_a_ratio_over_the_items_that_have_it() -> None:
    measure = Measure(np.array([1.0, np.nan, 3.0]), np.array([2.0, 5.0, 2.0]), "lower", "nats per byte")
    assert measure.value == 1.0
    assert Measure(np.array([1.0, 0.0, np.nan])).value == 0.5
    assert np.isnan(Measure(np.array([np.nan])).value)
    with pytest.raises(UserError, match="for 3 items: give one value each"):
        Answers(("a", "b", "c"), {"m": Measure(np.zeros(2))})


def test_what_is_no_finite_number_survives_json() -> None:
    found = Answers(("a", "b", "c"), {"m": Measure(np.array([np.inf, np.nan, -np.inf]))})
    again = Answers.from_json(json.loads(json.dumps(found.as_json())))
    assert np.array_equal(again.measures["m"].values_N, [np.inf, np.nan, -np.inf], equal_nan=True)


def test_a_suite_is_a_method_of_the_folder() -> None:
    assert all(issubclass(suite, Suite) for suite in known("suites").values())
    with pytest.raises(UserError, match=r"no suites method is called 'choice'\. Did you mean 'choices'"):
        build("suites", {"type": "choice"})
    with pytest.raises(UserError, match="is no template"):
        build("suites", {"type": "choices", "path": "x", "template": "{a"})
