"""A labelled task, read out of a model by a linear head on it frozen, by fine-tuning a copy of it, or both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from rewarm.corpora.faults import check_budget
from rewarm.corpora.rows import SeenIds
from rewarm.corpora.sources import Name
from rewarm.facts import Tally, leave_out
from rewarm.facts.files import rows, words
from rewarm.quantities import PositiveCount, Share
from rewarm.suites import Answers, Asked, Measure
from rewarm.suites.rows import OVER_LIMIT, BadRow, Chosen, FileSuite, text_of
from rewarm.suites.splits import PARTS, Draw, Drawn, Example, drawn_of, part_of, part_word
from rewarm.types import UserError

if TYPE_CHECKING:
    from rewarm.evaluation.read_outs import ReadOut, Task

Read = Literal["linear", "full"]
Rate = Annotated[float, Field(gt=0)]
NO_LABEL = "no label in field '{field}'"
NO_PART = "field '{field}' names no split"
ANOTHER_CLASS = "another class"
OVER_SHOTS = "over the shots of its class"
MOST_CLASSES = 1000


class Labelled(FileSuite[Example]):
    """Rows with `text` (and `text_b`, the second of a pair) and a `label`: which class is it?

    `read: linear` fits a linear head on the frozen model's mean-pooled states; `full` fine-tunes every weight of a copy
    of the model, and hides forgetting: what was lost is learned anew on the way. The model of the run is not changed.
    Rows are split into train, dev and test by a hash of their texts, or of the field `split_by`, so that a book or an
    author is on one side; or by the field `split`, which says `train`, `dev` (`validation`) or `test`. `shots` keeps so
    many train and dev rows of each class; `train_limit`, `dev_limit` and `limit` (test) cap the splits, by a draw that
    follows from the run's seed. Texts are cut after `max_length` tokens (None: the plan's `seq_len`).

    `probe: published` is the head of Cossu et al. (2205.09357); their fine-tuning is `learning_rates: [1e-5]`,
    `epochs: 20`, `batch_size: 10`. Without `learning_rates` the rate follows from the model's size; with several, the
    best on dev is taken.
    """

    paper: ClassVar[str] = "Cossu et al. 2022 (arXiv 2205.09357)"

    label: Name = "label"
    text: Name = "text"
    text_b: Name | None = None
    split: Name | None = None
    split_by: Name | None = None
    dev: Annotated[Share, Field(gt=0, lt=1)] = 0.15
    test: Annotated[Share, Field(gt=0, lt=1)] = 0.25
    classes: tuple[Name, ...] = ()
    read: Annotated[tuple[Read, ...], Field(min_length=1)] = ("linear",)
    shots: PositiveCount | None = None
    train_limit: PositiveCount | None = 5000
    dev_limit: PositiveCount | None = 1000
    max_length: PositiveCount | None = None
    probe: Literal["standardised", "published"] = "standardised"
    learning_rates: tuple[Rate, ...] = ()
    epochs: PositiveCount = 10
    batch_size: PositiveCount = 16
    patience: PositiveCount = 3

    @field_validator("read", "classes", "learning_rates", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str | float | int) else value

    @model_validator(mode="after")
    def _splits_fit(self) -> Labelled:
        if self.split is not None and self.split_by is not None:
            raise ValueError("give 'split', which names each row's split, or 'split_by', which is hashed: not both")
        if self.dev + self.test >= 1:
            raise ValueError(f"dev {self.dev:g} and test {self.test:g} leave nothing to train on: lower them")
        return self

    def item(self, row: Mapping[str, Any]) -> Example:
        """The text, class and split of a row; BadRow without a text, a label, or a split where one is named."""
        text = text_of(row, self.text)
        if self.text_b is not None:
            text = f"{text}\n{text_of(row, self.text_b)}"
        value = row.get(self.label)
        label = str(value).lower() if isinstance(value, bool) else words(value)
        if not label:
            raise BadRow(NO_LABEL.format(field=self.label))
        if self.split is None:
            key = text if self.split_by is None else text_of(row, self.split_by)
            return Example(text, label, part_of(key, self.dev, self.test))
        part = part_word(row.get(self.split))
        if part is None:
            raise BadRow(NO_PART.format(field=self.split))
        return Example(text, label, part)

    def check(self, name: str, bad_limit: float) -> None:
        """UserError when more than `bad_limit` of the rows are bad, or the splits hold no task."""
        drawn, tally = self._drawn(0)
        check_budget(name, tally, bad_limit)
        counts = [len(drawn.rows[part]) for part in PARTS]
        if min(counts) == 0 or not 2 <= len(drawn.classes) <= MOST_CLASSES:
            found = ", ".join(f"{count:,} {part}" for part, count in zip(PARTS, counts, strict=True))
            raise UserError(
                f"suites.{name}: {found} rows, and {len(drawn.classes):,} classes by the field '{self.label}', are no "
                f"task. Each split needs a row, and train 2 to {MOST_CLASSES} classes: see label, split, split_by, "
                "dev and test"
            )

    def choose(self, seed: int) -> Chosen[Example]:
        """The test items under a seed, of which a model is asked."""
        drawn, tally = self._drawn(seed)
        asked = drawn.rows["test"]
        return Chosen(tuple(name for name, _ in asked), tuple(example for _, example in asked), tally)

    def cost(self, bytes_per_token: float) -> float:
        """A pass over every text for the linear head; training counts three times, at each epoch and rate."""
        drawn, _ = self._drawn(0)
        size = {part: sum(len(one.text.encode()) for _, one in drawn.rows[part]) / bytes_per_token for part in PARTS}
        rounds = self.epochs * max(1, len(self.learning_rates))
        linear = sum(size.values()) if "linear" in self.read else 0.0
        full = rounds * (3 * size["train"] + size["dev"]) + size["test"] if "full" in self.read else 0.0
        return linear + full

    def answer(self, asked: Asked) -> Answers:
        """`linear_accuracy` and `full_accuracy`, as asked: 1 for every test item that was given its class."""
        drawn, tally = self._drawn(asked.seed)
        task = _task(drawn)
        found = {read: self._read_out(read, asked, task) for read in self.read}
        extra: dict[str, Any] = {read: one.as_json() for read, one in found.items()}
        extra |= {"classes": list(task.classes), "chance": task.chance}
        extra |= {part: len(drawn.rows[part]) for part in PARTS}
        return Answers(
            ids=tuple(name for name, _ in drawn.rows["test"]),
            measures={f"{read}_accuracy": Measure(one.correct_N.astype(float)) for read, one in found.items()},
            left_out=dict(tally.left_out),
            bad_rows=dict(tally.counts),
            extra=extra,
        )

    def _drawn(self, seed: int) -> tuple[Drawn, Tally]:
        """Every split under a seed. Memory grows with the limits alone, and 16 bytes for each row."""
        tally, seen, draw = Tally(), SeenIds(), Draw(seed)
        limits = {"train": self.train_limit, "dev": self.dev_limit, "test": self.limit}
        for row, place in rows(self.files(), tally):
            found = self._read(row, place, seen, tally)
            if found is None:
                continue
            name, example = found
            few = self.shots is not None and example.part != "test"
            limit = self.shots if few else limits[example.part]
            if self.classes and example.label not in self.classes:
                leave_out(tally, ANOTHER_CLASS)
            elif not draw.add((example.part, example.label if few else ""), limit, name, example):
                leave_out(tally, OVER_SHOTS if few else OVER_LIMIT)
        return drawn_of(draw, tally), tally

    def _read_out(self, read: Read, asked: Asked, task: Task) -> ReadOut:
        import torch

        from rewarm.evaluation.classifier import Tuning
        from rewarm.evaluation.read_outs import best_rate, full_read_out, learning_rate_for, linear_read_out
        from rewarm.evaluation.spans import positions

        model, length = asked.model, positions(asked.model, min(asked.seq_len, self.max_length or asked.seq_len))
        if read == "linear":
            return linear_read_out(model, asked.tokenizer, task, length, self.probe, asked.precision, asked.seed)
        tuning = Tuning(
            epochs=self.epochs, batch_size=self.batch_size, patience=self.patience, seed=asked.seed,
            precision="fp32" if asked.precision == torch.float32 else "bf16",
        )  # fmt: skip
        rates = self.learning_rates or (learning_rate_for(model),)
        return best_rate(
            rates, tuning, lambda one: full_read_out(model, asked.tokenizer, task, length, one, asked.tell)
        )


def _task(drawn: Drawn) -> Task:
    from rewarm.evaluation.read_outs import Task, Texts

    numbers = {name: number for number, name in enumerate(drawn.classes)}
    parts = {
        part: Texts([one.text for _, one in found], [numbers[one.label] for _, one in found])
        for part, found in drawn.rows.items()
    }
    return Task(drawn.classes, parts["train"], parts["dev"], parts["test"])
