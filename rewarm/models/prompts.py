"""Learned prompts for a frozen model: vectors put before the input embeddings, in a pool with a key for each prompt.

Learning to Prompt (Wang et al. 2022, arXiv 2112.08654), as CodeTask-CL uses it (Yadav et al. 2023, arXiv 2307.02435).
Shapes: K prompts with their keys, L vectors of a prompt, D width, B rows, C chosen prompts of a row, N new prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rewarm.types import UserError


class PromptPool(nn.Module):
    """Prompts (K, L, D), keys (K, D) and the two tasks that own each of them (K, 2), the same twice for one's own.

    It begins empty and grows. Its state dict says how many prompts it has, and may be loaded into a pool of any size.
    A pool that is not `keyed` has keys that do not train.
    """

    keys_KD: nn.Parameter
    prompts_KLD: nn.Parameter
    owners_K2: Tensor

    def __init__(self, width: int, length: int, keyed: bool = True, device: torch.device | None = None) -> None:
        super().__init__()
        self._keyed = keyed
        self.register_buffer("owners_K2", torch.zeros(0, 2, dtype=torch.long, device=device))
        self._hold(torch.zeros(0, width, device=device), torch.zeros(0, length, width, device=device))

    def __len__(self) -> int:
        """How many prompts there are."""
        return len(self.keys_KD)

    @property
    def length(self) -> int:
        """Vectors of a prompt."""
        return self.prompts_KLD.shape[1]

    def add(self, keys_ND: Tensor, prompts_NLD: Tensor, owners: Sequence[tuple[int, int]]) -> None:
        """Puts prompts behind those that are there, which stay as they are. The parameters are new ones afterwards."""
        device = self.owners_K2.device
        added_N2 = torch.tensor(owners, dtype=torch.long, device=device).reshape(-1, 2)
        self.owners_K2 = torch.cat([self.owners_K2, added_N2])
        self._hold(
            torch.cat([self.keys_KD.detach(), keys_ND.to(device)]),
            torch.cat([self.prompts_KLD.detach(), prompts_NLD.to(device)]),
        )

    def _hold(self, keys_KD: Tensor, prompts_KLD: Tensor) -> None:
        self.keys_KD = nn.Parameter(keys_KD, requires_grad=self._keyed)
        self.prompts_KLD = nn.Parameter(prompts_KLD)

    def share(self, first: int, second: int, count: int) -> None:
        """Makes the last `count` of the prompts that task `first` has to itself those of both tasks; UserError where it
        has fewer."""
        own_N = (self.owners_K2 == first).all(1).nonzero()[:, 0]
        if len(own_N) < count:
            raise UserError(
                f"task {first} has {len(own_N)} prompts of its own left and cannot share {count} with task {second}: "
                "lower shared, or raise keys"
            )
        self.owners_K2[own_N[len(own_N) - count :], 1] = second

    def assigned(self, task: int) -> Tensor:
        """Which prompts are a task's own or shared with another (C,), in the pool's order."""
        return (self.owners_K2 == task).any(1).nonzero()[:, 0]

    def closest(self, query_BD: Tensor, top: int) -> Tensor:
        """Which prompts' keys are most like the queries by cosine (B, C): `top` of them, or as many as there are.

        They come in the pool's order, not by likeness: what a model learns to read in one order it is given in it.
        """
        # Under autocast a product would lose the digits that close keys differ in.
        with torch.autocast(query_BD.device.type, enabled=False):
            likeness_BK = self._unit(query_BD) @ self._unit(self.keys_KD).T
        return likeness_BK.topk(min(top, len(self)), 1).indices.sort(1).values

    def likeness(self, query_BD: Tensor, chosen_BC: Tensor) -> Tensor:
        """The cosines of queries and the keys of the chosen prompts (B, C)."""
        keys_BCD = self._unit(self.keys_KD)[chosen_BC]
        return (keys_BCD * self._unit(query_BD)[:, None]).sum(-1)

    @staticmethod
    def _unit(vectors_ND: Tensor) -> Tensor:
        return nn.functional.normalize(vectors_ND.float(), dim=-1)

    def vectors(self, chosen_BC: Tensor) -> Tensor:
        """The chosen prompts in a row (B, C * L, D)."""
        return self.prompts_KLD[chosen_BC].flatten(1, 2)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        held: dict[str, Tensor] = {
            name: state_dict[prefix + name]
            for name in ("keys_KD", "prompts_KLD", "owners_K2")
            if prefix + name in state_dict
        }
        if len(held) == 3 and len(held["owners_K2"]) != len(self):
            keys_KD, prompts_KLD, owners_K2 = (
                torch.zeros_like(one, device=self.owners_K2.device) for one in held.values()
            )
            self.owners_K2 = owners_K2
            self._hold(keys_KD, prompts_KLD)
        super()._load_from_state_dict(state_dict, prefix, *rest)
