"""Numbers as people write them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewarm.quantities import clock, parse_count, parse_share, short


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("20M", 20_000_000), ("1.5B", 1_500_000_000), ("500k", 500_000), ("2T", 2_000_000_000_000), ("3g", 3 * 10**9),
        ("20_000", 20_000), ("20,000", 20_000), ("1e6", 1_000_000), ("1e+6", 1_000_000), (1e6, 1_000_000), (0, 0),
        (20_000_000.0, 20_000_000), (" 7 tokens ", 7), ("1 token", 1), ("2.3k", 2300), ("1.001k", 1001),
        ("1e22", 10**22), (2**60 + 1, 2**60 + 1), ("0.000001M", 1),
    ],
)  # fmt: skip
def test_counts_are_exact(written: Any, meant: int) -> None:
    assert parse_count(written) == meant


@pytest.mark.parametrize(
    "written",
    ["", "many", "-5", -5, "5%", "1.5", 1.5, "1e-3", True, None, [1], "1.0001k", float("inf"), float("nan"), "20MB",
     "1e999999999", "k", "0x10", "1..5", {"a": 1}],
)  # fmt: skip
def test_what_is_no_count_is_refused_with_an_example(written: Any) -> None:
    with pytest.raises(ValueError, match=r"such as 500k, 20M or 1\.5B"):
        parse_count(written)


@given(st.integers(min_value=0, max_value=10**15))
def test_a_count_survives_every_way_to_write_it(number: int) -> None:
    assert parse_count(number) == parse_count(str(number)) == parse_count(f"{number:_}") == parse_count(f"{number:,}")
    assert parse_count(f"{number}k") == 1000 * number


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("5%", 0.05),
        ("5 %", 0.05),
        (" 0.1% ", 0.001),
        (0.05, 0.05),
        ("0.05", 0.05),
        ("1/2", 0.5),
        (1, 1.0),
        ("100%", 1.0),
        (0, 0.0),
    ],
)
def test_shares(written: Any, meant: float) -> None:
    assert parse_share(written) == pytest.approx(meant, rel=1e-15)


@pytest.mark.parametrize("written", ["", "%", "half", "5%%", True, None, [0.1], {}])
def test_what_is_no_share_is_refused_with_an_example(written: Any) -> None:
    with pytest.raises(ValueError, match=r"such as 5%, 0\.05 or 1/2"):
        parse_share(written)


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0"), (999, "999"), (999.6, "1k"), (1000, "1k"), (12_300_000, "12.3M"), (999_499, "999k"), (999_700, "1M"),
        (1.5e9, "1.5B"), (2e12, "2T"), (-12_300, "-12.3k"), (0.0123, "0.0123"),
    ],
)  # fmt: skip
def test_short_numbers(number: float, shown: str) -> None:
    assert short(number) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.0 s"), (4.21, "4.2 s"), (59.94, "59.9 s"), (59.96, "1 min 00 s"), (200, "3 min 20 s"),
        (119.7, "2 min 00 s"), (3599.7, "1 h 00 min"), (3840, "1 h 04 min"), (90_000, "25 h 00 min"),
    ],
)  # fmt: skip
def test_clocks(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown
