"""Ways to learn tasks: what each reads, keeps and holds on to."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from rewarm.evaluation.answering import Answerer, Answers
from rewarm.evaluation.classifier import Classifier, Examples
from rewarm.evaluation.tuning import Tuning, tune
from rewarm.evaluation.word_labels import IGNORED, WordLabeller, WordRows
from rewarm.methods import build
from rewarm.models.load import weights_hash
from rewarm.tasks import Arrived, Beginning, teaching
from rewarm.tasks.rows import Joined, Some
from rewarm.tasks.teaching import Taught

TUNING = Tuning(3e-3, max_steps=4, batch_size=6, seed=0)


def classes(number: int, count: int = 20) -> Arrived:
    """A task of two classes over tokens of its own; the text has labels of 0."""
    tokens = [[20 + 30 * number + row % 7, 30 + 30 * number + row % 3, *([5] * (row % 4))] for row in range(count)]
    rows = Examples(tokens, [row % 2 for row in range(count)])
    return Arrived(number, f"task-{number}", rows, rows, Examples(tokens, [0] * count))


def labelling(number: int) -> Arrived:
    """A task of two labels of words."""
    tokens = [[20 + 30 * number + row % 7, 30 + row % 3, *([5] * (row % 4))] for row in range(20)]
    rows = WordRows(tokens, [[row % 2, IGNORED, *([1] * (row % 4))] for row in range(20)])
    text = WordRows(tokens, [[0, IGNORED, *([0] * (row % 4))] for row in range(20)])
    return Arrived(number, f"task-{number}", rows, rows, text)


def answers(number: int) -> Arrived:
    """A task of answers of one token."""
    prompts = [[20 + 30 * number + row % 7, 30 + row % 3] for row in range(12)]
    rows = Answers([[*row, row[0], 1] for row in prompts], [[False, False, True, True]] * 12)
    return Arrived(number, f"task-{number}", rows, rows, Answers(prompts, [[True] * 2] * 12))


def unlabelled(one: Arrived) -> Arrived:
    """An earlier task, as a way sees it that reads no old label."""
    return Arrived(one.number, one.name, None, None, one.text)


def beginning(task: Arrived, earlier: Sequence[Arrived], kept: Path) -> Beginning:
    """What a way finds."""
    return Beginning(task, earlier, (), TUNING, 0, kept, new_tokens=3, ends=(1,))


def learners(make_tiny: Callable[..., Any]) -> list[tuple[Any, Callable[[int], Arrived]]]:
    """A learner of each kind, without dropout, and its tasks."""
    return [
        (Classifier(make_tiny("llama"), 2, seed=0), classes),
        (WordLabeller(make_tiny("llama"), 2, seed=0), labelling),
        (Answerer(make_tiny("llama-tied")), answers),
    ]


def test_joined_rows_keep_their_labels_and_know_their_tasks() -> None:
    first, second = Examples([[1, 2], [3]], [0, 1]), Examples([[4, 5, 6]], [1])
    joined = Joined([(7, first), (9, second)])
    assert list(joined.lengths) == [2, 1, 3]
    padded = joined.padded([2, 1, 0], 0)
    assert padded.tokens_BT.tolist() == [[4, 5, 6], [3, 0, 0], [1, 2, 0]]
    assert padded.real_BT.sum(1).tolist() == [3, 1, 2]
    assert (padded.labels.tolist(), padded.task_B) == ([1, 1, 0], (9, 7, 7))
    words = Joined([(0, WordRows([[1, 2, 3]], [[1, IGNORED, 0]])), (1, WordRows([[4]], [[1]]))])
    assert words.padded([1, 0], 0).labels.tolist() == [[1, IGNORED, IGNORED], [1, IGNORED, 0]]
    assert Some(first, [1]).padded([0], 0).tokens_BT.tolist() == [[3]]


def test_naive_and_alone_read_the_task_and_joint_reads_all(tmp_path: Path) -> None:
    tasks = [classes(0, 8), classes(1, 10), classes(2, 12)]
    found = beginning(tasks[2], tasks[:2], tmp_path)
    assert [len(build("tasks", name).rows(found).lengths) for name in ("naive", "alone")] == [12, 12]  # type: ignore[attr-defined]
    joint: Any = build("tasks", "joint")
    assert len(joint.rows(found).lengths) == len(joint.dev(found).lengths) == 30
    assert set(joint.rows(found).padded(range(30), 0).task_B) == {0, 1, 2}
    assert (joint.starts_afresh, joint.reads_old_labels) == (True, True)


def test_the_buffer_is_split_equally_and_shrinks_to_its_first(tmp_path: Path) -> None:
    """Seven rows: all of one task; then four and three, which are the first of those drawn when the task was alone."""
    tasks = [classes(0), classes(1), classes(2)]
    replay: Any = build("tasks", {"type": "replay", "rows": 7})
    assert replay.buffer(beginning(tasks[0], [], tmp_path)) == []
    alone = replay.buffer(beginning(tasks[1], tasks[:1], tmp_path))
    later = dataclasses.replace(beginning(tasks[2], tasks[:2], tmp_path), seed=9)  # every task has a seed of its own
    both = replay.buffer(later)
    assert [(number, len(rows.lengths)) for number, rows in alone] == [(0, 7)]
    assert [(number, len(rows.lengths)) for number, rows in both] == [(0, 4), (1, 3)]
    kept = [rows.padded(range(4), 0) for _, rows in (alone[0], both[0])]
    assert torch.equal(kept[0].tokens_BT, kept[1].tokens_BT)
    assert torch.equal(kept[0].labels, kept[1].labels)
    mixed = replay.rows(beginning(tasks[2], tasks[:2], tmp_path))
    assert mixed.padded(range(len(mixed.lengths)), 0).task_B == (2,) * 20 + (0,) * 4 + (1,) * 3
    twice: Any = build("tasks", {"type": "replay", "rows": 7, "times": 2})
    assert len(twice.rows(beginning(tasks[2], tasks[:2], tmp_path)).lengths) == 34


def test_divergence_by_hand() -> None:
    """Teacher (3/4, 1/4), student (1/2, 1/2): 3/4 ln 3/2 + 1/4 ln 1/2. Classes that are not kept are one."""
    logits_NC = torch.tensor([[0.75, 0.25]]).log()
    taught = Taught.of(logits_NC, 1.0, 9)
    student_NC = torch.zeros(1, 2)
    wanted = 0.75 * torch.tensor(1.5).log() + 0.25 * torch.tensor(0.5).log()
    assert float(taught.distance(student_NC, 1.0, False)) == pytest.approx(float(wanted))
    assert float(taught.distance(student_NC, 1.0, True)) == pytest.approx(float(torch.tensor(2.0).log()))
    three = Taught.of(torch.tensor([[0.75, 0.125, 0.125]]).log(), 1.0, 1)
    student_NC = torch.tensor([[0.5, 0.3, 0.2]]).log()
    assert float(three.distance(student_NC, 1.0, False)) == pytest.approx(float(wanted))
    whole = Taught.of(torch.tensor([[1.0, 2.0, 4.0]]), 2.0, 9).distance(torch.tensor([[3.0, 0.0, 1.0]]), 2.0, False)
    right = 4 * nn.functional.kl_div(
        torch.tensor([[1.5, 0.0, 0.5]]).log_softmax(1),
        torch.tensor([[0.5, 1.0, 2.0]]).softmax(1),
        reduction="batchmean",
    )
    assert float(whole) == pytest.approx(float(right), rel=1e-5)


def test_the_distance_from_the_teacher_is_0_at_first_and_what_is_kept_is_what_is_asked(
    make_tiny: Callable[..., Any], tmp_path: Path
) -> None:
    for number, (learner, task) in enumerate(learners(make_tiny)):
        found = beginning(task(1), [unlabelled(task(0))], tmp_path / str(number))
        student = copy.deepcopy(learner)
        kept: Any = build("tasks", {"type": "distil", "temperature": 2}).term(learner, found)  # type: ignore[attr-defined]
        live: Any = build("tasks", {"type": "distil", "temperature": 2, "cache": False}).term(  # type: ignore[attr-defined]
            student, beginning(task(1), [unlabelled(task(0))], tmp_path / f"live-{number}")
        )
        for step in range(2):
            assert kept(step).item() == pytest.approx(0, abs=1e-5)
            assert live(step).item() == 0
        with torch.no_grad():
            for one in (learner, student):
                for parameter in one.parameters():
                    parameter.mul_(1.2)
        values = [(kept(step).item(), live(step).item()) for step in range(3)]
        assert all(one > 1e-4 for one, _ in values)
        assert [one for one, _ in values] == pytest.approx([one for _, one in values], rel=1e-3)


def test_a_teacher_is_asked_and_not_changed_and_asked_once_if_kept(
    make_tiny: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = Classifier(make_tiny("llama"), 2, seed=0)
    found = beginning(classes(1), [unlabelled(classes(0))], tmp_path)
    copies: list[Any] = []
    watched = SimpleNamespace(deepcopy=lambda value: copies.append(copy.deepcopy(value)) or copies[-1])
    monkeypatch.setattr(teaching, "copy", watched)
    distil: Any = build("tasks", {"type": "distil", "cache": False})
    term = distil.term(learner, found)
    before = weights_hash(copies[0])
    tune(learner, distil.rows(found), distil.dev(found), TUNING, term=term)
    assert weights_hash(copies[0]) == before != weights_hash(learner)
    kept: Any = build("tasks", "distil")
    kept.term(learner, found)
    written = (tmp_path / "teacher-task-0.safetensors").stat().st_mtime_ns
    kept.term(learner, found)
    assert (tmp_path / "teacher-task-0.safetensors").stat().st_mtime_ns == written


def test_text_of_every_earlier_task_is_read_in_equal_numbers(
    make_tiny: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = Classifier(make_tiny("llama"), 2, seed=0)
    seen: list[tuple[int, ...]] = []
    found = beginning(classes(2), [unlabelled(classes(0)), unlabelled(classes(1))], tmp_path)
    terms = [build("tasks", {"type": "distil", "text": text}).term(learner, found) for text in ("old", "new")]  # type: ignore[attr-defined]
    real = learner.read
    monkeypatch.setattr(learner, "read", lambda rows: seen.append(rows.task_B) or real(rows))
    for term in terms:
        term(0)
    assert seen == [(0,) * 3 + (1,) * 3, (2,) * 6]
    first = beginning(classes(0), [], tmp_path)
    assert build("tasks", "distil").term(learner, first) is None  # type: ignore[attr-defined]


def test_an_answerer_writes_until_an_end(make_tiny: Callable[..., Any]) -> None:
    learner = Answerer(make_tiny("llama"))
    written = learner.write([[20, 30], [40], [50, 30]], 4, [1], [0, 0, 0])
    assert all(len(row) <= 4 and 1 not in row for row in written)
    with torch.no_grad():
        following = int(learner.body(torch.tensor([[20, 30]])).logits[0, -1].argmax())
    assert written[0][:1] == ([] if following == 1 else [following])
