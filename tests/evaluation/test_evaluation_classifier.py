"""Classifiers and answerers: what they read, and how they are tuned, with and without a teacher."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

from rewarm.evaluation.answering import Answerer, Answers
from rewarm.evaluation.classifier import Classifier, Course, Distil, Examples, Outcome, Teaching, Tuning, score, tune
from rewarm.evaluation.learners import IGNORED, Passed
from rewarm.models.load import weights_hash
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import UserError

# Class 0 is what begins with token 7, class 1 with token 9; the rest is noise.
TRAIN = Examples([[7 + 2 * (row % 2), 20 + row, 30 + row, *([5] * (row % 3))] for row in range(24)], [0, 1] * 12)
DEV = Examples([[7 + 2 * (row % 2), 60 + row, 90 + row] for row in range(10)], [0, 1] * 5)
QUICK = Tuning(learning_rate=3e-3, max_steps=24, batch_size=8, eval_every=6, decay="none")


def small(kind: str, layers: int = 2) -> Any:
    """An encoder of width 32."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "vocab_size": 400, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": layers,
        "num_attention_heads": 4, "max_position_embeddings": 128,
    }  # fmt: skip
    return BertModel(BertConfig(**sizes)) if kind == "bert" else RobertaModel(RobertaConfig(**sizes))


@pytest.mark.parametrize("kind", ["llama", "llama-tied", "gpt2", "gpt-neox", "bert", "roberta"])
def test_padding_does_not_change_what_a_classifier_says(kind: str, make_tiny: Callable[..., Any]) -> None:
    body = small(kind) if kind in ("bert", "roberta") else make_tiny(kind)
    classifier = Classifier(body, 3, seed=1).eval()
    short, long = [7, 20, 31], [9, 20, 31, 40, 50, 60, 70]
    both = Examples([short, long], [0, 1])
    with torch.no_grad():
        alone = [classifier.read(both.padded([row], classifier.pad)).logits_NC[0] for row in (0, 1)]
        together = classifier.read(both.padded([0, 1], classifier.pad)).logits_NC
    assert torch.allclose(together, torch.stack(alone), atol=1e-5)


def test_the_head_reads_the_mean_of_the_real_tokens(make_tiny: Callable[..., Any]) -> None:
    body = make_tiny("llama")
    classifier = Classifier(body, 2, seed=1).eval()
    rows = Examples([[7, 20, 31], [9, 20, 31, 40, 50]], [0, 1])
    with torch.no_grad():
        hidden_TD = body.base_model(torch.tensor([rows.tokens[0]])).last_hidden_state[0]
        said = classifier.read(rows.padded([0, 1], 0)).logits_NC[0]
    assert torch.allclose(said, classifier.head(hidden_TD.mean(0)), atol=1e-5)


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_tuning_learns_a_task_and_keeps_the_best_weights(kind: str, make_tiny: Callable[..., Any]) -> None:
    classifier = Classifier(small(kind) if kind == "bert" else make_tiny(kind), 2, seed=1)
    course = tune(classifier, TRAIN, DEV, QUICK)
    assert [reading.step for reading in course.readings] == [0, 6, 12, 18, 24]
    assert course.best.accuracy == 1.0
    assert course.best == max(course.readings, key=lambda one: (one.accuracy, -one.loss))
    assert score(classifier, DEV).loss == pytest.approx(course.best.loss, rel=1e-6)
    assert course.steps_to(1.0) in (6, 12, 18, 24)
    assert course.steps_to(0.0) == 0
    assert course.steps_to(1.1) is None


def test_the_same_seed_gives_the_same_course_bit_for_bit(make_tiny: Callable[..., Any]) -> None:
    base = make_tiny("gpt2")  # it has dropout
    found = []
    for number in range(3):
        torch.manual_seed(number)  # what happened before must not matter
        classifier = Classifier(copy.deepcopy(base), 2, seed=1)
        course = tune(classifier, TRAIN, DEV, Tuning(3e-3, max_steps=4, batch_size=8, seed=number // 2))
        found.append((weights_hash(classifier), course))
    assert found[0] == found[1]
    assert found[2] != found[0]


def test_a_tuning_without_steps_changes_nothing(make_tiny: Callable[..., Any]) -> None:
    classifier = Classifier(make_tiny("llama"), 2, seed=1)
    before = weights_hash(classifier)
    course = tune(classifier, TRAIN, DEV, Tuning(max_steps=0))
    assert weights_hash(classifier) == before
    assert (len(course.readings), course.tokens, course.stopped_early) == (1, 0, False)


def test_patience_ends_a_tuning_that_gets_no_better(make_tiny: Callable[..., Any]) -> None:
    classifier = Classifier(make_tiny("llama"), 2, seed=1).requires_grad_(False)
    classifier.head.bias.requires_grad_(True)
    course = tune(classifier, TRAIN, DEV, Tuning(1e-30, max_steps=50, eval_every=1, patience=3))
    assert [reading.step for reading in course.readings] == [0, 1, 2, 3]
    assert course.stopped_early


def test_frozen_parameters_stay(make_tiny: Callable[..., Any]) -> None:
    classifier = Classifier(make_tiny("llama"), 2, seed=1)
    classifier.body.requires_grad_(False)
    body, head = weights_hash(classifier.body), weights_hash(classifier.head)
    tune(classifier, TRAIN, DEV, Tuning(3e-3, max_steps=3, batch_size=8))
    assert weights_hash(classifier.body) == body
    assert weights_hash(classifier.head) != head


def test_macro_f1_by_hand() -> None:
    """Class 0: 2 of 2 found, 1 too many: F1 2 * 2 / (3 + 2) = 0.8; class 1: 1 of 2: 2 * 1 / (1 + 2) = 2/3; class 5,
    never said: 0 of 1, and one said 6: 0 and 0."""
    said, label = np.array([0, 0, 0, 1, 6]), np.array([0, 0, 1, 1, 5])
    outcome = Outcome(np.ones(5), np.ones(5, int), said == label, said, label)
    assert outcome.accuracy == 0.6
    assert outcome.macro_f1 == pytest.approx((0.8 + 2 / 3 + 0 + 0) / 4)


def test_the_rate_rises_and_falls_in_lines() -> None:
    tuning = Tuning(1.0, warmup=2, max_steps=6)
    assert [tuning.rate(step, 6) for step in range(6)] == [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    assert Tuning(1.0, decay="none").rate(5, 6) == 1.0
    assert (Tuning(epochs=3, batch_size=16).steps(33), Tuning(max_steps=7).steps(33)) == (9, 7)


def passed(logits: list[list[float]], labels: list[int], *states: list[list[float]]) -> Passed:
    """Something a learner might have said."""
    found = tuple(torch.tensor(state) for state in states)
    return Passed(torch.tensor(logits), torch.tensor(labels), torch.arange(len(labels)), found)


def test_distillation_by_hand() -> None:
    """Two rows, two classes, T = 2. The student says 1/2, 1/2 on both; the teacher, warmed, 3/4, 1/4 on the first and
    as the student on the second. KL = (3/4 ln 3/2 + 1/4 ln 1/2 + 0) / 2 rows; CE = ln 2; states differ by 1 and 3."""
    teacher = passed([[2 * math.log(3), 0.0], [0.0, 0.0]], [0, 0], [[0.0], [0.0]], [[1.0], [1.0]])
    student = passed([[0.0, 0.0], [0.0, 0.0]], [0, 1], [[1.0], [1.0]], [[4.0], [4.0]])
    divergence = (0.75 * math.log(1.5) + 0.25 * math.log(0.5)) / 2
    expected = 0.1 * math.log(2) + 0.9 * 4 * divergence
    assert float(Distil(0.9, 2.0, 0.0).loss(student, teacher)) == pytest.approx(expected, rel=1e-5)
    assert float(Distil(0.9, 2.0, 10.0).loss(student, teacher)) == pytest.approx(
        expected + 10 * 0.5 * (1 + 9) / 2, rel=1e-5
    )


def test_classes_that_nobody_means_do_not_thin_the_divergence() -> None:
    """The released code divides by the number of classes too: 11 further classes without probability must change
    nothing."""
    few = Distil(1.0, 2.0).loss(passed([[0.5, 0.0]], [0]), passed([[2.0, 0.0]], [0]))
    nothing = [-1e4] * 11
    many = Distil(1.0, 2.0).loss(passed([[0.5, 0.0, *nothing]], [0]), passed([[2.0, 0.0, *nothing]], [0]))
    assert float(few) > 0.01
    assert float(many) == pytest.approx(float(few), rel=1e-5)


def test_a_teacher_of_fewer_tokens_is_followed_on_those_it_has() -> None:
    """The student gives half of its probability to a token that the teacher lacks: KL = ln 2 where they agree else."""
    half = math.log(2.0)  # logits 0, 0 and ln 2: probabilities 1/4, 1/4, 1/2
    loss = Distil(1.0, 1.0).loss(passed([[0.0, 0.0, half]], [0]), passed([[0.0, 0.0]], [0]))
    assert float(loss) == pytest.approx(math.log(2), rel=1e-5)


def test_the_teacher_does_not_move_and_is_followed(make_tiny: Callable[..., Any]) -> None:
    """Taught alone (alpha 1), the labels do not matter: the student learns the teacher's classes, not the swapped."""
    teacher = Classifier(make_tiny("llama"), 2, seed=1)
    tune(teacher, TRAIN, DEV, QUICK)
    before = weights_hash(teacher)
    swapped = Examples(TRAIN.tokens, [1 - label for label in TRAIN.labels])
    student = Classifier(make_tiny("llama", seed=5), 2, seed=2)
    course = tune(student, swapped, DEV, QUICK, Teaching(teacher, Distil(1.0, 2.0, 1.0)))
    assert weights_hash(teacher) == before
    assert course.best.accuracy == 1.0


def test_a_teacher_that_cannot_be_followed_is_refused(make_tiny: Callable[..., Any]) -> None:
    student, teacher = Classifier(make_tiny("llama"), 2), Classifier(make_tiny("llama"), 3)
    with pytest.raises(UserError, match="3 classes apart, the student 2"):
        tune(student, TRAIN, DEV, QUICK, Teaching(teacher, Distil()))
    with pytest.raises(UserError, match="beta to 0"):
        tune(student, TRAIN, DEV, QUICK, Teaching(Classifier(small("bert", 3), 2), Distil(beta=1.0)))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Examples([[1]], []), "1 rows have 0 labels"),
        (lambda: Examples([[1], []], [0, 1]), "row 1 has no token"),
        (lambda: Answers([[1, 2]], [[True]]), "as many marks"),
        (lambda: Answers([[1, 2]], [[True, False]]), "asks for no token"),
        (lambda: Tuning(0.0), "learning_rate 0.0 must be above 0"),
        (lambda: Tuning(batch_size=0), "batch_size 0 must be 1 or more"),
        (lambda: Distil(alpha=1.5), "alpha must be from 0 to 1"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        make()


def test_answers_are_asked_for_to_their_end(tiny_tokenizer_folder: Path) -> None:
    tokenizer = TextTokenizer(tiny_tokenizer_folder)
    rows = Answers.of(["bake lomi"], ["nura"], tokenizer)
    asked = [token for token, is_asked in zip(rows.tokens[0], rows.asked[0], strict=True) if is_asked]
    assert tokenizer.decode(asked) == "nura"
    assert asked[-1] == tokenizer.eos_id
    assert rows.tokens[0][: len(tokenizer.prefix)] == list(tokenizer.prefix)
    cut = Answers.of(["bake lomi " * 50], ["nura"], tokenizer, max_length=12)
    assert (len(cut.tokens[0]), cut.tokens[0][-len(asked) :]) == (12, asked)


@pytest.mark.parametrize("family_name", ["llama", "gemma2"])
def test_only_the_answer_is_learned_from(family_name: str, make_tiny: Callable[..., Any]) -> None:
    """The loss is the mean over the asked tokens, of a plain head as of one that is not."""
    model = make_tiny(family_name)
    rows = Answers([[7, 8, 9, 10], [3, 4, 5]], [[False, False, True, True], [False, False, True]])
    read = Answerer(model).read(rows.padded([0, 1], 0))
    assert read.labels_N.tolist() == [9, 10, 5]
    assert read.row_N.tolist() == [0, 0, 1]
    with torch.no_grad():
        whole = model(torch.tensor([rows.tokens[0]])).logits[0, 1:3].float()
    assert torch.allclose(read.logits_NC[:2].detach(), whole, atol=1e-4)
    assert (rows.padded([1], 0).labels == torch.tensor([[IGNORED, 5, IGNORED]])).all()


def test_an_answerer_learns_answers(make_tiny: Callable[..., Any]) -> None:
    """A row is right when greedy decoding gives the whole answer."""
    rows = Answers([[7, 20 + row % 2, 8, 40 + row % 2, 2] for row in range(8)], [[False] * 3 + [True] * 2] * 8)
    answerer = Answerer(make_tiny("llama"))
    course: Course = tune(answerer, rows, rows, Tuning(1e-2, max_steps=30, batch_size=8, eval_every=15))
    assert course.readings[0].accuracy == 0.0
    assert course.best.accuracy == 1.0
    assert course.best.macro_f1 is None
    assert course.steps_to(0.5, by="loss") in (15, 30)
    made = answerer.body.generate(torch.tensor([rows.tokens[1][:3]]), max_new_tokens=2, do_sample=False)[0, 3:]
    assert made.tolist() == [41, 2]
