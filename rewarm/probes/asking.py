"""How a fact is asked for: a sentence with `[X]` for the subject and `[Y]` for the object, cut at the object."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from rewarm.plan_file import yaml_value
from rewarm.probes.relations import built_in
from rewarm.types import UserError

SUBJECT, OBJECT = "[X]", "[Y]"
_NOT_WORDS = re.compile(r"[\W_]+")  # TWiki-Probes writes names of properties without their commas
_BLANK = re.compile(r"<extra_id_0>|\[MASK\]|<mask>|_X_|_{3,}|\[Y\]")


def cut(sentence: str) -> tuple[str, str] | None:
    """What stands before and after the blank of a sentence, in any form in use; None where it has no or several.

    The blank between prompt and answer belongs to neither.
    """
    parts = _BLANK.split(sentence)
    return (parts[0].rstrip(), parts[1].rstrip()) if len(parts) == 2 else None


def is_last(suffix: str) -> bool:
    """Whether nothing but the end of a sentence follows the object, so that a causal model can be asked."""
    return suffix.strip() in ("", ".", "?", "!")


class Templates:
    """The sentences of each relation: of `file`, else of the package, else subject, relation and object side by side.

    `file` is YAML: the name of a relation or its number, and one sentence or a list of them. UserError when it cannot
    be read or a sentence lacks [X] or [Y].
    """

    def __init__(self, file: Path | None = None) -> None:
        self._own = {} if file is None else _read(file)
        self._built_in = {_key(name): sentences for name, sentences in built_in()}

    def knows(self, relation: str) -> bool:
        """Whether a relation has a sentence of its own."""
        return _key(relation) in self._own or _key(relation) in self._built_in

    def of(self, relation: str) -> tuple[str, ...]:
        """The sentences of a relation, at least one."""
        key = _key(relation)
        return self._own.get(key) or self._built_in.get(key) or (f"{SUBJECT} {relation} {OBJECT}.",)

    def ask(self, subject: str, relation: str, number: int = 0) -> tuple[str, str]:
        """Prompt and suffix of a sentence of a relation."""
        return asked(self.of(relation)[number], subject)


def asked(sentence: str, subject: str) -> tuple[str, str]:
    """Prompt and suffix of a sentence about a subject."""
    before, _, after = sentence.partition(OBJECT)
    return before.replace(SUBJECT, subject).strip(), after.replace(SUBJECT, subject).rstrip()


def _key(relation: str) -> str:
    return " ".join(_NOT_WORDS.sub(" ", relation.casefold()).split())


def _read(file: Path) -> dict[str, tuple[str, ...]]:
    try:
        given = yaml_value(file.expanduser().read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, UserError) as error:
        raise UserError(
            f"templates '{file}' cannot be read: {error}\nPut a sentence that begins with [ or holds ': ' into quotes"
        ) from None
    if not isinstance(given, Mapping):
        raise UserError(
            f"templates '{file}': give one line for each relation, as in capital: The capital of [X] is [Y]."
        )
    found = {}
    for relation, value in given.items():
        sentences = tuple(value) if isinstance(value, list) else (value,)
        for sentence in sentences:
            if not isinstance(sentence, str) or sentence.count(SUBJECT) != 1 or sentence.count(OBJECT) != 1:
                raise UserError(
                    f"templates '{file}', {relation}: {sentence!r} must have one {SUBJECT} and one {OBJECT}"
                )
        if sentences:
            found[_key(str(relation))] = sentences
    return found
