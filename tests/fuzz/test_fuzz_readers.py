"""A short round of benchmarks/fuzz.py: seeds with edits for every reader; the same inputs in every run of the suite."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz_inputs import edited
from fuzz_targets import readers
from hypothesis import HealthCheck, Phase, given, settings

from rewarm.types import UserError

EVERY = readers()
FEW = 15
"""Examples of each: the long round is run by hand, see docs/security.md."""


@pytest.mark.parametrize("name", EVERY)
def test_no_bytes_raise_and_no_row_is_lost(name: str, tmp_path: Path) -> None:
    target, seeds = EVERY[name]
    for seed in seeds:
        target(tmp_path, seed)

    @settings(max_examples=FEW, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(content=edited(seeds))
    def search(content: bytes) -> None:
        target(tmp_path, content)

    search()


def test_a_target_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that loses a row without counting it, and a plan reader with an error of Python's, are seen."""
    import rewarm.plan
    from rewarm.corpora.jsonl import Jsonl

    def losing(self, bad):  # type: ignore[no-untyped-def]
        bad.rows += 1
        return iter(())

    monkeypatch.setattr(Jsonl, "_documents", losing)
    with pytest.raises(AssertionError):
        EVERY["jsonl"][0](tmp_path, b"{}\n")

    def broken(path):  # type: ignore[no-untyped-def]
        raise KeyError("x")

    monkeypatch.setattr(rewarm.plan, "load", broken)
    with pytest.raises(KeyError):
        EVERY["plan"][0](tmp_path, b"a: 1\n")
    assert issubclass(UserError, Exception)
