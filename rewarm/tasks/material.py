"""The tasks of a stream as rows, what a way may see of them, and the scores of a learner on their test rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel

from rewarm.evaluation.answering import Answerer, Answers
from rewarm.evaluation.classifier import Classifier
from rewarm.evaluation.learners import Learner, Rows, score
from rewarm.evaluation.text_scores import bleu, exact_match
from rewarm.evaluation.word_labels import WordLabeller, WordRows, is_iob2, label
from rewarm.models.load import load_as, load_model, save_tokenizer
from rewarm.models.recycling import base_class
from rewarm.suites.splits import PARTS
from rewarm.tasks import Arrived, Way
from rewarm.tasks.reading import Item
from rewarm.tasks.rows import Joined, Reader, ReadRows
from rewarm.tasks.work import Work
from rewarm.training.machine import on_device
from rewarm.types import Tell, UserError, silent


@dataclass(frozen=True, slots=True)
class TaskRows:
    """The rows of a task, numbered with it where they are learned from. `cut` and `lost` are by split."""

    number: int
    name: str
    train: Rows
    dev: Rows
    test: Rows
    text: Rows
    answers: Sequence[str]
    cut: Mapping[str, int]
    lost: Mapping[str, int]

    def arrived(self, labelled: bool) -> Arrived:
        """What a way sees of it: its labels only if they may be read."""
        return Arrived(
            self.number, self.name, self.train if labelled else None, self.dev if labelled else None, self.text
        )


class Material:
    """Everything that arms share: rows, and learners made of the base."""

    def __init__(self, work: Work) -> None:
        self.work, self.plan = work, work.plan
        folder = work.output / "tokenizer"
        if not folder.is_dir():
            save_tokenizer(self.plan.base, folder, self.plan.revision)
        self.reader = Reader(self.plan.kind, folder, work.classes, self.plan.max_length, self.plan.subword)
        self.tasks = {name: self._rows(name) for name in self.plan.tasks}

    @property
    def ends(self) -> tuple[int, ...]:
        """The tokens that end an answer."""
        return (self.reader.text.eos_id,)

    def learner(self, way: Way, seed: int) -> Learner:
        """The learner of a stream: the base, with a head that is random by the seed, as the way has it."""
        return way.learner(plain_learner(self._base(), self.plan.kind, len(self.work.classes), seed), seed)

    def scores(self, learner: Learner, precision: str, tell: Tell = silent) -> dict[str, dict[str, float]]:
        """Every measure of every task on its test rows: loss in nats, all others from 0 to 1."""
        found = {}
        for place, (name, task) in enumerate(self.tasks.items()):
            tell("score", place, len(self.tasks), "tasks")
            found[name] = self._scored(learner, task, precision)
        return found

    def _rows(self, name: str) -> TaskRows:
        found = self.work.found[name]
        read: dict[str, ReadRows] = {}
        for part in PARTS:
            try:
                read[part] = self.reader.read(found.rows[part])
            except UserError as error:
                raise UserError(f"tasks.{name}, {part}: {error}") from None
        number = self.work.number[name]
        train, dev = (Joined([(number, read[part].rows)]) for part in ("train", "dev"))
        return TaskRows(
            number,
            name,
            train,
            dev,
            read["test"].rows,
            self.reader.without_labels(found.text),
            _answers(found.rows["test"]) if self.plan.kind == "answers" else (),
            {part: one.cut for part, one in read.items()},
            {part: one.lost for part, one in read.items()},
        )

    def _base(self) -> PreTrainedModel:
        plan = self.plan
        kind, words = base_class(plan.base, plan.revision)
        if words.startswith("causal"):
            return on_device(load_model(plan.base, plan.revision))
        return on_device(load_as(kind, f"a {words}", plan.base, plan.revision))

    def _scored(self, learner: Learner, task: TaskRows, precision: str) -> dict[str, float]:
        rows = task.test
        if isinstance(rows, WordRows):
            labelled = label(learner, rows, precision)
            names = self.work.classes
            found = {
                "loss": labelled.loss, "accuracy": labelled.accuracy, "macro_f1": labelled.macro_f1(len(names))
            }  # fmt: skip
            return found | ({"entity_f1": labelled.entity_f1(names)} if is_iob2(names) else {})
        outcome = score(learner, Joined([(task.number, rows)]), precision)
        if not isinstance(rows, Answers):
            return {"loss": outcome.loss, "accuracy": outcome.accuracy, "macro_f1": outcome.macro_f1 or 0.0}
        writer: Any = learner  # every learner of answers writes
        prompts = self.reader.prompts(rows)
        ids = writer.write(prompts, self.plan.new_tokens, self.ends, [task.number] * len(prompts))
        said = [self.reader.text.decode(row).strip() for row in ids]
        right = [answer.strip() for answer in task.answers]
        return {
            "loss": outcome.loss, "exact_match": float(exact_match(said, right).mean()), "bleu": bleu(said, right) / 100
        }  # fmt: skip


def plain_learner(base: PreTrainedModel, kind: str, classes: int, seed: int) -> Learner:
    """The learner of a kind of task, around a base."""
    if kind == "answers":
        return Answerer(base)
    return Classifier(base, classes, seed) if kind == "classes" else WordLabeller(base, classes, seed)


def _answers(items: Sequence[Item]) -> list[str]:
    return [item.said[0] for item in items]
