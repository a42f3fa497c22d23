"""Distillation: the student's distribution over the next token stays near a frozen teacher's.

Shapes: B rows, T positions, N targets, V vocabulary.
"""

from __future__ import annotations

import copy
import hashlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor
from transformers import PreTrainedModel

from rewarm.models.load import weights_hash
from rewarm.objectives.head_terms import HeadTerm
from rewarm.retention import Keeper, Retention, Scene, Tensors
from rewarm.retention.teacher import Largest, Teacher, Teaching
from rewarm.retention.teacher_cache import Kind, TeacherCache
from rewarm.stages import REPLAYED
from rewarm.tokens.packing import NO_TARGET
from rewarm.types import Batch


class Distillation(Retention):
    """Adds strength x T^2 KL(teacher || student) at temperature T, per token, on some of the rows.

    Learning without Forgetting (arXiv 1606.09282; `on: new`), and teacher and student over languages (Castellucci et
    al., ACL 2021; `on: replay`, `labels: new`). The loss of a step is the sum of the cross-entropies of its labelled
    tokens and of strength x T^2 KL of its taught tokens, divided by the number of all its targets: with `labels: new`
    tokens of replay have no cross-entropy, and still count in the divisor. Dropout is off in the teacher.

    `top_k` keeps, of each distribution, that many probabilities on disk, for runs that read the same rows again (later
    epochs, other arms of a comparison); the KL is then one of top_k + 1 things. None asks the teacher anew each time.
    `swap` exchanges the teacher's logits of its likeliest token and of the target (Mix-CPT, arXiv 2407.10804).
    """

    several: ClassVar[bool] = True
    whole: ClassVar[bool] = True
    paper: ClassVar[str] = "arXiv 1606.09282; Castellucci et al., ACL 2021; swap: arXiv 2407.10804"
    cost: ClassVar[str] = "one copy of the weights, a forward pass over the taught rows unless they are cached (top_k)"
    copies: ClassVar[float] = 1.0
    of_text: ClassVar[bool] = True
    sweep: ClassVar[Mapping[str, Sequence[Any]]] = {"strength": (0.3, 1.0, 3.0)}
    brisk: ClassVar[Mapping[str, Any]] = {"strength": 3.0}

    strength: Annotated[float, Field(ge=0)] = 1.0
    temperature: Annotated[float, Field(gt=0)] = 2.0
    on: Literal["replay", "new", "all"] = "replay"
    labels: Literal["all", "new"] = "all"
    teacher: Literal["base", "start"] = "base"
    top_k: Annotated[int, Field(ge=1)] | None = None
    swap: bool = False

    @model_validator(mode="after")
    def _every_row_teaches(self) -> Distillation:
        if self.labels == "new" and self.on == "new":
            raise ValueError("with labels: new and on: new, replay would train nothing. Set on to 'replay' or 'all'")
        if self.labels == "new" and self.strength == 0:
            raise ValueError("with labels: new and strength 0, replay would train nothing. Raise strength")
        if self.labels == "new" and self.swap:
            raise ValueError("swap reads the labels of all rows, and labels: new forbids it. Set one of the two")
        return self

    @classmethod
    def off(cls) -> Distillation:
        """No teacher."""
        return cls(strength=0.0)

    def texts(self) -> tuple[str, ...]:
        """Replayed rows, where the options act on them."""
        needs = self.strength and (self.on == "replay" or self.labels == "new")
        return (REPLAYED,) if needs else ()

    def measure(self, scene: Scene) -> Tensors:
        """The digest of the teacher's weights, which names its cache."""
        if self.top_k is None or self.strength == 0:
            return {}
        digest = weights_hash(scene.base() if self.teacher == "base" else scene.model)
        return {"teacher": torch.from_numpy(np.frombuffer(bytes.fromhex(digest), np.uint8).copy())}

    def keeper(self, scene: Scene, measured: Mapping[str, Tensor]) -> Keeper:
        """The term."""
        return Distilling(self, scene, self._teacher(scene), measured)

    def _teacher(self, scene: Scene) -> Teacher:
        start: PreTrainedModel | None = None
        if self.teacher == "start" and self.strength:
            start = copy.deepcopy(scene.model)  # now: it will have moved by the time the teacher is asked
        return Teacher(lambda: scene.base() if start is None else start, self.temperature, self.swap)


class Distilling(Keeper):
    """Asks the teacher of the rows of each micro-batch that are taught."""

    def __init__(self, options: Distillation, scene: Scene, teacher: Teacher, measured: Mapping[str, Tensor]) -> None:
        self.options, self.replayed, self.teacher = options, scene.replayed, teacher
        self._folder, self._vocabulary = scene.cache, int(scene.model.config.get_text_config().vocab_size)
        self._digest = ""
        if "teacher" in measured:
            parts = [measured["teacher"].tolist(), options.temperature, options.swap, str(scene.precision)]
            self._digest = hashlib.sha256(repr(parts).encode()).hexdigest()
        self._cache: TeacherCache | None = None
        # Nats of KL and tokens, then rows read from the cache and rows in all: of this step as far as this process has
        # made it, and of all processes since the last reading.
        self._step, self._sums = torch.zeros(2, 4, dtype=torch.float64, device=scene.model.device)

    def term(self, batch: Batch) -> HeadTerm | None:
        """KL on the taught rows, and no cross-entropy on those without labels. None where all is as without it."""
        options = self.options
        if options.strength == 0:
            return None
        is_old = [source in self.replayed for source in batch.sources_B]
        is_taught = [options.on == "all" or old == (options.on == "replay") for old in is_old]
        is_labelled = [options.labels == "all" or not old for old in is_old]
        if not any(is_taught):
            return None
        chosen = torch.tensor(is_taught)
        taught = Batch(batch.tokens_BT[chosen], batch.targets_BT[chosen], batch.positions_BT[chosen], 0)
        teaching = self._cached(taught) if options.top_k else self.teacher.whole(taught)
        counts = (batch.targets_BT != NO_TARGET).sum(1).tolist()
        spans = _spans(counts, is_taught, is_labelled)
        self._step[1] += sum(count for count, taught in zip(counts, is_taught, strict=True) if taught)
        return KLTerm(spans, teaching, options.strength, options.temperature, self._step)

    def _cached(self, batch: Batch) -> Teaching:
        if self._cache is None:
            assert self.options.top_k is not None
            kept = min(self.options.top_k, self._vocabulary)
            kind = Kind(batch.tokens_BT.shape[1], kept, self._vocabulary, self._digest)
            self._cache = TeacherCache(self._folder, kind, self.teacher)
        before = self._cache.hits
        ids_NK, logs_NK1 = (value.to(self._step.device) for value in self._cache.largest(batch))
        self._step[2] += self._cache.hits - before
        self._step[3] += len(batch.tokens_BT)
        return Largest(ids_NK, logs_NK1, self.options.temperature, self.teacher.buffers)

    def gradients(self, step: int) -> None:
        """Adds up what all processes have asked in a step."""
        self._add_up()

    def _add_up(self) -> None:
        self._sums += self._step if self.together is None else self.together.sum(self._step)
        self._step.zero_()

    def state(self) -> Tensors:
        """The sums that the next reading is made of."""
        return {"sums": self._sums}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from them."""
        self._sums.copy_(state["sums"])

    def readings(self) -> dict[str, float]:
        """`kl`: T^2 KL in nats per taught token, `cached`: the share of rows found on disk; since the last reading."""
        self._add_up()
        nats, tokens, hits, rows = self._sums.tolist()
        self._sums.zero_()
        found = {"kl": nats / tokens} if tokens else {}
        return found | ({"cached": hits / rows} if rows else {})


@dataclass(frozen=True, slots=True)
class Span:
    """Neighbouring rows of one kind: their first target in the batch, and in what the teacher was asked."""

    first: int
    taught_first: int | None
    is_labelled: bool


def _spans(counts: Sequence[int], is_taught: Sequence[bool], is_labelled: Sequence[bool]) -> list[Span]:
    """The spans of a batch whose rows have `counts` targets."""
    found, first, taught_first = [], 0, 0
    for (taught, labelled), rows in groupby(
        zip(is_taught, is_labelled, counts, strict=True), key=lambda row: (row[0], row[1])
    ):
        count = sum(row[2] for row in rows)
        found.append(Span(first, taught_first if taught else None, labelled))
        first += count
        taught_first += count if taught else 0
    return found


@dataclass
class KLTerm:
    """strength x T^2 KL of a micro-batch, summed over its taught targets."""

    spans: Sequence[Span]
    teaching: Teaching
    strength: float
    temperature: float
    sums: Tensor
    _nats: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.edges = [span.first for span in self.spans]
        self._nats = torch.zeros((), dtype=torch.float64, device=self.sums.device)

    def _span(self, first: int) -> Span:
        return self.spans[bisect_right(self.edges, first) - 1]

    def is_labelled(self, first: int) -> bool:
        """Whether the rows of that target have labels."""
        return self._span(first).is_labelled

    def slopes(self, first: int, shifted_NV: Tensor) -> Tensor | None:
        """strength x T (p - q), the gradient of strength x T^2 KL."""
        span = self._span(first)
        if span.taught_first is None:
            return None
        start = first - span.first + span.taught_first
        part = slice(start, start + len(shifted_NV))
        losses_N, slopes_NV = self.teaching.against(part, shifted_NV, self.strength * self.temperature)
        nats = self.temperature**2 * losses_N.sum(dtype=torch.float64)
        self._nats += nats
        self.sums[0] += nats
        return slopes_NV

    @property
    def value(self) -> Tensor:
        """strength x the nats, T^2 included."""
        return self.strength * self._nats
