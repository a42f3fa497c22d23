"""A run directory -> its result: the matrix with intervals, metrics, curves, shares, costs, hashes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rewarm import __version__
from rewarm.evaluation.intervals import paired_delta
from rewarm.evaluation.loss import load
from rewarm.plan import Plan, Scratch
from rewarm.report.result import Cell, Column, CorpusFacts, Cost, Curve, Probe, Result, Row, ShareOf
from rewarm.river import heads, leg_checks, stage_selection, stale
from rewarm.river.directory import RunDirectory
from rewarm.river.fact_rows import facts_of
from rewarm.river.inputs import Inputs
from rewarm.river.languages import languages
from rewarm.river.legs import BASE, LegPlan, remarks
from rewarm.river.pairs import pair_sets
from rewarm.river.stream_metrics import Losses, metrics, months
from rewarm.river.suite_rows import suites_of_run
from rewarm.river.vocabulary import vocabulary
from rewarm.training import journal

CURVE_POINTS = 400


def scored(run: RunDirectory, name: str, corpora: Iterable[str]) -> Losses:
    """The losses on disk of one model, for the corpora that have been scored."""
    files = {corpus: run.evaluations / name / f"{corpus}.npz" for corpus in corpora}
    return {corpus: load(file) for corpus, file in files.items() if file.is_file()}


def row(name: str, kind: Any, losses: Losses, base: Losses, **facts: Any) -> Row:
    """A row of the matrix: each corpus against the base on the same documents."""
    cells = {}
    for corpus, after in losses.items():
        before = base[corpus]
        delta = paired_delta(before, after)
        cells[corpus] = Cell(
            loss=after.per_byte,
            delta=delta.delta,
            low=delta.low,
            high=delta.high,
            relative=delta.delta / before.per_byte,
            verdict="base" if kind == BASE else delta.verdict,
            documents=len(after.bytes_D),
            bytes=int(after.bytes_D.sum()),
            tokens=int(after.tokens_D.sum()),
        )
    return Row(name=name, kind=kind, cells=cells, **facts)


def collect(
    plan: Plan, run: RunDirectory, inputs: Inputs, planned: Sequence[LegPlan],
    controls: Sequence[tuple[str, RunDirectory, Sequence[LegPlan]]], facts: dict[str, Any],
) -> Result:  # fmt: skip
    """Everything a run has found so far; `complete` is true when every leg and control is finished.

    `facts`: command, hash and parameters of the base, FLOPs per token, and the machine with its matmul rate. A control
    has a row once it is finished: that of its last stage.
    """
    base = scored(run, BASE, inputs.watch_documents)
    own = {leg.name: scored(run, leg.name, base) for leg in planned if leg.name in run.finished()}
    rows = [row(BASE, BASE, base, base), *_stage_rows(plan, planned, own, base)]
    every = [(run, planned), *((directory, legs) for _, directory, legs in controls)]
    parts, alone = _LegParts(), dict[str, Losses]()
    parts.add(plan, run, planned, "", facts)
    for word, directory, legs in controls:
        finished = directory.finished()
        if all(leg.name in finished for leg in legs):
            rows.append(_control_row(plan, word, directory, legs, base))
        if word == "alone":
            alone = {leg.stage: scored(directory, leg.name, base) for leg in legs if leg.name in finished}
        parts.add(plan, directory, legs, word, facts)
    return Result(
        rewarm=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=facts["command"],
        plan=plan.resolved(),
        base="from scratch" if isinstance(plan.base, Scratch) else plan.base,
        parameters=facts["parameters"],
        complete=all(leg.name in directory.finished() for directory, legs in every for leg in legs),
        rows=rows,
        columns=_columns(plan, inputs),
        metrics=metrics(plan, planned, own, base, alone),
        months=months(plan, planned, own, base),
        curves=parts.curves,
        probes=parts.probes,
        shares=parts.shares,
        corpora=[_corpus_facts(inputs, name, plan) for name in inputs.stores],
        costs=parts.costs,
        hashes={"weights base": facts["base_sha256"], **_hashes(run, inputs, planned)},
        machine=facts["machine"],
        notes=[*inputs.notes, *_notes(plan, run, planned, controls), *_joint_note(rows)],
        vocabulary=vocabulary(plan, inputs, run),
        languages=languages(plan, inputs, run, planned, own | {BASE: base}, alone),
        facts=facts_of(plan, run, planned, controls, _control_names(rows)),
        pairs=pair_sets(run, inputs, planned, controls),
        suites=suites_of_run(plan, run, planned, controls, _control_names(rows)),
    )


def _control_row(plan: Plan, word: str, directory: RunDirectory, legs: Sequence[LegPlan], base: Losses) -> Row:
    last = [leg for leg in legs if leg.kind == "stage"][-1]
    facts = {"control": word, "stage": last.stage, "tokens": _tokens_by(plan, last)}
    return row(_control_name(plan, word, last), "control", scored(directory, last.name, base), base, **facts)


def _control_names(rows: Sequence[Row]) -> dict[str, str]:
    """The name that each finished control goes by."""
    return {one.control: one.name for one in rows if one.control}


def _notes(
    plan: Plan,
    run: RunDirectory,
    planned: Sequence[LegPlan],
    controls: Sequence[tuple[str, RunDirectory, Sequence[LegPlan]]],
) -> list[str]:
    """What a reader should know of the legs as they are planned, and as they went."""
    directories = [run, *(control for _, control, _ in controls)]
    told = [entry["text"] for found in directories for entry in found.ledger() if entry["event"] == "note"]
    return [
        *heads.remarks(plan),
        *stale.notes(plan, run, planned),
        *stage_selection.notes(run),
        *leg_checks.notes(run),
        *remarks(planned),
        *told,
        *_held(run),
    ]


def _held(run: RunDirectory) -> list[str]:
    """What holds the old in each leg, how much of the model it acts on, and what its preparation took."""
    newest = {(entry["leg"], entry["method"]): entry for entry in run.ledger() if entry["event"] == "retention"}
    found = []
    for (leg, method), entry in newest.items():
        reached = entry["reached"]
        acts = "" if reached is None else f" acts on {reached:.1%} of the parameters that train;"
        found.append(f"{leg}: retention {method}{acts} it was prepared in {entry['seconds']:.1f} s")
    return found


def _stage_rows(plan: Plan, planned: Sequence[LegPlan], own: Mapping[str, Losses], base: Losses) -> list[Row]:
    """The rows of finished legs; a model that was gone before a corpus was watched has no cell there."""
    return [
        row(leg.name, leg.kind, own[leg.name], base, stage=leg.stage, tokens=_tokens_by(plan, leg))
        for leg in planned
        if leg.name in own and (own[leg.name] or not base)
    ]


def _tokens_by(plan: Plan, leg: LegPlan) -> int:
    return (leg.past_steps + leg.steps) * plan.batch_tokens


def _joint_note(rows: Sequence[Row]) -> list[str]:
    return [
        f"control {row.name}: stages were added since it was trained, so it is no upper bound for their text. Delete "
        "its folder and run the plan again to train it on all stages"
        for row in rows
        if row.control == "joint" and row.name != "joint"
    ]


def _control_name(plan: Plan, word: str, last: LegPlan) -> str:
    """The control's word; that of a joint control says of how many stages it is, when some were added since."""
    held = sum(all(portion.corpus in last.shares for portion in stage.data) for stage in plan.stages)
    return f"joint of {held} stages" if word == "joint" and held < len(plan.stages) else word


def _columns(plan: Plan, inputs: Inputs) -> list[Column]:
    columns = []
    for corpus in inputs.watch_documents:
        learned = [stage.name for stage in plan.stages if any(portion.corpus == corpus for portion in stage.data)]
        proxy = any(stage.replay and corpus in stage.replay.named and stage.replay.proxy for stage in plan.stages)
        columns.append(
            Column(
                name=corpus,
                role=plan.role(corpus),
                stage=learned[0] if learned else None,
                proxy=proxy,
                measure=heads.word_of(plan),
            )
        )
    return sorted(columns, key=lambda column: column.role == "new")


@dataclass(slots=True)
class _LegParts:
    """What the legs of a run (`word` is "" for the main run) add to the result."""

    curves: list[Curve] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    shares: list[ShareOf] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)

    def add(self, plan: Plan, run: RunDirectory, planned: Sequence[LegPlan], word: str, facts: dict[str, Any]) -> None:
        """Reads the journals and the ledger of one run."""
        finished = run.finished()
        for leg in planned:
            folder = run.training(leg.name)
            before = leg.past_steps * plan.batch_tokens
            self.curves += _curve(journal.read(folder / "journal.jsonl"), before, word, leg.name)
            self.probes += [
                Probe(run=word, leg=leg.name, tokens=before + entry["tokens"], losses=entry["losses"])
                for entry in journal.read(folder / "scores.jsonl")
            ]
            if leg.name in finished:
                self.shares += _shares(plan, leg, finished[leg.name], word)
                self.costs.append(_cost(leg, finished[leg.name], word, facts))


def _curve(entries: list[dict[str, Any]], before: int, word: str, leg: str) -> list[Curve]:
    # Where every step since the last entry was skipped there is no loss to draw.
    entries = [entry for entry in entries if entry["loss"] is not None and entry["norm"] is not None]
    if not entries:
        return []
    thin = entries[:: max(1, len(entries) // CURVE_POINTS)]
    if thin[-1] is not entries[-1]:
        thin.append(entries[-1])
    columns: dict[str, Any] = {name: [entry[name] for entry in thin] for name in ("loss", "rate", "norm")}
    names = thin[0].get("objective", {})
    columns["readings"] = {name: [entry["objective"][name] for entry in thin] for name in names}
    return [Curve(run=word, leg=leg, tokens=[before + entry["tokens"] for entry in thin], **columns)]


def _shares(plan: Plan, leg: LegPlan, entry: dict[str, Any], word: str) -> list[ShareOf]:
    total = sum(entry["rows"].values())
    return [
        ShareOf(
            run=word,
            stage=leg.name,
            corpus=corpus,
            replay=corpus in leg.replayed,
            planned=planned,
            realised=entry["rows"][corpus] / total,
            tokens=entry["rows"][corpus] * plan.seq_len,
            passes=entry["rows"][corpus] * plan.seq_len / entry["trainable"][corpus],
            learned=entry.get("learned", {}).get(corpus),
        )
        for corpus, planned in leg.shares.items()
    ]


def _cost(leg: LegPlan, entry: dict[str, Any], word: str, facts: dict[str, Any]) -> Cost:
    seconds = entry["seconds"]
    rate = entry["tokens"] / seconds if seconds else 0.0
    flops = facts["flops_per_token"] * entry["tokens"]
    limit = facts["matmul_rate"]
    return Cost(
        run=word,
        leg=leg.name,
        tokens=entry["tokens"],
        steps=entry["steps"],
        seconds=seconds,
        tokens_per_second=rate,
        flops=flops,
        matmul_share=flops / seconds / limit if seconds and limit else None,
    )


def _corpus_facts(inputs: Inputs, name: str, plan: Plan) -> CorpusFacts:
    manifest = inputs.stores[name].manifest
    proxy = any(stage.replay and name in stage.replay.named and stage.replay.proxy for stage in plan.stages)
    label = "proxy for text that could not be had" if proxy else ""
    return CorpusFacts(
        name=name,
        documents=manifest["documents"],
        tokens=manifest["tokens"],
        bytes=manifest["bytes"],
        held_out=inputs.held_out[name],
        rows=manifest["rows"],
        bad_rows=manifest["bad_rows"],
        bad_examples=manifest["bad_examples"],
        dropped=_left_out(inputs, name),
        hash=inputs.stores[name].hash,
        label="sampled from the model itself" if name.startswith("self@") else label,
    )


def _left_out(inputs: Inputs, name: str) -> dict[str, int]:
    """Documents that are well and not trained on, by reason."""
    watched = {"its text is watched": inputs.copies[name]} if inputs.copies.get(name) else {}
    return {**inputs.stores[name].manifest.get("left_out", {}), **watched, **inputs.unclean.get(name, {})}


def _hashes(run: RunDirectory, inputs: Inputs, planned: Sequence[LegPlan]) -> dict[str, str]:
    finished = run.finished()
    hashes = {"tokenizer": inputs.tokenizer.hash}
    hashes |= {f"corpus {name}": store.hash for name, store in inputs.stores.items()}
    hashes |= {f"weights {leg.name}": finished[leg.name]["weights_sha256"] for leg in planned if leg.name in finished}
    return hashes
