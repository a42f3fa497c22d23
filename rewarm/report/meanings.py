"""What a number of the report means, why one is missing, and what the whole run does not show."""

from __future__ import annotations

from dataclasses import dataclass

from rewarm.quantities import short
from rewarm.report.result import Metrics, Result
from rewarm.report.wording import columns, control_rows, listed, signed

CONTROLS = {
    "base": "the base, untouched",
    "new-only": "the same stages without replay and retention: what learning costs when nothing holds the old",
    "joint": "all new text at once, with as many tokens of old text: the usual upper bound, at twice the tokens",
    "same-data": "the same schedule on old text: what the learning rate alone does to the base",
    "alone": "each later stage trained from the base: what a fresh start would learn (the last one is shown)",
}
FACTS = (
    "A fact is asked for by the beginning of a sentence that states it. Unchanged facts held before the update and "
    "still do: losing them is forgetting. Changed ones have another answer since, new ones had none before: both are "
    "to be learned. Deleted ones hold no longer.",
    "A model knows a fact when it writes an accepted answer by itself, or finds that answer likelier than every other "
    "answer of the same relation (ten or more are needed) and than the old one. Kept: of the unchanged facts that the "
    "base knew, those that the model still knows. Learned: of the changed and new ones that the base did not know, "
    "those that the model knows. Any training moves some facts over that border by chance, both ways: compare with the "
    "controls. Brackets hold the 95% interval (bootstrap over subjects), in percent.",
)
FACT_METRICS = (
    "Nats per byte: how surprising the right answer is, lower is better. Likeliest answer: it is likelier than every "
    "other answer of its relation. Writes it: what the model writes by itself is an accepted answer. Prefers the new: "
    "the new answer is likelier than the old one. Writes the old: it gives the old answer instead of the new."
)
FUAR = (
    "FUAR (forgotten against updated and acquired): the points lost on unchanged facts for each point won on changed "
    "and new ones. 0: nothing was lost; 1: as much as was won; lower is better. No gain: nothing was won, so there is "
    "nothing to divide by. Vacuous: less than 5 points were won, too few for the ratio to say anything, or "
    "nothing was known that could be lost. Not asked: no unchanged facts were asked, or no changed and new ones. It is "
    "never to be read without the three scores beside it, which are over all facts of the kind."
)
FEW_DOCUMENTS = 30

_TWO_STAGES = "needs two or more stages, each with a watched corpus of its own"
_METRICS = {
    "average": (
        "Average performance",
        "mean score (minus the loss) on the stages' corpora after the last stage; higher is better",
        "no finished stage learns a watched corpus",
    ),
    "forgetting": (
        "Forgetting",
        "best earlier score minus the final one, mean over all stages' corpora but the last; positive is bad",
        _TWO_STAGES,
    ),
    "backward_transfer": (
        "Backward transfer",
        "final score minus the score just after learning, same corpora; negative is forgetting",
        _TWO_STAGES,
    ),
    "forward_transfer_gem": (
        "Forward transfer (GEM)",
        "score just before a corpus is learned minus the base's; positive: earlier stages helped",
        _TWO_STAGES,
    ),
    "plasticity_gap": (
        "Plasticity gap",
        "score after learning minus that of the base trained on the same text alone; negative: learned less",
        f"needs the control 'alone', and {_TWO_STAGES.removeprefix('needs ')}",
    ),
    "x_delta": (
        "X-Delta",
        "mean change of score on old text, which no stage learns; negative: ability was lost",
        "needs a watched corpus of old text and a finished stage",
    ),
}


@dataclass(frozen=True, slots=True)
class MetricLine:
    """A stream metric as it is shown: `value` says `not measured: why` when there is none."""

    name: str
    value: str
    meaning: str
    measured: bool


def metric_lines(metrics: Metrics) -> list[MetricLine]:
    """Every stream metric with its meaning in one line, in nats per byte."""
    lines = []
    for key, (name, meaning, reason) in _METRICS.items():
        value: float | None = getattr(metrics, key)
        text = f"not measured: {reason}" if value is None else f"{signed(value, 4)} nats/byte"
        if key == "x_delta" and value is not None and metrics.x_delta_worst is not None:
            corpus, worst = metrics.x_delta_worst
            text += f" (worst: {corpus} {signed(worst, 4)})"
        lines.append(MetricLine(name, text, meaning, value is not None))
    return lines


def limits(result: Result) -> list[str]:
    """What the run does not show, a sentence or two each; general limits first, then those of this run."""
    cells = sum(len(row.cells) for row in result.rows if row.kind != "base")
    sentences = [
        "Held-out loss is not ability. It says how well the model predicts text of a kind, not whether it answers, "
        "follows instructions, writes code that runs, or is safe.",
        "One run is one seed. The intervals come from the choice of held-out documents; what another seed would give "
        "is not in them, so a small gap between two trained models may be chance.",
        f"Scale: {short(result.parameters)} parameters and {short(result.final().tokens)} tokens. "
        "At another size or budget the trade may fall out otherwise.",
        "Only the watched corpora were looked at: what the model forgot elsewhere does not appear.",
        "The base may have seen held-out text in its own training; that makes old text look easier, for every model.",
    ]
    if cells >= 10:
        sentences.append(
            f"Of {cells} intervals at 95%, about {max(1, round(cells / 20))} would leave out 0 by chance alone."
        )
    return sentences + _own_limits(result)


def _own_limits(result: Result) -> list[str]:
    sentences = []
    base = result.rows[0].cells
    few = [name for name, cell in base.items() if cell.documents < FEW_DOCUMENTS]
    if few:
        sentences.append(
            f"Fewer than {FEW_DOCUMENTS} held-out documents in {listed(few)}: these intervals are too narrow."
        )
    proxies = [column.name for column in columns(result) if column.proxy]
    if proxies:
        sentences.append(f"{listed(proxies)} stands in for text that could not be had; the real text may differ.")
    if any((stage.get("replay") or {}).get("from") == "self" for stage in result.plan.get("stages", ())):
        sentences.append(
            "Some replayed text was sampled from the model itself: it holds what the model says, not facts."
        )
    if not control_rows(result):
        sentences.append(
            "No control was run, so nothing here tells what replay, the schedule or the data each contributed."
        )
    for role, unmeasured in (("old", "forgetting"), ("new", "learning")):
        if not any(column.role == role for column in result.columns):
            sentences.append(f"No {role} text was watched, so {unmeasured} was not measured at all.")
    return sentences
