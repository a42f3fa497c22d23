"""Which library makes the fp32 matrix products on a CPU, and in which number format training is fastest there.

torch hands fp32 products to one library (MKL) unless it is told that less than fp32 will do; then it asks another
(oneDNN), which on processors without units for that still computes in full fp32, and may be faster. Whether it is,
and whether it is exact, differs from machine to machine: it is measured once, and kept (`REWARM_CACHE`, or `rewarm` in
the user's cache folder), so that every later run on this machine computes in the same way.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

ROWS, WIDTH = 1024, 512
CLEARLY = 1.05
"""A choice that is less than 5 % faster stays with what torch does by itself."""
BF16_PAYS = 1.5
"""Times the fp32 rate from which training in bf16 is faster: what is no product, casts included, does not gain."""
FP32_ERROR = 1e-5
"""Largest error of a product, relative to its largest value, that still counts as fp32 (bf16 factors give 1e-3)."""
_REPEATS = 12


def cache_folder() -> Path:
    """Where what holds for this machine, whatever the run, is kept from one run to the next."""
    if "REWARM_CACHE" in os.environ:
        return Path(os.environ["REWARM_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rewarm"


@lru_cache(maxsize=1)
def measured() -> dict[str, Any]:
    """`rates` (FLOP/s) of one product in each way, the `error` of oneDNN's fp32 ones, and what follows from them.

    `onednn`: fp32 products go there; `fp32`: the rate they then have; `bf16`: whether training in bf16 is faster. From
    the cache when this processor, thread count and torch were measured before.
    """
    key = f"{_processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    file = cache_folder() / "products.json"
    known: Any = None
    with suppress(OSError, ValueError):
        known = json.loads(file.read_text(encoding="utf-8"))
    with suppress(KeyError, TypeError):  # not measured before, or damaged
        return _choose(known[key]["rates"], known[key]["error"])
    rates, error = _measure()
    if not isinstance(known, dict):
        known = {}
    partial = file.with_name(f"{file.name}.{os.getpid()}")
    with suppress(OSError):  # a cache that cannot be kept costs a measurement each time, nothing else
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps({**known, key: {"rates": rates, "error": error}}, indent=1), encoding="utf-8")
        partial.replace(file)
    return _choose(rates, error)


def _choose(rates: dict[str, float], error: float) -> dict[str, Any]:
    onednn = error <= FP32_ERROR and rates["onednn"] > CLEARLY * rates["fp32"]
    best = rates["onednn"] if onednn else rates["fp32"]
    return {"rates": rates, "error": error, "onednn": onednn, "fp32": best, "bf16": rates["bf16"] > BF16_PAYS * best}


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _measure() -> tuple[dict[str, float], float]:
    """FLOP/s of each way, and the largest error of oneDNN's product relative to the largest value."""
    source = torch.Generator().manual_seed(0)
    left = torch.randn(ROWS, WIDTH, generator=source)
    right = torch.randn(WIDTH, 4 * WIDTH, generator=source)
    halves = left.bfloat16(), right.bfloat16()
    exact = left.double() @ right.double()

    def in_onednn() -> Tensor:
        with _fp32_precision("bf16"):
            return left @ right

    ways: dict[str, Callable[[], Tensor]] = {
        "fp32": lambda: left @ right,
        "onednn": in_onednn,
        "bf16": lambda: halves[0] @ halves[1],
    }
    seconds = dict.fromkeys(ways, float("inf"))
    with torch.no_grad(), _fp32_precision("ieee"):
        for _ in range(_REPEATS):
            for name, way in ways.items():
                start = time.perf_counter()
                way()
                seconds[name] = min(seconds[name], time.perf_counter() - start)
        error = float((in_onednn() - exact).abs().max() / exact.abs().max())
    return {name: 2.0 * ROWS * WIDTH * 4 * WIDTH / spent for name, spent in seconds.items()}, error


@contextmanager
def _fp32_precision(name: str) -> Iterator[None]:
    setting: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = setting.fp32_precision
    setting.fp32_precision = name
    try:
        yield
    finally:
        setting.fp32_precision = before


def use_fastest() -> None:
    """From now on this process makes fp32 products on the CPU where they were measured to be fastest."""
    setting: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    setting.fp32_precision = "bf16" if measured()["onednn"] else "ieee"


def as_torch_does() -> AbstractContextManager[None]:
    """A context in which products are made as torch does by itself: better for many small ones, as in attention."""
    return _fp32_precision("ieee")
