"""`rewarm gate`: exit code 2 unless a run forgot and gained as asked."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated

import typer

from rewarm.cli.verb import DONE, NOT_MET, Answer, Manner, RunFolder, verb

_Forget = Annotated[str | None, typer.Option(help="Largest rise of loss allowed on any old corpus, such as 1%.")]
_Gain = Annotated[str | None, typer.Option(help="Smallest fall of loss wanted on every new corpus, such as 3%.")]
_Lost = Annotated[
    str | None, typer.Option(help="Largest share of the unchanged facts the base knew that may be lost, such as 5%.")
]
_Learned = Annotated[
    str | None, typer.Option(help="Smallest share of the changed, and the new, facts to be learned, such as 60%.")
]
_Require = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CONDITION",
        help="On a suite, such as 'suite:chat.stop_rate >= -5%' or 'ability:general >= -1%'; may be given again.",
    ),
]
_Strict = Annotated[bool, typer.Option("--strict", help="Judge by the harder bound of the 95 % interval.")]


@dataclass(frozen=True, slots=True)
class Limits:
    """The options of `rewarm gate`."""

    run: RunFolder
    max_forget: _Forget = None
    min_gain: _Gain = None
    max_facts_lost: _Lost = None
    min_facts_learned: _Learned = None
    require: _Require = None
    strict: _Strict = False


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    verb(app, gate, options=Limits)


def gate(manner: Manner, limits: Limits) -> Answer:
    """Hold a finished run to limits; exit code 2 when not met."""
    from rewarm.cli.given import share
    from rewarm.report.gate import FactLimits, check
    from rewarm.report.result import read
    from rewarm.report.suite_gate import parse

    losses = share("--max-forget", limits.max_forget), share("--min-gain", limits.min_gain)
    facts = FactLimits(
        share("--max-facts-lost", limits.max_facts_lost), share("--min-facts-learned", limits.min_facts_learned)
    )
    conditions = [parse(text) for text in limits.require or ()]
    outcome = check(read(limits.run), *losses, limits.strict, facts, conditions)
    last = "gate met" if outcome.passed else "gate not met"
    return Answer(dataclasses.asdict(outcome), [*outcome.sentences, last], DONE if outcome.passed else NOT_MET)
