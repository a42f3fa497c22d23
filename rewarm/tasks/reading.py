"""The rows of tasks, out of their files: what is asked and what is right, by split, with what was left out counted.

Reads no torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from rewarm.corpora import faults
from rewarm.corpora.faults import check_budget
from rewarm.corpora.rows import SeenIds
from rewarm.corpora.sources import Name
from rewarm.facts import Tally, leave_out, reject
from rewarm.facts.files import InFiles, rows, words
from rewarm.hashing import seed_of
from rewarm.methods import Faults, checked, nearest
from rewarm.quantities import PositiveCount, Share
from rewarm.suites.labelled import NO_LABEL, NO_PART
from rewarm.suites.rows import ANOTHER_VALUE, OVER_LIMIT, BadRow, check_template, filled, strings, text_of
from rewarm.suites.splits import PARTS, UNKNOWN, Part, part_of, part_word
from rewarm.tasks import Kind
from rewarm.types import UserError

UNEQUAL = "not as many labels as words"
NO_WORD = "no word"
EMPTY_WORD = "a word without a character, or with a line end"


class Item(NamedTuple):
    """A row: what is asked (a text, a pair of texts, words, or a prompt) and what is right (a label, labels, or an
    answer)."""

    name: str
    asked: tuple[str, ...]
    said: tuple[str, ...]


class Task(InFiles):
    """A task in files. `where` chooses rows by the values of fields, as in {lang: da}.

    Rows are split by the field `split`, which says train, dev (validation) or test, or by a hash of what they ask, with
    the shares `dev` and `test`. The limits cap the splits by a draw that is the same for every seed and way.
    `unlabelled` are other files of the same fields, whose labels, if any, are not read: text that teachers are asked
    about, at most `train_limit` rows of it.
    """

    kind: Kind
    where: Mapping[str, str] = {}
    split: Name | None = None
    dev: Annotated[Share, Field(gt=0, lt=1)] = 0.1
    test: Annotated[Share, Field(gt=0, lt=1)] = 0.2
    train_limit: PositiveCount | None = 5000
    dev_limit: PositiveCount | None = 1000
    test_limit: PositiveCount | None = 1000
    unlabelled: Name | Annotated[tuple[Name, ...], Field(min_length=1)] | None = None

    @field_validator("where", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and any(isinstance(one, bool) for one in value.values()):
            raise ValueError("a value reads as true or false, as YAML takes no, yes, on and off: put it in quotes")
        return {key: str(one) for key, one in value.items()} if isinstance(value, Mapping) else value

    @model_validator(mode="after")
    def _leaves_rows(self) -> Task:
        if self.dev + self.test >= 1:
            raise ValueError(f"dev {self.dev:g} and test {self.test:g} leave nothing to train on: lower them")
        return self

    def asked(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        """What a row asks; BadRow when it asks nothing."""
        raise NotImplementedError

    def said(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        """What is right of it; BadRow when that is not told."""
        raise NotImplementedError

    def limit(self, part: Part) -> int | None:
        """The most rows of a split."""
        return {"train": self.train_limit, "dev": self.dev_limit, "test": self.test_limit}[part]


class ClassTask(Task):
    """Texts, or pairs of texts, and a class of each."""

    kind: Literal["classes"]
    text: Name = "text"
    text_b: Name | None = None
    label: Name = "label"

    def asked(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        """One text or two."""
        return tuple(text_of(row, name) for name in (self.text, self.text_b) if name is not None)

    def said(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        """The name of the class; true and false are names, too."""
        value = row.get(self.label)
        label = str(value).lower() if isinstance(value, bool) else words(value)
        if not label:
            raise BadRow(NO_LABEL.format(field=self.label))
        return (label,)


class WordTask(Task):
    """Words, and a label of each: lists of one length."""

    kind: Literal["labelling"]
    tokens: Name = "tokens"
    labels: Name = "labels"

    def asked(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        """The words."""
        found = strings(row.get(self.tokens), self.tokens)
        if not found:
            raise BadRow(NO_WORD)
        if not all(word.strip() and len(word.splitlines()) == 1 for word in found):
            raise BadRow(EMPTY_WORD)
        return found

    def said(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        """The labels; BadRow when there are more or fewer than words."""
        found = strings(row.get(self.labels), self.labels)
        if len(found) != len(self.asked(row)):
            raise BadRow(UNEQUAL)
        return found


class AnswerTask(Task):
    """Prompts, and an answer to each. `template` makes the prompt of a row's fields: '{question} =>'."""

    kind: Literal["answers"]
    prompt: Name = "prompt"
    answer: Name = "answer"
    template: str | None = None

    @field_validator("template")
    @classmethod
    def _is_a_template(cls, value: str | None) -> str | None:
        return check_template(value)

    def asked(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        """The prompt."""
        return (text_of(row, self.prompt) if self.template is None else filled(self.template, row),)

    def said(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        """The answer."""
        return (text_of(row, self.answer),)


_KINDS: dict[str, type[Task]] = {"classes": ClassTask, "labelling": WordTask, "answers": AnswerTask}


def task_of(value: Any, name: str) -> Task:
    """A task from its options in a plan; Faults, with every fault, when they are wrong."""
    if not isinstance(value, Mapping) or not isinstance(value.get("kind"), str):
        raise Faults([("", f"give a mapping with 'kind' ({', '.join(_KINDS)}) and 'path'")], name)
    if value["kind"] not in _KINDS:
        raise Faults([("kind", f"there is no kind '{value['kind']}'. {nearest(value['kind'], _KINDS)}")], name)
    return checked(_KINDS[value["kind"]], value, name)


@dataclass(slots=True)
class Found:
    """The rows of a task by split, its text without labels, and what was counted on the way."""

    rows: dict[Part, list[Item]]
    text: list[tuple[str, ...]]
    tally: Tally

    def counts(self) -> dict[str, int]:
        """Rows of each split, and of text without a label."""
        return {**{part: len(self.rows[part]) for part in PARTS}, "text": len(self.text)}

    def sha256(self) -> str:
        """A hash of all rows and texts."""
        values = [(part, self.rows[part]) for part in PARTS]
        return hashlib.sha256(repr((values, self.text)).encode("utf-8", "surrogatepass")).hexdigest()


def read_tasks(
    tasks: Mapping[str, Task], classes: Sequence[str], bad_rows: float
) -> tuple[dict[str, Found], list[str]]:
    """The rows of every task, and the names of the labels: those given, else all of the training rows, sorted.

    Rows with another label are left out and counted. UserError for more bad rows than the share `bad_rows`, for a split
    without a row, and for fewer than two labels.
    """
    found = {name: _read(name, task, bad_rows) for name, task in tasks.items()}
    if next(iter(tasks.values())).kind == "answers":
        _refuse_empty(found)
        return found, []
    names = list(classes) or sorted(
        {label for one in found.values() for item in one.rows["train"] for label in item.said}
    )
    if len(names) < 2:
        raise UserError(
            f"tasks: the training rows have {len(names)} labels ({', '.join(names)}): two or more are needed"
        )
    for one in found.values():
        for part in PARTS:
            kept = [item for item in one.rows[part] if set(item.said) <= set(names)]
            if unknown := len(one.rows[part]) - len(kept):
                one.tally.left_out[UNKNOWN] += unknown
            one.rows[part] = kept
    _refuse_empty(found)
    return found, names


def _refuse_empty(found: Mapping[str, Found]) -> None:
    for name, one in found.items():
        if empty := [part for part in PARTS if not one.rows[part]]:
            left = ", ".join(f"{count:,} {reason}" for reason, count in one.tally.left_out.items()) or "nothing"
            raise UserError(
                f"tasks.{name}: no row for {empty[0]} (left out: {left}). See its path, where, split and limits, or "
                f"give rows whose split is '{empty[0]}'"
            )


def _read(name: str, task: Task, bad_rows: float) -> Found:
    tally = Tally()
    rows: dict[Part, list[Item]] = {part: [] for part in PARTS}
    for part, item in _items(task, tally):
        rows[part].append(item)
    for part in PARTS:
        rows[part] = _few(rows[part], task.limit(part), tally)
    check_budget(f"tasks.{name}", tally, bad_rows)
    if task.unlabelled is None:
        return Found(rows, [item.asked for item in rows["train"]], tally)
    other = task.model_copy(update={"path": task.unlabelled})
    items = [Item(place, asked, ()) for place, asked in _texts(other, tally)]
    check_budget(f"tasks.{name}", tally, bad_rows)
    if not items:
        raise UserError(
            f"tasks.{name}.unlabelled: no row of {task.unlabelled} can be used: see the task's fields and where"
        )
    return Found(rows, [item.asked for item in _few(items, task.train_limit, tally)], tally)


def _items(task: Task, tally: Tally) -> Iterator[tuple[Part, Item]]:
    seen = SeenIds()
    for row, place in _chosen(task, tally):
        try:
            item = Item(words(row.get("id")) or place, task.asked(row), task.said(row))
            part = _part(task, row, item)
        except BadRow as fault:
            reject(tally, str(fault), place)
            continue
        if not seen.add(item.name):
            reject(tally, faults.DUPLICATE_ID, place)
            continue
        tally.rows += 1
        yield part, item


def _texts(task: Task, tally: Tally) -> Iterator[tuple[str, tuple[str, ...]]]:
    for row, place in _chosen(task, tally):
        try:
            asked = task.asked(row)
        except BadRow as fault:
            reject(tally, str(fault), place)
            continue
        tally.rows += 1
        yield place, asked


def _chosen(task: Task, tally: Tally) -> Iterator[tuple[Mapping[str, Any], str]]:
    for row, place in rows(task.files(), tally):
        other = next((name for name, value in task.where.items() if words(row.get(name)) != value), None)
        if other is None:
            yield row, place
        else:
            leave_out(tally, ANOTHER_VALUE.format(field=other))


def _part(task: Task, row: Mapping[str, Any], item: Item) -> Part:
    if task.split is None:
        return part_of("\x1f".join(item.asked), task.dev, task.test)
    part = part_word(row.get(task.split))
    if part is None:
        raise BadRow(NO_PART.format(field=task.split))
    return part


def _few(items: list[Item], limit: int | None, tally: Tally) -> list[Item]:
    """At most so many of the items, in their order; which ones follows from their names."""
    if limit is None or len(items) <= limit:
        return items
    kept = set(sorted(range(len(items)), key=lambda place: seed_of(0, "task", items[place].name))[:limit])
    tally.left_out[OVER_LIMIT] += len(items) - limit
    return [item for place, item in enumerate(items) if place in kept]
