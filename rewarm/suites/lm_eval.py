"""Tasks of EleutherAI's lm-evaluation-harness by name, item for item, so that changes have intervals."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import BeforeValidator, Field

from rewarm.corpora.sources import Name
from rewarm.methods import nearest
from rewarm.quantities import PositiveCount
from rewarm.suites import Answers, Asked, Measure, Suite, Values
from rewarm.types import UserError

INSTALL = "install it with: pip install 'rewarm[lm-eval]'"
MEAN = "mean"
Tasks = Annotated[
    tuple[Name, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value), Field(min_length=1)
]
_Samples = Mapping[str, list[dict[str, Any]]]


class LmEval(Suite):
    """`tasks` of lm-evaluation-harness by name (`arc_easy`), or of YAML files in `folder`, at most `limit` documents of
    each, the first ones, as that library counts them. It must be installed, and fetches the data of its tasks itself.

    Each metric that it gives per document is a measure, called `task.metric` when there are several tasks. These have
    a `mean` besides, the headline: the mean over tasks of each one's first metric, tasks alike. Metrics that have no
    value per document are told as they are, without an interval. `shots` examples precede a question (None: as the
    task has it); with `chat` the tokenizer's chat template is applied.
    """

    paper: ClassVar[str] = "EleutherAI lm-evaluation-harness"
    asks_causal_models: ClassVar[bool] = True

    tasks: Tasks
    limit: PositiveCount | None = 200
    folder: Name | None = None
    shots: Annotated[int, Field(ge=0)] | None = None
    chat: bool = False
    batch_size: Annotated[int, Field(ge=1)] = 8

    def files(self) -> list[Path]:
        """The files of `folder`; UserError when it is none."""
        if self.folder is None:
            return []
        folder = Path(self.folder).expanduser()
        if not folder.is_dir():
            raise UserError(f"folder '{self.folder}' does not exist: give one with the YAML files of tasks")
        return sorted(file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts)

    def fingerprint(self) -> str:
        """A hash of every option but where the folder lies, of its files, and of the library's version."""
        options = {name: value for name, value in self.described().items() if name not in ("folder", "batch_size")}
        digest = hashlib.sha256(json.dumps([options, _version()], sort_keys=True).encode())
        for file in self.files():
            # Tasks are told apart by what their files say; data beside them may be named relative to the folder.
            digest.update(file.name.encode() + file.read_bytes())
        return digest.hexdigest()

    def check(self, name: str, bad_limit: float) -> None:
        """UserError when the library is not installed, or has no such task."""
        if importlib.util.find_spec("lm_eval") is None:
            raise UserError(f"suites.{name} needs lm-evaluation-harness, which is not installed: {INSTALL}")
        known = set(self._manager().all_tasks)
        for task in self.tasks:
            if task not in known:
                raise UserError(f"suites.{name}: lm-evaluation-harness has no task '{task}'. {nearest(task, known)}")

    def answer(self, asked: Asked) -> Answers:
        """Every metric per document; UserError when the data of a task cannot be had."""
        from lm_eval import simple_evaluate
        from lm_eval.models.huggingface import HFLM

        from rewarm.evaluation.causal_spans import MAX_LENGTH
        from rewarm.evaluation.generation import plainly
        from rewarm.evaluation.spans import positions

        asked.tell(f"ask lm-eval {', '.join(self.tasks)}", 0, None, "")
        with plainly(asked.model):
            wrapped = HFLM(
                pretrained=asked.model, tokenizer=asked.tokenizer.as_transformers(), batch_size=self.batch_size,
                max_length=positions(asked.model, MAX_LENGTH), add_bos_token=bool(asked.tokenizer.prefix),
            )  # fmt: skip
            try:
                found = simple_evaluate(
                    model=wrapped, tasks=list(self.tasks), num_fewshot=self.shots, limit=self.limit,
                    log_samples=True, bootstrap_iters=0, apply_chat_template=self.chat, task_manager=self._manager(),
                    random_seed=asked.seed % 2**32, numpy_random_seed=asked.seed % 2**32,
                    torch_random_seed=asked.seed % 2**32, fewshot_random_seed=asked.seed % 2**32,
                )  # fmt: skip
            except (OSError, ValueError) as error:
                raise UserError(
                    f"lm-evaluation-harness could not ask {', '.join(self.tasks)}: {error}. Its data comes from the "
                    "hub: see that this machine reaches it, or has it in its cache"
                ) from error
        return answers_from(found)

    def _manager(self) -> Any:
        from lm_eval.tasks import TaskManager

        return TaskManager(include_path=None if self.folder is None else str(Path(self.folder).expanduser()))


def answers_from(found: Mapping[str, Any]) -> Answers:
    """The answers in what the library returns."""
    samples: _Samples = {task: _once(held) for task, held in sorted(found["samples"].items())}
    ids = tuple(f"{task} {sample['doc_id']}" for task, held in samples.items() for sample in held)
    columns = dict(_columns(samples))
    measures: dict[str, Measure] = {}
    if len(samples) > 1:
        measures[MEAN] = _mean(samples, columns, len(ids))
    for (task, metric), values_N in columns.items():
        better = "higher" if found["higher_is_better"].get(task, {}).get(metric, True) else "lower"
        held = values_N[~np.isnan(values_N)]
        unit = "share" if ((held >= 0) & (held <= 1)).all() else metric
        name = metric if len(samples) == 1 else f"{task}.{metric}"
        measures[name] = Measure(values_N, better=better, unit=unit)  # type: ignore[arg-type]
    return Answers(ids, measures, extra={"results": _told(found["results"]), "lm-eval": _version()})


def _once(held: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A sample for each document, in order: several filters of a task give one each, of which the first counts."""
    first: dict[Any, dict[str, Any]] = {}
    for sample in held:
        first.setdefault(sample["doc_id"], sample)
    return [first[number] for number in sorted(first)]


def _columns(samples: _Samples) -> Iterator[tuple[tuple[str, str], Values]]:
    """Task and metric with a value for each item of all tasks, NaN for those of others."""
    count, start = sum(map(len, samples.values())), 0
    for task, held in samples.items():
        for metric in held[0].get("metrics", ()) if held else ():
            values = [sample.get(metric) for sample in held]
            if all(isinstance(value, int | float | np.number) for value in values):
                values_N = np.full(count, np.nan)
                values_N[start : start + len(held)] = np.array(values, np.float64)
                yield (task, metric), values_N
        start += len(held)


def _mean(samples: _Samples, columns: Mapping[tuple[str, str], Values], count: int) -> Measure:
    """The mean over tasks of each one's first metric: an item weighs as much as its task divided by its items."""
    values_N, weights_N = np.full(count, np.nan), np.ones(count)
    for task, held in samples.items():
        first = next((values for (owner, _), values in columns.items() if owner == task), None)
        if first is not None:
            own_N = ~np.isnan(first)
            weights_N[own_N] = 1 / len(held)
            values_N[own_N] = first[own_N] / len(held)
    return Measure(values_N, weights_N)


def _told(results: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """The library's own numbers for each task."""
    return {
        task: {name: float(value) for name, value in held.items() if isinstance(value, int | float)}
        for task, held in results.items()
    }


def _version() -> str:
    try:
        return importlib.metadata.version("lm-eval")
    except importlib.metadata.PackageNotFoundError:
        return ""
