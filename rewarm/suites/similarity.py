"""How alike the layers of a model and of the untouched base are, by CKA on the texts of a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rewarm.corpora.sources import Name
from rewarm.quantities import PositiveCount
from rewarm.suites import Ability, Answers, Asked, Measure
from rewarm.suites.rows import FileSuite, text_of
from rewarm.types import UserError, counted


class Similarity(FileSuite[str]):
    """Linear CKA of every layer with the same layer of the untouched base: 1 where nothing but a rotation happened.

    Texts of the field `text`, cut after `max_length` tokens (None: the plan's `seq_len`), are read in batches of
    `batch`; an item is a batch, so that an interval is over batches. The measure is the mean over the embeddings and
    all layers; `extra` holds each layer's value and bounds. Without old text to look at, features of text that is only
    new may move a lot and harm nobody: give the file text of what must be kept.
    """

    paper: ClassVar[str] = "Nguyen et al. 2021 (arXiv 2010.15327); Cossu et al. 2022 (arXiv 2205.09357)"

    ability: Ability = "general"
    text: Name = "text"
    batch: Annotated[PositiveCount, Field(ge=4)] = 64
    max_length: PositiveCount | None = None

    def item(self, row: Mapping[str, Any]) -> str:
        """The text of a row; BadRow without one."""
        return text_of(row, self.text)

    def check(self, name: str, bad_limit: float) -> None:
        """UserError when more than `bad_limit` of the rows are bad, or the texts do not fill a batch."""
        super().check(name, bad_limit)
        texts = len(self.choose(0).items)
        if texts < self.batch:
            raise UserError(
                f"suites.{name}: {texts} texts do not fill a batch of {self.batch}: lower batch, or add text"
            )

    def cost(self, bytes_per_token: float) -> float:
        """Each text is read twice: by the model and by the base."""
        return 2 * sum(len(text.encode()) for text in self.choose(0).items) / bytes_per_token

    def answer(self, asked: Asked) -> Answers:
        """`cka` of every whole batch, the mean over layers; NaN where a layer's states do not vary."""
        from rewarm.evaluation.cka import similarity
        from rewarm.evaluation.spans import positions

        chosen = self.choose(asked.seed)
        base = asked.base()
        length = min(
            positions(model, min(asked.seq_len, self.max_length or asked.seq_len)) for model in (asked.model, base)
        )
        starts = range(0, len(chosen.items) - self.batch + 1, self.batch)
        rows = [
            [ids_T[:length] for ids_T in asked.tokenizer.encode(chosen.items[start : start + self.batch])]
            for start in starts
        ]
        done = counted(asked.tell, "compare layers with the base", len(starts) * self.batch, "texts")
        found = similarity(base, asked.model, rows, asked.precision, done)
        low_L, high_L = found.interval(seed=asked.seed)
        left = len(chosen.items) - len(starts) * self.batch
        return Answers(
            ids=tuple(f"texts {start + 1}-{start + self.batch}" for start in starts),
            measures={"cka": Measure(found.by_batch_NL.mean(axis=1), unit="CKA")},
            left_out={**chosen.tally.left_out, **({"over the last whole batch": left} if left else {})},
            bad_rows=dict(chosen.tally.counts),
            extra={
                "layers": list(found.names),
                "cka": _numbers(found.cka_L),
                "low": _numbers(low_L),
                "high": _numbers(high_L),
            },
        )


def _numbers(values_L: NDArray[np.float64]) -> list[float | None]:
    """JSON has no word for what is no finite number."""
    return [value if np.isfinite(value) else None for value in values_L.tolist()]
