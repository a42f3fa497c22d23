"""Paired bootstrap: hand cases, coverage by simulation, and what pairing buys."""

import math
from typing import get_args

import numpy as np
import pytest

from rewarm.evaluation import intervals
from rewarm.evaluation.intervals import DocumentLosses, paired_delta, ratio_interval, ratio_intervals
from rewarm.report import result
from rewarm.types import UserError


def losses(nats: list[float], lengths: list[int]) -> DocumentLosses:
    return DocumentLosses(
        np.array(nats, dtype=np.float64),
        np.array(lengths, dtype=np.int64),
        np.array([max(1, length // 4) for length in lengths], dtype=np.int64),
    )


def test_per_byte_weighs_documents_by_their_text() -> None:
    assert losses([10.0, 30.0], [10, 90]).per_byte == pytest.approx(0.4)


def test_two_documents_by_hand() -> None:
    """Resamples are {first twice, one of each, second twice}: deltas -1, -0.5 (100 bytes each) and 0."""
    found = paired_delta(losses([300.0, 50.0], [100, 100]), losses([200.0, 50.0], [100, 100]))
    assert found.delta == pytest.approx(-0.5)
    assert (found.low, found.high) == (pytest.approx(-1.0), pytest.approx(0.0))
    assert found.verdict == "not distinguishable from noise"


def test_resamples_of_unequal_documents_recompute_the_ratio() -> None:
    """Documents of 10 and 90 bytes, differences +2 and -9: the ratio is -0.07; alone, +0.2 and -0.1."""
    found = paired_delta(losses([10.0, 90.0], [10, 90]), losses([12.0, 81.0], [10, 90]))
    assert found.delta == pytest.approx(-0.07)
    assert (found.low, found.high) == (pytest.approx(-0.1), pytest.approx(0.2))


def test_a_model_against_itself_is_noise_of_exactly_zero() -> None:
    generator = np.random.default_rng(3)
    same = losses(list(generator.gamma(2.0, 50.0, 40)), [int(n) for n in generator.integers(20, 900, 40)])
    found = paired_delta(same, same)
    assert (found.delta, found.low, found.high) == (0.0, 0.0, 0.0)
    assert found.verdict == "not distinguishable from noise"


def test_the_sign_of_the_verdict() -> None:
    before = losses([100.0, 210.0, 290.0], [100, 200, 300])
    after = losses([90.0, 190.0, 260.0], [100, 200, 300])
    assert paired_delta(before, after).verdict == "better"
    assert paired_delta(after, before).verdict == "worse"
    assert paired_delta(before, after).delta == pytest.approx(-0.1)


def test_one_document_bounds_nothing() -> None:
    found = paired_delta(losses([100.0], [100]), losses([50.0], [100]))
    assert found.delta == pytest.approx(-0.5)
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert found.verdict == "not distinguishable from noise"


def test_a_diverged_model_is_worse() -> None:
    sane, diverged = losses([100.0, 90.0], [100, 100]), losses([math.nan, 90.0], [100, 100])
    assert diverged.per_byte == math.inf
    assert paired_delta(sane, diverged).verdict == "worse"
    assert paired_delta(diverged, sane).verdict == "better"
    assert paired_delta(diverged, diverged).verdict == "not distinguishable from noise"


def test_same_arguments_same_interval_and_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    before = losses(list(generator.gamma(2.0, 50.0, 30)), [100] * 30)
    after = losses(list(generator.gamma(2.0, 50.0, 30)), [100] * 30)
    whole = paired_delta(before, after, resamples=500)
    assert paired_delta(before, after, resamples=500) == whole
    assert paired_delta(before, after, resamples=500, seed=1) != whole
    monkeypatch.setattr(intervals, "_DRAWS_AT_ONCE", 30 * 7)
    chunked = paired_delta(before, after, resamples=500)
    assert (chunked.delta, chunked.low, chunked.high) == pytest.approx((whole.delta, whole.low, whole.high), abs=1e-12)


def test_several_metrics_share_their_draws() -> None:
    """Each has the interval that it has alone, whichever way is better."""
    generator = np.random.default_rng(3)
    pairs = [(generator.normal(0.5, 1.0, 40), generator.integers(1, 9, 40).astype(float)) for _ in range(2)]
    together = ratio_intervals(pairs, [True, False])
    alone = [ratio_interval(*pair, lower_is_better=lower) for pair, lower in zip(pairs, (True, False), strict=True)]
    for one, other in zip(together, alone, strict=True):
        assert (one.delta, one.low, one.high) == pytest.approx((other.delta, other.low, other.high), abs=1e-12)
        assert one.verdict == other.verdict
    assert [one.verdict for one in together] == ["worse", "better"]


def test_more_confidence_is_wider() -> None:
    generator = np.random.default_rng(2)
    before = losses(list(generator.gamma(2.0, 50.0, 60)), [100] * 60)
    after = losses(list(generator.gamma(2.0, 50.0, 60)), [100] * 60)
    usual, strict = paired_delta(before, after), paired_delta(before, after, confidence=0.99)
    assert strict.low < usual.low < usual.high < strict.high


def test_coverage_is_near_95_percent() -> None:
    """400 simulated corpora of 80 documents with a known change of -0.05 nats per byte."""
    generator = np.random.default_rng(11)
    held = 0
    for trial in range(400):
        lengths = generator.integers(50, 2000, 80)
        hardness = generator.normal(0.9, 0.3, 80)
        change = -0.05 + generator.normal(0.0, 0.08, 80)
        before = losses(list(hardness * lengths), list(lengths))
        after = losses(list((hardness + change) * lengths), list(lengths))
        found = paired_delta(before, after, resamples=400, seed=trial)
        held += found.low <= -0.05 <= found.high
    assert 0.91 <= held / 400 <= 0.98


def test_pairing_narrows_the_interval_on_documents_of_differing_hardness() -> None:
    """Shuffling which document meets which breaks the pairs and keeps both models' losses."""
    generator = np.random.default_rng(5)
    hardness = generator.normal(90.0, 30.0, 100)
    before = losses(list(hardness), [100] * 100)
    after_nats = hardness - 2.0 + generator.normal(0.0, 1.0, 100)
    paired = paired_delta(before, losses(list(after_nats), [100] * 100))
    unpaired = paired_delta(before, losses(list(generator.permutation(after_nats)), [100] * 100))
    assert paired.delta == pytest.approx(unpaired.delta)
    assert (paired.high - paired.low) < 0.1 * (unpaired.high - unpaired.low)
    assert (paired.verdict, unpaired.verdict) == ("better", "not distinguishable from noise")


def test_other_documents_are_refused() -> None:
    with pytest.raises(UserError, match="not scored on the same documents"):
        paired_delta(losses([1.0, 2.0], [10, 20]), losses([1.0, 2.0], [20, 10]))
    with pytest.raises(UserError, match="2 and 1"):
        paired_delta(losses([1.0, 2.0], [10, 20]), losses([1.0], [10]))


@pytest.mark.parametrize(
    ("options", "named"), [({"resamples": 0}, "resamples 0"), ({"confidence": 1.0}, "confidence 1.0")]
)
def test_options_are_checked(options: dict[str, float], named: str) -> None:
    one = losses([1.0, 2.0], [10, 20])
    with pytest.raises(UserError, match=named):
        paired_delta(one, one, **options)  # type: ignore[arg-type]


def test_losses_are_checked() -> None:
    with pytest.raises(UserError, match="at least one held-out document"):
        losses([], [])
    with pytest.raises(UserError, match="document 1 has no text"):
        losses([1.0, 2.0], [10, 0])
    with pytest.raises(UserError, match="one value per document"):
        losses([1.0], [10, 20])


def test_verdicts_are_those_of_a_report() -> None:
    assert set(get_args(intervals.Verdict)) == set(get_args(result.Verdict)) - {"base"}
