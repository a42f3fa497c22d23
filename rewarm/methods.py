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
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, ClassVar, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from rewarm.types import UserError

Kind = TypeVar("Kind", bound=BaseModel)


class Options(BaseModel):
    """Base of everything a plan holds: frozen, an unknown key is an error, and numbers are finite.

    A key that is a word of Python, such as `from`, is a keyword argument with an underscore after it.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, validate_by_name=True,
        validate_by_alias=True,
    )  # fmt: skip


class Method(Options):
    """Base of every slot. Subclasses set `paper` to the source of the method (an arXiv id or a sentence).

    One for `several` processes gives the same there as with one (tests/scale); `alone` says which are refused.
    """

    several: ClassVar[bool] = False

    @classmethod
    def method_name(cls) -> str:
        """The name a plan uses: the file's name with dashes."""
        return cls.__module__.rpartition(".")[2].replace("_", "-")

    def alone(self, in_parts: bool) -> str | None:
        """Why several processes cannot train with it, and what to do; None where they can. `in_parts` is whether each
        may hold a part of the weights."""
        if self.several:
            return None
        return "has not been shown to train the same with several processes. Start one process, or leave it out"

    def texts(self) -> tuple[str, ...]:
        """The texts it reads besides a stage's batches: words of rewarm/stages.py, or names of corpora."""
        return ()

    def described(self) -> dict[str, Any]:
        """The method as a plan writes it: its `type` and every option."""
        return {"type": self.method_name(), **self.model_dump(mode="json", by_alias=True)}


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
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    held = {name.replace("_", "-"): _held(folder, name) for name in names}
    return {name: method for name, method in held.items() if method is not None}


@cache
def _held(folder: str, file: str) -> type[Method] | None:
    """The method that a file of a folder holds, if it does."""
    slot: type[Method] = importlib.import_module(f"rewarm.{folder}").SLOT
    module = importlib.import_module(f"rewarm.{folder}.{file}")
    for name, value in vars(module).items():
        if inspect.isclass(value) and name.lower() == file.replace("_", "") and issubclass(value, slot):
            return value
    return None


def find(folder: str, name: str) -> type[Method]:
    """The class behind a name; a UserError with the nearest names when there is none."""
    key = name.replace("_", "-")
    package = importlib.import_module(f"rewarm.{folder}")
    # Its file alone is imported: others of the folder may need torch, which a plan is read without.
    if key.replace("-", "_") in {module.name for module in pkgutil.iter_modules(package.__path__)}:
        found = _held(folder, key.replace("-", "_"))
        if found is not None:
            return found
    raise UserError(f"no {folder} method is called '{name}'. {nearest(key, known(folder))}")


MOST_FAULTS = 100
"""So many faults of one value are told: each costs a search for what was meant."""


class Faults(UserError):
    """Every fault of one value: the path of its key, from that value on, and what is wrong."""

    def __init__(self, faults: Iterable[tuple[str, str]], where: str = "") -> None:
        self.faults = [(_joined(where, path), sentence) for path, sentence in faults]
        super().__init__("\n".join(_line(path, sentence) for path, sentence in self.faults))


def build(folder: str, value: Any, where: str | None = None) -> Method:
    """A method from a plan's value: its name alone, or a mapping with `type` and the method's options.

    UserError when there is no such method or an option is wrong. It names keys from `where` on, the path of the value
    in the plan; "" gives them alone, and None after the folder and the method.
    """
    if isinstance(value, Method):
        return value
    options = {"type": value} if isinstance(value, str) else value
    if not isinstance(options, Mapping) or not isinstance(options.get("type"), str):
        sentence = f"give a name or a mapping with 'type', got {value!r}. Known: {', '.join(known(folder))}"
        raise Faults([("", sentence)], folder if where is None else where)
    method = find(folder, options["type"])
    fields = {key: item for key, item in options.items() if key != "type"}
    return checked(method, fields, f"{folder}.{options['type']}" if where is None else where)


def checked(kind: type[Kind], fields: Mapping[str, Any], where: str = "") -> Kind:
    """`kind` built from `fields`; what pydantic refuses becomes one UserError that lists every fault."""
    try:
        return kind.model_validate(dict(fields))
    except ValidationError as error:
        raise Faults(explain(error, kind), where) from None


def explain(error: ValidationError, kind: type[BaseModel]) -> list[tuple[str, str]]:
    """Each fault as the path of its key and a sentence: what was given, what is allowed."""
    found: list[tuple[str, str, str]] = []
    every = error.errors()
    for fault in every[:MOST_FAULTS]:
        unknown = fault["type"] == "extra_forbidden"
        path, holder = _place(kind, fault["loc"][:-1] if unknown else fault["loc"])
        inner = fault.get("ctx", {}).get("error")
        if unknown:
            key = str(fault["loc"][-1])
            found.append(("", _joined(path, key), f"unknown key. {_right_place(kind, holder, key)}"))
        elif isinstance(inner, Faults):
            found += [("", _joined(path, inner_path), sentence) for inner_path, sentence in inner.faults]
        else:
            found += [(fault["type"], path, sentence) for sentence in _sentences(fault, holder)]
    told = [(path, sentence) for fault_type, path, sentence in found if not _is_echo(fault_type, path, found)]
    more = len(every) - MOST_FAULTS
    return [*told, *([("", f"and {more:,} more faults: mend these first")] if more > 0 else [])]


def _is_echo(kind: str, path: str, found: list[tuple[str, str, str]]) -> bool:
    """Whether a fault only repeats another: a choice of types that was not meant, a list left empty by its items."""
    if kind not in ("too_short", "string_type", "model_type"):
        return False
    deeper = any(other.startswith(f"{path}.") for _, other, _ in found)
    beside = {other_kind for other_kind, other, _ in found if other == path} - {"string_type", kind}
    return deeper or (bool(beside) and kind != "too_short")


def _sentences(fault: Any, holder: type[BaseModel]) -> list[str]:
    given = fault["input"]
    shown = "" if given is None or isinstance(given, BaseModel | Mapping | list | tuple) else f" (given: {given!r})"
    if fault["type"] == "missing":
        return ["required, and not given"]
    if fault["type"] in ("tuple_type", "list_type"):
        return [f"give a list{shown}"]
    if fault["type"] == "too_short":
        return ["give at least one"]
    if fault["type"] == "model_type":
        # A location that ends in the class's own name is one branch of a choice; the other is a name or a path.
        first = "text or a mapping" if holder.__name__ in str(fault["loc"][-1]) else "a mapping"
        return [f"give {first} with the keys {', '.join(_keys(holder))}{shown}"]
    return [f"{line}{shown}" for line in fault["msg"].removeprefix("Value error, ").split("\n")]


def _line(path: str, sentence: str) -> str:
    end = "" if sentence.endswith((".", "?")) else "."
    return f"{path}: {sentence}{end}" if path else f"{sentence}{end}"


def _joined(first: str, second: str) -> str:
    return f"{first}.{second}" if first and second else first or second


def _keys(kind: type[BaseModel]) -> list[str]:
    return [info.alias or name for name, info in kind.model_fields.items()]


def _inner(kind: type[BaseModel], key: str) -> list[type[BaseModel]]:
    """The model classes that the value of a key may be made of."""
    annotations = [info.annotation for name, info in kind.model_fields.items() if (info.alias or name) == key]
    return [model for annotation in annotations for model in _models_in(annotation)]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _place(kind: type[BaseModel], location: tuple[int | str, ...]) -> tuple[str, type[BaseModel]]:
    """The path of a fault as the reader of a plan writes it, and the class of the mapping there.

    pydantic names the branches of a choice of types in its paths (`str`, a class, a bracketed type): no keys of a
    plan, so they are left out.
    """
    parts: list[str] = []
    models = [kind]
    for part in map(str, location):
        owner = next((model for model in models if part in _keys(model)), None)
        if owner is not None:
            models = _inner(owner, part)
        elif not part.isdecimal() and (models or part == "str" or not re.fullmatch(r"\w+", part)):
            models = [model for model in models if model.__name__ in part] or models
            continue
        parts.append(part)
    return ".".join(parts), models[0] if models else kind


def _right_place(root: type[BaseModel], holder: type[BaseModel], key: str) -> str:
    """Where an unknown key belongs: here under another name, elsewhere below `root`, or what is allowed here."""
    synonyms: Mapping[str, str] = getattr(holder, "SYNONYMS", {})
    homes = [] if key in synonyms else list(_homes(root, key))
    if homes:
        return f"It belongs {', or '.join(homes[:2])}"
    return nearest(key, _keys(holder), synonyms)


def _homes(kind: type[BaseModel], key: str, path: str = "") -> Iterator[str]:
    wanted = getattr(kind, "SYNONYMS", {}).get(key, key)
    if wanted in _keys(kind):
        yield f"inside '{path.split('[')[0]}', as {path}.{wanted}" if path else f"at the top level, as {wanted}"
    for field, folder in getattr(kind, "METHODS", {}).items():
        owners = [name for name, method in known(folder).items() if key in _keys(method)]
        if owners:
            yield f"among the options of {_joined(path, field)} (type {', '.join(owners[:3])})"
    for field, info in kind.model_fields.items():
        name = info.alias or field
        many = "[]" if get_origin(info.annotation) is tuple else ""
        for model in _inner(kind, name):
            if not getattr(model, "WRITTEN_BY_REWARM", False):  # nobody meant to put a key there
                yield from _homes(model, key, _joined(path, name + many))
