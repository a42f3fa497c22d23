"""Pages of the site that say what a method is: the registry's words and options, and a hand-written note on each.

The registry (`rewarm methods`) gives name, description, options, paper and cost, so none of these can drift. A note,
`docs/method_notes/<kind>/<name>.md`, has four parts: the formula, evidence here, evidence in its paper, known traps.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from rewarm.cli.merge import METHODS as MERGES
from rewarm.cli.methods import MERGING, slots
from rewarm.methods import known

NOTES = Path(__file__).parents[1] / "method_notes"
PARAGRAPH = "\n\n"
PARTS = ("Formula", "Evidence here", "Evidence in its paper", "Known traps")
KINDS = {
    "retention": ("Retention", "What holds the old in place: `retention:` of a stage.", "methods.md"),
    "adapters": ("Adapters", "Where what is learned goes: `adapter:` of a stage.", "methods.md"),
    "schedules": ("Schedules", "The learning rate of each update: `schedule:` of a stage.", None),
    "mixtures": ("Mixtures", "Which corpus gives the next row: `mixture:` of a stage.", None),
    "objectives": ("Objectives", "What is minimised: `objective:` of a stage.", None),
    "merging": ("Merging", "Models made after training: `rewarm merge --method`.", "merging.md"),
    "selection": (
        "Selection",
        "What is worth training on: `select:` of a stage, `corpus select --by`.",
        "selection.md",
    ),
    "corpora": ("Corpora", "Raw material to documents: `type:` of a corpus.", None),
    "tasks": ("Ways to learn tasks", "Labelled tasks in a row: `ways:` of `rewarm learn`.", "tasks.md"),
    "suites": ("Suites", "What a model is asked: `suites:` of a plan.", "suites.md"),
    "planner": ("Laws of the planner", "What `rewarm plan` fits to its pilots.", "planning.md"),
    "facts": ("Facts", "Snapshots of facts, for `rewarm corpus probes`.", "probes.md"),
    "probes": ("Probes", "Files of probes: `probes:` of a plan, `rewarm probe`.", "probes.md"),
}
"""Every kind of method in the order of the site: its title, a sentence, and the guide that tells how to use it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A method as the registry has it; `options` are rows of name, values and default."""

    kind: str
    name: str
    text: str
    options: tuple[tuple[str, str, str], ...]
    paper: str
    cost: str

    @property
    def note(self) -> Path:
        """Where its hand-written note lies."""
        return NOTES / self.kind / f"{self.name}.md"


def entries() -> list[Entry]:
    """Every method of every kind, merges included."""
    found = [_entry(kind, name, method) for kind in slots() for name, method in known(kind).items()]
    return found + [
        Entry(MERGING, name, one["summary"], tuple((key, "", _shown(value)) for key, value in one["options"].items()),
              one["paper"], one["cost"])
        for name, one in MERGES.items()
    ]  # fmt: skip


def _entry(kind: str, name: str, method: Any) -> Entry:
    options = tuple(
        (info.alias or key, _values(info.annotation), "required" if info.is_required() else _default(info))
        for key, info in method.model_fields.items()
    )
    text = inspect.getdoc(method) or ""
    return Entry(kind, name, text, options, getattr(method, "paper", ""), getattr(method, "cost", ""))


def _default(info: Any) -> str:
    return _shown(info.get_default(call_default_factory=True))


def _shown(value: Any) -> str:
    if isinstance(value, tuple) and len(value) > 4:
        return f"{', '.join(map(str, value[:4]))}, ... ({len(value)} in all)"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    return str(list(value)) if isinstance(value, tuple) else str(value)


def _values(annotation: Any) -> str:
    """What an option may be, in words: choices as they stand, types by their names."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _values(inside[0])
    if origin is Literal:
        return ", ".join(map(_shown, inside))
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_values(one) for one in inside))
    if origin in (tuple, list, frozenset):
        return f"list of {_values(inside[0])}" if inside else "list"
    if origin is dict or annotation is dict:
        return "mapping"
    names = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "none", Path: "path"}
    if isinstance(annotation, TypeVar) or annotation is Any:
        return "any"
    return names.get(annotation) or ("mapping" if hasattr(annotation, "model_fields") else annotation.__name__)


def parts(note: str) -> dict[str, str]:
    """The parts of a note by their headings."""
    pieces = re.split(r"^## (.+)\n", note, flags=re.MULTILINE)
    return {title.strip(): body.strip() for title, body in zip(pieces[1::2], pieces[2::2], strict=True)}


def page(entry: Entry) -> str:
    """The page of a method as Markdown."""
    title, _, guide = KINDS[entry.kind]
    note = parts(entry.note.read_text(encoding="utf-8"))
    shown = [f"# {entry.name}", f"*{title}.* {_flowing(entry.text)}"]
    if entry.paper:
        shown.append(f"**Source:** {entry.paper}")
    if entry.cost:
        shown.append(f"**Cost:** {entry.cost}")
    if guide:
        shown.append(f"**How to use it:** [{guide}](../../{guide})")
    for part in PARTS:
        shown.append(f"## {part}\n\n{note[part]}")
        if part == "Formula":
            shown.append(f"## Options\n\n{options_table(entry)}")
    return "\n\n".join(shown) + "\n"


def _flowing(text: str) -> str:
    return PARAGRAPH.join(" ".join(paragraph.split()) for paragraph in text.split(PARAGRAPH))


def options_table(entry: Entry) -> str:
    """The options of a method as a table, or a sentence when it has none."""
    if not entry.options:
        return "It has no options."
    rows = ["| option | values | default |", "|---|---|---|"]
    for option in entry.options:
        name, values, default = (value.replace("|", "\\|").replace("\n", " ") for value in option)
        rows.append(f"| `{name}` | {values} | {_code(default)} |")
    return "\n".join(rows)


def _code(default: str) -> str:
    return default if default in ("required", "none") else f"`{default}`" if default else "empty"


def pages() -> Iterator[tuple[str, str]]:
    """Path in the site and text of every method's page and of the list of each kind."""
    found = entries()
    for kind, (title, sentence, _) in KINDS.items():
        held = [entry for entry in found if entry.kind == kind]
        lines = [f"- [{entry.name}]({entry.name}.md): {_flowing(entry.text).partition(PARAGRAPH)[0]}" for entry in held]
        yield f"methods/{kind}/index.md", f"# {title}\n\n{sentence}\n\n" + "\n".join(lines) + "\n"
        for entry in held:
            yield f"methods/{kind}/{entry.name}.md", page(entry)
