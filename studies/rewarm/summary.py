"""What is kept of the study: results.json beside this file, a page for each claim, and the index.

    python studies/rewarm/summary.py [OUTPUT [TO]]

Reads OUTPUT/rows.jsonl, finished or not; without OUTPUT, the results.json that is there. With TO, a folder, all is
written there instead. Claims whose arms have not all run are called `not run yet`; their statements show what there is.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import arms
import matplotlib.style
import numpy as np
from claims import Claim, all_claims
from matplotlib.figure import Figure
from rows import Rows
from verdicts import MARGIN, SEEDS, Finding, Runs, Verdict, find, of_claim

from rewarm.report.comparison import HEAD
from rewarm.report.svg import INK, MUTED, SERIES, STYLE, inline

HERE = Path(__file__).parent
RUN = "python studies/rewarm/study.py OUTPUT --data DATA"
KIND = {"above": "above 0", "below": "below 0", "equal": f"within {MARGIN:g}", "at most": f"at most {MARGIN:g}"}
MARKS = {
    "held": "held",
    "not held": "**not held**",
    "not decidable here": "not decidable",
    "not run yet": "not run yet",
}


def read(output: Path | None) -> list[dict[str, Any]]:
    """The rows of the study's folder, or those that are kept here; of one arm and seed the last."""
    if output is None:
        rows = json.loads((HERE / "results.json").read_text(encoding="utf-8"))["rows"]
    else:
        rows = Rows(output / "rows.jsonl").read()
    found = {(row["arm"], row["seed"]): row for row in rows}
    return [row for row in found.values() if row["seed"] in SEEDS]


def by_seed(rows: Sequence[dict[str, Any]]) -> dict[int, Runs]:
    """Rows by seed and arm."""
    return {seed: {row["arm"]: row for row in rows if row["seed"] == seed} for seed in SEEDS}


def page(claim: Claim, findings: Sequence[Finding], has_figure: bool) -> str:
    """The page of a claim, as Markdown."""
    verdict = of_claim(findings)
    made = "Made by `studies/rewarm/summary.py` from `studies/rewarm/results.json`; do not edit."
    where = "How it was measured, and the rule: [the study](../../rewarm-study.md)."
    lines = [f"# {claim.name}: {verdict}", "", claim.says, "", f"Source: {claim.source}.", "", f"{made} {where}", ""]
    if verdict == "not run yet":
        some = "Rows below that have numbers for some seeds decide nothing."
        lines += [f"**Not run yet**: not every arm of this claim has been run under every seed. {some}", ""]
    if has_figure:
        lines += [f"![{claim.name}]({claim.name}.svg)", ""]
    for title, beside in (("What decides", False), ("Beside it (does not count)", True)):
        chosen = [one for one in findings if one.statement.beside is beside]
        if chosen:
            lines += [f"## {title}", "", *table(chosen, 1 + findings.index(chosen[0])), ""]
    return "\n".join(lines).rstrip() + "\n"


def table(findings: Sequence[Finding], first: int = 1) -> list[str]:
    """Statements as a table, numbered from `first` on."""
    head = "| | difference, nats per token | claimed | mean | 95 % interval | seeds | says |"
    return [head, "|---|---|---|---|---|---|---|", *(table_row(*one) for one in enumerate(findings, first))]


def table_row(number: int, found: Finding) -> str:
    """A statement as a row of a table."""
    numbers = "| | | "
    if found.seeds:
        bounds = f"[{found.low:+.4f}, {found.high:+.4f}]" if math.isfinite(found.low) else "one seed only"
        numbers = f"| {found.mean:+.4f} | {bounds} | {', '.join(f'{one:+.4f}' for one in found.seeds)} "
    return f"| {number} | {found.statement.text} | {KIND[found.statement.kind]} {numbers}| {MARKS[found.verdict]} |"


def figure(claim: Claim, findings: Sequence[Finding], runs: Mapping[int, Runs]) -> str | None:
    """Left the arms' curves (mean over seeds; old text dashed), right the statements; None without a finding."""
    drawn = {number: one for number, one in enumerate(findings, 1) if one.seeds and math.isfinite(one.low)}
    if not drawn:
        return None
    shown = [arm for arm in claim.shown if any(arm in one for one in runs.values())][:6]
    tall = max(2.6, 0.17 * len(drawn) + 0.9) if not shown else max(3.2, 0.17 * len(drawn) + 0.9)
    with matplotlib.style.context(["default", STYLE, {"font.size": 8}]):
        drawing = Figure(figsize=(8.6 if shown else 5.2, tall), layout="constrained")
        panels = drawing.subplots(1, 2 if shown else 1, squeeze=False)[0]
        if shown:
            curves(panels[0], shown, runs)
        forest(panels[-1], drawn)
        key = f"rewarm-{claim.name}"
        return alone(inline(drawing, key, f"{claim.name}: {claim.says}"))


def curves(axes: Any, shown: Sequence[str], runs: Mapping[int, Runs]) -> None:
    """Loss along the update, mean over the seeds that have run; old text dashed. Models from scratch begin high, and
    are drawn from their first scored point."""
    highest = 0.0
    for colour, arm in zip(SERIES, shown, strict=False):
        rows = [one[arm] for one in runs.values() if arm in one]
        texts = [name for name in rows[0]["base"] if name != "books" or arm.startswith("books/")]
        for text in dict.fromkeys(("books", *texts[:1])):
            begun = [] if rows[0]["start"] == "scratch" else [0.0]
            points = np.array([
                [
                    *(row["base"][text][0] for _ in begun),
                    *(point[2][text] for point in row["curve"]),
                    list(row["after"].values())[-1][text][0],
                ]
                for row in rows
            ])  # fmt: skip
            tokens = [*begun, *(point[1] for point in rows[0]["curve"]), sum(rows[0]["tokens"].values())]
            plain = text != "books" or arm.startswith("books/")
            style: dict[str, Any] = {"label": arm} if plain else {"linestyle": (0, (4, 2))}
            axes.plot(np.array(tokens) / 1000, points.mean(0), color=colour, linewidth=1.2, **style)
            highest = max(highest, float(points.mean(0).max()))
    axes.set(xlabel="thousand tokens", ylabel="nats per token (old text dashed)")
    axes.legend(fontsize=7)


def forest(axes: Any, drawn: Mapping[int, Finding]) -> None:
    """Means and intervals; numbers are those of the page's rows."""
    for place, one in enumerate(drawn.values()):
        colour = {"held": SERIES[0], "not held": SERIES[1]}.get(one.verdict, SERIES[5])
        axes.plot([one.low, one.high], [-place, -place], color=colour, linewidth=1.2)
        axes.plot([one.mean], [-place], "o", color=colour, markersize=3.5)
    axes.axvline(0, color=INK, linewidth=0.8)
    for edge in (-MARGIN, MARGIN):
        axes.axvline(edge, color=MUTED, linewidth=0.6, linestyle=(0, (2, 2)))
    # An interval that is much wider than what it is of would leave the others no room: it is cut off.
    edges = [min(abs(edge), 4 * abs(one.mean) + MARGIN) for one in drawn.values() for edge in (one.low, one.high)]
    bound = 1.15 * max(MARGIN, *edges)
    axes.set(xlim=(-bound, bound), xlabel="difference, nats per token", yticks=[-place for place in range(len(drawn))])
    axes.set_yticklabels([str(number) for number in drawn])
    axes.set_title("rows of the tables by number: blue held, orange not, grey undecided", fontsize=8, color=MUTED)


def alone(svg: str) -> str:
    """A figure as a file of its own, with the page's colours and the size that its view box says."""
    style = HEAD[HEAD.index("<style>") : HEAD.index("</style>")]
    head, _, rest = svg.partition(">")
    head = head.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    return f"{head}>{style} svg {{ background: var(--paper); color: var(--ink); }}</style>{rest}\n"


def index(found: Sequence[tuple[Claim, Sequence[Finding], bool]], rows: Sequence[dict[str, Any]]) -> str:
    """The index: what was done, the rule, a row for each claim, and the numbers of those that are complete."""
    complete = sum(of_claim(findings) != "not run yet" for _, findings, _ in found)
    lines = [introduction(rows)]
    lines += [f"Run so far: {len(rows)} rows; {complete} of {len(found)} claims are complete.", "", *based(rows)]
    lines += ["| claim | verdict | held / not / undecided | figure | the source says |", "|---|---|---|---|---|"]
    for claim, findings, has_figure in found:
        verdict, where = of_claim(findings), f"studies/rewarm/{claim.name}"
        counted = [one.verdict for one in findings if not one.statement.beside]
        words: tuple[Verdict, ...] = ("held", "not held", "not decidable here")
        tally = "" if verdict == "not run yet" else " / ".join(str(counted.count(word)) for word in words)
        cells = [
            f"[{claim.name}]({where}.md): {claim.says}", MARKS[verdict], tally,
            f"[figure]({where}.svg)" if has_figure else "none yet", claim.source,
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "## The numbers", ""]
    for claim, findings, _ in found:
        if of_claim(findings) != "not run yet":
            counting = [one for one in findings if not one.statement.beside]
            lines += [f"### {claim.name}: {of_claim(findings)}", "", *table(counting), ""]
    return "\n".join(lines).rstrip() + "\n"


def introduction(rows: Sequence[dict[str, Any]]) -> str:
    """What was done and the rule, with the study's own sizes."""
    size = arms.Size()
    return (HERE / "introduction.md").read_text(encoding="utf-8").format(
        parameters=rows[0]["parameters"] if rows else 0, run=RUN, margin=MARGIN, seeds=len(SEEDS),
        base=size.base, update=size.update, steps=size.update // arms.BATCH_TOKENS, scored=size.scored,
        chunks=len(arms.STREAM), chunk=size.chunk, batch=arms.BATCH_TOKENS, seq=arms.SEQ_LEN, peak=arms.PEAK,
    )  # fmt: skip


def based(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What the bases are worth: loss on held-out books before and after, over the seeds that have run."""
    bases = [row for row in rows if row["arm"] == "base"]
    if not bases:
        return []
    before, after, bits = (
        float(np.mean([value(row) for row in bases]))
        for value in (
            lambda row: row["base"]["books"][0],
            lambda row: list(row["after"].values())[-1]["books"][0],
            lambda row: list(row["after"].values())[-1]["books"][1],
        )
    )
    return [
        f"The bases ({len(bases)} seeds): loss on held-out books {before:.3f} nats per token before any step, "
        f"{after:.3f} ({bits:.3f} bits per byte) at the end.",
        "",
    ]  # fmt: skip


def main() -> None:
    """Writes results.json, the pages and the index, and prints the verdicts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, nargs="?")
    parser.add_argument("to", type=Path, nargs="?")
    given = parser.parse_args()
    rows = read(given.output)
    write(rows, given.to or HERE.parents[1] / "docs", (given.to or HERE) / "results.json")


def write(rows: Sequence[dict[str, Any]], docs: Path, results: Path) -> None:
    """Everything that is made of the rows."""
    runs = by_seed(rows)
    folder = docs / "studies" / "rewarm"
    folder.mkdir(parents=True, exist_ok=True)
    found: list[tuple[Claim, Sequence[Finding], bool]] = []
    for claim in all_claims(runs):
        # What counts comes first; rows of tables and of figures are numbered in this order.
        ordered = sorted(claim.statements, key=lambda statement: statement.beside)
        findings = [find(statement, runs) for statement in ordered]
        drawn = figure(claim, findings, runs)
        if drawn is not None:
            (folder / f"{claim.name}.svg").write_text(drawn, encoding="utf-8")
        else:
            (folder / f"{claim.name}.svg").unlink(missing_ok=True)
        (folder / f"{claim.name}.md").write_text(page(claim, findings, drawn is not None), encoding="utf-8")
        found.append((claim, findings, drawn is not None))
        print(f"{claim.name:<10} {of_claim(findings)}")
    (docs / "rewarm-study.md").write_text(index(found, rows), encoding="utf-8")
    lines = ",\n".join(json.dumps(row) for row in rows)
    verdicts = {claim.name: of_claim(findings) for claim, findings, _ in found}
    head = json.dumps({"command": RUN, "size": str(arms.Size()), "verdicts": verdicts}, indent=1)
    results.write_text(f'{head[:-2]},\n "rows": [\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
