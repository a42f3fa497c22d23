"""By several scores at once: the mean of their ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import BeforeValidator, Field, SerializeAsAny

from rewarm.methods import Method, build
from rewarm.selection import Column, Judged, Need, Selection, quantiles


def _built(value: Any) -> Any:
    items = value if isinstance(value, list | tuple) else [value]
    found = tuple(build("selection", item, "") for item in items)
    if any(isinstance(method, Combined) for method in found):
        raise ValueError("combined cannot hold combined: name its methods")
    return found


class Combined(Selection):
    """The mean of the ranks (from 0 to 1) that several methods give a document.

    arXiv 2311.08545 combines similarity, perplexity and entropy, the default here; that ranks are averaged is ours
    (scores have other units and heavy tails). What a method sets aside, such as perplexity outside its guard band, has
    the rank 0 there and is not set aside as a whole.
    """

    paper: ClassVar[str] = "arXiv 2311.08545"
    cost: ClassVar[str] = "that of its methods; a forward pass serves all of them"

    of: Annotated[tuple[SerializeAsAny[Method], ...], BeforeValidator(_built), Field(min_length=1)] = Field(
        default=("similarity", "perplexity", "entropy"), validate_default=True
    )

    def described(self) -> dict[str, Any]:
        """With every option of the methods it holds."""
        return {"type": self.method_name(), "of": [method.described() for method in self.of]}

    def _methods(self) -> list[Selection]:
        return [method for method in self.of if isinstance(method, Selection)]

    def parts(self) -> tuple[Selection, ...]:
        """Those of its methods."""
        return tuple(part for method in self._methods() for part in method.parts())

    def reads(self) -> frozenset[Need]:
        """All that its methods read."""
        return frozenset[Need]().union(*(method.reads() for method in self._methods()))

    def fields(self) -> tuple[str, ...]:
        """All that its methods read."""
        return tuple(dict.fromkeys(name for method in self._methods() for name in method.fields()))

    def note(self) -> str | None:
        """What its methods say."""
        return "; ".join(said for method in self._methods() if (said := method.note())) or None

    def judge(self, values: Sequence[Column], draw_D: Column) -> Judged:
        """The mean of ranks; a document that no method can score is set aside."""
        left = list(values)
        ranks, unscored = [], []
        for method in self._methods():
            own, left = left[: len(method.parts())], left[len(method.parts()) :]
            judged = method.judge(own, draw_D)
            ranks.append(quantiles(judged.score_D, judged.aside_D))
            unscored.append(np.isnan(judged.score_D))
        mean_D: Column = np.mean(ranks, axis=0)
        return Judged.of(np.where(np.all(unscored, axis=0), np.nan, mean_D))
