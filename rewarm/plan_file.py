"""The YAML of a plan: a mapping of keys, none of them given twice; small, shallow, and no more than data.

A plan may come from somebody else. Tags that would call Python are refused by PyYAML's safe loader; here the rest is:
text that expands (an alias of an alias of an alias), nesting that ends the parser, and values that PyYAML's own readers
of numbers and dates fall over.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from rewarm.types import UserError

MOST_BYTES = 1_000_000
"""A plan of 1,000 stages has 300 kB."""
MOST_VALUES = 100_000
"""So many values a plan may have, those of an alias counted wherever it stands."""
_UNREADABLE = (ValueError, KeyError, IndexError, AttributeError, TypeError, OverflowError)
"""What PyYAML raises for `!!int x`, `2020-99-99` or a number of 5,000 digits."""


class _Loader(yaml.SafeLoader):
    """YAML in which a key given twice is an error: YAML itself would drop the first without a word."""

    def construct_document(self, node: yaml.Node) -> Any:
        """The value of a document; ConstructorError when it would be too large, or holds itself."""
        _count(node, {}, set())
        return super().construct_document(node)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """The value of a node; ConstructorError for a scalar that is not what YAML takes it for."""
        if not isinstance(node, yaml.ScalarNode):
            return super().construct_object(node, deep)
        try:
            return super().construct_object(node, deep)
        except _UNREADABLE as error:
            kind = node.tag.rpartition(":")[2]
            sentence = f"'{node.value[:40]}' is no {kind} ({error}); put it in quotes if it is text"
            raise yaml.constructor.ConstructorError(None, None, sentence, node.start_mark) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node; ConstructorError for a repeated key."""
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if (key.tag, key.value) in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key.value}' is given twice", key.start_mark)
            seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def _count(node: yaml.Node, known: dict[int, int], above: set[int]) -> int:
    """The values that a node stands for, its own aliases expanded; `above` are the nodes it lies in."""
    if id(node) in above:
        raise yaml.constructor.ConstructorError(None, None, "a value holds itself by an alias", node.start_mark)
    if (found := known.get(id(node))) is not None:
        return found
    above.add(id(node))
    parts = node.value if isinstance(node, yaml.CollectionNode) else ()
    inner = [one for part in parts for one in (part if isinstance(part, tuple) else (part,))]
    total = 1 + sum(_count(one, known, above) for one in inner)
    above.remove(id(node))
    if total > MOST_VALUES:
        raise yaml.constructor.ConstructorError(
            None, None, f"its aliases stand for more than {MOST_VALUES:,} values", node.start_mark
        )
    known[id(node)] = total
    return total


def yaml_value(text: str) -> Any:
    """The value in a text of YAML; UserError when it cannot be read, or expands to more than `MOST_VALUES` values."""
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise UserError(str(error)) from None
    except RecursionError:
        raise UserError("its lists or mappings lie too deep in each other") from None


def read_yaml(path: str | Path, remedy: str, what: str = "plan") -> dict[str, Any]:
    """The mapping in a YAML file, called `what` in errors; UserError, with the remedy where there is no file, when it
    holds none, has more than `MOST_BYTES`, or is not as `yaml_value` asks."""
    file = Path(path)
    if not file.is_file():
        raise UserError(f"{what} '{path}' does not exist. {remedy}")
    try:
        with file.open("rb") as opened:
            held = opened.read(MOST_BYTES + 1)
        if len(held) > MOST_BYTES:
            raise UserError(f"it has more than {MOST_BYTES:,} bytes, and names texts but holds none")
        values = yaml_value(held.decode("utf-8"))
    except (UserError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{what} '{path}' cannot be read as YAML: {error}") from None
    if not isinstance(values, dict):
        usual = "; the first key of a plan is usually 'base'" if what == "plan" else ""
        raise UserError(f"{what} '{path}' holds no mapping of keys{usual}")
    return values
