"""Figures and changes from scores that are written out by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from rewarm.evaluation.contamination import contaminated, contamination, known
from rewarm.evaluation.fact_scores import FactScores
from rewarm.evaluation.fact_summary import by_kind, by_relation, changes, figures
from rewarm.evaluation.fuar import phase_fuar
from rewarm.types import UserError

NAN = np.nan
KINDS = ("unchanged", "unchanged", "changed", "changed", "new", "deleted")
NUMBERS: dict[str, list[float]] = {
    "nats_N": [1, 3, 4, 2, 6, NAN],
    "tokens_N": [1, 2, 2, 1, 2, NAN],
    "bytes_N": [5, 10, 10, 5, 10, NAN],
    "best_nats_N": [1, 2, 4, 2, 6, NAN],
    "old_nats_N": [NAN, NAN, 3, 5, NAN, 8],
    "old_tokens_N": [NAN, NAN, 1, 2, NAN, 2],
    "old_bytes_N": [NAN, NAN, 6, 10, NAN, 4],
    "rank_N": [1, 4, 2, 1, NAN, NAN],
    "byte_rank_N": [1, 3, 1, 1, NAN, NAN],
    "candidates_N": [20, 20, 20, 20, NAN, NAN],
    "chosen_N": [NAN] * 6,
    "exact_N": [1, 0, 0, 0, 1, NAN],
    "f1_N": [1, 0.5, 0, 0, 1, NAN],
    "stale_N": [NAN, NAN, 1, 0, NAN, 1],
}


def scores(**changed: Any) -> FactScores:
    numbers = {name: np.array(values, float) for name, values in (NUMBERS | changed).items() if name.endswith("_N")}
    return FactScores(
        ids=("u1", "u2", "c1", "c2", "n1", "d1"), kinds=KINDS, relations=("a", "a", "a", "b", "", "b"),
        subjects=changed.get("subjects", ("x", "y", "x", "z", "", "")), generated=("",) * 6, **numbers,
    )  # fmt: skip


def test_figures_by_kind() -> None:
    found = by_kind(scores())
    assert list(found) == ["all", "unchanged", "changed", "new", "deleted"]
    everything = found["all"]
    assert everything["nats_per_byte"] == (pytest.approx(16 / 40), 5)
    assert everything["perplexity"] == (pytest.approx(np.exp(16 / 8)), 5)
    assert everything["rank"] == (2, 4)
    assert everything["reciprocal_rank"] == (pytest.approx((1 + 1 / 4 + 1 / 2 + 1) / 4), 4)
    assert (everything["rank_1"], everything["byte_rank_1"]) == ((0.5, 4), (0.75, 4))
    assert everything["exact"] == (pytest.approx(2 / 5), 5)
    assert everything["stale"] == (pytest.approx(2 / 3), 3)
    changed = found["changed"]
    assert changed["log_odds"] == (pytest.approx((3 - 4 + 5 - 2) / 2), 2)
    assert changed["prefers_new"] == (0.5, 2)
    assert changed["old_nats_per_byte"] == (pytest.approx((0.5 + 0.5) / 2), 2)
    assert set(found["deleted"]) == {"old_nats_per_byte", "stale"}
    assert found["deleted"]["old_nats_per_byte"] == (2, 1)
    assert "chosen" not in everything


def test_figures_by_relation_and_of_none() -> None:
    found = by_relation(scores())
    assert list(found) == ["a", "b"]
    assert found["a"]["exact"] == (pytest.approx(1 / 3), 3)
    assert figures(scores(), np.zeros(6, bool)) == {}


def test_a_model_against_itself_is_noise_of_exactly_zero() -> None:
    found = changes(scores(), scores())
    assert {"nats_per_byte", "rank", "exact", "stale", "log_odds"} <= set(found)
    for change in found.values():
        assert (change.interval.delta, change.interval.low, change.interval.high) == (0, 0, 0)
        assert change.interval.verdict == "not distinguishable from noise"
        assert change.before == change.after


def test_subjects_are_drawn_and_not_probes() -> None:
    """Two probes of x (differences +1 and +1) and one of y (-1): resamples are {x, x}, {x, y}, {y, y}: 1, 1/3, -1.
    The same three as subjects of their own could also give {x, y, y}, -1/3."""
    after = scores(exact_N=[1, 0, 1, 0, 1, NAN])
    before = scores(exact_N=[0, 1, 0, 0, 1, NAN])
    chosen_N = np.array([True, True, True, False, False, False])
    found = changes(before, after, chosen_N)["exact"]
    assert (found.count, found.subjects, found.before, found.after) == (
        3,
        2,
        pytest.approx(1 / 3),
        pytest.approx(2 / 3),
    )
    assert found.interval.delta == pytest.approx(1 / 3)
    assert (found.interval.low, found.interval.high) == (-1, 1)


def test_probes_without_a_subject_stand_alone() -> None:
    found = changes(scores(), scores())
    assert found["exact"].subjects == 4  # x, y, z and n1
    assert changes(scores(subjects=("",) * 6), scores(subjects=("",) * 6))["exact"].subjects == 5


@pytest.mark.parametrize(("metric", "column", "verdict"), [
    ("nats_per_byte", "nats_N", "worse"), ("exact", "exact_N", "better"), ("rank", "rank_N", "worse"),
    ("stale", "stale_N", "worse"), ("old_nats_per_byte", "old_nats_N", "better"),
])  # fmt: skip
def test_the_sign_of_the_verdict(metric: str, column: str, verdict: str) -> None:
    """Everything one higher: which way is better is the metric's own."""
    after = scores(**{column: [value + 1 for value in NUMBERS[column]]})
    assert changes(scores(), after)[metric].interval.verdict == verdict
    turned = {"better": "worse", "worse": "better"}[verdict]
    assert changes(after, scores())[metric].interval.verdict == turned


def test_other_tokens_leave_out_what_is_per_token() -> None:
    found = changes(scores(), scores(tokens_N=[2, 2, 2, 2, 2, NAN]))
    assert "nats_per_token" not in found
    assert "nats_per_byte" in found


def test_other_probes_or_candidates_are_refused() -> None:
    with pytest.raises(UserError, match="were not asked the same probes"):
        changes(scores(), dataclasses.replace(scores(), ids=("u1", "u2", "c1", "c2", "n1", "d2")))
    with pytest.raises(UserError, match="ask both again"):
        changes(scores(), scores(candidates_N=[10, 20, 20, 20, NAN, NAN]))


def test_what_a_model_knows() -> None:
    """u1 is generated; c2 is first by both ways of counting and preferred to its old answer; n1 is generated."""
    assert known(scores()).tolist() == [True, False, False, True, True, False]
    assert known(scores(), least_candidates=21).tolist() == [True, False, False, False, True, False]
    assert not known(scores(byte_rank_N=[1, 3, 1, 2, NAN, NAN]))[3]
    assert not known(scores(old_nats_N=[NAN, NAN, 3, 2, NAN, 8]))[3]


def test_contamination_is_of_changed_and_new_probes() -> None:
    found = contamination(scores())
    assert found.ids == ("c2", "n1")
    assert found.known == {"unchanged": 1, "changed": 1, "new": 1}
    assert found.asked == {"unchanged": 2, "changed": 2, "new": 1}
    assert contaminated(scores()).tolist() == [False, False, False, True, True, False]


def test_fuar_of_one_phase() -> None:
    """IL 1 of 2 to 0; UL 0 to 1 of 2; NL 1 to 1: a half lost for a half gained."""
    found = phase_fuar(scores(), scores(exact_N=[0, 0, 1, 0, 1, NAN]))
    assert (found.value, found.lost, found.gained) == (1, 0.5, 0.5)
    assert (found.invariant, found.updated, found.new) == (((0.5, 0),), ((0, 0.5),), ((1, 1),))
    assert phase_fuar(scores(), scores(), "rank_1").new == (None,)
    assert phase_fuar(scores(), scores()).words == "no gain"


def test_only_the_metrics_asked_for_are_made() -> None:
    after = scores(nats_N=[2, 3, 4, 2, 6, NAN])
    assert list(changes(scores(), after, metrics=("exact", "nats_per_byte", "chosen"))) == ["exact", "nats_per_byte"]
    every = changes(scores(), after)
    assert changes(scores(), after, metrics=["nats_per_byte"])["nats_per_byte"] == every["nats_per_byte"]
    assert set(figures(scores(), metrics=["rank"])) == {"rank"}


def test_a_model_that_diverged_is_infinitely_worse() -> None:
    found = changes(scores(), scores(nats_N=[np.inf, 3, 4, 2, 6, NAN]))
    assert (found["nats_per_byte"].after, found["nats_per_byte"].interval.verdict) == (np.inf, "worse")
    assert found["rank"].interval.delta == 0
