"""What a plan would do, before it does it: tokens, steps, learning rates, disk, memory, time. Nothing is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from rewarm.corpora import Corpus
from rewarm.models.load import check_length, check_vocabulary
from rewarm.plan import Plan
from rewarm.retention import Retention
from rewarm.river import cleaning, costs, stage_selection, stale, timing, tiny_text
from rewarm.river.base_outline import outline
from rewarm.river.chat import Example, examples
from rewarm.river.controls import control_plans
from rewarm.river.costs import Need, Work, disk, memory
from rewarm.river.directory import BEGUN, RunDirectory
from rewarm.river.facts import tokens_asked
from rewarm.river.inputs import check_files, prepared_stores, probes_begun_with
from rewarm.river.legs import LegPlan, held_tokens, last_rates, legs, past
from rewarm.river.loss_forecast import LossForecast, loss_forecast
from rewarm.river.pinning import as_begun
from rewarm.river.probe_sets import Sets, kept_sets, load_sets
from rewarm.river.replaying import SELF_CORPUS
from rewarm.river.sampling import ASSUMED_BYTES_PER_TOKEN, CorpusForecast, counted, look
from rewarm.river.shapes import shapes
from rewarm.river.suite_sets import check_suites
from rewarm.river.suites import suite_tokens
from rewarm.stages import SELF
from rewarm.tokens.shards import Store
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.training import activations
from rewarm.training.machine import check_compiler
from rewarm.types import UserError

ESTIMATE_ERROR = 0.15
"""A budget is refused only when it exceeds what a corpus is estimated to hold by more than this."""
UNKNOWN_TOKENS = 10**15


@dataclass(frozen=True, slots=True)
class LegForecast:
    """A leg: `shares` of its tokens by corpus, how often it goes through each (`passes`, where known), and the learning
    `rates` of its first step, its highest, and its last."""

    run: str
    name: str
    kind: str
    steps: int
    tokens: int
    shares: dict[str, float]
    passes: dict[str, float]
    rates: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a plan would do and cost. `seconds` by kind of work is empty when it was not asked for; `how` says where it
    comes from. `examples` show what is learned of conversations. `losses` is the forecast of losses that the plan
    carries, where `rewarm plan` wrote it."""

    corpora: list[CorpusForecast]
    legs: list[LegForecast]
    parameters: int
    needs: list[Need]
    seconds: dict[str, float]
    how: str
    warnings: list[str]
    examples: list[Example]
    losses: LossForecast | None = None

    def described(self) -> dict[str, Any]:
        """The forecast as plain values."""
        return dataclasses.asdict(self)

    def faults(self) -> list[str]:
        """Why the run cannot fit on this machine, one sentence for each need."""
        return costs.faults(self.needs)

    def refuse(self) -> None:
        """UserError when the disk or the memory cannot hold the run."""
        costs.refuse(self.needs)

    def refuse_preparing(self) -> None:
        """UserError when the disk cannot hold what preparing needs."""
        costs.refuse([dataclasses.replace(need, needed=need.preparing) for need in self.needs])


def forecast(plan: Plan, timed: bool = False, added: bool = False) -> Forecast:
    """The forecast of a plan; UserError for whatever is already known to be wrong (files, rows, tokenizer, budgets).

    With `timed`, a small model makes a few steps to see how long they take. With `added`, the plan is that of a run
    that has finished but for the stage added to it: corpora are counted in its stores, and only what is left is shown.
    """
    run = RunDirectory.of(plan)
    plan = as_begun(plan, run.root)
    held = prepared_stores(run) if added else {}
    kept = probes_begun_with(run.recorded(BEGUN)) if added else {}
    check_files(plan, held, kept)
    check_suites(plan, run)
    if plan.compile is True:
        check_compiler()
    probes = {**kept_sets(run, kept), **load_sets(plan, kept)[0]}
    model, tokenizer = outline(plan, run)
    if tokenizer is not None:
        check_vocabulary(model, tokenizer)
    check_length(model, plan.seq_len)
    unread = [name for name in plan.used_corpora() if name not in held]
    shown = [] if tokenizer is None else examples(plan, unread, tokenizer)
    corpora = [_look(plan, name, tokenizer, run, held) for name in plan.used_corpora()]
    planned = _planned(plan, corpora, run, added)
    _check_methods(model, planned)
    work = Work(plan, run, corpora, planned, model)
    done = {word: _run_of(run, word).finished() if added else {} for word, _ in planned}
    left = [(word, [leg for leg in found if leg.name not in done[word]]) for word, found in planned]
    memory_need, passes = memory(work), activations.described(work.passes, plan)
    # Timing makes the model and its optimizer, which is what does not fit.
    pace = timing.pace(work) if timed and memory_need.fault() is None else None
    seconds = {} if pace is None else timing.seconds(work, pace, left, _scored_now(plan, held, done))
    if pace is not None:
        asked = _asked(plan, probes, kept, corpora, (_models_there(done), sum(len(found) for _, found in left)))
        seconds |= {kind: tokens * pace.token * timing.SCORING_SHARE for kind, tokens in asked.items()}
    return Forecast(
        corpora=corpora,
        legs=[
            leg
            for word, found in planned
            for leg in _described(plan, word, found, corpora)
            if leg.name not in done[word]
        ],
        parameters=work.parameters,
        needs=[*disk(work), memory_need],
        seconds=seconds,
        how=pace.how if pace is not None else "",
        warnings=_every_warning(plan, corpora, tokenizer, planned, passes),
        examples=shown,
        losses=None if added else loss_forecast(plan),
    )


def _every_warning(
    plan: Plan,
    corpora: Sequence[CorpusForecast],
    tokenizer: TextTokenizer | None,
    planned: Sequence[tuple[str, Sequence[LegPlan]]],
    passes: str | None,
) -> list[str]:
    """What a reader should know before the run, of its corpora, stages and passes."""
    return [
        *_warnings(plan, corpora, tokenizer),
        *(stale.warnings(plan, planned[0][1]) if planned else []),
        *stage_selection.warnings(plan),
        *cleaning.promise(plan),
        *tiny_text.notes(plan, {one.name: one.trainable for one in corpora if one.known}.get),
        *([passes] if passes else []),
    ]


def _run_of(run: RunDirectory, word: str) -> RunDirectory:
    return run.control(word) if word else run


def _scored_now(plan: Plan, held: Mapping[str, Path], done: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """How many models there already are to be scored on each watched corpus: the base, and finished ones on new text.

    A joint control is finished and shown, too; of other controls the model to come is.
    """
    there = _models_there(done)
    return {watch.corpus: there for watch in plan.watch if watch.corpus not in held}


def _models_there(done: Mapping[str, Mapping[str, Any]]) -> int:
    return 1 + len(done.get("", ())) + len(done.get("joint", ()))


def _asked(
    plan: Plan, probes: Sets, kept: Container[str], corpora: Sequence[CorpusForecast], models: tuple[int, int]
) -> dict[str, float]:
    """Tokens of asking every model to come about every set and suite, and those that are there about sets that they do
    not know; `models` are how many there are, and how many are to come."""
    known = [corpus for corpus in corpora if corpus.tokens]
    tokens = sum(corpus.tokens for corpus in known)
    per_token = sum(corpus.bytes for corpus in known) / tokens if tokens else ASSUMED_BYTES_PER_TOKEN
    there, to_come = models
    asking = {name: to_come + (0 if name in kept else there) for name in probes}
    facts = sum(asking[name] * tokens_asked(asked, per_token) for name, asked in probes.items())
    # A stage that is added finds the earlier models asked; only a run from its beginning has the base to ask.
    suites = suite_tokens(plan, per_token) * (to_come + (there if there == 1 else 0))
    return {name: count for name, count in (("facts", facts), ("suites", suites)) if count}


def _check_methods(model: PreTrainedModel, planned: Sequence[tuple[str, Sequence[LegPlan]]]) -> None:
    """UserError, naming the leg, for an adapter that cannot be attached to this model, or a retention method that
    cannot hold it, or not for so many steps."""
    for leg, tried in (both for _, found in planned for both in shapes(model, found)):
        for method in leg.retention:
            assert isinstance(method, Retention)  # the plan built it from the retention folder
            try:
                method.select(tried)
                method.check(tried, leg.steps)
            except UserError as error:
                raise UserError(f"{leg.name}: {error}") from None


def _look(
    plan: Plan, name: str, tokenizer: TextTokenizer | None, run: RunDirectory, held: Mapping[str, Path]
) -> CorpusForecast:
    corpus = plan.corpora[name]
    assert isinstance(corpus, Corpus)  # the plan built it from the corpora folder
    share = 0.0 if not plan.watched(name) else corpus.holdout if plan.trained(name) else 1.0
    if name in held:
        return counted(name, Store(held[name]), share)
    found = look(name, corpus, share, tokenizer, run.prepared, plan.bad_rows)
    if found.whole and plan.watched(name) and not found.held_out_tokens:
        raise UserError(
            f"watch '{name}': no document is held out (holdout {corpus.holdout:g} of {found.documents} documents). "
            "Raise the corpus's holdout, or split its text into more documents"
        )
    if found.whole and plan.trained(name) and not found.trainable:
        raise UserError(f"corpus '{name}' has nothing left to train on: all {found.documents} documents are watched")
    return found


def _planned(
    plan: Plan, corpora: Sequence[CorpusForecast], run: RunDirectory, added: bool
) -> list[tuple[str, list[LegPlan]]]:
    """The legs of the main run ("") and of each control; none when budgets in epochs meet a corpus of unknown size."""
    by_name = {corpus.name: corpus for corpus in corpora}
    if any(stage.epochs is not None for stage in plan.stages) and not all(corpus.known for corpus in corpora):
        return []
    plans = {"": plan, **control_plans(plan, run)}
    made = {word: _run_of(run, word).steps_made() if added else {} for word in plans}
    return [(word, _legs(other, by_name, made[word])) for word, other in plans.items()]


def _legs(plan: Plan, corpora: dict[str, CorpusForecast], made: Mapping[str, int]) -> list[LegPlan]:
    def tokens(name: str, more: float = 1.0) -> int:
        corpus = corpora[name]
        return round(corpus.trainable * more) if corpus.known else UNKNOWN_TOKENS

    try:
        return legs(plan, tokens, made)
    except UserError as refused:
        # An estimate must not refuse what the count may allow; the run itself counts.
        if all(corpus.counted or corpus.whole for corpus in corpora.values()):
            raise
        try:
            return legs(plan, lambda name: tokens(name, 1 + ESTIMATE_ERROR), made)
        except UserError:
            raise UserError(f"{refused} (estimated from a sample)") from None


def _described(
    plan: Plan, word: str, planned: Sequence[LegPlan], corpora: Sequence[CorpusForecast]
) -> list[LegForecast]:
    before = last_rates(list(planned))
    held = {corpus.name: corpus.trainable for corpus in corpora if corpus.known}
    found = []
    for leg in planned:
        schedule: Any = leg.schedule
        state = past(leg, before[leg.start])
        steps = {*range(0, leg.steps, max(1, leg.steps // 500)), leg.steps - 1}
        rates = [schedule.rate(step, leg.steps, leg.peak, state) for step in sorted(steps)]
        tokens = leg.tokens(plan.batch_tokens)
        stage = next((stage for stage in plan.stages if stage.name == leg.stage), None)
        read = {name: held_tokens(stage, name, held.__getitem__) for name in leg.shares if held.get(name)}
        passes = {name: tokens * leg.shares[name] / count for name, count in read.items() if count}
        found.append(
            LegForecast(
                word, leg.name, leg.kind, leg.steps, tokens, dict(leg.shares), passes, (rates[0], max(rates), rates[-1])
            )
        )
    return found


def _warnings(plan: Plan, corpora: Sequence[CorpusForecast], tokenizer: TextTokenizer | None) -> list[str]:
    found = []
    if tokenizer is None:
        found.append(f"the tokenizer is yet to be trained: {ASSUMED_BYTES_PER_TOKEN} bytes per token are assumed")
    for corpus in corpora:
        if not corpus.known:
            found.append(
                f"the size of '{corpus.name}' is not known before it is prepared; what depends on it is left out"
            )
        bad = sum(corpus.bad_rows.values())
        if bad > plan.bad_rows * corpus.rows:
            found.append(
                f"'{corpus.name}': {bad} of the {corpus.rows:,} rows read cannot be used; if the rest is like them, "
                f"preparing it fails (bad_rows {plan.bad_rows:g})"
            )
    if any(stage.replay and SELF in stage.replay.sources for stage in plan.stages):
        found.append(f"sampling the model's own text ({SELF_CORPUS}...) comes on top of the time")
    return found
