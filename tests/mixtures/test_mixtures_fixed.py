"""The plan's weights from the first row to the last."""

import pytest

from rewarm.methods import build
from rewarm.mixtures.fixed import Fixed
from rewarm.types import UserError


def test_the_weights_at_any_progress() -> None:
    weights = {"new": 0.75, "old": 0.25}
    for progress in (0.0, 0.3, 0.999):
        assert Fixed().shares(progress, weights) == weights
    assert Fixed().shares(0.0, weights) is not weights


def test_it_has_no_options() -> None:
    with pytest.raises(UserError, match=r"mixtures\.fixed\.weight: unknown key"):
        build("mixtures", {"type": "fixed", "weight": 1})
