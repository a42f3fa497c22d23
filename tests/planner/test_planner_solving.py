"""The design of pilots, the best settings within limits, and what is known of a base's end."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from rewarm.planner import Settings
from rewarm.planner.design import SHARES, design
from rewarm.planner.ending import ending
from rewarm.planner.fitting import Fitted
from rewarm.planner.judging import Corpus, Judged
from rewarm.planner.power import Power
from rewarm.planner.solving import Tried, Wanted, solve, tried
from rewarm.types import UserError


def test_every_pair_of_levels_is_tried_once() -> None:
    grid = [one for one in design(100_000, 15, sweeps=False).grid(1e-3) if one.why == "grid"]
    levels = [("peak", "share"), ("peak", "tokens"), ("share", "tokens")]
    for pair in levels:
        counted = Counter(tuple(round(getattr(one, name), 9) for name in pair) for one in grid)
        assert len(counted) == 9
        assert set(counted.values()) == {1}
    assert {one.share for one in grid} == set(SHARES)
    assert max(one.peak for one in grid) == 1e-3
    assert min(one.peak for one in grid) == pytest.approx(1e-4)


@pytest.mark.parametrize(
    ("most", "sweeps", "pilots"), [(15, True, 15), (14, True, 14), (15, False, 11), (10, False, 10)]
)
def test_pilots_take_the_tokens_they_are_given(most: int, sweeps: bool, pilots: int) -> None:
    made = design(1_000_000, most, sweeps)
    points = [*made.sweep(1e-3), *made.grid(1e-3)]
    assert len(points) + 1 == made.pilots == pilots
    assert sum(one.tokens for one in points) + made.long == made.tokens
    assert 990_000 < made.tokens <= 1_000_000
    assert len({one.number for one in points}) == len(points), "each has a seed of its own"


def test_too_few_pilots_are_refused() -> None:
    with pytest.raises(UserError, match=r"--max-pilots 13: at least 14 are needed: .* 4 to find the peaks"):
        design(1_000_000, 13, sweeps=True)


def known(name: str, role: str, theta: list[float], noise: float = 0.0) -> Corpus:
    """A corpus whose law is known: changes are exactly what it says, with an error that all settings share."""
    spread = np.geomspace(0.1, 1.0, 40)
    order = [np.random.default_rng(seed).permutation(40) for seed in range(2)]
    seen = Settings(spread, 0.4 * spread[order[0]], spread[order[1]], spread, spread)
    fitted = Fitted(Power(), role, np.array(theta), 1.0, 1e-9)  # type: ignore[arg-type]
    return Corpus(name, role, seen, np.zeros(40), 0.0, (Judged(fitted, noise, 0.0),))  # type: ignore[arg-type]


def at(grid: Tried) -> Settings:
    return Settings(grid.peak_G, grid.share_G, grid.tokens_G / 1000, grid.peak_G, grid.peak_G)


# old: (-0.05 - 0.05 ln(r + 0.01)) peak, new: (-0.1 - 0 ln) tokens^0.5 peak.
OLD, NEW = [-0.05, -0.05, 0.0, 1.0], [-0.1, 0.0, 0.5, 1.0]


def test_the_known_best_settings_are_found() -> None:
    """Gain rises with peak and tokens and does not know the share; forgetting is (-0.05 - 0.05 ln(r + 0.01)) peak,
    which is below 0 from a share of about 0.36 on. So the highest peak, all tokens, and a share above that."""
    grid = tried((0.1, 1.0), (0.02, 0.4), 1000, lambda share: 1e9)
    found = solve([known("books", "old", OLD), known("law", "new", NEW)], grid, at(grid), Wanted(0.0))
    assert found.met
    assert (found.peak, found.tokens) == (1.0, 1000)
    assert found.share > 0.357
    assert float(found.forecasts["law"].point_G[0]) == pytest.approx(-0.1)
    # A limit that leaves room takes the share out of it: at 0.02 the highest peak forgets 12.5 %.
    loose = solve([known("books", "old", OLD), known("law", "new", NEW)], grid, at(grid), Wanted(0.5))
    assert (loose.peak, loose.met) == (1.0, True)


def test_the_upper_bound_decides_and_not_the_point() -> None:
    grid = tried((0.1, 1.0), (0.02, 0.4), 1000, lambda share: 1e9)
    # By its point the highest peak would do: it forgets 5 %, which is the limit.
    sure = solve(
        [known("books", "old", [0.05, 0.0, 0.0, 1.0]), known("law", "new", NEW)], grid, at(grid), Wanted(0.0501)
    )
    assert sure.peak == 1.0
    noisy = known("books", "old", [0.05, 0.0, 0.0, 1.0], noise=0.002)
    careful = solve([noisy, known("law", "new", NEW)], grid, at(grid), Wanted(0.0501))
    assert careful.met
    assert careful.peak < sure.peak
    assert float(careful.forecasts["books"].high_G[0]) <= 0.0501


def test_every_new_corpus_gains_enough_where_any_settings_allow_it() -> None:
    """law learns with the peak, news unlearns with it: their mean is best at the highest peak, where news gains 5 %."""
    grid = tried((0.1, 1.0), (0.02, 0.4), 1000, lambda share: 1e9)
    corpora = [
        known("books", "old", [0.0, 0.0, 0.0, 1.0]),
        known("law", "new", [-0.4, 0.0, 0.5, 1.0]),
        known("news", "new", [-0.05, 0.0, 0.5, -0.5]),
    ]
    free = solve(corpora, grid, at(grid), Wanted(0.01))
    assert (free.peak, float(free.forecasts["news"].point_G[0])) == (1.0, pytest.approx(-0.05))
    both = solve(corpora, grid, at(grid), Wanted(0.01, min_gain=0.08))
    assert both.peak < 1.0
    assert all(float(both.forecasts[name].point_G[0]) <= -0.08 for name in ("law", "news"))
    none = solve(corpora, grid, at(grid), Wanted(0.01, min_gain=0.9))
    assert (none.met, none.peak) == (True, 1.0), "otherwise the best is told, and what it lacks"


def test_no_forecast_is_of_a_loss_that_cannot_be() -> None:
    """-1.6 peak tokens^0.5 falls below -1 at most settings with high peaks and many tokens."""
    grid = tried((0.1, 1.0), (0.02, 0.4), 1000, lambda share: 1e9)
    corpora = [known("books", "old", [0.0, 0.0, 0.0, 1.0]), known("law", "new", [-1.6, 0.0, 0.5, 1.0], noise=0.1)]
    found = solve(corpora, grid, at(grid), Wanted(0.01))
    here = found.forecasts["law"]
    assert -1 < float(here.point_G[0]) < -0.8
    assert float(here.low_G[0]) == -1.0, "the bound ends where nothing is left"
    assert found.tried == len(grid.peak_G)
    assert found.beyond == int((1.6 * grid.peak_G * (grid.tokens_G / 1000) ** 0.5 >= 1).sum()) > 0
    nowhere = solve([corpora[0], known("law", "new", [-50.0, 0.0, 0.0, 0.0])], grid, at(grid), Wanted(0.01))
    assert float(nowhere.forecasts["law"].point_G[0]) == -1.0


def test_where_nothing_holds_the_nearest_is_told() -> None:
    grid = tried((0.1, 1.0), (0.02, 0.4), 1000, lambda share: 1e9)
    found = solve([known("books", "old", [0.5, 0.0, 0.0, 1.0]), known("law", "new", NEW)], grid, at(grid), Wanted(0.01))
    assert not found.met
    assert found.peak == 0.1, "forgetting rises with the peak alone"


def test_settings_keep_to_the_text_there_is() -> None:
    grid = tried((0.1, 1.0), (0.02, 0.4), 1000, lambda share: 600 if share > 0.1 else 1e9)
    pairs = set(zip(np.round(grid.share_G, 3).tolist(), grid.tokens_G.tolist(), strict=True))
    assert {tokens for share, tokens in pairs if share > 0.1} == {250.0, 500.0}
    assert {tokens for share, tokens in pairs if share < 0.1} == {250.0, 500.0, 750.0, 1000.0}


def test_what_lies_in_a_folder_says_the_peak(tmp_path: Path) -> None:
    assert not ending("org/name").known
    assert not ending(str(tmp_path)).known
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "learning_rate": 3e-4}))
    found = ending(str(tmp_path))
    assert (found.peak, found.last) == (3e-4, None)
    log = [{"learning_rate": rate, "step": step} for step, rate in enumerate((1e-4, 2e-4, 1e-5))] + [{"eval_loss": 1.0}]
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": log}))
    found = ending(str(tmp_path))
    assert (found.peak, found.last) == (2e-4, 1e-5)
    for broken in ("[]", "{", json.dumps({"log_history": [3, {"learning_rate": "x"}]})):
        (tmp_path / "trainer_state.json").write_text(broken)
        assert ending(str(tmp_path)).peak == 3e-4


def test_seeds_of_all_pilots_differ() -> None:
    made = design(1_000_000, 15, sweeps=True)
    numbers = [one.number for one in itertools.chain(made.sweep(1e-3), made.grid(1e-3))]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
