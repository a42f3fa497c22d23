"""What is said of little evidence: few documents, text read again, settings and changes beyond the pilots'."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from rewarm.plan import from_values
from rewarm.planner import Settings
from rewarm.planner.asked import Asked
from rewarm.planner.design import Point, design
from rewarm.planner.ending import UNKNOWN
from rewarm.planner.judging import Corpus, Interval
from rewarm.planner.pilots import Pilot, few
from rewarm.planner.room import Source, Text, sound_peaks
from rewarm.planner.saying import pilots_notes, plan_notes, replayed
from rewarm.planner.solving import Solved
from rewarm.types import UserError

TEXT = Text((Source("law", False, 0.75, 9_000), Source("bio", False, 0.25, 500), Source("books", True, 1.0, 100)), 4.0)


def test_the_text_that_is_read_most_often_decides() -> None:
    assert TEXT.worst(0.1, 1000) == (pytest.approx(1.0), "books")
    assert TEXT.worst(0.02, 1000) == (pytest.approx(0.25 * 0.98 * 1000 / 500), "bio")
    assert TEXT.room(0.1) == pytest.approx(4000)
    assert Text((), 4.0).room(0.1) == math.inf
    assert Text((), 4.0).worst(0.1, 1000) == (0.0, "")


def test_a_peak_at_or_above_a_diverged_pilot_is_not_sound() -> None:
    kept = [Point(number, "grid", peak, 0.1, 100) for number, peak in enumerate((1e-4, 3e-4, 1e-3))]
    assert sound_peaks(kept, []) == [1e-4, 3e-4, 1e-3]
    assert sound_peaks(kept, [Point(9, "sweep", 1e-3, 0.1, 100)]) == [1e-4, 3e-4]
    assert sound_peaks(kept, [Point(9, "grid", 1e-4, 0.1, 100)]) == []


def test_few_documents_widen_their_part_and_one_is_refused() -> None:
    """The t of 4 degrees is 2.78, and the bootstrap of 5 has 4/5 of the variance."""
    assert few("law", 5) == pytest.approx(math.sqrt(5 / 4) * 2.78 / 1.96)
    assert few("law", 29) > few("law", 30) == 1.0
    with pytest.raises(UserError, match="'law' has 1 document in the half"):
        few("law", 1)


def test_a_widened_interval_covers_where_a_bootstrap_of_few_does_not() -> None:
    """Means of 4 normal draws: the plain bootstrap interval holds the truth much less often than 95 % of times."""
    generator = np.random.default_rng(0)
    drawn = generator.standard_normal((4000, 4))
    spread = drawn.std(axis=1) / 2  # what a bootstrap over 4 documents tends to
    covered = [float((np.abs(drawn.mean(axis=1)) <= 1.96 * spread * factor).mean()) for factor in (1.0, few("a", 4))]
    assert covered[0] < 0.87
    assert covered[1] == pytest.approx(0.95, abs=0.01)


def corpus(changes: list[float]) -> Corpus:
    """A corpus of which only its pilots' changes matter."""
    nothing = np.zeros(len(changes))
    return Corpus("law", "new", Settings(*[nothing] * 5), np.array(changes), 0.0, ())


def solved(tokens: int, change: float, beyond: int = 0) -> Solved:
    point = Interval(np.array([change]), np.array([0.1]), {})
    return Solved(3e-4, 0.1, tokens, True, {"law": point}, beyond, 780)


def test_what_lies_beyond_the_pilots_is_said() -> None:
    points = [Point(1, "grid", 1e-4, 0.05, 400), Point(2, "grid", 1e-3, 0.2, 1000), Point(3, "long", 5e-4, 0.1, 2000)]
    pilots = [Pilot(one, {"law": -0.2}, {"law": 0.01}, 1.0, one.tokens) for one in points]
    near = plan_notes(solved(2000, -0.2), [corpus([-0.1, -0.2])], pilots, TEXT)
    assert near == []
    far = " / ".join(plan_notes(solved(6000, -0.5, 12), [corpus([-0.1, -0.2])], pilots, TEXT))
    assert "12 of 780 settings are left out" in far
    assert "6,000 tokens are 3.0 times those of the longest pilot (2,000)" in far
    assert "law: the forecast change, -50.0 %, is larger than any pilot's (up to 20.0 %)" in far
    assert "the plan goes through books 6.0 times, and no pilot went through any text more than 2.0 times" in far
    lowest = Solved(1e-4, 0.2, 1000, True, solved(1, -0.1).forecasts)
    assert plan_notes(lowest, [corpus([-0.2])], pilots, TEXT)[0].startswith(
        "replay 0.2 is the highest that pilots had, peak 0.0001 is the lowest that pilots had: better settings may lie"
    )


@pytest.fixture
def swept() -> Asked:
    """A planning whose base does not say its peak: a sweep up to 3e-3."""
    plan = from_values(
        {
            "base": "base", "output_dir": "run",
            "corpora": {name: {"path": f"{name}.jsonl", "holdout": "10%"} for name in ("law", "books")},
            "stages": [{"name": "law", "data": "law", "tokens": 10_000, "learning_rate": 1e-3,
                        "replay": {"from": "books", "share": "5%"}}],
            "watch": ["law", "books"],
        }
    )  # fmt: skip
    return Asked(plan, Path("plan.yaml"), Path("pilots"), 0.01, 0.0, design(10_000, 15, sweeps=True), UNKNOWN)


def run_at(why: str, peak: float, tokens: int, documents: int = 40) -> Pilot:
    point = Point(1, why, peak, 0.1, tokens)  # type: ignore[arg-type]
    return Pilot(point, {"law": -0.1}, {"law": 0.01}, 1.0, tokens, {"law": documents})


def test_what_pilots_cannot_tell_is_said(swept: Asked) -> None:
    good = [run_at("sweep", 3e-3, 200), run_at("grid", 1e-3, 500), run_at("long", 1e-3, 1000)]
    assert pilots_notes(swept, good, TEXT) == []
    poor = [run_at("sweep", 3e-3, 200, 7), run_at("grid", 3e-3, 2000, 7), run_at("long", 1e-3, 2000, 7)]
    said = pilots_notes(swept, poor, TEXT)
    assert [one.split(",")[0] for one in said] == [
        "law: pilots are scored on 7 documents; fewer than 30",
        "a pilot went through books 2.0 times; no law tells text that is read again from new text",
        "no pilot is longer than those of the grid (2",
        "of the sweep its highest peak",
    ]


def test_one_stage_says_what_it_replays(swept: Asked) -> None:
    assert replayed(swept.plan) == "one stage: law (10k tokens); it replays books"
