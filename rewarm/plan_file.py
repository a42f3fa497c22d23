"""The YAML of a plan: a mapping of keys, none of them given twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from rewarm.types import UserError


class _Loader(yaml.SafeLoader):
    """YAML in which a key given twice is an error: YAML itself would drop the first without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node; ConstructorError for a repeated key."""
        keys = [(key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for (key, _), word in zip(node.value, keys, strict=False):
            if keys.count(word) > 1 and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, f"key '{key.value}' is given twice", key.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(path: str | Path, remedy: str) -> dict[str, Any]:
    """The mapping in a YAML file; UserError, with the remedy where there is no file, when it holds none."""
    file = Path(path)
    if not file.is_file():
        raise UserError(f"plan '{path}' does not exist. {remedy}")
    try:
        values = yaml.load(file.read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"plan '{path}' cannot be read as YAML: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"plan '{path}' holds no mapping of keys; the first key of a plan is usually 'base'")
    return values
