"""What is kept of the study: results.json beside this file, and its table.

    python studies/selection/summary.py OUTPUT

Losses are changes of nats per byte against the base, in parts of the base's loss: on held-out text of the domain (below
0 is learned), and on old books (above 0 is forgotten). `against random` is the difference to chance at the same share,
seed by seed. Intervals are 95 %, by Student's t over seeds; one that holds 0 is no difference that these seeds show.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rewarm.evaluation.frontier import over_seeds

HERE = Path(__file__).parent
NOISE = ("shuffled", "boilerplate")
TEXTS = ("heldout", "books")


def numbers(values: Sequence[float]) -> list[float | None]:
    """Mean, low and high over seeds, then each seed's value; no interval for one seed."""
    if len(values) < 2:
        return [round(values[0], 5), None, None, *(round(value, 5) for value in values)]
    return [round(value, 5) for value in (*over_seeds(values), *values)]


def grouped(files: Sequence[Path]) -> dict[tuple[str, float], list[dict[str, Any]]]:
    """Runs by arm and share, in order of their seeds."""
    found: dict[tuple[str, float], list[dict[str, Any]]] = {}
    read = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    for run in sorted(read, key=lambda one: (one["share"], one["seed"])):
        found.setdefault((run["arm"], run["share"]), []).append(run)
    return found


def cell(runs: Sequence[dict[str, Any]], chance: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """An arm at one share: what it chose, what it learned and forgot, and both against chance."""
    kinds = {
        kind: round(sum(run["chosen"]["kinds"][kind] for run in runs) / len(runs), 5)
        for kind in runs[0]["chosen"]["kinds"]
    }
    noise = sum(kinds.get(kind, 0.0) for kind in NOISE)
    found: dict[str, Any] = {
        "documents": runs[0]["chosen"]["documents"],
        "chosen": {**kinds, "noise": round(noise, 5)},
    }
    if not runs[0]["trains"]:
        return found
    found["tokens trained"] = runs[0]["tokens"]
    for text in TEXTS:
        found[text] = numbers([run["losses"][text]["relative"] for run in runs])
    by_seed = {run["seed"]: run for run in chance}
    pairs = [(run, by_seed[run["seed"]]) for run in runs if run["seed"] in by_seed]
    if pairs and runs[0]["arm"] != "random":
        found["against random"] = {
            text: numbers([own["losses"][text]["relative"] - other["losses"][text]["relative"] for own, other in pairs])
            for text in TEXTS
        }
    return found


def told(found: dict[str, Any]) -> list[str]:
    """What the numbers say, null results among them."""
    said = []
    for arm, shares in found.items():
        for share, one in shares.items():
            held = one.get("against random")
            if held is None:
                continue
            mean, low, high = held["heldout"][:3]
            if low is None or low <= 0 <= high:
                verdict = "no difference from chance that these seeds show"
            else:
                verdict = "better than chance" if high < 0 else "worse than chance"
            said.append(
                f"{arm} at {share}: {one['chosen']['domain']:.0%} domain, {one['chosen']['noise']:.0%} noise; "
                f"{verdict} on the domain ({mean:+.2%})"
            )
    return said


def main() -> None:
    """Writes results.json and prints the table."""
    keep = Path(sys.argv[2]) if len(sys.argv) > 2 else HERE
    runs = grouped(sorted((Path(sys.argv[1]) / "runs").glob("*.json")))
    arms: dict[str, dict[str, Any]] = {}
    for (arm, share), own in runs.items():
        arms.setdefault(arm, {})[f"{share:.0%}"] = cell(own, runs.get(("random", share), []))
    one = next(iter(runs.values()))[0]
    notes = sorted({note for own in runs.values() for run in own for note in run["chosen"]["notes"]})
    kept = {
        "pool": {
            "tokens": one["chosen"]["of_tokens"],
            **{key: round(x, 5) for key, x in one["chosen"]["pool"].items()},
        },
        "seeds": max(len(own) for own in runs.values()),
        "tokens trained in all": sum(run.get("tokens", 0) for own in runs.values() for run in own),
        "columns": ["mean", "low", "high (95 %, t over seeds)", "then each seed"],
        "notes": notes,
        "arms": arms,
        "told": told(arms),
    }
    (keep / "results.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    print("| arm | share | domain | noise | loss on the domain | loss on books | domain, against random |")
    print("|---|---|---|---|---|---|---|")
    for arm, shares in arms.items():
        for share, held in shares.items():
            parts = [f"{held['chosen'][kind]:.0%}" for kind in ("domain", "noise")]
            parts += [f"{held[text][0]:+.2%}" if text in held else "" for text in TEXTS]
            against = held.get("against random")
            shown = "" if against is None else _interval(against["heldout"])
            print(f"| {arm} | {share} | {' | '.join(parts)} | {shown} |")
    print("\n".join(kept["told"]))


def _interval(values: Sequence[float | None]) -> str:
    mean, low, high = values[:3]
    return f"{mean:+.2%}" + ("" if low is None or high is None else f" [{low:+.2%}, {high:+.2%}]")


if __name__ == "__main__":
    main()
