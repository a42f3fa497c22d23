"""Forward and backward transfer of the arms of a comparison, side by side."""

from __future__ import annotations

from collections.abc import Sequence

from rewarm.report.facts import Entry, Table
from rewarm.report.language_parts import TransferFigure
from rewarm.report.wording import NOISE, SYMBOLS, signed

LEGEND = (
    "Transfers in nats per byte, above 0 is good: forward against the control alone, backward over each stage. Counted "
    "as negative or positive only where the 95% interval leaves out 0: over seeds (t), or over documents for one seed."
)


class ArmTransfer(TransferFigure):
    """One transfer of an arm: the mean over seeds and its interval, over seeds or for one seed over documents."""


def table(arms: Sequence[tuple[str, Sequence[ArmTransfer]]]) -> Table:
    """A line for each arm that has transfers: the mean of each kind, and how many are beyond noise."""
    lines = [[Entry(name), *_summary(found, "forward"), *_summary(found, "backward")] for name, found in arms if found]
    return Table(["Arm", "FWT, mean", "of them above 0", "BWT, mean", "of them below 0, above 0"], lines)


def _summary(found: Sequence[ArmTransfer], kind: str) -> list[Entry]:
    held = [one for one in found if one.kind == kind]
    if not held:
        return [Entry("–", "no control alone" if kind == "forward" else ""), Entry("–")]
    above, below = (sum(one.verdict == word for one in held) for word in ("better", "worse"))
    counts = f"{above} of {len(held)}" if kind == "forward" else f"{below} and {above} of {len(held)}"
    noise = len(held) - above - below
    note = f"{noise} not distinguishable from noise" if noise else ""
    return [Entry(signed(sum(one.value for one in held) / len(held), 4)), Entry(counts, note)]


def each(arms: Sequence[tuple[str, Sequence[ArmTransfer]]]) -> Table:
    """A line for each transfer, a column for each arm."""
    keys = dict.fromkeys((one.kind, one.stage, one.corpus) for _, found in arms for one in found)
    held = {name: {(one.kind, one.stage, one.corpus): one for one in found} for name, found in arms if found}
    lines = [
        [Entry(f"{kind}: {stage} on {corpus}"), *(_cell(found.get((kind, stage, corpus))) for found in held.values())]
        for kind, stage, corpus in sorted(keys)
    ]
    return Table(["Transfer", *held], lines)


def _cell(one: ArmTransfer | None) -> Entry:
    if one is None:
        return Entry("")
    noise = f" {SYMBOLS[one.verdict]}" if one.verdict == NOISE else ""
    bounds = f"[{signed(one.low, 4)}, {signed(one.high, 4)}]"
    return Entry(signed(one.value, 4) + noise, bounds, "" if one.verdict == NOISE else one.verdict)
