"""Products and a category tree with some values taken out, and probes that ask for these values.

A probe is a pair of a record and a key whose value is taken out of that record, before any text is made of it. It is
`line` (cross-node) when another product of the same name states the same value, `tree` (cross-node) when the value is a
category's parent whose own record lists the category, and `own` (within-node) when no product of the same name states
the value, so that only the record's other fields tell of it. A record has one probe at most, and no record that
states a value for a probe has a probe for the same key.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import zstandard

Row = dict[str, Any]
UNSAID = ("id", "line", "maker", "path")
"""Fields that make edges and are in no text."""
UNASKED = ("name", "price", "price per gb", "category", *UNSAID)
KINDS = ("line", "tree", "own")


def order(*parts: str) -> str:
    """A key to sort by that is random and the same on every machine."""
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8).hexdigest()


def read(file: Path) -> Iterator[Row]:
    """The rows of a packed JSON lines file."""
    with file.open("rb") as packed:
        yield from map(json.loads, io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(packed), "utf-8"))


def products(rows: Iterator[Row], count: int) -> list[Row]:
    """About `count` products, whole lines (products of one name and category) at a time, exact copies left out."""
    lines: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in rows:
        fields = {key.replace("_", " "): value for key, value in row["attributes"].items() if value is not None}
        made = {"name": fields.pop("name"), "category": row["category"].replace("-", " "), **fields}
        line = f"{made['category']}/{made['name']}"
        lines[line].setdefault(json.dumps(made, sort_keys=True), {"id": row["id"], "line": line, **made})
    chosen: list[Row] = []
    for line in sorted(lines, key=order):
        # Lines of one product are half of all, and have no neighbour of their own.
        if len(chosen) < count and (len(lines[line]) > 1 or order("alone", line) < "2"):
            chosen += lines[line].values()
    for row in chosen:
        row["maker"] = f"{row['category']}/{str(row['name']).split()[0]}"
    return chosen


def categories(rows: Iterator[Row]) -> list[Row]:
    """Every path of the tree once: its name, its parent's name and the names below it."""
    texts = {row["text"].split("\n")[0]: row["text"].partition("\nsubcategories: ")[2] for row in rows}
    made = []
    for path, below in sorted(texts.items()):
        *above, name = path.split(" > ")
        row: Row = {"id": path, "path": path, "name": name}
        row |= {"parent": above[-1]} if above else {}
        row |= {"subcategories": below.split("; ")} if below else {}
        made.append(row)
    return made


def said(value: Any) -> str:
    """A value as the documents write it, in plain cases."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "; ".join(said(item) for item in value)
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def text(row: Row, without: str = "") -> str:
    """A record as a document writes it, its fields in their own order, one left out."""
    keys = [key for key in row if key not in (*UNSAID, "name", without)]
    return "\n".join([f"name: {row['name']}", *(f"{key}: {said(row[key])}" for key in keys)])


def product_probes(rows: Sequence[Row], each: int) -> list[Row]:
    """Up to `each` probes of the kinds `line` and `own`; the values are taken out of `rows`."""
    lines: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        lines[row["line"]].append(row)
    states: set[tuple[str, str]] = set()  # records whose value of a key a probe needs
    asked: set[str] = set()
    pairs = [(row, key) for row in rows if len(lines[row["line"]]) > 1 for key in row if key not in UNASKED]
    found: dict[str, list[Row]] = {"line": [], "own": []}
    for row, key in sorted(pairs, key=lambda pair: order("pair", pair[0]["id"], pair[1])):
        if row["id"] in asked or (row["id"], key) in states:
            continue
        others = [other for other in lines[row["line"]] if other is not row]
        same = [other for other in others if other.get(key) == row[key]]
        kind = "line" if same else "own"
        if len(found[kind]) >= each:
            continue
        shown = (same[:1] + [other for other in others if other not in same[:1]])[:3]
        found[kind].append({"kind": kind, "record": row["id"], "key": key, "shown": [other["id"] for other in shown]})
        asked.add(row["id"])
        states |= {(other["id"], key) for other in same}
    return [_taken(rows, probe) for probe in found["line"] + found["own"]]


def tree_probes(rows: Sequence[Row], each: int) -> list[Row]:
    """Up to `each` probes for parents that list their child; the values are taken out of `rows`."""
    by_path = {row["path"]: row for row in rows}
    found: list[Row] = []
    for row in sorted(rows, key=lambda row: order("tree", row["id"])):
        parent = by_path.get(row["path"].rpartition(" > ")[0])
        if len(found) < each and parent is not None and row["name"] in parent.get("subcategories", ()):
            found.append({"kind": "tree", "record": row["id"], "key": "parent", "shown": [parent["id"]]})
    return [_taken(rows, probe) for probe in found]


def _taken(rows: Sequence[Row], probe: Row) -> Row:
    row = next(row for row in rows if row["id"] == probe["record"])
    return probe | {"answer": said(row.pop(probe["key"]))}


def prompts(rows: Sequence[Row], probe: Row) -> dict[str, str]:
    """What stands before the answer: the record `alone`, after records `linked` with it, or after as many others.

    Call it when every value is taken out: what is shown has then lost its own.
    """
    by_id = {row["id"]: row for row in rows}
    asked = f"{text(by_id[probe['record']])}\n{probe['key']}:"
    start = int(order("other", probe["record"]), 16)
    others = [rows[(start + 7919 * step) % len(rows)] for step in range(len(probe["shown"]))]
    found = {"alone": [], "linked": [by_id[name] for name in probe["shown"]], "unlinked": others}
    return {form: "\n\n".join([*map(text, shown), asked]) for form, shown in found.items()}


def write(data: Path, output: Path, count: int, each: int) -> None:
    """Writes products.jsonl, tree.jsonl and probes.jsonl into a folder, unless they are there."""
    if (output / "probes.jsonl").is_file():
        return
    output.mkdir(parents=True, exist_ok=True)
    goods = products(read(data / "ecommerce/pc_parts_products.jsonl.zst"), count)
    tree = categories(read(data / "ecommerce/bestbuy_category_tree.jsonl.zst"))
    made = [(goods, product_probes(goods, each)), (tree, tree_probes(tree, each))]
    probes = [probe | {"prompts": prompts(rows, probe)} for rows, found in made for probe in found]
    for name, rows in (("products", goods), ("tree", tree), ("probes", probes)):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (output / f"{name}.jsonl").write_text(lines, encoding="utf-8")
