"""Weights, gradients and moments in parts, one for each process (FSDP2: `torch.distributed.fsdp.fully_shard`).

A decoder layer is put together when a pass comes to it and taken apart after it; the embedding, the last norm and the
head stay together from the forward to the end of the backward pass. Each parameter is cut along its first dimension
into parts of ceil(rows / processes) rows, of which the last may be shorter or empty. The optimizer and retention
methods see this process's parts as plain tensors: what they do is done to each value for itself.

Rajbhandari et al., arXiv 1910.02054 (stage 3); Zhao et al., arXiv 2304.11277.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from rewarm.models.decoder import decoder_layers
from rewarm.training import checkpoint
from rewarm.training.guard import Guard
from rewarm.training.keepers import Keepers
from rewarm.training.optimizer import Optimizer
from rewarm.training.part_saving import PartSaver
from rewarm.training.replicas import Replicas
from rewarm.training.saving import Saver
from rewarm.training.world import World
from rewarm.types import Batch, UserError

_MARKS = {"weights": "", "optimizer": ".", "retention": "/"}
"""What stands before a parameter's name in the files of a checkpoint ends so."""


class Shards(Replicas):
    """Takes a whole model apart, in place. `own` are this process's parts of the parameters that train, by name."""

    def __init__(self, model: PreTrainedModel, world: World) -> None:
        super().__init__(model, world)
        self.shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
        mesh = init_device_mesh(model.device.type, (world.size,))
        _, layers = decoder_layers(model)
        for layer in layers:
            fully_shard(layer, mesh=mesh, reshard_after_forward=True)
        # The head is used outside of any forward pass, so what it belongs to stays together until the backward pass.
        fully_shard(model, mesh=mesh, reshard_after_forward=False)
        # The root is the first.
        self.parts = [module for module in model.modules() if isinstance(module, FSDPModule)]
        for part in self.parts:
            # The loss is divided by the targets of all processes: its gradients are to be added, not averaged.
            part.set_gradient_divide_factor(1.0)
            part.set_force_sum_reduction_for_comms(True)  # gloo knows no other
        # By default a process prefetches what it computed before, and looks at a model that not all look at count, too:
        # then one waits for a layer that others never send. The first layer's is the root, which is there already.
        made: list[Any] = list(layers)
        for part, before in zip([*made, model], [model, *made], strict=True):
            part.set_modules_to_backward_prefetch([before])
        # Passes that begin below the head go through the root's hooks, too.
        root: Any = model
        root.read_body = MethodType(_read_body, model)
        register_fsdp_forward_method(model, "read_body")
        self._sharded = dict(model.named_parameters())
        self.own = {
            name: nn.Parameter(_local(parameter.detach()))
            for name, parameter in self._sharded.items()
            if parameter.requires_grad
        }

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """This process's parts, for an optimizer."""
        return iter(self.own.items())

    def trained(self) -> dict[str, nn.Parameter]:
        """This process's parts."""
        return self.own

    def cut(self, name: str, whole: Tensor) -> Tensor:
        """This process's part of a tensor as large as the parameter `name`, on the model's device."""
        first, last = self._range(name)
        return whole[first:last].to(self.model.device).clone()

    def passes(self, batches: list[Batch]) -> Iterator[tuple[Batch, bool]]:
        """As many passes as the process with most micro-batches makes: layers are put together by all at once.

        Gradients are sent on the last one alone. What only keeps others company has no gradient.
        """
        own = batches[self.world.rank :: self.world.size]
        most = -(-len(batches) // self.world.size)
        for number in range(most):
            is_last = number + 1 == most
            self.parts[0].set_requires_gradient_sync(is_last)
            self.parts[0].set_is_last_backward(is_last)
            yield (own[number], True) if number < len(own) else (batches[0], False)
        # FSDP has added them up.
        for name, part in self.own.items():
            grad = self._sharded[name].grad
            part.grad = None if grad is None else _local(grad)
            self._sharded[name].grad = None

    @torch.no_grad()
    def clip(self, optimizer: Optimizer) -> Tensor:
        """Clips by the norm over all parts of all processes."""
        grads = [part.grad for part in self.own.values() if part.grad is not None]
        norms = torch._foreach_norm(grads) if grads else [torch.zeros((), device=self.model.device)]
        norm = self.world.total(torch.stack(norms).double().square().sum()).sqrt()
        if grads:
            factor = (optimizer.options.max_grad_norm / (norm + 1e-6)).clamp(max=1.0)
            torch._foreach_mul_(grads, factor.float())
        return norm.float()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Puts all layers together in every process, which takes the memory of the whole weights."""
        for part in self.parts:
            part.set_reshard_after_forward(False, recurse=False)
            part.unshard()
        try:
            yield
        finally:
            for part in self.parts:
                part.set_reshard_after_forward(part is not self.parts[0], recurse=False)
                part.reshard()

    def weights(self) -> dict[str, Tensor]:
        """The parameters that train, whole and on the CPU, in every process."""
        with self.whole():
            return {
                name: parameter.detach().cpu().clone()
                for name, parameter in self.model.named_parameters()
                if parameter.requires_grad
            }

    def saver(self, *given: Any) -> Saver:
        """What saves this process's part."""
        return PartSaver(self.world, self.first_row, *given)

    def state(self, optimizer: Optimizer, keepers: Keepers, guard: Guard) -> checkpoint.State:
        """What this process holds of a checkpoint: its parts, and what all hold alike."""
        found = {
            "weights": {name: part.detach() for name, part in self.own.items()},
            "optimizer": optimizer.state(),
            "random": checkpoint.random_state(),
        }
        more = {"retention": keepers.state(), "guard": guard.state()}
        return found | {kind: held for kind, held in more.items() if held}

    def restore(self, folder: Path, optimizer: Optimizer, keepers: Keepers, guard: Guard) -> tuple[int, list[float]]:
        """Reads this process's parts of a checkpoint, and nothing of the others'."""
        weights = self._read(folder, "weights")
        if weights.keys() != self.own.keys():
            raise UserError(f"'{folder}' holds another model: {sorted(weights.keys() ^ self.own.keys())[:4]} differ")
        with torch.no_grad():
            for name, part in self.own.items():
                part.copy_(weights[name])
        optimizer.load(self._read(folder, "optimizer"))
        keepers.load(self._read(folder, "retention"))
        guard.load(checkpoint.guard_of(folder))
        return checkpoint.step_of(folder), checkpoint.pending(folder)

    def _read(self, folder: Path, kind: str) -> dict[str, Tensor]:
        def wanted(key: str, shape: tuple[int, ...]) -> tuple[int, int] | None:
            name = _parameter(kind, key)
            return self._range(name) if shape == self.shapes.get(name) else None

        found = checkpoint.tensors(folder, kind, wanted)
        return {key: value.to(self.model.device) if value.ndim else value for key, value in found.items()}

    def first_row(self, kind: str, key: str, value: Tensor) -> int | None:
        """With which row of a parameter begins what is held for it; None for anything else."""
        name = _parameter(kind, key)
        is_part = kind in _MARKS and name in self.own and value.ndim > 0 and value.shape == self.own[name].shape
        return self._range(name)[0] if is_part else None

    def _range(self, name: str) -> tuple[int, int]:
        rows = self.shapes[name][0]
        size = -(-rows // self.world.size)
        return min(rows, self.world.rank * size), min(rows, (self.world.rank + 1) * size)

    def inherited(self, optimizer: Optimizer) -> dict[str, Tensor]:
        """This process's parts of the state of an optimizer of the whole model."""
        state = {}
        for key, value in optimizer.state().items():
            name = _parameter("optimizer", key)
            state[key] = self.cut(name, value) if value.shape == self.shapes[name] else value
        return state


def divide(keepers: Keepers, shards: Shards) -> None:
    """Lets retention methods that were made with the whole model go on with this process's parts."""
    for keeper in keepers.held.values():
        keeper.divide(shards.own, shards.cut, shards.world.total_of)


def _parameter(kind: str, key: str) -> str:
    """The parameter that a name in a checkpoint is about."""
    mark = _MARKS.get(kind)
    return key.split(mark, 1)[-1] if mark else key


def _local(tensor: Tensor) -> Tensor:
    assert isinstance(tensor, DTensor)  # FSDP has made it one
    return tensor.to_local()


def _read_body(model: Any, **inputs: Any) -> Any:
    return model.base_model(**inputs)
