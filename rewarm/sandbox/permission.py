"""Whether programs may be run: only the user says so, for one command. No plan and no file can."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rewarm.types import UserError

_allowed: ContextVar[bool] = ContextVar("_allowed", default=False)


@contextmanager
def executing(allowed: bool = True) -> Iterator[None]:
    """Meanwhile programs may be run, if `allowed`; what was allowed outside stays allowed."""
    token = _allowed.set(allowed or _allowed.get())
    try:
        yield
    finally:
        _allowed.reset(token)


def require(what: str) -> None:
    """UserError, naming the flag, when the user has not said that programs may be run; `what` wants to run them."""
    if not _allowed.get():
        raise UserError(
            f"{what} runs programs that a model wrote, and that is off: add --execute to `rewarm run`, `add-stage` or "
            "`evaluate` (in Python: `with rewarm.sandbox.permission.executing():`). See docs/code.md"
        )
