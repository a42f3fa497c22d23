"""`rewarm methods`: every method there is, with its options and source."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Annotated, Any

import typer

from rewarm.cli.console import AsJson, Debug, say, say_json


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(methods)


def methods(
    folder: Annotated[str | None, typer.Argument(metavar="[FOLDER]", help="Such as schedules.")] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List the methods of every slot: name, what it is, options with defaults, paper."""
    from rewarm.methods import known, nearest
    from rewarm.types import UserError

    folders = slots()
    if folder is not None and folder not in folders:
        raise UserError(f"no slot is called '{folder}'. {nearest(folder, folders)}")
    found = {
        slot: {name: _describe(method) for name, method in known(slot).items()}
        for slot in ([folder] if folder else folders)
    }
    if as_json:
        say_json(found)
        return
    for slot, entries in found.items():
        say(f"{slot}")
        for name, entry in entries.items():
            options = ", ".join(f"{key}={value}" for key, value in entry["options"].items())
            say(f"  {name:<16} {entry['summary']}")
            if options:
                say(f"  {'':<16}   {options}")
            if entry["paper"]:
                say(f"  {'':<16}   {entry['paper']}")


def slots() -> list[str]:
    """The folders of the package that declare a slot."""
    import rewarm

    names = [module.name for module in pkgutil.iter_modules(rewarm.__path__) if module.ispkg and module.name != "cli"]
    return [name for name in names if hasattr(importlib.import_module(f"rewarm.{name}"), "SLOT")]


def _describe(method: Any) -> dict[str, Any]:
    documented = (inspect.getdoc(method) or "").strip().split("\n\n")[0].replace("\n", " ")
    options = {
        name: "required" if info.is_required() else info.get_default(call_default_factory=True)
        for name, info in method.model_fields.items()
    }
    return {"summary": documented, "options": options, "paper": getattr(method, "paper", "")}
