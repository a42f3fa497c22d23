"""A folder of methods is its own index: a file `wsd_s.py` in `schedules/` that holds the class `WsdS` is `wsd-s`.

The folder's `__init__.py` declares the slot: its base class, named by `SLOT`. A file whose matching class derives
from the slot is a method; any other file of the folder is a part of it. The class *is* its options: a frozen
pydantic model whose fields are the keys a plan may set.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from rewarm.types import UserError

Kind = TypeVar("Kind", bound=BaseModel)


class Options(BaseModel):
    """Base of everything a plan holds: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Method(Options):
    """Base of every slot. Subclasses set `paper` to the source of the method (an arXiv id or a sentence)."""

    @classmethod
    def method_name(cls) -> str:
        """The name a plan uses: the file's name with dashes."""
        return cls.__module__.rpartition(".")[2].replace("_", "-")

    def described(self) -> dict[str, Any]:
        """The method as a plan writes it: its `type` and every option."""
        return {"type": self.method_name(), **self.model_dump(mode="json")}


def nearest(word: str, allowed: Iterable[str], synonyms: Mapping[str, str] | None = None) -> str:
    """A clause that names the closest allowed words, or all of them when none is close."""
    allowed = sorted(allowed)
    if synonyms and word in synonyms and synonyms[word] in allowed:
        return f"Did you mean '{synonyms[word]}'?"
    lowered = {name.lower().replace("_", "-"): name for name in allowed}
    close = difflib.get_close_matches(word.lower().replace("_", "-"), lowered, n=2, cutoff=0.6)
    if close:
        return f"Did you mean {' or '.join(repr(lowered[name]) for name in close)}?"
    return f"Allowed: {', '.join(allowed)}."


@cache
def known(folder: str) -> dict[str, type[Method]]:
    """Every method of a folder of the package, by name, in alphabetical order."""
    package = importlib.import_module(f"rewarm.{folder}")
    slot: type[Method] = package.SLOT
    found: dict[str, type[Method]] = {}
    for module_info in sorted(pkgutil.iter_modules(package.__path__), key=lambda module: module.name):
        module = importlib.import_module(f"rewarm.{folder}.{module_info.name}")
        wanted = module_info.name.replace("_", "")
        for name, value in vars(module).items():
            if inspect.isclass(value) and name.lower() == wanted and issubclass(value, slot):
                found[module_info.name.replace("_", "-")] = value
    return found


def find(folder: str, name: str) -> type[Method]:
    """The class behind a name; a UserError with the nearest names when there is none."""
    methods = known(folder)
    key = name.replace("_", "-")
    if key not in methods:
        raise UserError(f"no {folder} method is called '{name}'. {nearest(key, methods)}")
    return methods[key]


def build(folder: str, value: Any, where: str = "") -> Method:
    """A method from a plan's value: its name alone, or a mapping with `type` and the method's options."""
    if isinstance(value, Method):
        return value
    options = {"type": value} if isinstance(value, str) else value
    if not isinstance(options, Mapping) or not isinstance(options.get("type"), str):
        raise UserError(
            f"{where or folder}: give a name or a mapping with 'type', got {value!r}. "
            f"Known: {', '.join(known(folder))}."
        )
    method = find(folder, options["type"])
    fields = {key: item for key, item in options.items() if key != "type"}
    return checked(method, fields, where or f"{folder}.{options['type']}")


def checked(kind: type[Kind], fields: Mapping[str, Any], where: str = "") -> Kind:
    """`kind` built from `fields`; what pydantic refuses becomes one UserError that lists every fault."""
    try:
        return kind.model_validate(dict(fields))
    except ValidationError as error:
        raise UserError("\n".join(explain(error, kind, where))) from None


def explain(error: ValidationError, kind: type[BaseModel], where: str) -> list[str]:
    """One sentence per fault: the key's path, what was given, what is allowed."""
    sentences = []
    for fault in error.errors():
        path = ".".join(part for part in [where, *(str(part) for part in fault["loc"])] if part)
        if fault["type"] == "extra_forbidden":
            holder = _model_at(kind, fault["loc"][:-1])
            synonyms = getattr(holder, "SYNONYMS", None)
            sentences.append(
                f"{path}: unknown key. {nearest(str(fault['loc'][-1]), _keys(holder), synonyms)}"
            )
        elif fault["type"] == "missing":
            sentences.append(f"{path}: required, and not given.")
        else:
            message = fault["msg"].removeprefix("Value error, ")
            given = "" if isinstance(fault["input"], dict | list) else f" (given: {fault['input']!r})"
            sentences.append(f"{path}: {message}{given}.")
    return sentences


def _keys(kind: type[BaseModel]) -> list[str]:
    return [info.alias or name for name, info in kind.model_fields.items()]


def _model_at(kind: type[BaseModel], path: tuple[int | str, ...]) -> type[BaseModel]:
    """The model class that holds the key at `path`, as far as annotations tell; `kind` itself otherwise."""
    for part in path:
        if isinstance(part, str) and part in _keys(kind):
            name = next(name for name, info in kind.model_fields.items() if (info.alias or name) == part)
            kind = next(_models_in(kind.model_fields[name].annotation), kind)
    return kind


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
