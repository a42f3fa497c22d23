"""`rewarm methods`: every method there is, with its options and source."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from rewarm.cli.merge import METHODS
from rewarm.cli.verb import Answer, Manner, verb

MERGING = "merging"


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    verb(app, methods)


def methods(
    manner: Manner, folder: Annotated[str | None, typer.Argument(metavar="[FOLDER]", help="Such as schedules.")] = None
) -> Answer:
    """List every method with its options, paper and cost."""
    from rewarm.methods import known, nearest
    from rewarm.types import UserError

    folders = [*slots(), MERGING]
    if folder is not None and folder not in folders:
        raise UserError(f"no folder of methods is called '{folder}'. {nearest(folder, folders)}")
    found = {
        slot: METHODS if slot == MERGING else {name: _described(method) for name, method in known(slot).items()}
        for slot in ([folder] if folder else folders)
    }
    return Answer(found, list(_lines(found)))


def slots() -> list[str]:
    """The folders of the package that declare a slot."""
    import rewarm

    names = [module.name for module in pkgutil.iter_modules(rewarm.__path__) if module.ispkg and module.name != "cli"]
    return [name for name in names if hasattr(importlib.import_module(f"rewarm.{name}"), "SLOT")]


def _described(method: Any) -> dict[str, Any]:
    first = (inspect.getdoc(method) or "").strip().split("\n\n")[0]
    options = {
        info.alias or name: "required" if info.is_required() else info.get_default(call_default_factory=True)
        for name, info in method.model_fields.items()
    }
    told = {key: getattr(method, key, "") for key in ("paper", "cost")}
    return {"summary": " ".join(first.split()), "options": options, **told}


def _lines(found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[str]:
    for slot, entries in found.items():
        yield slot
        for name, entry in entries.items():
            yield f"  {name:<16} {entry['summary']}"
            options = ", ".join(f"{key}={_short(value)}" for key, value in entry["options"].items())
            cost = f"cost: {entry['cost']}" if entry["cost"] else ""
            yield from (f"  {'':<16}   {line}" for line in (options, entry["paper"], cost) if line)


def _short(value: Any) -> str:
    """A default on one line: of a long list only its beginning."""
    if isinstance(value, tuple) and len(value) > 4:
        return f"({', '.join(map(str, value[:4]))}, ... {len(value)} in all)"
    return str(value)
