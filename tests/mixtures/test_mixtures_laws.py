"""Laws every mixture must pass, whatever its formula."""

import json

import pytest

from rewarm.methods import build, known
from rewarm.mixtures import Mixture
from rewarm.mixtures.draw import draw

WEIGHTS = (
    {"only": 1.0},
    {"new": 0.95, "old": 0.05},
    {"a": 0.2, "b": 0.3, "c": 0.5},
    {f"corpus-{number}": 1 / 37 for number in range(37)},
    {"almost": 1 - 1e-6, "never": 1e-6},
)
PROGRESS = tuple(step / 200 for step in range(200))


def made(name: str) -> Mixture:
    mixture = build("mixtures", name)
    assert isinstance(mixture, Mixture)
    return mixture


@pytest.mark.parametrize("name", known("mixtures"))
@pytest.mark.parametrize("weights", WEIGHTS)
def test_shares_are_shares_of_the_corpora_given(name: str, weights: dict[str, float]) -> None:
    mixture = made(name)
    for progress in PROGRESS:
        shares = mixture.shares(progress, weights)
        assert list(shares) == list(weights)
        assert all(0.0 <= share <= 1.0 for share in shares.values())
        assert sum(shares.values()) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("name", known("mixtures"))
def test_a_mixture_is_pure(name: str) -> None:
    mixture, weights = made(name), {"a": 0.2, "b": 0.3, "c": 0.5}
    forward = [mixture.shares(progress, weights) for progress in PROGRESS]
    mixture.shares(0.5, {"other": 1.0})
    backward = [mixture.shares(progress, weights) for progress in reversed(PROGRESS)]
    assert backward[::-1] == forward
    assert weights == {"a": 0.2, "b": 0.3, "c": 0.5}


@pytest.mark.parametrize("name", known("mixtures"))
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("rows", [1, 3, 32])
def test_the_realised_share_is_the_planned_one(name: str, weights: dict[str, float], rows: int) -> None:
    """Within one row at any step, and so within 0.5 % of the tokens of any stage of 200 rows or more."""
    mixture, steps = made(name), 300
    drawn = draw(mixture, weights, steps, rows, 0)
    planned = dict.fromkeys(weights, 0.0)
    realised = dict.fromkeys(weights, 0)
    for step in range(steps):
        for index, (corpus, share) in enumerate(mixture.shares(step / steps, weights).items()):
            planned[corpus] += share * rows
            realised[corpus] += int((drawn[step] == index).sum())
        assert all(abs(realised[corpus] - planned[corpus]) <= 1.0 for corpus in weights)
    assert all(abs(realised[corpus] - planned[corpus]) <= 0.005 * steps * rows for corpus in weights)


@pytest.mark.parametrize("name", known("mixtures"))
def test_options_survive_the_round_trip_through_a_plan(name: str) -> None:
    described = json.loads(json.dumps(made(name).described()))
    assert described["type"] == name
    assert build("mixtures", described) == made(name)
