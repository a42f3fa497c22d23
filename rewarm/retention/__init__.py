"""What holds old knowledge in place while new text is learned. One file each; the class is its options.

A method measures once at the start of a leg (`measure`), makes a `Keeper` whose hooks the loop calls, and leaves behind
what the next stage may build on (`leave`). The loop knows hooks, never a method's name.

Laws (tests/retention/test_retention_laws.py): `off()` changes nothing bit for bit; what a keeper holds survives save
and load, so that a resumed leg is the unbroken one; it acts on more than nothing; tied weights and adapters work.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from rewarm.methods import Method
from rewarm.types import Batch, StreamState

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from rewarm.objectives.head_terms import HeadTerm

Tensors = dict[str, "Tensor"]
Cut = Callable[[str, "Tensor"], "Tensor"]
"""A parameter's name and a tensor as large as it -> this process's part of the tensor."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a method finds at the start of a leg (and, in `leave`, at its end): the model as it is at that moment.

    `rows(text, count)` gives `count` packed rows, a batch of one row each, the same ones whenever it is asked;
    `text` is `old`, `new` or `self` (rewarm/stages.py), or the name of a corpus. `base()` loads the untouched base
    anew, without gradients. `before` is what this method left at the end of the stage this one starts from, if any.
    `replayed` holds the numbers of the sources of a batch (`Batch.sources_B`) that are replay. `cache` is a folder for
    what other runs over the same text and base may use again.
    """

    model: PreTrainedModel
    rows: Callable[[str, int], Iterator[Batch]]
    base: Callable[[], PreTrainedModel]
    cache: Path
    seed: int
    precision: torch.dtype
    steps: int = 0
    replayed: frozenset[int] = frozenset()
    before: Mapping[str, Tensor] = field(default_factory=dict)
    tell: Callable[[str, float, float | None, str], None] = lambda label, done, total, unit: None
    rows_per_step: int = 1


class Together(Protocol):
    """The processes that make each step together, as a method sees them."""

    @property
    def size(self) -> int:
        """How many there are."""

    def sum(self, value: Tensor) -> Tensor:
        """The sum of what each has, in place; asked of all at once."""

    def slopes(self, batches: list[Batch], loss: Callable[[Batch, float], Tensor]) -> dict[str, Tensor]:
        """The gradient of the sum of `loss(batch, 1.0)` over batches that all know and divide among them, by name of
        the parameter (this process's part of it); what has none is left out. Gradients that are there stay."""


class Keeper:
    """What a method does while a leg trains. A hook does nothing unless a method overrides it.

    Before the first step: `moments`. In the order of a step: `term` and then `loss` once per micro-batch, `gradients`
    once all are there and before they are clipped, `before_update`, the optimizer's update at `pace` times the
    schedule's rate, `update`. `finish` comes once, after the last step, and may replace the weights.

    Of several methods each hook is called in the plan's order, but those of a later `turn` come after all others: what
    takes in the weights after an update must see what the others made of it.

    `total` adds up a number of the processes that hold parts of the parameters; it is the number itself for one.
    `together` are the processes of which each makes a share of a step's micro-batches; None for one alone.
    `reached` is the share of the trainable parameters that the method acts on directly; None for one that acts through
    a loss or on the learning rate.
    """

    turn: ClassVar[int] = 0
    total: Callable[[float], float] = staticmethod(float)
    reached: float | None = None
    together: Together | None = None

    def join(self, together: Together) -> None:
        """From now on other processes make the steps together with this one."""
        self.together = together

    def pace(self, step: int) -> float:
        """What Adam's own part of the update is scaled by; weight decay is not."""
        return 1.0

    def moments(self) -> Tensors:
        """The second moments of Adam that the leg begins with, by parameter; asked once, and not of a resumed leg."""
        return {}

    def term(self, batch: Batch) -> HeadTerm | None:
        """A term of a micro-batch's loss that looks at the logits the cross-entropy is made of: no further pass."""
        return None

    def loss(self, batch: Batch, scale: float) -> Tensor | None:
        """A further loss of a micro-batch (`scale` = 1 / targets of the step), a scalar that has a gradient."""
        return None

    def gradients(self, step: int) -> None:
        """Changes the gradients of the whole step in place."""

    def before_update(self, step: int) -> None:
        """Looks at the weights that the update is about to change."""

    def update(self, step: int, rate: float) -> None:
        """Changes the weights after an update at `rate` (before `pace`)."""

    def finish(self) -> None:
        """The end of the stage: what the weights become."""

    def state(self) -> Tensors:
        """Everything that changes from step to step, as live tensors; a checkpoint holds it."""
        return {}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from a saved `state`."""

    def divide(self, own: Mapping[str, nn.Parameter], cut: Cut, total: Callable[[float], float]) -> None:
        """From now on this process trains its part of each parameter alone (`own`); what is held is to be cut alike.

        `total` adds up a number of all processes.
        """
        self.total = total

    def readings(self) -> dict[str, float]:
        """Numbers for the journal, asked for at logged steps only, of all processes at once."""
        return {}


class Retention(Method):
    """Slot: a way to hold old knowledge.

    `paper` is its source, `cost` says in a sentence what it costs, `copies` how many fp32 copies of the weights it
    holds in memory, and `sweep` which options `rewarm compare --tune` tries, with their values. `brisk` are options at
    which it shows within a dozen steps, for the laws. One that is not `in_release` leaves out the branch annealed for a
    stage's release, which it would hold back from annealing. One `of_text` reads the stage's own rows as packed text.
    What one holds `whole` is whole in every process, even where weights are in parts.
    """

    SYNONYMS: ClassVar[dict[str, str]] = {"lambda": "strength", "weight": "strength", "coefficient": "strength"}
    paper: ClassVar[str] = ""
    cost: ClassVar[str] = ""
    copies: ClassVar[float] = 0.0
    sweep: ClassVar[Mapping[str, Sequence[Any]]] = {}
    brisk: ClassVar[Mapping[str, Any]] = {}
    in_release: ClassVar[bool] = True
    of_text: ClassVar[bool] = False
    whole: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def off(cls) -> Retention:
        """The options at which it changes nothing, bit for bit."""

    def control(self) -> Retention | None:
        """The same method with its knowledge destroyed (shuffled importance, random anchor); None if it has none."""
        return None

    def peak(self, peak: float, past: StreamState) -> float:
        """The stage's peak learning rate."""
        return peak

    def check(self, model: PreTrainedModel, steps: int) -> None:
        """UserError when it cannot hold such a model (whose weights may not be there) through so many steps."""

    def select(self, model: PreTrainedModel) -> None:
        """Takes parameters out of training (`requires_grad`), before the optimizer is made."""

    def measure(self, scene: Scene) -> Tensors:
        """What is measured once, at the start of a leg. It is kept on disk for when the leg is resumed."""
        return {}

    @abstractmethod
    def keeper(self, scene: Scene, measured: Mapping[str, Tensor]) -> Keeper:
        """The hooks of one leg."""

    def leave(self, scene: Scene, measured: Mapping[str, Tensor]) -> Tensors:
        """What a next stage with the same method finds in `Scene.before`. `scene.model` is the stage's final one."""
        return {}


SLOT = Retention
