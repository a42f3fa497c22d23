"""Linear warmup, shared by the schedules that have one. A part of this folder, no schedule of its own."""

from typing import Annotated, ClassVar

from pydantic import Field

from rewarm.quantities import Share
from rewarm.schedules import Schedule


class Warmed(Schedule):
    """Base of the schedules with a linear warmup of W updates.

    `warmup` is W as a share of the stage's steps T, rounded to whole updates; `warmup_steps`, when given, is
    W itself and overrides the share.
    """

    SYNONYMS: ClassVar[dict[str, str]] = {
        "warmup_ratio": "warmup",
        "num_warmup_steps": "warmup_steps",
        "min_lr_rate": "floor",
        "min_lr_ratio": "floor",
        "decay_type": "shape",
    }

    warmup: Share = 0.01
    warmup_steps: Annotated[int, Field(ge=0)] | None = None

    def warmup_updates(self, steps: int, room: int) -> int:
        """W for a stage of `steps` steps, cut to the `room` there is, so that a short stage still trains."""
        wanted = round(self.warmup * steps) if self.warmup_steps is None else self.warmup_steps
        return min(wanted, room)

    def check_room(self, other: str, share: float) -> None:
        """ValueError when the warmup and the phase called `other` take more than the whole stage together."""
        if self.warmup_steps is None and self.warmup + share > 1.0 + 1e-9:
            raise ValueError(
                f"warmup {self.warmup:g} and {other} {share:g} are shares of a stage and exceed 1 together. "
                "Lower one of them"
            )
