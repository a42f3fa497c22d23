"""Several processes in one test: forked, so that they need not load the libraries again."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

Together = Callable[..., list[Any]]


def _port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _one(job: Callable[..., Any], rank: int, size: int, port: int, given: tuple[Any, ...], sent: Any) -> None:
    from rewarm.training import world

    here = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in here.items()}, MASTER_ADDR="127.0.0.1")
    met, code = world.start(), 0
    try:
        found: Any = job(*given)
    except Exception as error:
        found, code = met.failed(error), 1
    sent.send(found)
    met.end(code)
    os._exit(code)


def _heard(pipe: Any, process: Any) -> Any:
    """What a process sends; None where it dies first, or is silent for four minutes."""
    for _ in range(2400):
        if pipe.poll(0.1) or not process.is_alive():
            break
    return pipe.recv() if pipe.poll(0) else None


@pytest.fixture
def together() -> Together:
    """A function: processes, job, *given -> what the job gives back, or the error it ends with, in each process."""

    def run(size: int, job: Callable[..., Any], *given: Any) -> list[Any]:
        context, port = multiprocessing.get_context("fork"), _port()
        pipes = [context.Pipe(duplex=False) for _ in range(size)]
        started = [
            context.Process(target=_one, args=(job, rank, size, port, given, sent))
            for rank, (_, sent) in enumerate(pipes)
        ]
        for process in started:
            process.start()
        found = [_heard(heard, process) for (heard, _), process in zip(pipes, started, strict=True)]
        for process in started:
            process.join(30)
            process.kill()
        return found

    return run
