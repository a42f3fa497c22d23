"""What a teacher says of unlabelled text, kept on disk or asked anew, and a student's distance from it.

Shapes: R rows, N targets, K the likeliest classes or tokens, C all of them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rewarm.evaluation.answering import Answerer, Answers
from rewarm.evaluation.learners import Learner, Padded, Rows, passes
from rewarm.evaluation.tuning import Term, batches
from rewarm.hashing import seed_of
from rewarm.storage import read_json, write_json
from rewarm.tasks import Arrived, Beginning
from rewarm.tasks.rows import Joined

if TYPE_CHECKING:
    from rewarm.tasks.distil import Distil

TOKENS_KEPT = 64
"""Of a vocabulary; of classes all are kept."""


@dataclass(frozen=True, slots=True)
class Taught:
    """Of each target the likeliest classes, the best first, and their log-probabilities at the temperature."""

    logs_NK: Tensor
    best_NK: Tensor

    @classmethod
    def of(cls, logits_NC: Tensor, temperature: float, kept: int) -> Taught:
        """The `kept` likeliest."""
        logs_NC = (logits_NC.float() / temperature).log_softmax(-1)
        return cls(*logs_NC.topk(min(kept, logs_NC.shape[1]), dim=-1))

    def distance(self, logits_NC: Tensor, temperature: float, hard: bool) -> Tensor:
        """T^2 KL(teacher || student), a mean over the targets, in which all that was not kept counts as one class; or
        the cross-entropy of the teacher's best class."""
        if hard:
            return nn.functional.cross_entropy(logits_NC.float(), self.best_NK[:, 0])
        mine_NC = (logits_NC.float() / temperature).log_softmax(-1)
        mine_NK = mine_NC.gather(1, self.best_NK)
        terms_N = (self.logs_NK.exp() * (self.logs_NK - mine_NK)).sum(1)
        if mine_NC.shape[1] > self.best_NK.shape[1]:
            terms_N = terms_N + _rest(self.logs_NK, mine_NK)
        return temperature**2 * terms_N.mean()


def _rest(logs_NK: Tensor, mine_NK: Tensor) -> Tensor:
    """What the classes that were not kept add to the divergence, taken as one (N,)."""
    tiny = torch.finfo(torch.float32).tiny
    rest_N = (1 - logs_NK.exp().sum(1)).clamp_min(0)
    mine_N = (1 - mine_NK.exp().sum(1)).clamp_min(tiny)
    return torch.where(rest_N > 0, rest_N * (rest_N.clamp_min(tiny).log() - mine_N.log()), torch.zeros_like(rest_N))


def teacher_term(way: Distil, learner: Learner, beginning: Beginning) -> Term:
    """The term of a way's loss: `learner` is the teacher now, and the student from the first step on."""
    sources = [(task, _texts(learner, task, beginning)) for task in way.sources(beginning)]
    sources = [(task, rows) for task, rows in sources if rows.lengths]
    kept = TOKENS_KEPT if isinstance(learner, Answerer) else 1 << 30
    each = max(1, (way.rows_a_step or beginning.tuning.batch_size) // max(1, len(sources)))
    draws = _draws([rows for _, rows in sources], each, beginning.seed)
    joined = Joined([(task.number, rows) for task, rows in sources])
    if way.cache:
        said = [_kept(learner, task.name, rows, way.temperature, kept, beginning) for task, rows in sources]
        store = _Store(said)
    else:
        teacher = copy.deepcopy(learner).eval().requires_grad_(False)

    def term(step: int) -> Tensor:
        chosen = next(draws)
        padded = joined.padded(chosen, learner.pad)
        taught = store.at(chosen, learner.body.device) if way.cache else _asked(teacher, padded, way.temperature, kept)
        return way.weight * taught.distance(learner.read(padded).logits_NC, way.temperature, way.hard)

    return term


def _asked(teacher: Learner, padded: Padded, temperature: float, kept: int) -> Taught:
    with torch.no_grad():
        return Taught.of(teacher.read(padded).logits_NC, temperature, kept)


def _draws(sources: Sequence[Rows], each: int, seed: int) -> Iterator[list[int]]:
    """The rows of each step: `each` of every source, in epochs of its own; a source of fewer rows gives all it has."""
    firsts = np.cumsum([0, *(len(rows.lengths) for rows in sources)]).tolist()
    streams = [
        batches(len(rows.lengths), each, 1 << 40, seed_of(seed, "text", place)) for place, rows in enumerate(sources)
    ]
    for _ in count():
        yield [first + row for first, stream in zip(firsts, streams, strict=False) for row in next(stream)]


def _texts(learner: Learner, task: Arrived, beginning: Beginning) -> Rows:
    """The text of a task; of answers, prompts with what the teacher writes to them."""
    if not isinstance(learner, Answerer) or not isinstance(task.text, Answers):
        return task.text
    file = beginning.kept / f"written-{task.name}.json"
    written = read_json(file)
    prompts = [list(row) for row in task.text.tokens]
    if written is None:
        beginning.tell(f"teacher writes to {task.name}", 0, None, "")
        written = learner.write(prompts, beginning.new_tokens, beginning.ends, [task.number] * len(prompts))
        write_json(file, written)
    rows = [prompt + answer + [beginning.ends[0]] for prompt, answer in zip(prompts, written, strict=True)]
    asked = [[place >= len(prompt) for place in range(len(row))] for prompt, row in zip(prompts, rows, strict=True)]
    return Answers(rows, asked)


class _Store:
    """What a teacher said of the rows of several sources, in one."""

    def __init__(self, said: Sequence[dict[str, Tensor]]) -> None:
        self._logs_NK = torch.cat([one["logs"] for one in said])
        self._best_NK = torch.cat([one["best"] for one in said])
        counts_R = torch.cat([one["targets"] for one in said]).tolist()
        self._starts = np.cumsum([0, *counts_R])

    def at(self, chosen: Sequence[int], device: torch.device) -> Taught:
        """What it said of some rows, in their order."""
        spans = [np.arange(self._starts[row], self._starts[row + 1]) for row in chosen]
        at_N = torch.from_numpy(np.concatenate(spans))
        return Taught(self._logs_NK[at_N].to(device), self._best_NK[at_N].long().to(device))


def _kept(
    learner: Learner, name: str, rows: Rows, temperature: float, kept: int, beginning: Beginning
) -> dict[str, Tensor]:
    """What the learner says of every row, targets in the order of rows and places; asked once, then read from disk."""
    file = beginning.kept / f"teacher-{name}.safetensors"
    if not file.is_file():
        found: list[Taught | None] = [None] * len(rows.lengths)
        done = 0
        for chosen, _, passed in passes(learner, rows, beginning.tuning.precision):
            taught = Taught.of(passed.logits_NC.cpu(), temperature, kept)
            row_N = passed.row_N.cpu()
            for place, number in enumerate(chosen.tolist()):
                found[number] = Taught(taught.logs_NK[row_N == place], taught.best_NK[row_N == place])
            done += len(chosen)
            beginning.tell(f"teacher reads {name}", done, len(found), "rows")
        _save([one for one in found if one is not None], file)
    return load_file(file)


def _save(found: Sequence[Taught], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.partial")
    save_file(
        {
            "logs": torch.cat([one.logs_NK for one in found]).contiguous(),
            "best": torch.cat([one.best_NK for one in found]).int().contiguous(),
            "targets": torch.tensor([len(one.logs_NK) for one in found]),
        },
        partial,
    )
    partial.replace(file)
