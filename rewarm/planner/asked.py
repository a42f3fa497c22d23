"""What `rewarm plan` is asked, made ready: a plan whose peak, replay share and tokens are open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewarm.corpora import Corpus
from rewarm.plan import Plan, from_values
from rewarm.planner.design import FEWEST_STEPS, Design, design
from rewarm.planner.ending import Ending, ending
from rewarm.quantities import parse_share
from rewarm.types import UserError

SMALLEST_CORPUS = 10_000_000
PARAMETERS_A_TOKEN = 100
"""A corpus is too small below 10M tokens (arXiv 2409.07431: 1.3M tokens of raw text made a model of 8B parameters
answer worse); for a small base, below a token for each hundred parameters, which is our own rule and not measured."""
_SHORTEST_ROW = 32
_ROWS_A_BATCH = 2
_MOST_HELD = 0.2


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a planning. `plan` is open; its stages' tokens are the budget. `work` holds the pilots, `out` is
    the plan to write. `smallest` is the least tokens of new text worth an update; None: the rule above."""

    plan: Plan
    out: Path
    work: Path
    max_forget: float
    min_gain: float
    design: Design
    ending: Ending
    smallest: int | None = None

    @property
    def budget(self) -> int:
        """Tokens of the whole update."""
        return sum(stage.tokens or 0 for stage in self.plan.stages)

    def least(self, parameters: int) -> int:
        """Tokens of new text below which no pilot is run."""
        if self.smallest is not None:
            return self.smallest
        return min(SMALLEST_CORPUS, parameters // PARAMETERS_A_TOKEN)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the user allows and wants. Tokens are None where they follow from the text and the budget."""

    max_forget: float
    min_gain: float = 0.0
    budget: int | None = None
    max_pilots: int = 15
    pilot_tokens: int | None = None
    smallest: int | None = None


def asked(values: Mapping[str, Any], limits: Limits, out: Path, work: Path) -> Asked:
    """What is asked, from a first plan's values: one stage for each new corpus, all with replay of old text.

    The batch, and the row if need be, become so small that every stage of the shortest pilot has a dozen steps; twice
    as much is held out, half of it for pilots. UserError when the budget is too small for pilots, a limit out of its
    range, or a text both old and new.
    """
    for option, number in (("--budget", limits.budget), ("--pilot-tokens", limits.pilot_tokens)):
        if number is not None and number < 1:
            raise UserError(f"{option} {number}: give at least one token, or leave it out")
    if not 0 <= limits.max_forget < 10 or not 0 <= limits.min_gain < 1:
        raise UserError(
            f"--max-forget {limits.max_forget:g} and --min-gain {limits.min_gain:g} are shares of the base's loss, "
            "such as 1%: give 0 or more, and a gain below 100%"
        )
    first = from_values(values)
    if not isinstance(first.base, str):
        raise UserError("a base from scratch has nothing to forget: plan the update of a model that there is")
    if {first.role(watch.corpus) for watch in first.watch} != {"old", "new"}:
        raise UserError("planning needs old text and new text, held out of both: give --new and --old")
    _check_apart(first)
    given = sum(stage.tokens or 0 for stage in first.stages)
    budget = limits.budget or given
    found = ending(first.base)
    pilots = design(limits.pilot_tokens or budget, limits.max_pilots, sweeps=not found.known)
    smallest = min(stage.tokens or 0 for stage in first.stages) / given
    row, batch = _shape(first, int(pilots.lengths[0] * smallest))
    if pilots.long >= budget:
        raise UserError(
            f"--pilot-tokens {pilots.tokens:,} let one pilot be as long as the whole update of {budget:,} "
            "tokens: lower it"
        )
    changed = first.resolved()
    changed |= {
        "seq_len": row, "batch_tokens": batch, "prepared_dir": str(work / "prepared"), "eval_every": 0, "controls": [],
        "corpora": {name: _held_more(options) for name, options in changed["corpora"].items()},
    }  # fmt: skip
    for stage in changed["stages"]:
        stage["tokens"] = max(batch, round(budget * stage["tokens"] / given / batch) * batch)
    plan = from_values(changed)
    return Asked(plan, out, work, limits.max_forget, limits.min_gain, pilots, found, limits.smallest)


def _shape(plan: Plan, shortest: int) -> tuple[int, int]:
    """Tokens of a row and of a batch with which the shortest stage of the shortest pilot has enough steps."""
    room, row = shortest // FEWEST_STEPS, plan.seq_len
    while row > _SHORTEST_ROW and row * _ROWS_A_BATCH > room:
        row //= 2
    if row > room:
        stage = "" if len(plan.stages) == 1 else "the smallest stage of "
        raise UserError(
            f"{stage}the shortest pilot would have {counted_tokens(shortest)}, less than {FEWEST_STEPS} steps of rows "
            f"of {row}: raise --budget or --pilot-tokens, or give more new text"
        )
    return row, row * max(1, min(plan.batch_tokens, room) // row)


def counted_tokens(number: int) -> str:
    """`1 token`, `2,000 tokens`."""
    return f"{number:,} token{'' if number == 1 else 's'}"


def _check_apart(plan: Plan) -> None:
    """UserError for a file that is given as old and as new text: nothing would say what was forgotten."""
    files: dict[str, set[Path]] = {"old": set(), "new": set()}
    for watch in plan.watch:
        corpus = plan.corpora[watch.corpus]
        assert isinstance(corpus, Corpus)  # the plan built it from the corpora folder
        files[plan.role(watch.corpus)] |= {file.resolve() for file in corpus.files()}
    both = sorted(files["old"] & files["new"])
    if both:
        raise UserError(f"'{both[0]}' is given as --new and as --old: what is learned cannot show what is forgotten")


def _held_more(options: Mapping[str, Any]) -> dict[str, Any]:
    """A corpus with twice as much held out, since only half of it is scored by any one model."""
    held = parse_share(options.get("holdout", 0))
    return {**options, "holdout": max(held, min(_MOST_HELD, 2 * held))}
