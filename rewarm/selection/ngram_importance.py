"""By how much likelier words are in a task's text than in the pool: importance over hashed n-grams, as DSIR has it.

Shapes: D documents, H buckets.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rewarm.selection import Column, Judged, Need, Scene, Selection
from rewarm.types import UserError

_WORD = re.compile(r"\w+|[^\w\s]+")


class NgramImportance(Selection):
    """Keeps documents whose words and pairs of words are likelier in the task's text than in the pool.

    After DSIR (Xie et al., arXiv 2302.03169): lower-cased words and pairs are hashed into `buckets`, and a document's
    importance is the sum over its n-grams of log p_task - log p_pool. `per: ngram`, the default and ours, divides by
    their number: the sum grows with a document's length. No model is needed.
    """

    paper: ClassVar[str] = "arXiv 2302.03169"
    cost: ClassVar[str] = "two more passes over the text, without a model"
    needs: ClassVar[frozenset[Need]] = frozenset({"text", "task"})

    order: Annotated[int, Field(ge=1, le=4)] = 2
    buckets: Annotated[int, Field(ge=2, le=1 << 24)] = 10_000
    per: Literal["ngram", "document"] = "ngram"

    def learn(self, task: Scene | None, pool: Iterable[str]) -> Column:
        """log p_task - log p_pool of each bucket (H,), both smoothed by one n-gram in every bucket."""
        assert task is not None
        logs = []
        for texts in (task.texts, pool):
            counts_H = np.ones(self.buckets)
            for text in texts:
                counts_H += np.bincount(self.hashed(text), minlength=self.buckets)
            logs.append(np.log(counts_H / counts_H.sum()))
            if len(logs) == 1 and counts_H.sum() == self.buckets:
                raise UserError("ngram-importance: the task's text holds no word. Give another task")
        difference_H: Column = logs[0] - logs[1]
        return difference_H

    def measure(self, scene: Scene, learned: Any) -> Column:
        """The importance (D,); NaN for a text without a word."""
        found = np.full(len(scene.texts), np.nan)
        for number, text in enumerate(scene.texts):
            if len(hashed := self.hashed(text)):
                values = learned[hashed]
                found[number] = values.mean() if self.per == "ngram" else values.sum()
        return found

    def judge(self, values: Sequence[Column], draw_D: Column) -> Judged:
        """The importance."""
        return Judged.of(values[0])

    def hashed(self, text: str) -> NDArray[np.int64]:
        """The buckets of all n-grams of a text, up to `order` words each."""
        words = np.array(
            [zlib.crc32(word.encode("utf-8", "replace")) for word in _WORD.findall(text.lower())], np.uint64
        )
        grams, hashed = words, [words]
        for length in range(1, self.order):
            grams = grams[:-1] * np.uint64(0x9E3779B97F4A7C15) + words[length:]
            hashed.append(grams)
        mixed = np.concatenate(hashed)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        return ((mixed ^ (mixed >> np.uint64(27))) % np.uint64(self.buckets)).astype(np.int64)
