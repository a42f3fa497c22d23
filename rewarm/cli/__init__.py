"""The command line: one file per verb.

A module of this folder that has a function `register(app)` is a verb. Verbs import the heavy libraries inside their
functions, so that `rewarm --help` answers at once. Exit codes: 0 done, 1 failed or stopped, 2 gate not met, 3 the plan
or the input is wrong.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pkgutil
import sys
import traceback
from collections.abc import Sequence
from types import TracebackType
from typing import Annotated, Any

import typer

from rewarm.cli.verb import DONE, FAILED, WRONG, Answer, as_json, shown
from rewarm.types import Stopped, StorageError, UserError

_INTERRUPTED = 130
"""What typer gives back for a Ctrl-C that nobody caught."""
_INTERRUPTION = "interrupted; what was saved is whole, and the same command goes on from it"


def build() -> typer.Typer:
    """The application with every verb of this folder."""
    # Plain help: with colours, `rewarm --help` would load another 40 modules.
    app = typer.Typer(name="rewarm", add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

    @app.callback(invoke_without_command=True)
    def rewarm(
        version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
    ) -> None:
        """Update a language model with new text, keep what it knew, and prove both."""
        if version:
            from rewarm import __version__

            typer.echo(f"rewarm {__version__}")
            raise typer.Exit(DONE)

    for module_info in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        module = importlib.import_module(f"rewarm.cli.{module_info.name}")
        if hasattr(module, "register"):
            module.register(app)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: runs a verb and leaves with its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    sys.excepthook = _defect(given)
    code = call(given)
    # Python would search the libraries for garbage once more before it leaves: half a second after `rewarm check`.
    gc.freeze()
    sys.exit(code)


def call(given: list[str]) -> int:
    """Runs a verb; its exit code. Errors go to stderr as sentences, with --json to stdout as one object."""
    try:
        answer = _answer(given)
    except typer.TyperException as error:
        return _failed(given, _usage(error), WRONG)
    except UserError as error:
        return _failed(given, str(error), WRONG)
    except (Stopped, StorageError, OSError, RuntimeError, MemoryError) as error:
        # A note says what went wrong besides, such as a save that failed while the leg ended by another error.
        notes: list[str] = getattr(error, "__notes__", [])
        return _failed(given, " ".join([str(error) or type(error).__name__, *notes]), FAILED)
    except KeyboardInterrupt:
        return _failed(given, _INTERRUPTION, FAILED)
    if answer == _INTERRUPTED:
        return _failed(given, _INTERRUPTION, FAILED)
    if not isinstance(answer, Answer):
        return DONE
    if "--json" in given:
        refused = {"error": answer.error, "exit_code": answer.exit_code} if answer.error else {}
        return _printed(as_json({**answer.values, **refused}), answer.exit_code)
    code = _printed(shown(answer.parts), answer.exit_code)
    if answer.error:
        print(f"rewarm: {answer.error}", file=sys.stderr)
    return code


def _printed(text: str, code: int) -> int:
    """Writes to stdout; the exit code, which a reader that has left (such as `head`) does not change."""
    try:
        print(text, flush=True)
    except OSError as error:
        # What is still in the buffer would fail once more when Python leaves.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            print(f"rewarm: the answer could not be printed: {error}", file=sys.stderr)
            return FAILED
    return code


def _answer(given: list[str]) -> Any:
    command = typer.main.get_command(build())
    verbs: dict[str, Any] = getattr(command, "commands", {})
    word = next((argument for argument in given if not argument.startswith("-")), None)
    if word is not None and word not in verbs:
        from rewarm.methods import nearest

        raise UserError(f"there is no verb '{word}'. {nearest(word, verbs)}")
    # With --json stdout is for the one object: what a library prints goes to stderr.
    with contextlib.redirect_stdout(sys.stderr) if "--json" in given else contextlib.nullcontext():
        return command.main(given or ["--help"], prog_name="rewarm", standalone_mode=False)


def _usage(error: typer.TyperException) -> str:
    """A usage error of typer as a sentence; for an unknown option with the nearest of the verb's own."""
    context, option = getattr(error, "ctx", None), getattr(error, "option_name", None)
    if context is None or option is None:
        return error.format_message()
    known = [name for parameter in context.command.params for name in parameter.opts if name.startswith("--")]
    if option in known:
        return error.format_message()
    from rewarm.methods import nearest

    return f"{context.command_path} has no option {option}. {nearest(option, known)}"


def _failed(given: list[str], message: str, code: int) -> int:
    if "--debug" in given:
        traceback.print_exc()
    if "--json" in given:
        return _printed(as_json({"error": message, "exit_code": code}), code)
    print(f"rewarm: {message}", file=sys.stderr)
    return code


def _defect(given: list[str]) -> Any:
    """What is left of an error that nobody foresaw: a sentence instead of a traceback. Python leaves with code 1."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if "--debug" in given:
            traceback.print_exception(kind, error, trace)
        where = "".join(f" {note}" for note in getattr(error, "__notes__", ()))
        message = (
            f"unexpected {kind.__name__}: {error}. This is a defect; please report it with what --debug prints.{where}"
        )
        _failed([word for word in given if word != "--debug"], message, FAILED)

    return hook
