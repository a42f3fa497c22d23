"""What several verbs are given in the same words: a path, or options as a plan writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rewarm.corpora import Corpus

TEXT = "a file, folder or pattern, or options as in a plan: '{path: a.parquet, text_field: body}'."
"""What `corpus` takes, for an option's help."""


def value(name: str, given: str) -> Any:
    """What an option was given, read as YAML where it is a mapping; UserError, which names it, for one that is none."""
    from rewarm.plan_file import yaml_value
    from rewarm.types import UserError

    if not given.lstrip().startswith("{"):
        return given
    try:
        return yaml_value(given)
    except UserError as error:
        raise UserError(f"{name} {given!r}: {error}") from None


def corpus(name: str, given: str) -> Corpus:
    """The corpus that an option names by a path or by options; UserError, which names the option, for a wrong one."""
    from rewarm.corpora import Corpus
    from rewarm.kinds import corpus_options
    from rewarm.methods import build

    found = build("corpora", corpus_options(value(name, given)), name)
    assert isinstance(found, Corpus)  # of the corpora folder
    return found


def share(option: str, given: str | None) -> float | None:
    """The share that an option was given as `1%` or `0.01`; None for none. UserError, which names it, for another."""
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
