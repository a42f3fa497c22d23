"""What is kept of the study: `results.json` beside this file, and the tables of docs/recycling.md.

    python studies/recycle/summary.py OUTPUT/found

Values are given for each seed, and as means with 95 % intervals (t over seeds). `steps` are to the target, the best
that the fresh start reached; an arm that never reached it counts with all its steps.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rewarm.evaluation.frontier import over_seeds

HERE = Path(__file__).parent


def measured(values: list[float]) -> dict[str, Any]:
    """Mean, half-width of the interval, and the values."""
    middle, _, high = over_seeds(values)
    return {
        "mean": round(middle, 5),
        "half": round(high - middle, 5) if len(values) > 1 else None,
        "seeds": [round(value, 5) for value in values],
    }


def steps(arm: dict[str, Any]) -> float:
    """Steps to the target."""
    reached = arm["steps_to_target"]
    return float(arm["readings"][-1]["step"] if reached is None else reached)


def ways(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Each way over the seeds of one length of update."""
    found: dict[str, Any] = {}
    for number, arm in enumerate(results[0]["arms"]):
        own = [result["arms"][number] for result in results]
        paths = [path for result in results for path in result["paths"]]
        values = {
            "steps": [steps(one) for one in own if arm["way"] != "direct"],
            "before": [one["readings"][0]["accuracy"] for one in own],
            "test": [one["test"]["accuracy"] for one in own],
            "barrier": [path["barrier"] for path in paths if path["way"] == arm["way"]],
        }
        found[arm["way"]] = {name: measured(each) for name, each in values.items() if each}
        found[arm["way"]]["not reached"] = sum(one["steps_to_target"] is None for one in own)
    saved = [steps(one["arms"][4]) - steps(one["arms"][1]) for one in results]
    found["steps saved by init against fresh"] = measured(saved)
    found["sweep"] = {
        str(point["scale"]): measured([result["sweep"][place]["accuracy"] for result in results])
        for place, point in enumerate(results[0]["sweep"])
    }
    return found


def claims(kept: dict[str, Any]) -> dict[str, bool]:
    """What should hold, and whether it does, by the means."""
    short, long = kept["short"], kept["long"]
    direct = {length: kept[length]["direct"]["test"]["mean"] for length in ("short", "long")}
    apart = kept["control"]["barrier"]["mean"]
    return {
        "a recycled start reaches the target in fewer steps than a fresh one": all(
            one["init"]["steps"]["mean"] < one["fresh"]["steps"]["mean"] for one in (short, long)
        ),
        "carried weights beat the fresh start before any training": all(
            one["direct"]["test"]["mean"] > one["fresh"]["before"]["mean"] for one in (short, long)
        ),
        "the benefit shrinks as the update gets longer": direct["long"] < direct["short"],
        "the barrier is lower than between bases trained apart": all(
            one["fresh"]["barrier"]["mean"] < apart for one in (short, long)
        ),
    }  # fmt: skip


def table(kept: dict[str, Any]) -> str:
    """The ways as a Markdown table."""
    lines = ["| update | way | before training | steps to the target | test | barrier |", "|---|---|---|---|---|---|"]
    for length in ("short", "long"):
        for way in ("direct", "init", "teacher", "both", "fresh"):
            one = kept[length][way]
            shown = [
                f"{one['before']['mean']:.1%}",
                f"{one['steps']['mean']:.0f}" if "steps" in one else "",
                f"{one['test']['mean']:.1%}",
                f"{one['barrier']['mean']:.3f}" if "barrier" in one else "",
            ]
            lines.append(f"| {length} | {way} | {' | '.join(shown)} |")
    lines.append(f"| two bases trained apart | | | | | {kept['control']['barrier']['mean']:.3f} |")
    return "\n".join(lines)


def main() -> None:
    """Writes results.json and prints the table and the claims."""
    keep = Path(sys.argv[2]) if len(sys.argv) > 2 else HERE
    folder = Path(sys.argv[1])

    def read(name: str) -> list[dict[str, Any]]:
        return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob(f"{name}-*.json"))]

    results = {length: read(length) for length in ("short", "long")}
    controls = read("control")
    kept: dict[str, Any] = {length: ways(found) for length, found in results.items()}
    kept["old task model"] = measured([one["teacher"]["accuracy"] for one in results["short"]])
    kept["target"] = {length: measured([one["target"] for one in found]) for length, found in results.items()}
    kept["control"] = {
        "barrier": measured([one["barrier"] for one in controls]),
        "accuracy of the two ends": [measured([one["accuracies"][end] for one in controls]) for end in (0, 1)],
    }
    kept["claims"] = claims(kept)
    (keep / "results.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    print(table(kept))
    for claim, holds in kept["claims"].items():
        print(f"{'holds' if holds else 'does not hold'}: {claim}")


if __name__ == "__main__":
    main()
