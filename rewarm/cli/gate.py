"""`rewarm gate`: exit code 2 unless a run forgot and gained as asked."""

from __future__ import annotations

import dataclasses
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
_Strict = Annotated[bool, typer.Option("--strict", help="Judge by the harder bound of the 95 % interval.")]


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    verb(app, gate)


def gate(
    manner: Manner,
    run: RunFolder,
    max_forget: _Forget = None,
    min_gain: _Gain = None,
    max_facts_lost: _Lost = None,
    min_facts_learned: _Learned = None,
    strict: _Strict = False,
) -> Answer:
    """Hold a finished run to limits; exit code 2 when not met."""
    from rewarm.report.gate import FactLimits, check
    from rewarm.report.result import read

    limits = _share("--max-forget", max_forget), _share("--min-gain", min_gain)
    facts = FactLimits(_share("--max-facts-lost", max_facts_lost), _share("--min-facts-learned", min_facts_learned))
    outcome = check(read(run), *limits, strict, facts)
    last = "gate met" if outcome.passed else "gate not met"
    return Answer(dataclasses.asdict(outcome), [*outcome.sentences, last], DONE if outcome.passed else NOT_MET)


def _share(option: str, given: str | None) -> float | None:
    from rewarm.quantities import parse_share
    from rewarm.types import UserError

    if given is None:
        return None
    try:
        found = parse_share(given)
    except ValueError as error:
        raise UserError(f"{option} {given!r}: {error}") from None
    if found >= 1 and "%" not in given:
        raise UserError(
            f"{option} {given} would be {100 * found:g} %: write {given}% for {given} percent, or {found / 100:g}"
        )
    return found
