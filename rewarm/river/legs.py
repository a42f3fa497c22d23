"""Plan -> legs: each stage, and each release branch, with its corpora, shares, steps and starting point."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

from rewarm.adapters import Adapter
from rewarm.methods import Method, build
from rewarm.plan import Plan, Stage
from rewarm.retention import Retention
from rewarm.river.replaying import SELF_CORPUS, path_before, replay_of, replay_weights
from rewarm.types import StreamState, UserError

BASE = "base"


@dataclass(frozen=True, slots=True)
class LegPlan:
    """One leg. `shares` are planned shares of its tokens per corpus; `start` names the leg (or base) it starts from.

    `number` counts stages from 1; `name` is `stage-<number>-<stage name>`, with `-release` for the branch.
    """

    name: str
    stage: str
    number: int
    kind: str
    start: str
    shares: Mapping[str, float]
    replayed: tuple[str, ...]
    steps: int
    schedule: Method
    mixture: Method
    peak: float
    policy: str
    past_steps: int
    past_stages: int
    retention: tuple[Method, ...] = ()
    adapter: Method | None = None
    objective: Method = field(default_factory=partial(build, "objectives", "causal"))

    def tokens(self, batch_tokens: int) -> int:
        """Tokens of the leg."""
        return self.steps * batch_tokens


def legs(
    plan: Plan, corpus_tokens: Callable[[str], int], made: Mapping[str, int] = MappingProxyType({})
) -> list[LegPlan]:
    """Every leg of the plan in the order it is trained. `corpus_tokens` gives the trainable tokens of a corpus.

    `made` holds the steps of finished legs, which stay what they were: a stage that was added since holds out text of
    its own, copies of which are then missing in earlier corpora. UserError for a budget below one step, or above what a
    corpus holds times the stage's `max_epochs`.
    """
    found: dict[str, LegPlan] = {}
    by_stage = {BASE: BASE}
    previous = BASE
    for number, stage in enumerate(plan.stages, start=1):
        start = by_stage[stage.from_] if stage.from_ is not None else previous
        replayed = replay_weights(stage, path_before(plan, stage))
        shares, tokens = shares_and_tokens(stage, replayed, corpus_tokens)
        name = f"stage-{number}-{stage.name}"
        state = _state_after(found.get(start))
        leg = LegPlan(
            name=name,
            stage=stage.name,
            number=number,
            kind="stage",
            start=start,
            shares=shares,
            replayed=tuple(replayed),
            steps=made[name] if name in made else _steps(plan, stage, tokens),
            schedule=stage.schedule,
            mixture=stage.mixture,
            peak=_peak(stage, state),
            policy=stage.optimizer_state,
            past_steps=state.steps_before,
            past_stages=state.stage,
            retention=stage.retention,
            adapter=stage.adapter,
            objective=stage.objective,
        )
        found[leg.name] = leg
        if leg.name not in made:
            check_epochs(plan, stage, leg, corpus_tokens)
        by_stage[stage.name] = previous = leg.name
        if stage.release is not None:
            release = _release(plan, stage, leg)
            found[release.name] = release
            by_stage[f"{stage.name}-release"] = release.name
    return list(found.values())


def _steps(plan: Plan, stage: Stage, tokens: int) -> int:
    steps = round(tokens / plan.batch_tokens)
    if steps < 1:
        raise UserError(
            f"stage '{stage.name}': {tokens} tokens are less than half a step of batch_tokens {plan.batch_tokens}. "
            "Raise the budget or lower batch_tokens"
        )
    return steps


def _state_after(leg: LegPlan | None) -> StreamState:
    """What lies behind a leg that starts where this one ends; None stands for the base."""
    return StreamState() if leg is None else StreamState(leg.past_stages + 1, leg.past_steps + leg.steps)


def _peak(stage: Stage, state: StreamState) -> float:
    """The stage's peak learning rate as its adapter and retention make it."""
    peak = stage.learning_rate
    if isinstance(stage.adapter, Adapter):
        peak *= stage.adapter.learning_rate_factor
    for method in stage.retention:
        assert isinstance(method, Retention)  # the plan built it from the retention folder
        peak = method.peak(peak, state)
    return peak


def goes_on(planned: Sequence[LegPlan], leg: LegPlan) -> LegPlan | None:
    """The leg whose parameters this leg trains on: that before it, unless one of them has an adapter of its own.

    None for a leg that begins with parameters nobody trained: from the base, or with a new adapter.
    """
    before = next((other for other in planned if other.name == leg.start), None)
    if before is None or before.adapter != leg.adapter:
        return None
    shared = leg.adapter is None or leg.kind == "release" or getattr(leg.adapter, "one_for", None) == "run"
    return before if shared else None


def trained_before(planned: Sequence[LegPlan], leg: LegPlan) -> list[LegPlan]:
    """The legs whose parameters this leg goes on training, oldest first."""
    before = goes_on(planned, leg)
    return [] if before is None else [*trained_before(planned, before), before]


def remarks(planned: Sequence[LegPlan]) -> list[str]:
    """What a reader of the report should know of the legs: a policy that has nothing to act on."""
    found = []
    for leg in planned:
        if leg.policy != "reset" and goes_on(planned, leg) is None:
            why = "starts from the base, which has no" if leg.start == BASE else "trains other parameters, without"
            found.append(f"{leg.name} {why} optimizer state: optimizer_state '{leg.policy}' began with none")
    return found


def held_tokens(stage: Stage | None, corpus: str, corpus_tokens: Callable[[str], int]) -> int:
    """Tokens of a corpus that a stage may read: the share of its own data that it selects, all of what it replays.

    At most one document fewer are then selected. A control's own stage (None) selects nothing.
    """
    held = corpus_tokens(corpus)
    if stage is None or stage.select is None or all(portion.corpus != corpus for portion in stage.data):
        return held
    return round(stage.select.share * held)


def shares_and_tokens(
    stage: Stage, replayed: Mapping[str, float], corpus_tokens: Callable[[str], int]
) -> tuple[dict[str, float], int]:
    """Planned share per corpus (they sum to 1), and the stage's tokens, replay included.

    `replayed` holds each replayed corpus's part of the replay. They are the last corpora, unless the stage learns one
    of them too.
    """
    total = sum(portion.weight for portion in stage.data)
    new = {portion.corpus: portion.weight / total for portion in stage.data}
    if stage.tokens is not None:
        tokens = stage.tokens
    else:
        assert stage.epochs is not None  # the plan holds one of the two
        held = {corpus: held_tokens(stage, corpus, corpus_tokens) for corpus in new}
        tokens = round(stage.epochs * min(held[corpus] / share for corpus, share in new.items()))
    mode, share = replay_of(stage, replayed)
    if not replayed:
        return new, tokens
    if mode == "additive":
        tokens = round(tokens * (1 + share))
        share = share / (1 + share)
    elif stage.epochs is not None:
        tokens = round(tokens / (1 - share))
    shares = {name: portion * (1 - share) for name, portion in new.items()}
    for corpus, part in replayed.items():
        shares[corpus] = shares.get(corpus, 0.0) + share * part
    return shares, tokens


def past(leg: LegPlan, last_rate: float) -> StreamState:
    """What the leg's schedule may know of the stream before it."""
    return StreamState(stage=leg.past_stages, steps_before=leg.past_steps, last_rate=last_rate)


def last_rates(planned: list[LegPlan]) -> dict[str, float]:
    """The rate of the last step of each leg, by name, following each leg's own path (base: 0)."""
    rates = {BASE: 0.0}
    for leg in planned:
        schedule: Any = leg.schedule
        rates[leg.name] = schedule.rate(leg.steps - 1, leg.steps, leg.peak, past(leg, rates[leg.start]))
    return rates


def _release(plan: Plan, stage: Stage, trunk: LegPlan) -> LegPlan:
    assert stage.release is not None
    steps = round(stage.release.tokens / plan.batch_tokens)
    if steps < 1:
        raise UserError(
            f"stage '{stage.name}': release of {stage.release.tokens} tokens is less than half a step of batch_tokens "
            f"{plan.batch_tokens}"
        )
    return LegPlan(
        name=f"{trunk.name}-release",
        stage=stage.name,
        number=trunk.number,
        kind="release",
        start=trunk.name,
        shares=trunk.shares,
        replayed=trunk.replayed,
        steps=steps,
        schedule=build("schedules", {"type": "anneal", "shape": stage.release.shape, "floor": stage.release.floor}),
        mixture=build("mixtures", "fixed"),  # a mixture's course was run by the trunk; its shares as a whole remain
        peak=trunk.peak,
        policy="keep",
        past_steps=trunk.past_steps + trunk.steps,
        past_stages=trunk.past_stages + 1,
        retention=tuple(method for method in trunk.retention if getattr(method, "in_release", True)),
        adapter=trunk.adapter,
        objective=trunk.objective,
    )


def check_epochs(plan: Plan, stage: Stage, leg: LegPlan, corpus_tokens: Callable[[str], int]) -> None:
    """UserError when a leg goes through a corpus more often than its stage's `max_epochs`."""
    for corpus, share in leg.shares.items():
        if corpus.startswith(SELF_CORPUS):
            continue
        held = held_tokens(stage, corpus, corpus_tokens)
        wanted = share * leg.tokens(plan.batch_tokens)
        # Whole steps may be half a step more than the budget; exactly max_epochs passes are allowed.
        if wanted - share * plan.batch_tokens / 2 > stage.max_epochs * held:
            raise UserError(
                f"stage '{stage.name}' wants {wanted:,.0f} tokens of corpus '{corpus}', which holds {held:,} to train "
                f"on: {wanted / max(1, held):.1f} passes, more than max_epochs {stage.max_epochs:g}. Lower the budget, "
                "add text, or set the stage's max_epochs"
            )
