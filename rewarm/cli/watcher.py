"""Progress on stderr, and the stop signal."""

from __future__ import annotations

import os
import signal
import sys
import time
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from rewarm.cli.verb import FAILED, Manner, as_json

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from rewarm.river.train import Hooks

PLAIN_SECONDS = 5.0
AT_ONCE = "quit at once; the newest checkpoint is whole, and the same command goes on from it"


class Watcher:
    """Shows progress on stderr and turns SIGTERM or Ctrl-C into a request to save and stop; a second one quits at once.

    Bars on a terminal, a plain line every few seconds elsewhere, nothing with --quiet or --json.
    """

    def __init__(self, manner: Manner) -> None:
        self.manner = manner
        self.stopping = False
        self._bars: Progress | None = None
        self._label = ""
        self._task: TaskID | None = None
        self._told_at = float("-inf")
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Watcher:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._request)
        if not self.manner.silent and sys.stderr.isatty():
            self._bars = _bars()
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def hooks(self) -> Hooks:
        """The hooks of a run that this watcher shows and may stop."""
        from rewarm.river.train import Hooks

        return Hooks(tell=self.tell, stop=lambda: self.stopping)

    def tell_or_stop(self, label: str, done: float, total: float | None, unit: str) -> None:
        """As `tell`, for work that keeps nothing of what it began; Stopped when it was asked to stop.

        A run's own hooks, which save first, would load torch.
        """
        from rewarm.types import Stopped

        if self.stopping:
            raise Stopped("stopped; nothing was written. The same command starts again")
        self.tell(label, done, total, unit)

    def tell(self, label: str, done: float, total: float | None, unit: str) -> None:
        """Shows how far a piece of work is."""
        if self._bars is not None:
            self._show(self._bars, label, done, total, unit)
        elif not self.manner.silent and time.monotonic() - self._told_at >= PLAIN_SECONDS:
            self._told_at = time.monotonic()
            of = f"/{total:,.0f}" if total is not None else ""
            print(f"{label}: {done:,.0f}{of} {unit}".rstrip(), file=sys.stderr, flush=True)

    def _show(self, bars: Progress, label: str, done: float, total: float | None, unit: str) -> None:
        count = f"{done:,.0f}" if total is None else f"{done:,.0f}/{total:,.0f}"
        if self._task is None or label != self._label:
            if self._task is not None:
                bars.remove_task(self._task)
            self._label, self._task = label, bars.add_task(label, total=total, unit="")
        task = next(task for task in bars.tasks if task.id == self._task)
        # Training says its own rate beside its loss; anything else has the rate of its unit.
        rate = f", {task.speed:,.0f}/s" if task.speed and "/s" not in unit else ""
        bars.update(self._task, completed=done, total=total, unit=f"{count} {unit}{rate}")

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.stopping:
            self._quit()
        self.stopping = True
        if not self.manner.silent:
            print("rewarm: saving and stopping; once more quits at once", file=sys.stderr, flush=True)

    def _quit(self) -> None:
        """Leaves without waiting for any thread: files appear under their names only when whole, so nothing breaks."""
        if self.manner.as_json:
            os.write(1, as_json({"error": AT_ONCE, "exit_code": FAILED}).encode() + b"\n")
        else:
            os.write(2, f"rewarm: {AT_ONCE}\n".encode())
        os._exit(FAILED)


def _bars() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[unit]}", markup=False),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
        transient=True,
    )
