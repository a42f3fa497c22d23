"""Whether two models of benchmarks/peers.py have the same weights, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def weights(model: Path) -> dict[str, Any]:
    """The tensors of a model's folder."""
    from safetensors.torch import load_file

    return load_file(model / "model.safetensors")


def difference(first: Path, second: Path) -> float:
    """The largest difference of two models' weights; 0 when all bits are equal."""
    import torch

    one, two = weights(first), weights(second)
    if one.keys() != two.keys():
        raise SystemExit(f"'{first}' and '{second}' hold other tensors: {sorted(one.keys() ^ two.keys())}")
    if all(torch.equal(one[name].view(torch.uint8), two[name].view(torch.uint8)) for name in one):
        return 0.0
    # NaN or -0 against 0 are other bits without a difference: told as the smallest number.
    return max(max(float((one[name].double() - two[name].double()).abs().max()) for name in one), 5e-324)
