"""The processes that train one run together: who this one is, what they add up, and how they end together.

torchrun (or `rewarm run --processes`) starts them and says in the environment who each of them is. A process that was
started alone is the first of one, has no process group, and pays for none of this. Numbers travel through NCCL between
GPUs and through gloo between CPUs; words travel as JSON through the store that the processes met at, never pickled.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from rewarm.hashing import seed_of
from rewarm.types import Stopped, UserError

PATIENCE = 20.0
"""Seconds to wait for the others when the run is over."""
REASON_SECONDS = 5.0
"""Seconds to wait for word from the others when the connection to one of them broke: who fails by an error says so
first."""
LOOK = 0.05
"""Seconds between two looks at the store, for a process that waits for an order."""
BUCKET_BYTES = 32 << 20
"""Gradients that are added up in one message."""
_KINDS: dict[str, type[Exception]] = {"wrong": UserError, "stopped": Stopped}


class Ended(RuntimeError):
    """The first process has ended; this one leaves with `code` and without a word."""

    def __init__(self, code: int) -> None:
        super().__init__("the first process has ended")
        self.code = code


@dataclass(slots=True)
class World:
    """The process `rank` of `size`, the `local_rank`-th of `local_size` on its machine.

    `attended` says, in the first process, that the others hold its model and wait to share work with it.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    store: Any = None
    attended: bool = False
    _orders: int = 0
    _exchanges: int = 0
    _is_one_gone: bool = False

    @property
    def is_first(self) -> bool:
        """Whether this process writes files, shows progress and prints."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is no other process."""
        return self.size == 1

    def total(self, value: Tensor) -> Tensor:
        """The sum of `value` over all processes, in place; the same bits on each of them."""
        if not self.is_alone:
            dist.all_reduce(value)
        return value

    def total_of(self, value: float) -> float:
        """The sum of a number over all processes, in double precision."""
        return value if self.is_alone else float(self.total(torch.tensor(value, dtype=torch.float64)))

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return self.total_of(float(flag)) > 0

    def agreed(self, make: Callable[[], str]) -> str:
        """The text that `make` gives in the first process, in every process. It is not asked in the others."""
        if self.is_alone:
            return make()
        text = make().encode() if self.is_first else b""
        size = torch.tensor([len(text)])
        dist.broadcast(size, 0)
        held = (
            torch.tensor(list(text), dtype=torch.uint8) if self.is_first else torch.empty(int(size), dtype=torch.uint8)
        )
        dist.broadcast(held, 0)
        return bytes(held.tolist()).decode()

    def add_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Makes every gradient the sum of all processes'; one that some have and others lack counts as zero there."""
        if self.is_alone:
            return
        has = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.float32)
        reached = [one for one, count in zip(parameters, self.total(has).tolist(), strict=True) if count]
        for parameter in reached:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        for bucket in _buckets([parameter.grad for parameter in reached if parameter.grad is not None]):
            flat = self.total(torch.cat([grad.flatten() for grad in bucket]))
            for grad, part in zip(bucket, flat.split([grad.numel() for grad in bucket]), strict=True):
                grad.copy_(part.view_as(grad))

    def seed(self, seed: int, step: int) -> None:
        """Starts the random numbers of a step, other ones in each process, so that they follow from nothing else."""
        if not self.is_alone:
            torch.manual_seed(seed_of(seed, step, self.rank) % (1 << 63))

    def order(self, **what: Any) -> None:
        """Tells the others what to do next; for the first process. It may be read long after."""
        if not self.is_alone:
            self.store.set(f"order/{self._orders}", json.dumps(what))
            self._orders += 1

    def next_order(self, stop: Callable[[], bool]) -> dict[str, Any]:
        """Waits for the next order; for the others. Ended when none is to come. A stop asked of them is passed on."""
        key = f"order/{self._orders}"
        told = False
        while not self._has(key):
            if self._has("ended"):
                raise Ended(int(self.store.get("ended")))
            if stop() and not told:
                self.store.set("stop", "1")
                told = True
            time.sleep(LOOK)
        self._orders += 1
        found: dict[str, Any] = json.loads(self.store.get(key))
        return found

    def exchange(self) -> str:
        """A name under which to `post`, the same in all processes, which all ask for it at once."""
        self._exchanges += 1
        return f"exchange/{self._exchanges}"

    def post(self, name: str, what: dict[str, Any]) -> None:
        """Lets all processes read something, from any thread. Ended when the first process is gone."""
        try:
            self.store.set(name, json.dumps(what))
        except RuntimeError as error:
            raise Ended(1) from error

    def posted(self, name: str) -> dict[str, Any] | None:
        """What a process has posted; None where it has not yet. Ended when the first process is gone."""
        if not self._has(name):
            return None
        found: dict[str, Any] = json.loads(self.store.get(name))
        return found

    def asked_to_stop(self) -> bool:
        """Whether another process that waits for an order was asked to stop."""
        return not self.is_alone and self._has("stop")

    def failed(self, error: BaseException) -> BaseException:
        """What to raise in place of an error of this process: where another one failed first, the error of that one."""
        if self.is_alone or isinstance(error, Ended):
            return error
        kind = next((name for name, made in _KINDS.items() if isinstance(error, made)), "failed")
        message = str(error) or type(error).__name__
        if not self.is_first:
            if not is_broken(error):  # a broken connection is what another process's error looks like from here
                self.store.compare_set("failed", "", json.dumps({"rank": self.rank, "kind": kind, "message": message}))
            _disconnect()
            return Ended(self._code_of_first())
        if not is_broken(error):
            return error
        for _ in range(int(REASON_SECONDS / LOOK)):
            if self._has("failed"):
                found = json.loads(self.store.get("failed"))
                made = _KINDS.get(found["kind"], RuntimeError)
                return made(f"process {found['rank']} of {self.size}: {found['message']}")
            time.sleep(LOOK)
        self._is_one_gone = True
        return error

    def end(self, code: int) -> None:
        """Ends the others with the exit code of the first process, and waits until they have heard of it."""
        if self.is_alone:
            return
        if self.is_first:
            self.store.set("ended", str(code))
            _disconnect()
            deadline = time.monotonic() + (REASON_SECONDS if self._is_one_gone else PATIENCE)
            while int(self.store.add("gone", 0)) < self.size - 1 and time.monotonic() < deadline:
                time.sleep(LOOK)
        else:
            self.store.add("gone", 1)
            _disconnect()

    def _has(self, key: str) -> bool:
        try:
            return bool(self.store.check([key]))
        except RuntimeError as error:  # the first process is gone, and the store with it
            raise Ended(1) from error

    def _code_of_first(self) -> int:
        for _ in range(int(PATIENCE / LOOK)):
            try:
                if self.store.check(["ended"]):
                    return int(self.store.get("ended"))
            except RuntimeError:
                break
            time.sleep(LOOK)
        return 1


_current = World()


def current() -> World:
    """The processes of this run, as `start` found them; one alone before that."""
    return _current


def start(timeout: timedelta = timedelta(minutes=30)) -> World:
    """Meets the other processes that the environment names, if it names any; `timeout` is for one message.

    UserError when the environment is incomplete.
    """
    global _current
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size <= 1:
        return _current
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise UserError(
            f"WORLD_SIZE is {size}, but {', '.join(missing)} is not set: start the processes with torchrun, or with "
            "rewarm run PLAN --processes N"
        )
    local = int(os.environ.get("LOCAL_RANK", "0"))
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(local)
    store, rank, size = next(iter(rendezvous("env://", timeout=timeout)))
    backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
    own = PrefixStore(_met(PrefixStore("met", store), rank, size, timeout), store)
    dist.init_process_group(backend, store=PrefixStore("group", own), rank=rank, world_size=size, timeout=timeout)
    words = PrefixStore("rewarm", own)
    _current = World(rank, size, local, int(os.environ.get("LOCAL_WORLD_SIZE", str(size))), words)
    return _current


def _met(store: Any, rank: int, size: int, timeout: timedelta) -> str:
    """A name that these processes share with none before: when torchrun starts them again, its store still holds all
    that those before them wrote.

    The first one answers what the others ask under a name that nobody had, until each has said that it heard.
    """
    name, deadline = secrets.token_hex(8), time.monotonic() + timeout.total_seconds()
    if rank:
        store.set(f"asks/{rank}", name)
        store.wait([f"answer/{name}"], timeout)
        found: str = store.get(f"answer/{name}").decode()
        store.set(f"heard/{found}/{rank}", "")
        return found
    for other in range(1, size):
        while not store.check([f"heard/{name}/{other}"]):
            if store.check([f"asks/{other}"]):
                store.set(f"answer/{store.get(f'asks/{other}').decode()}", name)
            if time.monotonic() > deadline:
                raise RuntimeError(f"process {other} of {size} did not come within {timeout}: see what it says itself")
            time.sleep(LOOK)
    return name


def _buckets(grads: list[Tensor]) -> list[list[Tensor]]:
    """The gradients in their order, as many at a time as fit into one message."""
    made: list[list[Tensor]] = []
    room = 0
    for grad in grads:
        if grad.nbytes > room or made[-1][0].dtype != grad.dtype:
            made.append([])
            room = BUCKET_BYTES
        made[-1].append(grad)
        room -= grad.nbytes
    return made


def is_broken(error: BaseException) -> bool:
    """Whether an error only says that another process can no longer be reached."""
    return isinstance(error, dist.DistError) or any(
        word in str(error).lower() for word in ("connection closed", "connection reset", "gloo", "nccl", "broken pipe")
    )


def _disconnect() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
