"""Which library makes fp32 products: only one that is exact and clearly faster, measured once, never a fault."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from rewarm.objectives import products
from rewarm.objectives.products import (
    FP32_ERROR,
    _choose,
    _fp32_precision,
    as_torch_does,
    cache_folder,
    measured,
    use_fastest,
)

# Rates in FLOP/s; errors relative to the largest value.
EXACT, ROUNDED = 3e-7, 2e-3


def setting() -> str:
    return str(torch.backends.mkldnn.matmul.fp32_precision)  # type: ignore[attr-defined]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of an empty cache of our own; measurements are small, and torch's setting is put back."""
    monkeypatch.setenv("REWARM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(products, "ROWS", 64)
    monkeypatch.setattr(products, "WIDTH", 64)
    measured.cache_clear()
    with _fp32_precision(setting()):
        yield tmp_path / "cache" / "products.json"
    measured.cache_clear()


def measured_anew() -> dict[str, Any]:
    """As another process would find it."""
    measured.cache_clear()
    return measured()


# The decision


@pytest.mark.parametrize(
    ("fp32", "onednn", "bf16", "error", "chosen", "half"),
    [
        (100.0, 200.0, 90.0, EXACT, True, False),
        (100.0, 200.0, 90.0, ROUNDED, False, False),  # fast because it rounds the factors to bf16
        (100.0, 200.0, 90.0, float("nan"), False, False),
        (100.0, 104.0, 90.0, EXACT, False, False),  # not clearly faster
        (100.0, 106.0, 90.0, EXACT, True, False),
        (100.0, 80.0, 90.0, EXACT, False, False),
        (100.0, 80.0, 151.0, EXACT, False, True),
        (100.0, 80.0, 149.0, EXACT, False, False),
        (100.0, 200.0, 299.0, EXACT, True, False),  # bf16 is held against the better of both
        (100.0, 200.0, 301.0, EXACT, True, True),
        (100.0, 200.0, 160.0, ROUNDED, False, True),  # and against nothing that is not fp32
    ],
)
def test_what_follows_from_rates_and_error(
    fp32: float, onednn: float, bf16: float, error: float, chosen: bool, half: bool
) -> None:
    rates = {"fp32": fp32, "onednn": onednn, "bf16": bf16}
    found = _choose(rates, error)
    assert (found["onednn"], found["bf16"]) == (chosen, half)
    assert found["fp32"] == (onednn if chosen else fp32)
    assert found["rates"] == rates


def test_the_guard_tells_fp32_from_bf16() -> None:
    """A product of this very size with factors in bf16 is beyond what counts as fp32, one in fp32 far within."""
    torch.manual_seed(0)
    left, right = torch.randn(256, 512), torch.randn(512, 256)
    exact = left.double() @ right.double()
    with as_torch_does():
        errors = [
            float((found - exact).abs().max() / exact.abs().max())
            for found in (left @ right, (left.bfloat16().float() @ right.bfloat16().float()))
        ]
    assert errors[0] < FP32_ERROR / 10
    assert errors[1] > 10 * FP32_ERROR


@pytest.mark.parametrize("shape", [(1024, 192, 768), (300, 768, 192), (64, 64, 64), (512, 192, 8192)])
def test_products_stay_fp32_on_this_machine(shape: tuple[int, int, int]) -> None:
    """Where oneDNN is exact at the size that is measured, it is so at others: transposed, with a bias, in batches."""
    rows, inner, columns = shape
    torch.manual_seed(0)
    left, right = torch.randn(rows, inner), torch.randn(inner, columns)
    exact = left.double() @ right.double()
    with _fp32_precision("bf16" if measured()["error"] <= FP32_ERROR else "ieee"):
        made = [
            left @ right,
            left @ right.t().contiguous().t(),
            left.t().contiguous().t() @ right,
            torch.nn.functional.linear(left, right.t(), torch.zeros(columns)),
            torch.bmm(left[None], right[None])[0],
            torch.zeros(rows, columns).addmm_(left, right),
        ]
    for found in made:
        assert float((found - exact).abs().max() / exact.abs().max()) <= FP32_ERROR


# The cache


def test_what_was_measured_is_kept(cache: Path) -> None:
    found = measured()
    ((key, entry),) = json.loads(cache.read_text(encoding="utf-8")).items()
    assert entry == {"rates": found["rates"], "error": found["error"]}
    assert all(rate > 0 for rate in entry["rates"].values())
    assert str(torch.get_num_threads()) in key
    assert torch.__version__ in key
    assert [file.name for file in cache.parent.iterdir()] == [cache.name]


def test_what_is_kept_is_believed(cache: Path) -> None:
    """Rates no machine has are given back as they stand in the file; other machines' entries stay."""
    measured()
    (key,) = json.loads(cache.read_text(encoding="utf-8"))
    kept = {"rates": {"fp32": 1.0, "onednn": 2.0, "bf16": 4.0}, "error": 0.0}
    cache.write_text(json.dumps({"another": kept, key: kept}), encoding="utf-8")
    assert measured_anew() == {**kept, "onednn": True, "fp32": 2.0, "bf16": True}
    cache.write_text(json.dumps({"another": kept}), encoding="utf-8")
    assert measured_anew()["rates"] != kept["rates"]
    assert json.loads(cache.read_text(encoding="utf-8")).keys() == {"another", key}


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"[]", b"7", b"null", b"\xff\xfe", b'{"KEY": 3}', b'{"KEY": []}', b'{"KEY": {"rates": {}}}',
        b'{"KEY": {"error": 0.0, "rates": {"fp32": "1", "onednn": 2, "bf16": 3}}}',
        b'{"KEY": {"error": null, "rates": {"fp32": 1, "onednn": 2, "bf16": 3}}}',
    ],
)  # fmt: skip
def test_a_damaged_cache_is_measured_again(cache: Path, text: bytes) -> None:
    measured()
    whole = json.loads(cache.read_text(encoding="utf-8"))
    (key,) = whole
    cache.write_bytes(text.replace(b"KEY", key.encode()))
    found = measured_anew()
    assert found["rates"].keys() == {"fp32", "onednn", "bf16"}
    assert json.loads(cache.read_text(encoding="utf-8"))[key]["rates"] == found["rates"]


def test_a_cache_that_cannot_be_written_costs_a_measurement(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.parent.parent.joinpath("file").touch()
    monkeypatch.setenv("REWARM_CACHE", str(cache.parent.parent / "file" / "cache"))
    assert measured_anew()["rates"]["fp32"] > 0


def test_where_the_cache_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REWARM_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("REWARM_CACHE")
    assert cache_folder() == tmp_path / "user" / "rewarm"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "rewarm"


# torch's setting


@pytest.mark.parametrize(("onednn", "name"), [(200.0, "bf16"), (90.0, "ieee")])
def test_products_go_where_they_are_fastest_but_for_small_ones(cache: Path, onednn: float, name: str) -> None:
    measured()
    (key,) = json.loads(cache.read_text(encoding="utf-8"))
    kept = {"rates": {"fp32": 100.0, "onednn": onednn, "bf16": 1.0}, "error": EXACT}
    cache.write_text(json.dumps({key: kept}), encoding="utf-8")
    measured.cache_clear()
    use_fastest()
    assert setting() == name
    with as_torch_does():
        assert setting() == "ieee"
    assert setting() == name
    with pytest.raises(ZeroDivisionError), as_torch_does():
        raise ZeroDivisionError
    assert setting() == name


def test_measuring_changes_nothing(cache: Path) -> None:
    before, state = setting(), torch.get_rng_state()
    measured()
    assert setting() == before
    assert torch.equal(torch.get_rng_state(), state)
