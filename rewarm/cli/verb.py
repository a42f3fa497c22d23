"""What every verb shares: how it was asked to behave, what it gives back, and the options that all of them have.

A verb is a function `(manner, its own options) -> Answer`. It prints nothing itself, so with `--json` every verb gives
one object on stdout, and the laws of the command line hold for a new one without a line of its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import inspect
import io
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

DONE, FAILED, NOT_MET, WRONG = 0, 1, 2, 3
"""Exit codes: done; failed or stopped; gate not met; the plan or the input is wrong."""

PlanFile = Annotated[Path, typer.Argument(metavar="PLAN", help="The plan, a YAML file.", show_default=False)]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.", show_default=False)]


Execute = Annotated[bool, typer.Option("--execute", help="Let suites run programs that a model wrote (docs/code.md).")]
"""Only the one who types the command can say so."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a verb was asked to behave: its answer as JSON, no progress, nothing written."""

    as_json: bool = False
    quiet: bool = False
    dry_run: bool = False

    @property
    def silent(self) -> bool:
        """Whether no progress is to be shown."""
        return self.quiet or self.as_json


@dataclass(frozen=True, slots=True)
class Answer:
    """What a verb gives back: `values` for --json, `parts` (texts and tables) for people, and its exit code.

    A verb that ends with an exit code other than 0 but has something to show says why in `error`.
    """

    values: Mapping[str, Any]
    parts: Sequence[RenderableType] = ()
    exit_code: int = DONE
    error: str | None = None


_OPTIONS: dict[str, tuple[str, str]] = {
    "dry_run": ("--dry-run", "Say what would happen, and write nothing."),
    "as_json": ("--json", "Print one JSON object on stdout and nothing else."),
    "quiet": ("--quiet", "Show no progress."),
    "debug": ("--debug", "Show the traceback of an error."),
}


def verb(
    app: typer.Typer,
    function: Callable[..., Answer],
    writes: bool = False,
    works: bool = False,
    options: type[Any] | None = None,
) -> None:
    """Adds a function to the application under its own name, with the options that every verb has.

    A verb that `writes` has --dry-run, and one that `works` for long has --quiet. The function's own options are its
    parameters after the manner, or the fields of the dataclass `options`, of which it is then given one.
    """
    names = [*(["dry_run"] if writes else []), "as_json", *(["quiet"] if works else []), "debug"]
    made = function if options is None else options
    own = list(inspect.signature(made, eval_str=True).parameters.values())[0 if options else 1 :]
    shared = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=False,
            annotation=Annotated[bool, typer.Option(_OPTIONS[name][0], help=_OPTIONS[name][1], show_default=False)],
        )
        for name in names
    ]

    def command(**given: Any) -> Answer:
        asked = {name: given.pop(name) for name in names}
        asked.pop("debug")  # the traceback is printed where the error is caught
        with contextlib.nullcontext() if works else _uncollected():
            manner = Manner(**asked)
            return function(manner, **given) if options is None else function(manner, options(**given))

    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own] + shared
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__doc__ = function.__doc__
    app.command(function.__name__.replace("_", "-"))(command)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """No search for garbage: while libraries load it finds none, and takes a fifth of the time of a short verb."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def shown(parts: Sequence[RenderableType]) -> str:
    """Texts and tables as stdout can show them. Text is not wrapped, so that paths in it can be copied."""
    from rich.console import Console

    # Not on stdout itself: what it cannot encode would end the verb, and rich decides on its own how to end it.
    page = io.TextIOWrapper(io.BytesIO(), getattr(sys.stdout, "encoding", None) or "utf-8", errors="backslashreplace")
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    console = Console(file=page, force_terminal=on_terminal or None, highlight=False)
    for part in parts:
        console.print(part, markup=False, soft_wrap=isinstance(part, str))
    page.seek(0)
    return page.read().removesuffix("\n")


def table(*heads: str, title: str | None = None) -> Table:
    """An empty table in the one style of the command line."""
    from rich import box
    from rich.table import Table

    return Table(
        *heads, title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_edge=False,
        pad_edge=False,
    )  # fmt: skip


def as_json(values: Mapping[str, Any]) -> str:
    """One JSON object, in ASCII for every terminal; numbers that are not finite become words, since JSON has none."""
    return json.dumps(plain(values), indent=1)


def plain(value: Any) -> Any:
    """The value as JSON can hold it: dataclasses and mappings as objects, paths as text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value if isinstance(value, str | int | float | None) else str(value)
