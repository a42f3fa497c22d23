"""The fields of a record -> `key: value` pairs: dotted keys, joined lists, and what is no text left out and counted."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

NULL, EMPTY, ID, URL = "null", "empty", "id", "address (URL)"
TOO_DEEP, TOO_MANY, REPEATED = "nested too deep", "items of a long list", "key and value repeated"
NOT_TEXT, NO_PAIR, UNASKED = "no text or number", "flat piece without a value", "fields left out"
JOINT = "; "
_URL = re.compile(r"(?:https?|ftp)://\S+|www\.\S+|data:\S+", re.IGNORECASE)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_ID_KEY = re.compile(
    r"(?:^|[._-])(?:u?u?ids?|sku|upc|ean|gtin|asin|isbn|mpn|guid|hash|checksum|etag)$|(?<=[a-z])I[Dd]s?$|^_key$|^ID$"
)
_SPACE = re.compile(r"\s+")


class Pair(NamedTuple):
    """A dotted key and its value as text."""

    key: str
    value: str


@dataclass(slots=True)
class Dropped:
    """What was left out of records, counted by reason, with the first few places of each."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, place: str, count: int = 1) -> None:
        """Counts something that was left out at a place (`file:line field`)."""
        self.counts[reason] += count
        kept = self.examples.setdefault(reason, [])
        if len(kept) < 3:
            kept.append(place)


@dataclass(frozen=True, slots=True)
class Flattener:
    """How records of one source become pairs.

    `keep` are keys that are written whatever they look like, `drop` keys left out with all below them, `only` the ones
    taken where it is given, `elsewhere` those that are no pairs. An item of a list that is a mapping is one pair of the
    list's key, so that what belongs together stays on one line: `offers: price: 3, shop: Lo`.
    """

    most_items: int = 64
    depth: int = 8
    keep: frozenset[str] = frozenset()
    drop: frozenset[str] = frozenset()
    elsewhere: frozenset[str] = frozenset()
    only: frozenset[str] | None = None
    flat: frozenset[str] = frozenset()
    separators: tuple[str, str] = ("#:#", "#;#")

    def pairs(self, fields: Mapping[str, Any], place: str, dropped: Dropped) -> list[Pair]:
        """The pairs of a record in their order, each once; what is left out is counted in `dropped`."""
        return self._pairs([(str(key), value) for key, value in fields.items()], 1, place, dropped)

    def _pairs(self, items: list[tuple[str, Any]], level: int, place: str, dropped: Dropped) -> list[Pair]:
        found: dict[Pair, None] = {}
        # A stack, since nesting is the input's choice; what calls itself (items of lists) is bounded by `depth`.
        stack = [(key, value, level) for key, value in reversed(items)]
        while stack:
            key, value, level = stack.pop()
            if key in self.elsewhere:
                continue
            if self._unasked(key):
                dropped.add(UNASKED, f"{place} {key}")
            elif key in self.flat and isinstance(value, str):
                stack += [(*pair, level) for pair in reversed(list(self._flat_pairs(key, value, place, dropped)))]
            elif isinstance(value, Mapping) or (isinstance(value, list | tuple) and _holds_mappings(value)):
                if level >= self.depth:
                    dropped.add(TOO_DEEP, f"{place} {key}")
                elif isinstance(value, Mapping):
                    stack += [(f"{key}.{name}", item, level + 1) for name, item in reversed([*value.items()])]
                else:
                    items_of_list = self._cut(key, value, place, dropped)
                    stack += [
                        (key, self._item(key, one, level, place, dropped), level + 1) for one in reversed(items_of_list)
                    ]
            elif (text := self._text(key, value, place, dropped)) is not None:
                if Pair(key, text) in found:
                    dropped.add(REPEATED, f"{place} {key}")
                found[Pair(key, text)] = None
        return list(found)

    def _item(self, key: str, item: Any, level: int, place: str, dropped: Dropped) -> Any:
        if not isinstance(item, Mapping):
            return item
        inner = self._pairs([(f"{key}.{name}", value) for name, value in item.items()], level + 1, place, dropped)
        return ", ".join(f"{pair.key.removeprefix(f'{key}.')}: {pair.value}" for pair in inner)

    def _unasked(self, key: str) -> bool:
        if self.drop and _covers(self.drop, key):
            return True
        return self.only is not None and not (
            _covers(self.only, key) or any(one.startswith(f"{key}.") for one in self.only)
        )

    def _cut(self, key: str, items: Sequence[Any], place: str, dropped: Dropped) -> Sequence[Any]:
        if len(items) > self.most_items:
            dropped.add(TOO_MANY, f"{place} {key}", len(items) - self.most_items)
        return items[: self.most_items]

    def _flat_pairs(self, key: str, text: str, place: str, dropped: Dropped) -> Iterator[tuple[str, str]]:
        between, after = self.separators
        for piece in text.split(after):
            name, found, value = piece.partition(between)
            if found and name.strip():
                yield name.strip(), value
            elif piece.strip():
                dropped.add(NO_PAIR, f"{place} {key}")

    def _text(self, key: str, value: Any, place: str, dropped: Dropped) -> str | None:
        """A value on one line; None when it is left out."""
        if isinstance(value, list | tuple):
            parts = [self._scalar(key, item) for item in self._cut(key, value, place, dropped)]
        else:
            parts = [self._scalar(key, value)]
        good = dict.fromkeys(text for text, reason in parts if not reason)
        for _, reason in parts:
            if reason:
                dropped.add(reason, f"{place} {key}")
        if not parts:
            dropped.add(EMPTY, f"{place} {key}")
        return JOINT.join(good) if good else None

    def _scalar(self, key: str, value: Any) -> tuple[str, str]:
        text, reason = scalar(value)
        if not reason and key not in self.keep:
            if _URL.fullmatch(text):
                return "", URL
            if _ID_KEY.search(key) or _UUID.fullmatch(text):
                return "", ID
        return text, reason


def _covers(keys: frozenset[str], key: str) -> bool:
    """Whether a key, or one that it lies below, is among `keys`."""
    return key in keys or ("." in key and any(key.startswith(f"{one}.") for one in keys))


def _holds_mappings(items: Sequence[Any]) -> bool:
    return any(isinstance(item, Mapping | list | tuple) for item in items)


def scalar(value: Any) -> tuple[str, str]:
    """A single value as text on one line, or "" and why it is none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "", NULL
    if isinstance(value, bool):
        return ("yes" if value else "no"), ""
    if isinstance(value, bytes | bytearray | Mapping | list | tuple):
        return "", NOT_TEXT
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    text = _SPACE.sub(" ", str(value).replace("\0", " ")).strip()
    return (text, "") if text else ("", EMPTY)


def values_at(fields: Mapping[str, Any], key: str, most: int) -> list[str]:
    """Every single value under a dotted key, at most `most`, through lists and mappings: what edges compare.

    A key that is a field's name as it stands is that field, dots or not.
    """
    waiting: list[tuple[Any, tuple[str, ...]]] = [(fields, tuple(key.split(".")))]
    if key in fields:
        waiting = [(fields[key], ())]
    found: dict[str, None] = {}
    while waiting and len(found) < most:
        value, rest = waiting.pop()
        if isinstance(value, list | tuple):
            waiting += [(item, rest) for item in reversed(value[:most])]
        elif rest:
            if isinstance(value, Mapping) and rest[0] in value:
                waiting.append((value[rest[0]], rest[1:]))
        else:
            text, reason = scalar(value)
            if not reason:
                found[text] = None
    return list(found)
