"""Whether programs may be run: only the user says so, for one command. No plan and no file can."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rewarm.types import UserError

_allowed: ContextVar[bool] = ContextVar("_allowed", default=False)


@contextmanager
def executing(said: bool = True) -> Iterator[None]:
    """Meanwhile programs may be run, if the user `said` so; what was allowed outside stays allowed."""
    token = _allowed.set(said or allowed())
    try:
        yield
    finally:
        _allowed.reset(token)


def allowed() -> bool:
    """Whether the user has said that programs may be run."""
    return _allowed.get()


def require(what: str) -> None:
    """UserError, naming the flag, when the user has not said that programs may be run; `what` wants to run them."""
    if not allowed():
        raise UserError(
            f"{what} runs programs that a model wrote, and that is off: add --execute to `rewarm run`, `add-stage`, "
            "`evaluate` or `compare` (in Python: `with rewarm.sandbox.permission.executing():`). See docs/code.md"
        )
