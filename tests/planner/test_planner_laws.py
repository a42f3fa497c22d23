"""Laws: each fits pilots that follow it, forecasts what it has not seen, and its interval covers the truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest

from rewarm.methods import known
from rewarm.planner import Floats, Law, Settings
from rewarm.planner.fitting import fit, least_squares
from rewarm.planner.judging import judge, student
from rewarm.planner.saying import laws

LAWS = {name: law() for name, law in known("planner").items()}
ROLES: tuple[Literal["old", "new"], ...] = ("old", "new")
Usual = Callable[[Law, str], Floats]


def test_the_folder_holds_three_published_laws_and_two_baselines() -> None:
    assert {name: law.baseline for name, law in LAWS.items()} == {  # type: ignore[attr-defined]
        "annealing": False, "cmr": False, "d-cpt": False, "log-linear": True, "power": True,
    }  # fmt: skip
    assert all(law.uncertain for law in LAWS.values() if not law.baseline)  # type: ignore[attr-defined]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", list(LAWS))
def test_a_law_is_found_again(
    name: str, role: Literal["old", "new"], seen: Settings, target: Settings, usual: Usual
) -> None:
    """Pilots that follow the law with noise of half a percent of the largest change: the forecast of a longer update is
    within 5 % of that change, and what is left over is about the noise."""
    law = LAWS[name]
    assert isinstance(law, Law)
    theta = usual(law, role)
    plain, truth = law.change(role, theta, seen), law.change(role, theta, target)
    scale = np.abs(plain).max()
    noisy = plain + 0.005 * scale * np.random.default_rng(1).standard_normal(len(plain))
    found = fit(law, role, seen, 0.1 * noisy)
    assert np.abs(found.predict(target) - 0.1 * truth).max() < 0.05 * 0.1 * max(scale, np.abs(truth).max())
    assert 0 < found.noise < 0.05


def test_values_by_hand() -> None:
    one = Settings(*(np.array([value]) for value in (4.0, 0.25, 0.5, 2.0, 1.0)))
    d_cpt, cmr, power, line = (LAWS[name] for name in ("d-cpt", "cmr", "power", "log-linear"))
    annealing = LAWS["annealing"]
    tokens = 0.5 * 4.0**0.5
    assert d_cpt.change("old", np.array([0.1, 0.0, 1.0, 1.0, 0.0, 1.0, 0.5]), one)[0] == pytest.approx(  # type: ignore[attr-defined]
        0.1 + 0.25 / tokens + 1 / 0.26
    )
    assert cmr.change("new", np.array([2.0, -1.0, -3.0, 0.5]), one)[0] == pytest.approx(2 / (0.75 * tokens) - 3)  # type: ignore[attr-defined]
    assert cmr.change("old", np.array([0.0, 1.0, 1.0, -2.0, 2.0, 0.1, 0.5]), one)[0] == pytest.approx(  # type: ignore[attr-defined]
        tokens / 0.26 - 2 * tokens**2 + 0.1
    )
    assert power.change("old", np.array([1.0, 0.5, 1.0, 0.5]), one)[0] == pytest.approx(  # type: ignore[attr-defined]
        (1 + 0.5 * np.log(0.26)) * tokens
    )
    assert line.change("new", np.array([1.0, 2.0, 3.0, 4.0]), one)[0] == pytest.approx(  # type: ignore[attr-defined]
        1 + 2 * np.log(4) + 3 * np.log(0.5) + 4 * np.log(0.76)
    )
    assert annealing.change("old", np.array([0.0, 0.0, 1.0, 0.5, 1.0, 2.0, 0.0, 1.0]), one)[0] == pytest.approx(  # type: ignore[attr-defined]
        (1 / 3 - 1) - 0.5 + (1 + 2 * np.log(0.26)) * (1 - 1 / 3)
    )


def test_least_squares_finds_a_known_curve_and_keeps_to_its_bounds() -> None:
    x = np.linspace(0, 2, 15)
    y = 3 * np.exp(-1.5 * x)

    def residuals(theta: Floats) -> Floats:
        return np.asarray(theta[0] * np.exp(-theta[1] * x) - y)

    free = (np.array([-10.0, -10.0]), np.array([10.0, 10.0]))
    assert least_squares(residuals, np.array([1.0, 0.1]), free) == pytest.approx([3.0, 1.5], abs=1e-4)
    tight = (np.array([-10.0, -10.0]), np.array([2.0, 10.0]))
    assert least_squares(residuals, np.array([1.0, 0.1]), tight)[0] == 2.0


def test_the_law_that_pilots_follow_is_believed_and_its_interval_covers_the_truth(
    seen: Settings, target: Settings, usual: Usual
) -> None:
    law = LAWS["d-cpt"]
    assert isinstance(law, Law)
    theta = usual(law, "new")
    noisy = 0.1 * law.change("new", theta, seen) + 0.001 * np.random.default_rng(2).standard_normal(len(seen.peak_N))
    corpus = judge("law", "new", seen, noisy, documents=0.002)
    assert corpus.best.name == "d-cpt"
    found = corpus.forecast(target)
    truth = 0.1 * law.change("new", theta, target)
    assert (found.low_G <= truth).all()
    assert (truth <= found.high_G).all()
    assert found.parts.keys() == {"law", "noise", "laws", "reach", "documents"}
    variance = sum(part**2 for part in found.parts.values())
    assert found.half_G == pytest.approx(student(len(noisy) - 5) * np.sqrt(variance))
    near = corpus.forecast(target, reaching=False)
    assert (near.half_G < found.half_G).all()
    assert laws([corpus])[0].startswith("law: the law d-cpt, ")


def test_a_baseline_that_is_nearer_is_believed_and_said_to_be(seen: Settings, usual: Usual) -> None:
    law = LAWS["log-linear"]
    assert isinstance(law, Law)
    straight = 0.1 * law.change("old", np.array([0.2, 0.4, -0.5, -0.6]), seen)
    corpus = judge("books", "old", seen, straight, documents=0.0)
    assert corpus.best.name == "log-linear"
    assert "no published law came nearer than the baseline (the best of them, " in laws([corpus])[0]


def test_students_t() -> None:
    assert student(0) == student(1) == 12.71
    assert student(10) == 2.23
    assert student(60) == pytest.approx(2.0, abs=0.01)
