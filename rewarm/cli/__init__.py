"""The command line: one file per verb.

A module of this folder that has a function `register(app)` is a verb. Verbs import the heavy libraries inside their
functions, so that `rewarm --help` answers at once. Exit codes: 0 done, 1 failed or stopped, 2 gate not met, 3 the plan or
the input is wrong.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
import traceback

import typer

DONE, FAILED, NOT_MET, WRONG = 0, 1, 2, 3


def build() -> typer.Typer:
    """The application with every verb of this folder."""
    app = typer.Typer(
        name="rewarm",
        help="Update a language model with new text, keep what it knew, and prove both.",
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    for module_info in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        module = importlib.import_module(f"rewarm.cli.{module_info.name}")
        if hasattr(module, "register"):
            module.register(app)
    return app


def main(arguments: list[str] | None = None) -> None:
    """Entry point: runs a verb and leaves with its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    sys.exit(run(given))


def run(given: list[str]) -> int:
    """Runs a verb; its exit code. Errors go to stderr as sentences, and to stdout as JSON with --json."""
    from rewarm.types import Stopped, StorageError, UserError

    try:
        code = typer.main.get_command(build()).main(given, prog_name="rewarm", standalone_mode=False)
    except typer.exceptions.TyperException as error:
        return _failed(given, getattr(error, "format_message", error.__str__)(), WRONG)
    except UserError as error:
        return _failed(given, str(error), WRONG)
    except (Stopped, StorageError, OSError, RuntimeError, MemoryError) as error:
        return _failed(given, str(error) or type(error).__name__, FAILED)
    except (KeyboardInterrupt, typer.Abort):
        return _failed(given, "stopped at once; the last save is whole, and the same command goes on from it", FAILED)
    return code if isinstance(code, int) else DONE


def _failed(given: list[str], message: str, code: int) -> int:
    if "--debug" in given:
        traceback.print_exc()
    if "--json" in given:
        print(json.dumps({"error": message, "exit_code": code}))
    else:
        print(f"rewarm: {message}", file=sys.stderr)
    return code
