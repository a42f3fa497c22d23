"""A source's own names as `func`, `AnClass` and `var`, numbered in the order in which they come."""

from __future__ import annotations

import re

from rewarm.sketches.scopes import Kind, Scope, Use, Walk
from rewarm.sketches.source import Edit, Source

_WORDS: dict[Kind, str] = {"function": "func", "class": "AnClass", "variable": "var"}
_STAY = frozenset({"_", "self", "cls"})
NEW_NAME = re.compile(r"(?:func|AnClass|var)(?:[2-9]|[1-9][0-9]+)?")
"""What a name is replaced by."""


def name_edits(source: Source, in_strings: bool) -> list[Edit]:
    """The edits that rename what the source defines itself, in every place where it is used.

    Names bound by an import or in the body of a class stay (their uses are attributes), and so do builtins, keywords of
    calls of functions that are not the source's own, `self`, `cls`, `_`, and names with two underscores on both sides.
    A name gets the same new name everywhere, and no name that stays is taken: nothing gets another meaning.
    """
    walk = Walk(source, in_strings)
    own = [use for use in walk.uses if _is_own(use, walk)]
    starts = {use.start for use in own}
    stay = {
        token.text
        for one in walk.sources
        for token in one.tokens
        if token.kind == "NAME" and token.start not in starts
    }  # fmt: skip
    new = _new_names(own, stay)
    return sorted({(use.start, use.end, new[use.name]) for use in own})


def _is_own(use: Use, walk: Walk) -> bool:
    if use.callee is None:
        home = use.scope.home(use.name)
        return home is not None and _can_change(home, use.name)
    home = use.scope.home(use.callee)
    if home is None or len(set(home.names[use.callee].values()) - {"function", "class"}):
        return False
    called = walk.parameters.get((home, use.callee), [])
    return any(use.name in one.parameters and _can_change(one, use.name) for one in called)


def _can_change(home: Scope, name: str) -> bool:
    is_special = name in _STAY or (name.startswith("__") and name.endswith("__"))
    return home.kind != "class" and not is_special and "foreign" not in home.names[name].values()


def _new_names(own: list[Use], stay: set[str]) -> dict[str, str]:
    """The new name of each, by what it is where it is first bound."""
    found: dict[str, str] = {}
    counts = dict.fromkeys(_WORDS.values(), 0)
    kinds: dict[str, tuple[int, Kind]] = {}
    for use in own:
        home = use.scope.home(use.name) if use.callee is None else None
        if home is not None:
            kinds[use.name] = min([*home.names[use.name].items(), *([kinds[use.name]] if use.name in kinds else [])])
    for use in sorted(own, key=lambda use: use.start):
        if use.name in found:
            continue
        word = _WORDS[kinds[use.name][1]]
        while True:
            counts[word] += 1
            name = word if counts[word] == 1 else f"{word}{counts[word]}"
            if name not in stay:
                break
        found[use.name] = name
    return found
