"""The sets of continual knowledge learning: InvariantLAMA, UpdatedLAMA, NewLAMA and NewLAMA-Easy (arXiv 2110.03215)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from rewarm.corpora import paths
from rewarm.corpora.sources import Name
from rewarm.facts import reject
from rewarm.facts.files import rows, words
from rewarm.probes import Kind, Probe
from rewarm.probes.asking import Templates
from rewarm.probes.sets import NO_ANSWER, NO_BLANK, NO_QUESTION, FileProbeSet, cloze_or_question, names, unique
from rewarm.types import BadRows, UserError

_KINDS: dict[str, Kind] = {"invariant": "unchanged", "updated": "changed", "new": "new"}
_ID_FIELDS = ("unique_id", "id")
_TEXT_FIELDS = ("input", "statement", "question")
_ANSWER_FIELDS = ("output", "new_answer", "answer", "answers")


class Ckl(FileProbeSet):
    """Probes from tables whose names say what they measure: `invariant...`, `updated...`, `new....csv`.

    The text is `input`, `statement` or `question`, with a blank (`<extra_id_0>`, `_X_`, `[MASK]`) unless it is a
    question; the answer is `output`, `new_answer` or `answer`, in NewLAMA-Easy several with `;` between them. `answers`
    names files of all answers, {id: [...]} or {id: [{old: [...], new: [...]}]}; by default they are the `.json` files
    beside a table whose names begin with the same word.
    """

    paper: ClassVar[str] = "CKL, arXiv 2110.03215"
    suffixes_read: ClassVar[frozenset[str]] = frozenset({".csv"})

    answers: Annotated[tuple[Name, ...], Field()] = ()

    def _probes(self, templates: Templates, bad: BadRows) -> Iterator[Probe]:
        for file in self.files():
            word = _word(file)
            given = self._answers(file, word)
            for row, place in rows([file], bad):
                found = _probe(row, place, _KINDS[word], given)
                if isinstance(found, str):
                    reject(bad, found, place)
                else:
                    yield found

    def _answers(self, table: Path, word: str) -> dict[str, Any]:
        files = [Path(name).expanduser() for name in self.answers] or sorted(table.parent.glob("*.json"))
        found: dict[str, Any] = {}
        for file in files:
            if not file.name.lower().startswith(word):
                continue
            try:
                held = json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise UserError(f"answers '{file}' cannot be read: {error}") from None
            if not isinstance(held, dict):
                raise UserError(f"answers '{file}': give one object of ids and their answers")
            found |= held
        return found


def _word(file: Path) -> str:
    for word in _KINDS:
        if file.name.lower().startswith(word):
            return word
    raise UserError(
        f"'{paths.printable(file)}': a name must begin with {', '.join(_KINDS)}, which says what it measures. Rename it"
    )


def _probe(row: Mapping[str, Any], place: str, kind: Kind, given: Mapping[str, Any]) -> Probe | str:
    text = _first(row, _TEXT_FIELDS)
    if not text:
        return NO_QUESTION
    parts = cloze_or_question(text)
    if parts is None:
        return NO_BLANK
    number = _first(row, _ID_FIELDS)
    listed, old = _both(given.get(number))
    own = _first(row, _ANSWER_FIELDS)
    # Only NewLAMA-Easy, whose rows are questions, lists its answers in one field.
    answers = unique([*(words(one) for one in (own.split(";") if row.get("question") else [own])), *listed])
    if not answers:
        return NO_ANSWER
    prompt, suffix = parts
    return Probe(
        id=f"{kind}:{number or place}",
        kind=kind,
        prompt=prompt,
        answers=answers,
        old_answers=old if kind == "changed" else (),
        suffix=suffix,
        place=place,
    )


def _both(value: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The new and the old answers of an entry, which is a list of answers or of mappings with both."""
    new: list[str] = []
    old: list[str] = []
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, Mapping):
            new += names(one.get("new"))
            old += names(one.get("old"))
        else:
            new.append(words(one))
    return unique(new), unique(old)


def _first(row: Mapping[str, Any], fields: tuple[str, ...]) -> str:
    return next((found for field in fields if (found := words(row.get(field)))), "")
