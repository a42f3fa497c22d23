"""What is kept of the study: results.json beside this file, and a table for docs/records.md.

    python studies/records/summary.py OUTPUT

Numbers are nats per byte of the answers, means over seeds with 95 % intervals (t over seeds). A contrast is the mean of
the differences between two arms with the same seed; it counts as shown when its interval leaves out 0, and is printed
as not shown otherwise, whichever way it was expected to go.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rewarm.evaluation.frontier import over_seeds

HERE = Path(__file__).parent
CONTRASTS: dict[str, tuple[str, str, str, str, str]] = {
    "clusters help with values that products of one line share": ("cluster", "isolated", "line", "alone", "lower"),
    "clusters help with parents that a linked category lists": ("cluster", "isolated", "tree", "alone", "lower"),
    "clusters do not help with a record's own values": ("cluster", "isolated", "own", "alone", "same"),
    "it is the edges: clusters against shuffled, line": ("cluster", "shuffled", "line", "alone", "lower"),
    "it is the edges: clusters against shuffled, tree": ("cluster", "shuffled", "tree", "alone", "lower"),
    "shuffled records help no more than single ones, line": ("shuffled", "isolated", "line", "alone", "same"),
    "clusters teach to read linked records, line": ("cluster", "isolated", "line", "linked", "lower"),
    "clusters teach to read linked records, tree": ("cluster", "isolated", "tree", "linked", "lower"),
    "clusters teach more of that than shuffled records, line": ("cluster", "shuffled", "line", "linked", "lower"),
    "records that are not linked help neither arm more": ("cluster", "isolated", "line", "unlinked", "same"),
    "books in the stream cost what is learned of lines": ("cluster-books-2", "cluster", "line", "alone", "same"),
}


def interval(values: list[float]) -> list[float]:
    """Mean and both ends of its 95 % interval; the ends are the mean for one seed."""
    middle, low, high = over_seeds(values) if len(values) > 1 else (values[0],) * 3
    return [round(value, 5) for value in (middle, low, high)]


def read(output: Path) -> tuple[dict[str, Any], dict[str, dict[int, dict[str, Any]]]]:
    """The base's result, and those of the runs by arm and seed."""
    runs: dict[str, dict[int, dict[str, Any]]] = {}
    for file in sorted((output / "results").glob("*-*.json")):
        found = json.loads(file.read_text(encoding="utf-8"))
        runs.setdefault(found["arm"], {})[found["seed"]] = found
    return json.loads((output / "results" / "base.json").read_text(encoding="utf-8")), runs


def per_byte(result: dict[str, Any], kind: str, form: str) -> float:
    """Nats per byte of the answers of one kind after one form of prompt."""
    nats, size, _ = result["probes"][kind][form]
    return float(nats / size)


def contrast(runs: dict[str, dict[int, dict[str, Any]]], asked: tuple[str, str, str, str, str]) -> dict[str, Any]:
    """The difference of two arms on one kind of probe, and whether it went as expected."""
    first, second, kind, form, expected = asked
    seeds = sorted(runs[first].keys() & runs[second].keys())
    differences = [per_byte(runs[first][seed], kind, form) - per_byte(runs[second][seed], kind, form) for seed in seeds]
    point, low, high = interval(differences)
    found = "lower" if high < 0 else "higher" if low > 0 else "same"
    if len(seeds) < 2:
        verdict = "one seed: no verdict"
    else:
        verdict = f"as expected ({found})" if found == expected else f"not shown: expected {expected}, found {found}"
    return {
        "arms": [first, second], "kind": kind, "prompt": form, "difference": [point, low, high],
        "seeds": [round(value, 5) for value in differences], "verdict": verdict,
    }  # fmt: skip


def books(runs: dict[str, dict[int, dict[str, Any]]]) -> dict[str, list[float]]:
    """By arm, the change of the loss on books as a fraction of the base's."""
    return {
        arm: interval([one["books"]["stage-1-records"] / one["books"]["base"] - 1 for one in by_seed.values()])
        for arm, by_seed in runs.items()
    }


def main() -> None:
    """Writes results.json and prints the tables."""
    keep = Path(sys.argv[2]) if len(sys.argv) > 2 else HERE
    base, runs = read(Path(sys.argv[1]))
    kinds = {kind: list(forms) for kind, forms in base["probes"].items()}
    losses = {
        arm: {f"{kind}, {form}": interval([per_byte(one, kind, form) for one in by_seed.values()])
              for kind, forms in kinds.items() for form in forms}
        for arm, by_seed in runs.items()
    }  # fmt: skip
    kept = {
        "columns": ["mean", "low", "high (95 %, t over seeds)"],
        "tokens of records": next(iter(runs["cluster"].values()))["tokens"],
        "seeds": {arm: sorted(by_seed) for arm, by_seed in runs.items()},
        "probes": {kind: base["probes"][kind]["alone"][2] for kind in kinds},
        "base": {
            f"{kind}, {form}": round(per_byte(base, kind, form), 5) for kind, forms in kinds.items() for form in forms
        },
        "nats per byte": losses,
        "books, change of the loss": books(runs),
        "contrasts": {name: contrast(runs, asked) for name, asked in CONTRASTS.items()},
    }  # fmt: skip
    (keep / "results.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    print("| arm | " + " | ".join(kept["base"]) + " | books |")
    print("|---" * (len(kept["base"]) + 2) + "|")
    print("| base | " + " | ".join(f"{value:.3f}" for value in kept["base"].values()) + " | |")
    for arm, row in losses.items():
        change = kept["books, change of the loss"][arm][0]
        print(f"| {arm} | " + " | ".join(f"{value[0]:.3f}" for value in row.values()) + f" | {change:+.1%} |")
    for name, found in kept["contrasts"].items():
        point, low, high = found["difference"]
        print(f"- {name}: {point:+.4f} [{low:+.4f}, {high:+.4f}] {found['verdict']}")


if __name__ == "__main__":
    main()
