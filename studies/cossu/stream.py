"""The text of the study: five domains with labels of their own, and what must not be forgotten, as passages.

Each domain is cut into passages of about 800 characters with a label that its source gives (year of an abstract, title
of a statute, which textbook, kind of product, which project), balanced over the labels. Documents are on one side:
`<domain>.jsonl` is trained on, `<domain>-held.jsonl` is not. Old text is books: passages of the six that the base's own
run held out, and of authors of two books or more, the last book being the one they are asked about.
"""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import zstandard

from rewarm.hashing import seed_of, text_hash
from rewarm.suites.splits import part_of
from rewarm.tokens.order import is_held_out

Row = Mapping[str, Any]
PASSAGE, SHORT = 800, 480
HELD = 0.25
HELD_BOOKS = 0.05
"""The holdout of the base's own run (`studies/river.py`), by book."""
MOST_OF_A_DOCUMENT = 24
AUTHORS = 10


def _years(row: Row) -> str:
    first = int(row["date"][:4]) // 2 * 2
    return f"{first}-{first + 1}"


DOMAINS: dict[str, tuple[str, Callable[[Row], str], tuple[str, ...]]] = {
    "abstracts": ("domains/acl_abstracts_2016_2021", _years, ("2016-2017", "2018-2019", "2020-2021")),
    "statutes": ("domains/legal_us_code", lambda row: str(row["group"]), ("usc11", "usc17", "usc18", "usc35")),
    "biology": (
        "domains/biology_openstax", lambda row: str(row["id"]).split("/")[0], ("anatomy", "biology"),
    ),
    "products": (
        "ecommerce/pc_parts_products", lambda row: str(row["category"]),
        ("case", "keyboard", "memory", "monitor", "motherboard", "video-card"),
    ),
    "code": (
        "code/python_pandas_numpy_src", lambda row: str(row["source"]),
        ("dask/dask", "mwaskom/seaborn", "pydata/xarray", "statsmodels/statsmodels"),
    ),
}  # fmt: skip
"""Files, label of a record, and the labels that are used."""


def rows(file: Path) -> Iterator[dict[str, Any]]:
    """The rows of a packed file of JSON lines."""
    with file.open("rb") as packed, zstandard.ZstdDecompressor().stream_reader(packed) as plain:
        for line in io.TextIOWrapper(plain, encoding="utf-8"):
            yield json.loads(line)


def passages(text: str, size: int) -> Iterator[str]:
    """Pieces of about `size` characters cut at white space; a rest of less than a third is left out, a text is not."""
    start = 0
    while start == 0 < len(text) or len(text) - start > size // 3:
        end = min(len(text), start + size)
        if end < len(text):
            blank = max(text.rfind(" ", start + 1, end), text.rfind("\n", start + 1, end))
            end = blank if blank > start else end
        if piece := text[start:end].strip():
            yield piece
        start = end


def _write(file: Path, made: Iterable[Row]) -> int:
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in made]
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text("".join(lines), encoding="utf-8")
    partial.replace(file)
    return len(lines)


def domain(data: Path, name: str, characters: int) -> dict[str, list[dict[str, str]]]:
    """Passages of a domain to train on (about so many characters) and held out (a quarter of that), by label alike."""
    file, label_of, labels = DOMAINS[name]
    records = sorted(rows(data / f"{file}.jsonl.zst"), key=lambda row: seed_of(0, row["id"]))
    left = {("train", label): characters // len(labels) for label in labels}
    left |= {("held", label): characters // 4 // len(labels) for label in labels}
    found: dict[str, list[dict[str, str]]] = {"train": [], "held": []}
    for row in records:
        side, label = "held" if part_of(row["id"], HELD, 0.0) == "dev" else "train", label_of(row)
        for number, text in enumerate(passages(row["text"], PASSAGE)):
            if left.get((side, label), 0) > 0 and number < MOST_OF_A_DOCUMENT:
                left[side, label] -= len(text)
                found[side].append({"id": f"{row['id']}#{number}", "text": text, "label": f"{name}: {label}"})
    return found


def books(data: Path) -> dict[str, list[dict[str, str]]]:
    """`books-held`: passages of held-out books; `fc-books`: which of them is it; `fc-authors`: who wrote it.

    Of an author, the last book is for testing, and the last tenth of the records of the others for choosing.
    """
    by_book: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows(data / "base/classic_books_en.jsonl.zst"):
        by_book[row["author"], row["group"]].append(row)
    held = {key: found for key, found in by_book.items() if is_held_out(text_hash(key[1]), HELD_BOOKS)}
    plain, which = [], []
    for (_, title), found in held.items():
        for row in _spread(found, 8):
            pieces = _spread(list(passages(row["text"], PASSAGE)), 12)
            plain += [{"id": f"{row['id']}#{number}", "text": text} for number, text in enumerate(pieces)]
        which += [piece | {"label": title} for row in found for piece in _short(row, 250 // len(found) + 1)]
    titles: dict[str, list[str]] = defaultdict(list)
    for author, title in sorted(by_book.keys() - held.keys()):
        titles[author].append(title)
    several = sorted((author for author in titles if len(titles[author]) > 1), key=lambda one: -_size(by_book, one))
    who = []
    for author in several[:AUTHORS]:
        last = titles[author][-1]
        for title in titles[author]:
            found = by_book[author, title]
            for number, row in enumerate(found):
                split = (
                    "test" if title == last else "dev" if number >= min(0.9 * len(found), len(found) - 1) else "train"
                )
                who += [piece | {"label": author, "split": split} for piece in _short(row, 6)]
    return {"books-held": plain, "fc-books": which, "fc-authors": who}


def _size(by_book: Mapping[tuple[str, str], list[Any]], author: str) -> int:
    return sum(len(found) for (one, _), found in by_book.items() if one == author)


def _short(row: Row, count: int) -> Iterator[dict[str, str]]:
    for number, text in enumerate(_spread(list(passages(row["text"], SHORT)), count)):
        yield {"id": f"{row['id']}#{number}", "text": text, "record": str(row["id"])}


def _spread(values: list[Any], count: int) -> list[Any]:
    """At most so many of some values, evenly apart."""
    if len(values) <= count:
        return values
    return [values[place * len(values) // count] for place in range(count)]


def write(data: Path, folder: Path, characters: int) -> Path:
    """Every file of the study, once; returns the folder. `fc-stream` asks for domain and label of held-out passages."""
    done = folder / "written.json"
    if done.is_file() and json.loads(done.read_text(encoding="utf-8"))["characters"] == characters:
        return folder
    counts: dict[str, int] = {"characters": characters}
    asked = []
    for name in DOMAINS:
        found = domain(data, name, characters)
        counts[name] = _write(folder / f"{name}.jsonl", found["train"])
        counts[f"{name}-held"] = _write(folder / f"{name}-held.jsonl", found["held"])
        asked += [row | {"text": next(passages(row["text"], SHORT))} for row in found["held"]]
    for name, made in {**books(data), "fc-stream": asked}.items():
        counts[name] = _write(folder / f"{name}.jsonl", made)
    done.write_text(json.dumps(counts, indent=1) + "\n", encoding="utf-8")
    return folder
