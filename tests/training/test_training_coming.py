"""The batch to come: its fingerprint tells other data from the same, and looking at it takes nothing away."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from rewarm.training.coming import Coming, fingerprint
from rewarm.types import Batch, UserError


def batch(first: int, rows: int = 2) -> Batch:
    """Rows of four tokens that count up."""
    tokens_BT = torch.arange(first, first + 4 * rows).view(rows, 4)
    return Batch(tokens_BT, tokens_BT + 1, torch.arange(4).repeat(rows, 1), 4 * rows)


def test_a_fingerprint_is_of_tokens_targets_and_positions() -> None:
    one = batch(3)
    assert fingerprint([one]) == fingerprint([batch(3)])
    for name in ("tokens_BT", "targets_BT", "positions_BT"):
        changed = getattr(one, name).clone()
        changed[1, 2] += 1
        assert fingerprint([dataclasses.replace(one, **{name: changed})]) != fingerprint([one])
    assert fingerprint([batch(3, 1), batch(7, 1)]).startswith("2:")


def test_what_was_looked_at_still_comes() -> None:
    steps = [[batch(number)] for number in range(3)]
    coming = Coming(iter(steps))
    assert next(coming) is steps[0]
    assert coming.following() == coming.following() == fingerprint(steps[1])
    assert list(coming) == steps[1:]
    assert coming.following() is None


def test_other_data_is_refused() -> None:
    coming = Coming(iter([[batch(5)]]))
    assert coming.check(fingerprint([batch(5)]), "here") is True
    with pytest.raises(UserError, match=r"leg, step 4: the first batch after resuming is not the one"):
        coming.check(fingerprint([batch(6)]), "leg, step 4")
    assert len(list(coming)) == 1


def test_what_cannot_be_told_is_not_called_right() -> None:
    assert Coming(iter([[batch(5)]])).check(None, "here") is None
    whole, cut = [batch(5)], [batch(5, 1), batch(9, 1)]
    assert Coming(iter([whole])).check(fingerprint(cut), "here") is None
    assert Coming(iter([])).check(fingerprint(whole), "here") is None
