"""Fields of a record as lines: by hand, and for hostile values."""

from __future__ import annotations

import datetime
import math

import pytest

from rewarm.records.flattening import (
    EMPTY,
    ID,
    NO_PAIR,
    NOT_TEXT,
    NULL,
    REPEATED,
    TOO_DEEP,
    TOO_MANY,
    UNASKED,
    URL,
    Dropped,
    Flattener,
    scalar,
    values_at,
)


def pairs(fields: dict[str, object], **options: object) -> tuple[list[tuple[str, str]], dict[str, int]]:
    dropped = Dropped()
    found = Flattener(**options).pairs(fields, "a.jsonl:1", dropped)  # type: ignore[arg-type]
    return [tuple(pair) for pair in found], dict(dropped.counts)  # type: ignore[misc]


def test_nested_fields_are_dotted_lists_are_joined_and_order_stays() -> None:
    fields = {"brand": "Lumo", "specs": {"size": {"w": 3.0, "h": 2.5}, "tags": ["a", "b", "a"]}, "in stock": True}
    assert pairs(fields)[0] == [
        ("brand", "Lumo"), ("specs.size.w", "3"), ("specs.size.h", "2.5"), ("specs.tags", "a; b"), ("in stock", "yes"),
    ]  # fmt: skip


def test_items_that_are_mappings_keep_what_belongs_together_on_a_line() -> None:
    fields = {"offers": [{"price": 3, "shop": {"name": "Lo"}}, {"price": 4, "url": "http://x.example"}]}
    assert pairs(fields)[0] == [("offers", "price: 3, shop.name: Lo"), ("offers", "price: 4")]


def test_what_is_no_text_is_dropped_and_counted() -> None:
    fields = {
        "a": None, "b": math.nan, "c": "  ", "d": "https://x.example/y", "product_id": 7, "sku": "K1",
        "relatedIds": ["1"],
        "e": "0b0e5d5c-8f4d-4c6e-9a39-0123456789ab", "f": b"\x00", "g": [], "h": "paid", "idea": "good", "grid": "yes",
    }  # fmt: skip
    found, dropped = pairs(fields)
    assert found == [("h", "paid"), ("idea", "good"), ("grid", "yes")]
    assert dropped == {NULL: 2, EMPTY: 2, URL: 1, ID: 4, NOT_TEXT: 1}


def test_a_field_is_kept_that_only_looks_like_an_id() -> None:
    assert pairs({"sku": "K1"}, keep=frozenset({"sku"}))[0] == [("sku", "K1")]


def test_fields_asked_for_and_asked_to_be_left_out() -> None:
    fields = {"a": {"b": 1, "c": {"d": 2}}, "e": 3, "offers": [{"price": 1, "note": "x"}]}
    assert pairs(fields, only=frozenset({"a.c", "e"})) == ([("a.c.d", "2"), ("e", "3")], {UNASKED: 2})
    assert pairs(fields, drop=frozenset({"a.c", "offers.note"}))[0] == [
        ("a.b", "1"),
        ("e", "3"),
        ("offers", "price: 1"),
    ]


def test_a_repeated_key_and_value_is_written_once() -> None:
    found, dropped = pairs({"x": [{"y": 1}, {"y": 1}, {"y": 2}]})
    assert found == [("x", "y: 1"), ("x", "y: 2")]
    assert dropped == {REPEATED: 1}


def test_the_flat_form_of_attributes() -> None:
    """Keys and values joined by `#:#` and `#;#`, with a last separator and a piece that has no value."""
    text = "shade#:#warm#;#place#:#hall: wall#;#odd#;#power#:# 4 W #;#"
    found, dropped = pairs({"attributes": text}, flat=frozenset({"attributes"}))
    assert found == [("shade", "warm"), ("place", "hall: wall"), ("power", "4 W")]
    assert dropped == {NO_PAIR: 1}
    lines = pairs({"text": "shade: warm\nplace: hall"}, flat=frozenset({"text"}), separators=(": ", "\n"))[0]
    assert lines == [("shade", "warm"), ("place", "hall")]


def test_deep_nesting_and_long_lists_are_cut_and_counted() -> None:
    deep: object = "bottom"
    for _ in range(5000):
        deep = {"x": deep}
    nested_lists: object = 1
    for _ in range(900):
        nested_lists = [nested_lists, {"y": 2}]
    found, dropped = pairs({"deep": deep, "lists": nested_lists, "long": list(range(10_000)), "ok": 1}, most_items=4)
    assert ("long", "0; 1; 2; 3") in found
    assert ("ok", "1") in found
    assert dropped[TOO_MANY] == 9996
    assert dropped[TOO_DEEP] == 2


def test_values_of_odd_types() -> None:
    assert scalar(1e300) == ("1e+300", "")
    assert scalar(-0.0) == ("0", "")
    assert scalar(datetime.date(2021, 9, 1)) == ("2021-09-01", "")
    assert scalar("two\nlines\t and\0more") == ("two lines and more", "")
    assert scalar({}) == ("", NOT_TEXT)


@pytest.mark.parametrize(
    ("key", "found"),
    [("a.b", ["1", "2"]), ("a", []), ("c.d", ["x"]), ("c", []), ("e", []), ("a.b.z", []), ("list.k", ["u", "v"])],
)
def test_values_under_a_dotted_key(key: str, found: list[str]) -> None:
    fields = {"a": {"b": [1, 2, 1]}, "c.d": "x", "e": None, "list": [{"k": "u"}, {"k": ["v"]}, 3]}
    assert values_at(fields, key, 10) == found
