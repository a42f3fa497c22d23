"""Results by hand: a normal run of two stages with controls, and the least a run can be."""

from __future__ import annotations

import pytest

from rewarm.report.fact_parts import (
    FactCell,
    FactMeasure,
    FactRatio,
    FactRow,
    Facts,
    FactSet,
    FactShare,
    FactTotal,
)
from rewarm.report.part import RowKind, Verdict
from rewarm.report.result import (
    Cell,
    Column,
    CorpusFacts,
    Cost,
    Curve,
    Metrics,
    Probe,
    Result,
    Row,
    ShareOf,
)

NOISE: Verdict = "not distinguishable from noise"
BASE_LOSS = {"web": 0.8, "books": 1.0, "papers": 1.25, "code": 0.5}
# Change of loss in percent of the base's, and the half-width of its interval.
CHANGES: dict[str, dict[str, tuple[float, float]]] = {
    "papers-stage": {"web": (1.5, 0.3), "books": (0.1, 0.4), "papers": (-12.0, 0.6), "code": (-1.0, 0.5)},
    "code-stage": {"web": (2.1, 0.3), "books": (-0.2, 0.4), "papers": (-8.0, 0.6), "code": (-20.0, 1.0)},
    "new-only": {"web": (9.0, 0.5), "books": (6.0, 0.6), "papers": (-7.0, 0.7), "code": (-21.0, 1.0)},
    "joint": {"web": (1.8, 0.3), "books": (0.2, 0.4), "papers": (-13.0, 0.6), "code": (-19.0, 1.0)},
}


def cell(column: str, percent: float = 0.0, half: float = 0.0, *, base: bool = False) -> Cell:
    loss = BASE_LOSS[column]
    low, high = percent - half, percent + half
    verdict: Verdict = "base" if base else "better" if high < 0 else "worse" if low > 0 else NOISE
    return Cell(
        loss=loss * (1 + percent / 100),
        delta=loss * percent / 100,
        low=loss * low / 100,
        high=loss * high / 100,
        relative=percent / 100,
        verdict=verdict,
        documents=200,
        bytes=400_000,
        tokens=100_000,
    )


def base_row(columns: list[str]) -> Row:
    return Row(name="base", kind="base", cells={name: cell(name, base=True) for name in columns})


def model_row(name: str, tokens: int) -> Row:
    cells = {column: cell(column, *change) for column, change in CHANGES[name].items()}
    if name.endswith("-stage"):
        return Row(name=name, kind="stage", stage=name, tokens=tokens, cells=cells)
    return Row(name=name, kind="control", control=name, tokens=tokens, cells=cells)


def leg_curve(leg: str, start: int, peak: float) -> Curve:
    tokens = [start + 100_000 * step for step in range(1, 101)]
    rate = [peak * min(1.0, step / 5) * (1 - 0.9 * step / 100) for step in range(1, 101)]
    loss = [3.2 - 0.01 * step + 0.05 * ((step * 7) % 5) for step in range(1, 101)]
    return Curve(leg=leg, tokens=tokens, loss=loss, rate=rate, norm=[1.0] * 100)


def run_probes(run: str, final: str) -> list[Probe]:
    probes = []
    for step in range(1, 9):
        leg = "papers-stage" if step <= 4 else "code-stage"
        losses = {
            column: BASE_LOSS[column] * (1 + CHANGES[final][column][0] / 100 * (1 - 0.6**step)) for column in BASE_LOSS
        }
        probes.append(Probe(run=run, leg=leg, tokens=step * 2_500_000, losses=losses))
    return probes


def facts(name: str) -> CorpusFacts:
    bad = {"no field 'text'": 7, "not valid JSON": 2} if name == "papers" else {}
    return CorpusFacts(
        name=name,
        documents=12_000,
        tokens=9_500_000,
        bytes=38_000_000,
        held_out=200,
        rows=12_209,
        bad_rows=bad,
        bad_examples={reason: [f"{name}.jsonl:{line}" for line in (14, 90)] for reason in bad},
        dropped={"duplicate of a held-out document": 31} if name == "papers" else {},
        hash=f"{name}0123456789abcdef",
        label="stands in for the base's text" if name == "web" else "",
    )


def leg_cost(run: str, leg: str, seconds: float, matmul_share: float | None) -> Cost:
    return Cost(
        run=run,
        leg=leg,
        tokens=10_000_000,
        steps=610,
        seconds=seconds,
        tokens_per_second=10_000_000 / seconds,
        flops=6.6e16,
        matmul_share=matmul_share,
    )


@pytest.fixture
def normal() -> Result:
    """Two stages, two old and two new columns, two controls."""
    stages = [
        {"name": "papers-stage", "replay": {"from": "web", "share": 0.05}},
        {"name": "code-stage", "replay": {"from": "web", "share": 0.05}},
    ]
    return Result(
        rewarm="0.1.0",
        created="2026-07-01T12:00:00Z",
        command="rewarm train plan.yaml",
        plan={"base": "models/base-1b", "seed": 0, "stages": stages},
        base="models/base-1b",
        parameters=1_100_000_000,
        complete=True,
        rows=[
            base_row(list(BASE_LOSS)),
            model_row("papers-stage", 10_000_000),
            model_row("code-stage", 20_000_000),
            model_row("new-only", 20_000_000),
            model_row("joint", 20_000_000),
        ],
        columns=[
            Column(name="web", role="old", proxy=True),
            Column(name="papers", role="new", stage="papers-stage"),
            Column(name="books", role="old"),
            Column(name="code", role="new", stage="code-stage"),
        ],
        metrics=Metrics(
            average=-0.775,
            forgetting=0.05,
            backward_transfer=-0.05,
            forward_transfer_gem=0.005,
            x_delta=-0.0074,
            x_delta_worst=("web", -0.0168),
        ),
        curves=[leg_curve("papers-stage", 0, 3e-4), leg_curve("code-stage", 10_000_000, 2e-4)],
        probes=[*run_probes("", "code-stage"), *run_probes("new-only", "new-only"), *run_probes("joint", "joint")],
        shares=[
            ShareOf(
                run=run, stage=stage, corpus=corpus, replay=corpus == "web", planned=planned, realised=realised,
                tokens=int(realised * 10_000_000), passes=1.03,
            )
            for run, stage, corpus, planned, realised in [
                ("", "papers-stage", "papers", 0.95, 0.951),
                ("", "papers-stage", "web", 0.05, 0.049),
                ("", "code-stage", "code", 0.95, 0.92),
                ("", "code-stage", "web", 0.05, 0.08),
                ("new-only", "papers-stage", "papers", 1.0, 1.0),
            ]
        ],
        corpora=[facts(name) for name in BASE_LOSS],
        costs=[
            leg_cost("", "papers-stage", 3700.0, 0.41),
            leg_cost("", "code-stage", 3600.0, 0.42),
            leg_cost("new-only", "papers-stage", 3650.0, None),
        ],
        hashes={"plan": "a" * 64, "base": "b" * 64},
        machine={"torch": "2.13.0", "device": "NVIDIA H100"},
        notes=["Stage 'code-stage' skipped 2 steps whose gradients were not finite."],
    )  # fmt: skip


# Of 1,409 unchanged facts the base knows 1,000, of 474 changed ones 44: kept, learned, written, old answers written.
FACTS: dict[str, tuple[RowKind, float, float, float, float]] = {
    "base": ("base", 1.0, 0.0, 0.09, 0.60),
    "papers-stage": ("stage", 0.95, 0.10, 0.10, 0.55),
    "code-stage": ("stage", 0.91, 0.62, 0.55, 0.08),
    "new-only": ("control", 0.70, 0.65, 0.58, 0.05),
}


def fact_share(value: float, facts: int) -> FactShare:
    return FactShare(value=value, low=value - 0.03, high=value + 0.03, facts=facts)


def fact_measure(value: float, before: float, higher: bool = True) -> FactMeasure:
    delta = value - before
    verdict: Verdict = (
        "base" if not delta else NOISE if abs(delta) < 0.04 else "better" if (delta > 0) == higher else "worse"
    )
    return FactMeasure(value=value, probes=474, delta=delta, low=delta - 0.04, high=delta + 0.04, verdict=verdict)


def fact_row(name: str) -> FactRow:
    row, kept, learned, exact, stale = FACTS[name]
    written, old = FACTS["base"][3:]
    return FactRow(
        name=name,
        row=row,
        cells={
            "unchanged": FactCell(
                facts=1409,
                known=kept * 1000 / 1409,
                held=fact_share(kept, 1000),
                measures={"exact": fact_measure(0.7 * kept, 0.7)},
                apart={"exact": 0.98 * kept},
            ),
            "changed": FactCell(
                facts=474,
                known=(44 + 430 * learned) / 474,
                held=fact_share(learned, 430),
                measures={"exact": fact_measure(exact, written), "stale": fact_measure(stale, old, higher=False)},
                apart={"exact": learned},
            ),
        },
    )


def fact_total(name: str) -> FactTotal:
    row, kept, learned, *_ = FACTS[name]
    lost, gained = 0.7 * (1 - kept), learned
    ratio = FactRatio(
        value=lost / gained if gained else None,
        vacuous=gained < 0.05,
        lost=lost,
        gained=gained,
        invariant=[(0.7, 0.7 * kept)],
        updated=[(0.09, 0.09 + learned)],
        new=[None],
    )
    held = {"unchanged": fact_share(kept, 1000), "changed": fact_share(learned, 430)}
    along = {"exact": ratio} if name == "code-stage" else {}
    return FactTotal(name=name, row=row, held=held, ratios={"exact": ratio, "rank_1": ratio}, along=along)


@pytest.fixture
def with_facts(normal: Result) -> Result:
    """The normal run, with a set of probes for its second stage."""
    one = FactSet(
        name="changes-2021",
        stage="code-stage",
        base_knows={"unchanged": 1000, "changed": 44},
        again=3,
        left_out={"label reworded": 39},
        bad_rows={"no answer": 1},
        rows=[fact_row(name) for name in FACTS],
    )
    return normal.model_copy(update={"facts": Facts(sets=[one], totals=[fact_total(name) for name in FACTS])})


@pytest.fixture
def minimal() -> Result:
    """The base alone on one old corpus: no stage, no curve."""
    return Result(
        rewarm="0.1.0",
        created="2026-07-01T12:00:00Z",
        command="rewarm train plan.yaml",
        plan={},
        base="models/base-1b",
        parameters=14_000_000,
        complete=False,
        rows=[base_row(["web"])],
        columns=[Column(name="web", role="old")],
        metrics=Metrics(),
    )
