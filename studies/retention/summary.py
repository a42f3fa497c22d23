"""What is kept of the study: results.json and frontier.svg beside this file, and the table of docs/methods.md.

    python studies/retention/summary.py OUTPUT/comparison.json

Changes are fractions of the base's loss per byte, means over three seeds; below 0 is better. `distance` is what is
forgotten less (below 0) or more than the sweep of learning rates forgets at equal loss on new text.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rewarm.report.arms import ArmRow, Comparison
from rewarm.report.arms_page import pareto
from rewarm.report.comparison import HEAD

HERE = Path(__file__).parent


def row(arm: ArmRow) -> dict[str, Any]:
    """An arm in a few numbers, with the 95 % intervals over seeds."""
    found: dict[str, Any] = {"kind": arm.kind, "change": arm.change, "factor": arm.factor}
    for role, measured in (("old", arm.old), ("new", arm.new)):
        found[role] = [round(value, 5) for value in (measured.point, *measured.seeds)]
    found["columns"] = {name: round(measured.point, 5) for name, measured in arm.columns.items()}
    if arm.standing is not None:
        numbers = (arm.standing.distance, arm.standing.low, arm.standing.high)
        found["against the learning rates"] = [
            arm.standing.verdict,
            *(None if value is None else round(value, 5) for value in numbers),
        ]
    return found


def table(comparison: Comparison) -> str:
    """The arms as a Markdown table, those that beat the frontier most first."""

    def distance(arm: ArmRow) -> float:
        return arm.standing.distance if arm.standing and arm.standing.distance is not None else 1.0

    lines = ["| arm | old text | new text | against the learning rates |", "|---|---|---|---|"]
    arms = comparison.sweep() + sorted((arm for arm in comparison.arms if arm.kind != "sweep"), key=distance)
    for arm in arms:
        standing = "the sweep"
        if arm.standing is not None and arm.standing.distance is not None:
            low, high = arm.standing.low or 0.0, arm.standing.high or 0.0
            standing = f"{arm.standing.verdict}: {arm.standing.distance:+.2%} [{low:+.2%}, {high:+.2%}]"
        elif arm.standing is not None:
            standing = arm.standing.verdict
        lines.append(f"| {arm.name} | {arm.old.point:+.2%} | {arm.new.point:+.2%} | {standing} |")
    return "\n".join(lines)


def alone(svg: str) -> str:
    """A figure of a page as a file of its own, with the page's colours."""
    style = HEAD[HEAD.index("<style>") : HEAD.index("</style>")]
    head, _, rest = svg.partition(">")
    head = head.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    return f"{head}>{style} svg {{ background: var(--paper); color: var(--ink); }}</style>{rest}"


def main() -> None:
    """Writes the two files and prints the table."""
    keep = Path(sys.argv[2]) if len(sys.argv) > 2 else HERE
    comparison = Comparison.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    kept = {
        "seeds": comparison.seeds,
        "stages": [
            {key: stage[key] for key in ("name", "tokens", "learning_rate")} for stage in comparison.plan["stages"]
        ],
        "batch_tokens": comparison.plan["batch_tokens"],
        "columns": ["mean", "low", "high (95 %, t over seeds)"],
        "arms": {arm.name: row(arm) for arm in comparison.arms},
        "tried": [
            [one.name, round(one.old, 5), round(one.new, 5), one.distance and round(one.distance, 5), one.chosen]
            for one in comparison.tried
        ],
    }
    (keep / "results.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    panel = pareto(comparison)
    if panel is not None:
        (keep / "frontier.svg").write_text(alone(panel.svg) + "\n", encoding="utf-8")
    print(table(comparison))


if __name__ == "__main__":
    main()
