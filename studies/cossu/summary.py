"""What is kept of the study: results.json beside this file, and a table for docs/probing.md.

    python studies/cossu/summary.py OUTPUT [FOLDER]

results.json is written into FOLDER where one is given, for a look that is not kept.

Every change is against the base read out under the same seed: the same rows to learn from, the same items asked.
Numbers are means over seeds with 95 % t intervals. A statement is `held` when the interval of its contrast lies above
0, `contradicted` below, and `not distinguishable from noise` otherwise.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rewarm.evaluation.frontier import over_seeds

HERE = Path(__file__).parent
SETS = ("books", "authors")
Found = Mapping[str, Mapping[int, Mapping[str, Any]]]
"""Arm, seed -> the result of one run."""


def load(output: Path) -> dict[str, dict[int, dict[str, Any]]]:
    """Every finished run of the study."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for file in sorted((output / "arms").glob("*/*/result.json")):
        one = json.loads(file.read_text(encoding="utf-8"))
        found.setdefault(one["arm"], {})[one["seed"]] = one
    return found


def _three(values: Sequence[float]) -> list[float | None]:
    """Mean and bounds; bounds of a single seed are null."""
    numbers = over_seeds(values)
    return [round(one, 5) if abs(one) != float("inf") else None for one in numbers]


def _seeds(found: Found, *arms: str) -> list[int]:
    """Seeds under which all arms and the base are finished."""
    return sorted(set.intersection(*(set(found.get(arm, {})) for arm in ("base", *arms))))


def _change(found: Found, arm: str, seed: int, stage: int, read: Callable[[Any], float]) -> float:
    return read(found[arm][seed]["stages"][stage]) - read(found["base"][seed]["stages"][0])


def accuracy(name: str, kind: str) -> Callable[[Any], float]:
    """Reads the accuracy of a set by the linear head or by fine-tuning."""
    return lambda stage: float(stage["read"][name][kind]["accuracy"])


def cka(stage: Any) -> float:
    """The mean over the embeddings and all layers."""
    return sum(stage["cka"].values()) / len(stage["cka"])


def loss(name: str) -> Callable[[Any], float]:
    """Reads the nats per byte of a held-out text."""
    return lambda stage: float(stage["losses"][name])


def by_stage(found: Found, arm: str) -> list[dict[str, Any]]:
    """What is known of an arm after each stage, against the base."""
    seeds = _seeds(found, arm)
    lines = []
    for number, stage in enumerate(found[arm][seeds[0]]["stages"]):

        def over(read: Callable[[Any], float], number: int = number) -> list[float | None]:
            return _three([_change(found, arm, seed, number, read) for seed in seeds])

        line: dict[str, Any] = {"after": stage["stage"]}
        line["loss on books"] = over(loss("books-held"))
        line["loss on its own domain"] = over(loss(f"{stage['stage']}-held"))
        for name in (*SETS, "stream"):
            for kind in ("linear", "full"):
                if kind in stage.get("read", {}).get(name, {}):
                    line[f"{kind} {name}"] = over(accuracy(name, kind))
        line["CKA"] = [
            _three([found[arm][seed]["stages"][number]["cka"][layer] for seed in seeds])
            for layer in stage.get("cka", ())
        ]
        lines.append(line)
    return lines


def _said(values: Sequence[float]) -> dict[str, Any]:
    _, low, high = over_seeds(values)
    verdict = "held" if low > 0 else "contradicted" if high < 0 else "not distinguishable from noise"
    return {"verdict": verdict, "contrast": _three(values), "per seed": [round(value, 5) for value in values]}


def gains(found: Found, arm: str, seed: int) -> float:
    """The sum over domains of the loss an arm took off each one's held-out text, right after it was learned."""
    stages = found[arm][seed]["stages"]
    return -sum(_change(found, arm, seed, number, loss(f"{one['stage']}-held")) for number, one in enumerate(stages))


def statements(found: Found) -> dict[str, dict[str, Any]]:
    """Each statement of the study, tested as far as its arms are finished."""
    said: dict[str, dict[str, Any]] = {}
    for arm in (one for one in ("lm", "supervised") if _seeds(found, one)):
        for name in SETS:
            sizes = [
                [abs(_change(found, arm, seed, -1, accuracy(name, kind))) for kind in ("linear", "full")]
                for seed in _seeds(found, arm)
            ]
            said[f"{arm}, {name}: |change by a linear head| > |change by fine-tuning|"] = _said(
                [linear - full for linear, full in sizes]
            )
    if seeds := _seeds(found, "lm", "supervised"):
        for name in SETS:
            linear = accuracy(name, "linear")
            said[f"supervised lowers linear {name} more than lm"] = _said(
                [_change(found, "lm", one, -1, linear) - _change(found, "supervised", one, -1, linear) for one in seeds]
            )
        said["supervised lowers CKA more than lm"] = _said(
            [_change(found, "lm", one, -1, cka) - _change(found, "supervised", one, -1, cka) for one in seeds]
        )
        books = loss("books-held")
        said["supervised raises the loss on books more than lm"] = _said(
            [_change(found, "supervised", one, -1, books) - _change(found, "lm", one, -1, books) for one in seeds]
        )
    if seeds := _seeds(found, "lm", "sep-median", "sep-random"):
        shares = {
            arm: [gains(found, arm, one) / gains(found, "lm", one) for one in seeds]
            for arm in ("sep-median", "sep-random")
        }
        for arm, values in shares.items():
            said[f"{arm} reaches more than half of the gain of lm with a fifth of the text"] = _said(
                [value - 0.5 for value in values]
            ) | {"share of the gain": _three(values)}
        pairs = zip(shares["sep-median"], shares["sep-random"], strict=True)
        said["sep-median gains more than sep-random"] = _said([median - other for median, other in pairs])
    return said


def main() -> None:
    """Writes results.json and prints the statements and the last row of each arm."""
    found = load(Path(sys.argv[1]))
    if not _seeds(found):
        raise SystemExit("no finished run of the base: run study.py first")
    arms = {arm: by_stage(found, arm) for arm in found if arm != "base" and _seeds(found, arm)}
    base = {
        f"{kind} {name}": _three([accuracy(name, kind)(found["base"][seed]["stages"][0]) for seed in _seeds(found)])
        for name in SETS for kind in ("linear", "full")
    }  # fmt: skip
    first = next(iter(found["base"].values()))["stages"][0]
    kept = {
        "seeds": len(_seeds(found)),
        "columns": ["mean", "low", "high (95 %, t over seeds)"],
        "layers": list(first["cka"]),
        "chance": {name: round(first["read"][name]["chance"], 4) for name in (*SETS, "stream")},
        "base": base,
        "changes": arms,
        "statements": statements(found),
        "training tokens": sum(one["tokens"] for runs in found.values() for one in runs.values()),
        "fine-tuning tokens": sum(one["read_tokens"] for runs in found.values() for one in runs.values()),
    }
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else HERE
    (folder / "results.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    for name, one in kept["statements"].items():
        print(f"{one['verdict']:<32} {name}: {one['contrast']}")
    for arm, lines in arms.items():
        print(arm, {key: value for key, value in lines[-1].items() if key != "CKA"})


if __name__ == "__main__":
    main()
