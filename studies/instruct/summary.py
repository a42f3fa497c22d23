"""What is kept of the study: `results.json` beside this file, and the table of docs/instruct.md.

    python studies/instruct/summary.py OUTPUT/found

Values are given for each seed, and as means with 95 % intervals (t over seeds). Changes are against the instruct model
of the same seed, before any update. Format rate, stop rate and repetition are means over both tasks.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from pathlib import Path
from typing import Any

from rewarm.evaluation.frontier import over_seeds

HERE = Path(__file__).parent
START = "instruct"
ARMS = {
    "base": "the base",
    START: "the instruct model (base, then chat)",
    "bare": "instruct, then biology",
    "replay-chat": "the same with 10 % chat replayed",
    "replay-books": "the same with 25 % books replayed",
    "plain": "base, then biology",
    "added 0.5": "that + 0.5 (instruct - base)",
    "added 1": "that + 1.0 (instruct - base)",
    "again": "base, then biology, then chat",
}
CHANCE = 0.1
"""What always naming one kind is right in: ten kinds are asked equally often."""
SHARES = ("format_rate", "stop_rate", "accuracy kind", "accuracy word")


def measured(values: list[float]) -> dict[str, Any]:
    """Mean, half-width of the interval, and the values."""
    middle, _, high = over_seeds(values)
    return {
        "mean": round(middle, 5),
        "half": round(high - middle, 5) if len(values) > 1 else None,
        "seeds": [round(value, 5) for value in values],
    }


def values(arm: dict[str, Any]) -> dict[str, float]:
    """The numbers of one model of one seed."""
    suites = arm["suites"]
    both = ("format_rate", "stop_rate", "repetition")
    found: dict[str, float] = {name: statistics.mean(one[name] for one in suites.values()) for name in both}
    found |= {f"accuracy {task}": one["accuracy"] for task, one in suites.items()}
    return {**found, **arm["losses"]}


def summed_up(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Every arm over the seeds, as it is and against the instruct model."""
    starts = [values(one["arms"][START]) for one in results]
    kept: dict[str, Any] = {}
    for arm in ARMS:
        own = [values(one["arms"][arm]) for one in results]
        kept[arm] = {name: measured([one[name] for one in own]) for name in own[0]}
        if arm != START:
            pairs = list(zip(own, starts, strict=True))
            kept[arm]["change"] = {name: measured([one[name] - start[name] for one, start in pairs]) for name in own[0]}
    return kept


def differs(results: list[dict[str, Any]], first: str, second: str, name: str) -> dict[str, Any]:
    """The first arm minus the second in one number, over the seeds."""
    pairs = [(values(one["arms"][first]), values(one["arms"][second])) for one in results]
    return measured([one[name] - other[name] for one, other in pairs])


def verdict(difference: dict[str, Any], sign: int) -> str:
    """Whether a difference has the sign that was expected, by its interval."""
    mean, half = difference["mean"] * sign, math.inf if difference["half"] is None else difference["half"]
    if mean > half:
        return "holds"
    return "the opposite holds" if mean < -half else "not shown: the interval holds 0"


def claims(results: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What was expected, with the difference that decides and the verdict. None is left out for its outcome."""
    expected = [
        ("the bare update loses stop rate", "bare", START, "stop_rate", -1),
        ("the bare update loses format rate", "bare", START, "format_rate", -1),
        ("the bare update loses accuracy (kind)", "bare", START, "accuracy kind", -1),
        ("replay of chat keeps more of the stop rate", "replay-chat", "bare", "stop_rate", 1),
        ("replay of chat keeps more accuracy (kind)", "replay-chat", "bare", "accuracy kind", 1),
        ("replay of books keeps more of the stop rate", "replay-books", "bare", "stop_rate", 1),
        ("replay of books keeps books", "replay-books", "bare", "books", -1),
        ("the difference added back stops more often than the bare update", "added 1", "bare", "stop_rate", 1),
        ("the difference added back is more accurate (kind)", "added 1", "bare", "accuracy kind", 1),
        ("the difference added back has less loss on biology than the bare update", "added 1", "bare", "biology", -1),
        ("tuning again is more accurate than the difference (kind)", "again", "added 1", "accuracy kind", 1),
        ("tuning again loses biology", "again", "plain", "biology", 1),
    ]
    found = {}
    for claim, first, second, name, sign in expected:
        difference = differs(results, first, second, name)
        found[claim] = {
            "of": f"{name}: {first} minus {second}", "difference": difference, "verdict": verdict(difference, sign)
        }  # fmt: skip
    for arm in (START, "replay-chat", "added 1", "again"):
        difference = measured([values(one["arms"][arm])["accuracy kind"] - CHANCE for one in results])
        found[f"{ARMS[arm]}: right more often than one answer to all (kind)"] = {
            "of": f"accuracy kind: {arm} minus {CHANCE}", "difference": difference, "verdict": verdict(difference, 1)
        }  # fmt: skip
    return found


def told(one: dict[str, Any], name: str) -> str:
    """A number with its interval, as the table has it."""
    half = one["half"] or 0.0
    if name in SHARES:
        return f"{100 * one['mean']:.0f} ± {100 * half:.0f} %"
    return f"{one['mean']:.3f} ± {half:.3f}"


def table(kept: dict[str, Any]) -> str:
    """The arms as a Markdown table."""
    columns = (*SHARES, "biology", "books")
    heads = ("format", "stops", "right (kind)", "right (word)", "biology", "books")
    lines = [f"| | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for arm, words in ARMS.items():
        lines.append(f"| {words} | {' | '.join(told(kept[arm][name], name) for name in columns)} |")
    return "\n".join(lines)


def main() -> None:
    """Writes results.json and prints the table and the claims."""
    keep = Path(sys.argv[2]) if len(sys.argv) > 2 else HERE
    files = sorted(Path(sys.argv[1]).glob("seed-*.json"))
    results = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    kept = {
        "tokens of each stage": results[0]["tokens"], "seeds": [one["seed"] for one in results],
        "arms": summed_up(results), "claims": claims(results),
    }  # fmt: skip
    (keep / "results.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    print(table(kept["arms"]))
    for claim, one in kept["claims"].items():
        difference = one["difference"]
        print(f"{claim}: {one['verdict']} ({difference['mean']:+.4f} ± {difference['half'] or 0:.4f})")


if __name__ == "__main__":
    main()
