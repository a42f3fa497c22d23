"""What a run found, as one value: `report.json` holds it, the page, the table and the gate read it.

Losses are nats per byte of text (lower is better). A delta is against the untouched base on the same documents;
`low` and `high` bound its 95 % interval (paired bootstrap over documents).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from rewarm.report.fact_parts import Facts
from rewarm.report.forecast_parts import Forecasted
from rewarm.report.language_parts import Languages
from rewarm.report.pair_parts import PairSet
from rewarm.report.part import Part, RowKind, Verdict
from rewarm.report.suite_parts import Suites
from rewarm.report.vocabulary_parts import Vocabulary
from rewarm.types import UserError

SAME_LOSS = 1e-5
"""Relative difference that other hardware or another order of sums makes in the loss of the same weights."""


class Cell(Part):
    """One model on one watch corpus. `relative` is delta / the base's loss."""

    loss: float
    delta: float
    low: float
    high: float
    relative: float
    verdict: Verdict
    documents: int
    bytes: int
    tokens: int


class Row(Part):
    """One model: the base, the model after a stage, an annealed release, or the last model of a control run."""

    name: str
    kind: RowKind
    stage: str | None = None
    control: str | None = None
    tokens: int = 0
    cells: dict[str, Cell]


class Column(Part):
    """One watch corpus. `stage` is the first stage that learns it (None for old text); `proxy` says that it stands in
    for text that could not be had. `measure` is what its losses are of: of the next token, hidden ones, or spans."""

    name: str
    role: Literal["old", "new"]
    stage: str | None = None
    proxy: bool = False
    measure: Literal["loss", "masked loss", "span loss"] = "loss"

    @property
    def words(self) -> str:
        """Its role, and what else a reader must know of it: `old, proxy, masked loss`."""
        more = [self.measure] if self.measure != "loss" else []
        return ", ".join([self.role, *(["proxy"] if self.proxy else []), *more])


class Curve(Part):
    """The journal of one leg (a stage or its release branch), thinned to at most some hundred points.

    `tokens` counts from the base. `loss` is the training loss in nats per token, `rate` the applied learning rate.
    `run` is "" for the main run, otherwise the control's word. `readings` are what an objective other than the loss of
    text says of the steps; then `loss` is in the objective's own unit.
    """

    run: str = ""
    leg: str
    tokens: list[int]
    loss: list[float]
    rate: list[float]
    norm: list[float]
    readings: dict[str, list[float]] = Field(default_factory=dict)


class Probe(Part):
    """Losses per byte measured while a stage trained, at `tokens` from the base."""

    run: str = ""
    leg: str
    tokens: int
    losses: dict[str, float]


class ShareOf(Part):
    """Planned and realised share of a stage's tokens from one corpus; `passes` is how often it was gone through.

    `learned` of the tokens were targets, where that is only a part of them by design: the answers of conversations.
    """

    run: str = ""
    stage: str
    corpus: str
    replay: bool
    planned: float
    realised: float
    tokens: int
    passes: float
    learned: int | None = None


class CorpusFacts(Part):
    """What preparation found in a corpus. `dropped` counts whole documents left out of training, by reason."""

    name: str
    documents: int
    tokens: int
    bytes: int
    held_out: int
    rows: int
    bad_rows: dict[str, int]
    bad_examples: dict[str, list[str]]
    dropped: dict[str, int]
    hash: str
    label: str = ""


class Cost(Part):
    """What one leg cost. `matmul_share` is achieved FLOP/s over the measured matmul rate of this machine."""

    run: str = ""
    leg: str
    tokens: int
    steps: int
    seconds: float
    tokens_per_second: float
    flops: float
    matmul_share: float | None = None


class Metrics(Part):
    """Stream metrics over the main run; None where the run cannot tell (the report says why).

    On losses, so that positive `forgetting` is bad: see rewarm/evaluation/matrix.py for each formula.
    """

    average: float | None = None
    forgetting: float | None = None
    backward_transfer: float | None = None
    forward_transfer_gem: float | None = None
    plasticity_gap: float | None = None
    x_delta: float | None = None
    x_delta_worst: tuple[str, float] | None = None


class Months(Part):
    """Every stage on the text of every stage, in the order of the path to the last one; a month is what one stage
    learns.

    `rows` names the models and `names` the months (the stage's date where it has one); `corpora` are those of each
    month, whose losses `Result.rows` holds. `backward`, `in_month` and `forward` are mean differences of loss against
    the base over `cells` cells each (`rewarm.evaluation.matrix.months_summary`); below 0 is better than the base.
    """

    rows: list[str]
    names: list[str]
    corpora: list[list[str]]
    backward: float | None
    in_month: float | None
    forward: float | None
    cells: tuple[int, int, int]


class Result(Part):
    """A whole run."""

    version: Literal[1] = 1
    rewarm: str
    created: str
    command: str
    plan: dict[str, Any]
    base: str
    parameters: int
    complete: bool
    rows: list[Row]
    columns: list[Column]
    metrics: Metrics
    months: Months | None = None
    curves: list[Curve] = Field(default_factory=list)
    probes: list[Probe] = Field(default_factory=list)
    shares: list[ShareOf] = Field(default_factory=list)
    corpora: list[CorpusFacts] = Field(default_factory=list)
    costs: list[Cost] = Field(default_factory=list)
    hashes: dict[str, str] = Field(default_factory=dict)
    machine: dict[str, str] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)
    facts: Facts | None = None
    pairs: list[PairSet] = Field(default_factory=list)
    suites: Suites | None = None
    vocabulary: Vocabulary | None = None
    languages: Languages | None = None
    forecast: Forecasted | None = None

    def final(self) -> Row:
        """The model the run hands over: the last stage's release if there is one, otherwise the last stage."""
        own = [row for row in self.rows if row.kind in ("stage", "release")]
        return own[-1] if own else self.rows[0]


def read(run: str | Path) -> Result:
    """The result of a run directory (or of a `report.json`)."""
    path = Path(run)
    file = path / "report.json" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"'{run}' holds no report.json: run `rewarm report {run}` on a run directory first")
    return Result.model_validate_json(file.read_text(encoding="utf-8"))


def check_same_base(results: Mapping[str, Result]) -> None:
    """UserError unless every run scored the same base on the same documents."""
    (first, reference), *others = results.items()
    for name, result in others:
        own, base = result.rows[0].cells, reference.rows[0].cells
        documents = sorted(
            corpus
            for corpus in own.keys() | base.keys()
            if corpus not in own
            or corpus not in base
            or (own[corpus].documents, own[corpus].bytes) != (base[corpus].documents, base[corpus].bytes)
        )
        if documents:
            raise UserError(
                f"'{name}' and '{first}' cannot be compared: they watch other documents of {', '.join(documents)}. "
                "Give runs with the same watch-list, held-out share and eval_tokens"
            )
        weights = [found.hashes.get("weights base") for found in (result, reference)]
        other = [corpus for corpus in own if not math.isclose(own[corpus].loss, base[corpus].loss, rel_tol=SAME_LOSS)]
        if other or (None not in weights and weights[0] != weights[1]):
            raise UserError(f"'{name}' and '{first}' cannot be compared: they do not start from the same base weights")
