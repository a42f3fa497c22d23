"""EMA: a stage ends with the running average of its weights instead of the last ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor
from transformers import PreTrainedModel

from rewarm.quantities import Share
from rewarm.retention import Keeper, Retention, Scene
from rewarm.retention.shadow import Shadow
from rewarm.retention.spans import Span, steps_of
from rewarm.types import UserError


class Ema(Retention):
    """After every update: average <- decay x average + (1 - decay) x weights; the stage ends with the average.

    Polyak and Juditsky (1992) average all weights alike; this is the exponential form in use since. `horizon` is over
    how many of the last steps it reaches, as steps or as a share of the stage: decay = 1 - 1 / horizon. Averaging
    starts after the share `start` of the stage, from the weights there, so nothing has to be corrected for a start
    from zero: with `start` 0 what is left of the old weights at the end is a weight of decay^steps on them. Training
    itself does not see the average, and what is scored in the middle of a stage are the weights that train; so are
    the optimizer's moments that a next stage may keep.
    """

    several: ClassVar[bool] = True
    paper: ClassVar[str] = "Polyak and Juditsky 1992, doi 10.1137/0330046, in its exponential form"
    cost: ClassVar[str] = "one copy of the weights, one pass over them per step"
    copies: ClassVar[float] = 1.0
    sweep: ClassVar[Mapping[str, Sequence[Any]]] = {"horizon": ("10%", "30%", "99%")}
    brisk: ClassVar[Mapping[str, Any]] = {"horizon": 4, "start": "25%"}

    horizon: Span = 0.1
    start: Annotated[Share, Field(lt=1)] = 0.0

    @classmethod
    def off(cls) -> Ema:
        """A horizon of one step, which is decay 0: the average is the last weights."""
        return cls(horizon=1.0)

    def check(self, model: PreTrainedModel, steps: int) -> None:
        """UserError when the horizon is a share of the stage that makes no more than one step."""
        horizon = steps_of(self.horizon, steps)
        if self.horizon != 1 and horizon <= 1:
            raise UserError(
                f"retention 'ema': a horizon of {self.horizon:.0%} of {steps} steps is {horizon:g} steps, so the "
                "average would be the last weights. Give a horizon of more than one step"
            )

    def keeper(self, scene: Scene, measured: Mapping[str, Tensor]) -> Keeper:
        """The average; nothing for a horizon of one step."""
        self.check(scene.model, scene.steps)
        if self.horizon == 1:
            return Keeper()
        return Average(scene, 1 - 1 / steps_of(self.horizon, scene.steps), round(self.start * scene.steps))


class Average(Shadow):
    """Holds the average of the weights since `first` updates were made."""

    turn: ClassVar[int] = 1

    def __init__(self, scene: Scene, decay: float, first: int) -> None:
        super().__init__(scene.model)
        self.decay, self.first = decay, first

    def update(self, step: int, rate: float) -> None:
        """Takes the weights after an update into the average."""
        if step + 1 >= self.first:
            self.draw_near(1.0 if step + 1 == self.first else 1 - self.decay)

    def finish(self) -> None:
        """The weights become the average."""
        self.restore()
