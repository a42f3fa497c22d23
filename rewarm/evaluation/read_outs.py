"""Two ways to ask what a model knows of a labelled task: a linear head on it frozen, and fine-tuning of a copy of it.

Both read the same texts, cut after the same number of tokens, and give a class for the same test items, so that their
changes can be held against each other. Fine-tuning mends what it measures: a model whose features have suffered learns
them anew on the way (Cossu et al. 2205.09357 find next to no forgetting by it), so the linear head is the stricter one.

Shapes: N items, D width.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from rewarm.evaluation.classifier import Classifier, Examples, Tuning, score, tune
from rewarm.evaluation.document_scores import DocumentScorer, Encoder, Flat
from rewarm.evaluation.learners import macro_f1
from rewarm.evaluation.linear_probe import Fit, Labelled, Labels, fit_head
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import Tell, silent

TUNED_RATE, TUNED_PARAMETERS, RATE_POWER = 2e-5, 125e6, 0.85
LOWEST_RATE, HIGHEST_RATE = 1e-5, 1e-3


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts and the number of each one's class."""

    texts: Sequence[str]
    labels: Sequence[int]


@dataclass(frozen=True, slots=True)
class Task:
    """A labelled task: rows to learn from, to choose by, and to be judged on. Classes are numbered as in `classes`."""

    classes: tuple[str, ...]
    train: Texts
    dev: Texts
    test: Texts

    @property
    def chance(self) -> float:
        """The accuracy on test of always saying the class that is most frequent in train."""
        most = int(np.bincount(self.train.labels, minlength=len(self.classes)).argmax())
        return float(np.mean(np.array(self.test.labels) == most))


@dataclass(frozen=True, slots=True)
class ReadOut:
    """What was said of every test item, in order; `found` holds how it came about, as JSON values."""

    predicted_N: Labels
    labels_N: Labels
    classes: int
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def correct_N(self) -> NDArray[np.bool_]:
        """Whether each test item was right."""
        found: NDArray[np.bool_] = self.predicted_N == self.labels_N
        return found

    def as_json(self) -> dict[str, Any]:
        """Accuracy, macro-F1 and how they came about."""
        f1 = macro_f1(self.predicted_N, self.labels_N, self.classes)
        return {"accuracy": float(self.correct_N.mean()), "macro_f1": f1, **self.found}


class _Cut:
    """A tokenizer whose texts end after so many tokens."""

    def __init__(self, tokenizer: Encoder, max_length: int) -> None:
        self._tokenizer, self._max_length = tokenizer, max_length
        self.vocab_size = tokenizer.vocab_size

    def encode_flat(self, texts: Sequence[str]) -> Flat:
        """The ids of all texts end to end, and the number of each text's."""
        ids_N, lengths_G = self._tokenizer.encode_flat(texts)
        place_N = np.arange(len(ids_N)) - np.repeat(np.cumsum(lengths_G) - lengths_G, lengths_G)
        return ids_N[place_N < self._max_length], np.minimum(lengths_G, self._max_length)


def features(
    model: PreTrainedModel, tokenizer: Encoder, texts: Sequence[str], max_length: int,
    precision: torch.dtype = torch.float32,
) -> NDArray[np.float32]:  # fmt: skip
    """The mean of the last hidden states over the first `max_length` tokens of each text (N, D); nothing is trained."""
    scorer = DocumentScorer(model, _Cut(tokenizer, max_length), max_length, precision=precision, losses=False)
    states = [one.state_D for one in scorer.score(texts) if one.state_D is not None]
    width = int(model.config.get_text_config().hidden_size)
    return np.stack(states) if states else np.zeros((0, width), np.float32)


def linear_read_out(
    model: PreTrainedModel,
    tokenizer: Encoder,
    task: Task,
    max_length: int,
    fit: Fit = "standardised",
    precision: torch.dtype = torch.float32,
    seed: int = 0,
) -> ReadOut:
    """A linear head on mean-pooled states, extracted once. UserError without rows to train on or to choose by."""
    parts = [task.train, task.dev, task.test]
    every = features(model, tokenizer, [text for part in parts for text in part.texts], max_length, precision)
    ends = np.cumsum([len(part.texts) for part in parts])[:-1]
    rows = [
        Labelled(features_ND, np.array(part.labels, np.int64))
        for features_ND, part in zip(np.split(every, ends), parts, strict=True)
    ]
    train, dev, test = rows
    head = fit_head(train, dev, len(task.classes), fit, seed)
    return ReadOut(head.predict(test.features_ND), test.labels_N, len(task.classes), {"penalty": head.penalty})


def learning_rate_for(model: PreTrainedModel) -> float:
    """The rate of fine-tuning a model of this size: 2e-5 at 125M parameters, 1e-3 at 1.3M, never below 1e-5.

    Ours, a power of the size between the two: the published 1e-5 (for 125M) leaves a model of a million parameters
    where it was; 1.3M learned in 150 steps at 1e-3 what they did not at 3e-4.
    """
    parameters = sum(weight.numel() for weight in model.base_model.parameters())
    rate = TUNED_RATE * (TUNED_PARAMETERS / parameters) ** RATE_POWER
    return float(min(HIGHEST_RATE, max(LOWEST_RATE, rate)))


def full_read_out(
    model: PreTrainedModel, tokenizer: TextTokenizer, task: Task, max_length: int, tuning: Tuning, tell: Tell = silent
) -> ReadOut:
    """Every weight of a copy of the model and a linear head fine-tuned on train, the best state on dev judged on test.

    The model itself stays as it is, bit for bit. Needs memory for the copy and its training. Adapters beside the
    weights act in the copy and are not trained.
    """
    body = copy.deepcopy(model).requires_grad_(True)
    classifier = Classifier(body, len(task.classes), tuning.seed)
    rows = [Examples.of(part.texts, part.labels, tokenizer, max_length) for part in (task.train, task.dev, task.test)]
    train, dev, test = rows
    course = tune(classifier, train, dev, tuning, tell=tell)
    outcome = score(classifier, test, tuning.precision)
    found = {
        "learning_rate": tuning.learning_rate,
        "steps": course.readings[-1].step,
        "best_step": course.best.step,
        "dev_accuracy": course.best.accuracy,
        "tokens": course.tokens,
    }
    return ReadOut(outcome.class_B, outcome.label_B, len(task.classes), found)


def best_rate(rates: Sequence[float], tuning: Tuning, ask: Callable[[Tuning], ReadOut]) -> ReadOut:
    """The read-out with the learning rate that did best on dev, the first of equals."""
    asked = [ask(replace(tuning, learning_rate=rate)) for rate in rates]
    return max(asked, key=lambda one: float(one.found["dev_accuracy"]))
