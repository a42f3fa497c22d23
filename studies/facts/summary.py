"""What is kept of the study: results.json and facts.svg beside this file, and tables for docs/facts.md.

    python studies/facts/summary.py OUTPUT

A fact counts as known as `rewarm.evaluation.contamination.known` says. `constant` facts are those that the base knew;
`changed` facts of a year are asked right after the update that states them. Every contrast is the mean over seeds of
the difference between two arms on the same facts; its interval resamples seeds and countries (subjects) together, and
it counts as shown when the interval leaves out 0 and every seed has the same sign.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import pyplot
from numpy.typing import NDArray

from rewarm.evaluation.contamination import known
from rewarm.evaluation.fact_scores import FactScores, load

HERE = Path(__file__).parent
YEARS = ("2021", "2023", "2025")
LEGS = {year: f"stage-{number}-{year}" for number, year in enumerate(YEARS, start=1)}
RESAMPLES = 4000
matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "facts"
Values = NDArray[np.float64]
Measure = Callable[[FactScores], Values]

MEASURES: dict[str, Measure] = {
    "known": lambda scores: known(scores).astype(float),
    "rank 1": lambda scores: (scores.rank_N == 1).astype(float),
    "exact": lambda scores: scores.exact_N,
    "nats per byte": lambda scores: scores.nats_N / scores.bytes_N,
    "stale answer": lambda scores: scores.stale_N,
    "prefers new": lambda scores: (scores.log_odds_N > 0).astype(float),
}
CONTRASTS: dict[str, tuple[str, str, str, str, str]] = {
    "plain training loses constant facts": ("base", "plain", "constant", "known", "fewer"),
    "half the learning rate loses fewer": ("plain", "plain-learning-rate-x0.5", "constant", "known", "more"),
    "half the learning rate learns fewer changed facts": (
        "plain", "plain-learning-rate-x0.5", "changed", "known", "fewer"),
    "replay 1:1 keeps more constant facts": ("plain", "replay-1:1", "constant", "known", "more"),
    "replay 1:1 learns fewer changed facts": ("plain", "replay-1:1", "changed", "known", "fewer"),
    "replay 1:1 answers more with the old": ("plain", "replay-1:1", "changed", "stale answer", "more"),
    "without stale text, fewer are answered with the old": (
        "replay-1:1", "replay-1:1-no-stale-text", "changed", "stale answer", "fewer"),
    "without stale text, more changed facts are learned": (
        "replay-1:1", "replay-1:1-no-stale-text", "changed", "known", "more"),
    "without stale text, constant facts are kept differently": (
        "replay-1:1", "replay-1:1-no-stale-text", "constant", "known", "other"),
    "replay without stale text learns fewer changed facts than plain training": (
        "plain", "replay-1:1-no-stale-text", "changed", "known", "fewer"),
}  # fmt: skip


def scores(root: Path, arm: str, seed: int, leg: str, name: str) -> FactScores:
    """A model's answers; arm `base` is the untouched base, the same for every seed."""
    folder = root / "arms" / ("plain" if arm == "base" else arm) / str(seed)
    return load(folder / "evaluations" / ("base" if arm == "base" else leg) / "facts" / f"{name}.npz")


def asked(root: Path, arm: str, seed: int, kind: str, measure: str) -> tuple[Values, list[str]]:
    """The values of one arm, and the subject of each."""
    if kind == "constant":
        found = scores(root, arm, seed, LEGS[YEARS[-1]], "constant")
        chosen = known(scores(root, "base", seed, "", "constant"))
        return MEASURES[measure](found)[chosen], [
            one for one, is_in in zip(found.subjects, chosen, strict=True) if is_in
        ]
    parts = [scores(root, arm, seed, LEGS[year], f"changed-{year}") for year in YEARS]
    return np.concatenate([MEASURES[measure](part) for part in parts]), [
        name for part in parts for name in part.subjects
    ]


def contrast(root: Path, seeds: list[int], first: str, second: str, kind: str, measure: str) -> dict[str, Any]:
    """The difference second - first with its interval, and each seed's."""
    sums, names = [], None
    for seed in seeds:
        before, names = asked(root, first, seed, kind, measure)
        after, _ = asked(root, second, seed, kind, measure)
        _, row = np.unique(names, return_inverse=True)
        sums.append(np.bincount(row, after - before))
    count = np.bincount(row).astype(float)
    table = np.array(sums)
    source = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES):
        subjects = source.integers(0, len(count), len(count))
        rows = source.integers(0, len(seeds), len(seeds))
        drawn.append(table[rows][:, subjects].sum() / (len(seeds) * count[subjects].sum()))
    low, high = np.quantile(drawn, [0.025, 0.975])
    by_seed = table.sum(1) / count.sum()
    return {
        "difference": round(float(by_seed.mean()), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
        "by_seed": [round(float(one), 4) for one in by_seed],
        "shown": bool((low > 0 or high < 0) and len({bool(one > 0) for one in by_seed}) == 1),
        "facts": int(count.sum()),
        "subjects": len(count),
    }


def verdict(found: dict[str, Any], direction: str) -> str:
    """What a contrast decides about its claim."""
    if not found["shown"]:
        return "not shown"
    as_claimed = direction == "other" or (found["difference"] > 0) == (direction == "more")
    return "shown" if as_claimed else "the opposite is shown"


def arm(root: Path, name: str, seeds: list[int]) -> dict[str, Any]:
    """An arm's mean figures over seeds: on constant facts after the last update, on changed ones after each."""
    figures: dict[str, Any] = {}
    for kind, measures in (("constant", list(MEASURES)[:4]), ("changed", list(MEASURES))):
        figures[kind] = {
            measure: round(float(np.mean([asked(root, name, seed, kind, measure)[0].mean() for seed in seeds])), 4)
            for measure in measures
        }
    if name != "base":
        runs = [json.loads((root / "arms" / name / str(seed) / "report.json").read_text()) for seed in seeds]
        figures["books, relative change of loss"] = round(
            float(np.mean([run["rows"][-1]["cells"]["books"]["relative"] for run in runs])), 4
        )
        figures["tokens"] = runs[0]["rows"][-1]["tokens"]
    return figures


def draw(root: Path, names: list[str], seeds: list[int], keep: Path) -> None:
    """The arms in the plane of what is kept and what is learned, a small mark for each seed and a large one for all."""
    figure, axes = pyplot.subplots(figsize=(6.4, 4.4))
    for name in names:
        kinds = ("constant", "changed")
        marks = np.array([[asked(root, name, seed, kind, "known")[0].mean() * 100 for kind in kinds] for seed in seeds])
        (drawn,) = axes.plot(*marks.mean(0), "o", markersize=11, label=name.replace("-", " "))
        axes.plot(*marks.T, "o", markersize=4, color=drawn.get_color(), alpha=0.6)
    axes.set(xlim=(0, 100), ylim=(0, 100), xlabel="constant facts kept, %", ylabel="changed facts learned, %")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", frameon=False)
    figure.tight_layout()
    figure.savefig(keep / "facts.svg", metadata={"Date": None})


def main() -> None:
    """Writes results.json and facts.svg, and prints the tables."""
    keep = Path(sys.argv[2]) if len(sys.argv) > 2 else HERE
    root = Path(sys.argv[1])
    names = sorted(folder.name for folder in (root / "arms").iterdir())
    seeds = sorted({int(folder.name) for name in names for folder in (root / "arms" / name).iterdir()})
    results = {
        "command": "python studies/facts/study.py DATA OUTPUT --base FOLDER",
        "seeds": seeds,
        "arms": {name: arm(root, name, seeds) for name in ["base", *names]},
        "contrasts": {},
    }
    for claim, (first, second, kind, measure, direction) in CONTRASTS.items():
        found = contrast(root, seeds, first, second, kind, measure)
        results["contrasts"][claim] = {"measure": f"{measure} of {kind}", **found, "verdict": verdict(found, direction)}
    (keep / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    draw(root, names, seeds, keep)
    print("| arm | constant facts kept | changed facts learned | answered with the old | books | tokens |")
    print("|---|---|---|---|---|---|")
    for name, one in results["arms"].items():
        print(
            f"| {name} | {one['constant']['known']:.1%} | {one['changed']['known']:.1%} "
            f"| {one['changed']['stale answer']:.1%} | {one.get('books, relative change of loss', 0):+.1%} "
            f"| {one.get('tokens', 0):,} |"
        )
    print("\n| claim | difference | 95 % interval | each seed | verdict |\n|---|---|---|---|---|")
    for claim, one in results["contrasts"].items():
        seeds_shown = ", ".join(f"{value:+.1%}" for value in one["by_seed"])
        print(f"| {claim} | {one['difference']:+.1%} | {one['low']:+.1%} to {one['high']:+.1%} | {seeds_shown} "
              f"| {one['verdict']} |")  # fmt: skip


if __name__ == "__main__":
    main()
