"""What every verb shares: its common options, progress, and the stop signal."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewarm.quantities import parse_share

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress, TaskID

    from rewarm.river.train import Hooks

PLAIN_SECONDS = 5.0

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and write nothing.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
PlanFile = Annotated[Path, typer.Argument(metavar="PLAN", help="The plan, a YAML file.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")]


def share(value: str) -> float:
    """A share such as `1%` or `0.01` of an option; typer's usage error when it is none."""
    try:
        return parse_share(value)
    except ValueError:
        raise typer.BadParameter(f"{value!r} is no share: give 1% or 0.01") from None


def say(text: RenderableType) -> None:
    """Prints text or a table on stdout."""
    from rich.console import Console

    Console(soft_wrap=isinstance(text, str), highlight=False).print(text, markup=False)


def say_json(value: Any) -> None:
    """Prints one JSON object on stdout."""
    print(json.dumps(value, indent=1, default=str))


class Watcher:
    """Shows progress on stderr and turns SIGTERM or Ctrl-C into a request to save and stop; a second one quits at once.

    Bars on a terminal, a plain line every few seconds elsewhere, nothing when `quiet`.
    """

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.stopping = False
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._told_at = 0.0
        self._told = ""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Watcher:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._request)
        if not self.quiet and sys.stderr.isatty():
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

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.stopping:
            raise KeyboardInterrupt
        self.stopping = True
        if not self.quiet:
            print("rewarm: stopping after this step, saving; again to quit at once", file=sys.stderr)

    def hooks(self) -> Hooks:
        """The hooks of a run that this watcher shows and may stop."""
        from rewarm.river.train import Hooks

        return Hooks(tell=self.tell, stop=lambda: self.stopping)

    def tell(self, label: str, done: float, total: float | None, unit: str) -> None:
        """Shows how far a piece of work is."""
        if self.quiet:
            return
        if self._bars is not None:
            self._show(self._bars, label, done, total, unit)
            return
        finished = total is not None and done >= total
        if label == self._told and not finished and time.monotonic() - self._told_at < PLAIN_SECONDS:
            return
        self._told, self._told_at = label, time.monotonic()
        of = f"/{total:,.0f}" if total is not None else ""
        print(f"{label}: {done:,.0f}{of} {unit}", file=sys.stderr, flush=True)

    def _show(self, bars: Progress, label: str, done: float, total: float | None, unit: str) -> None:
        if label not in self._tasks:
            for task in self._tasks.values():
                bars.remove_task(task)
            self._tasks = {label: bars.add_task(label, total=total, unit=unit)}
        bars.update(self._tasks[label], completed=done, total=total, unit=unit)


def _bars() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
