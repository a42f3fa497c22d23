"""What is fuzzed: every reader of files, the two plan readers, and the HTML page. See benchmarks/fuzz.py.

A target is a function of a folder and of bytes. It returns when what it calls did as it promises, and raises otherwise:
an error that is no UserError, rows that are lost without being counted, an element that came out of text.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable, Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import zstandard

from rewarm import plan
from rewarm.corpora import Corpus
from rewarm.corpora.dates import PERIODS, period_of
from rewarm.facts import Tally
from rewarm.methods import build
from rewarm.records.reading import rows as record_rows
from rewarm.records.spec import Source, read_spec
from rewarm.report.markdown import markdown
from rewarm.report.page import html
from rewarm.report.result import Result
from rewarm.tasks import plan as task_plan
from rewarm.tasks.reading import read_tasks, task_of
from rewarm.types import BadRows, UserError

Target = Callable[[Path, bytes], None]
Make = Callable[[str], Corpus]
PLAN = """base: some/model
output_dir: run
corpora: {old: old.jsonl, new: {path: new.jsonl, holdout: 5%}}
stages:
- {name: june, data: new, tokens: 1M, learning_rate: 1e-3, replay: {from: old, share: 10%}, schedule: wsd}
watch: [old, {corpus: new, role: new}]
probes: {facts: facts.jsonl}
controls: [new-only]
"""
LEARN = """base: some/model
output_dir: run
tasks: {a: {kind: classes, path: a.jsonl}, b: {kind: classes, path: b.jsonl, where: {split: x}}}
ways: [naive, {type: replay, rows: 4}]
orders: [[a, b]]
"""
SPEC = "sources: {a: {path: a.csv, edges: [brand, 'tree:path']}}\nlimit: 4k\n"
TEXT_ROW = b'{"text": "one", "id": 1}\n{"text": "two", "id": "x", "title": null}\n'
CHAT_ROW = b'{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}\n'
PAIR_ROW = b'{"prompt": "p", "chosen": "one", "rejected": "two"}\n'
FACT_ROW = b'{"subject": "a", "relation": "r", "object": ["b", "c"], "label": "new", "date": "2021-01-03"}\n'
TABLE = b'subject,relation,object\na,r,"b\n""c"""\nd,r,e\n'
WIKI = (
    b"<mediawiki><page><title>T</title><ns>0</ns><id>1</id><revision><id>2</id><timestamp>2021-01-03T00:00:00Z"
    b"</timestamp><text>'''T''' is [[a|b]] {{Infobox x|a=1}} <ref>x</ref>\n== H ==\n* i\n{| a\n|}</text></revision>"
    b"</page></mediawiki>"
)
ITEM = (
    b'[\n{"type":"item","id":"Q1","labels":{"en":{"value":"a"}},"claims":{"P1":[{"mainsnak":{"snaktype":"value",'
    b'"datavalue":{"value":{"id":"Q1"}}},"rank":"normal","qualifiers":{}}]}},\n{"type":"property","id":"P1",'
    b'"labels":{"en":{"value":"r"}},"claims":[]}\n]\n'
)


def parquet_seed() -> bytes:
    """A small Parquet file."""
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"text": ["one", "two"], "id": [1, 2]}), file)
    return file.getvalue()


def written(file: Path, content: bytes) -> str:
    """Writes a file; its path as text."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return str(file)


def _packings(content: bytes) -> Iterable[tuple[str, bytes]]:
    """The content as it is under each name of a packing, and packed."""
    yield "", content
    yield ".gz", content
    yield ".zst", content
    yield ".gz", _gzip(content)
    yield ".zst", zstandard.ZstdCompressor(level=1).compress(content)


def _gzip(content: bytes) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(content) + packer.flush()


def corpus(kind: str, suffix: str, **options: Any) -> Target:
    """Reads a corpus of one file in every packing; fails where rows are not documents and bad rows."""

    def target(folder: Path, content: bytes) -> None:
        for packing, held in _packings(content):
            path = written(folder / kind / f"a{suffix}{packing}", held)
            made = build("corpora", {"type": kind, "path": path, **options})
            assert isinstance(made, Corpus)
            bad = BadRows()
            documents = list(made.read(bad))
            assert bad.rows == len(documents) + bad.total, (bad, len(documents))
            for document in documents:
                document.text.encode("utf-8")
                assert "\0" not in document.text

    return target


def counted(folder_name: str, kind: str, suffix: str) -> Target:
    """Reads facts or probes; fails where rows are not what came out, bad rows and rows left out."""

    def target(folder: Path, content: bytes) -> None:
        path = written(folder / folder_name / kind / f"a{suffix}", content)
        tally = Tally()
        try:
            found = list(build(folder_name, {"type": kind, "path": path}).read(tally))  # type: ignore[attr-defined]
        except UserError:
            return
        assert tally.rows == len(found) + tally.total + tally.left_out.total(), (tally, len(found))

    return target


def records(suffix: str) -> Target:
    """Reads rows of records; fails where rows are not records and bad rows."""

    def target(folder: Path, content: bytes) -> None:
        source = Source(path=written(folder / "records" / f"a{suffix}", content))
        bad = BadRows()
        try:
            found = list(record_rows(source, bad))
        except UserError:
            return
        assert bad.rows == len(found) + bad.total, (bad, len(found))

    return target


def tasks(folder: Path, content: bytes) -> None:
    """Reads the rows of a task of each kind."""
    path = written(folder / "tasks" / "a.jsonl", content)
    for kind in ("classes", "labelling", "answers"):
        try:
            read_tasks({"a": task_of({"kind": kind, "path": path}, "a")}, (), 0.5)
        except UserError:
            continue


def dates(folder: Path, content: bytes) -> None:
    """A date is a period that begins with its year, or None."""
    text = content.decode("utf-8", "replace")
    values: list[Any] = [text]
    for number in (int, float):
        try:
            values.append(number(text))
        except (ValueError, OverflowError):
            continue
    for value in values:
        for period in PERIODS:
            found = period_of(value, period)  # type: ignore[arg-type]
            assert found is None or len(found) in (4, 7, 10), found


def plan_text(folder: Path, content: bytes) -> None:
    """A plan, a plan of tasks or a spec that is refused is refused by a UserError."""
    path = folder / "plan.yaml"
    written(path, content)
    for read in (plan.load, task_plan.load, read_spec):
        try:
            read(path)
        except UserError:
            continue


def plan_values(values: Any) -> None:
    """As `plan_text`, for values that YAML or JSON gave."""
    for read in (plan.from_values, task_plan.from_values):
        try:
            read(values)
        except UserError:
            continue


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))

    handle_startendtag = handle_starttag


def tags(page: str) -> list[tuple[str, tuple[str, ...]]]:
    """Every element of a page with the names of its attributes, in order."""
    reader = _Tags()
    reader.feed(page)
    reader.close()
    return reader.found


MARKER = "Qfuzzed"


def page_of(result: Result) -> Target:
    """Puts text into every place of a result that holds the marker; fails when a page has other elements for it."""
    template = result.model_dump_json()
    harmless = tags(html(Result.model_validate_json(template)))

    def target(folder: Path, content: bytes) -> None:
        text = "x" + content.decode("utf-8", "replace")  # a page may leave an empty text out
        held = Result.model_validate_json(template.replace(MARKER, json.dumps(text)[1:-1]))
        page = html(held)
        page.encode("utf-8")
        assert tags(page) == harmless, "an element came out of text"
        markdown(held).encode("utf-8")

    return target


def readers() -> dict[str, tuple[Target, list[bytes]]]:
    """Every target of bytes but the page, with seeds."""
    return {
        "jsonl": (corpus("jsonl", ".jsonl", max_row_bytes=4096, id_field="id"), [TEXT_ROW]),
        "json array": (corpus("chat", ".json", max_row_bytes=4096), [b"[" + CHAT_ROW.strip() + b"]"]),
        "chat": (corpus("chat", ".jsonl"), [CHAT_ROW]),
        "preferences": (corpus("preferences", ".jsonl"), [PAIR_ROW]),
        "text": (corpus("text", ".txt", max_row_bytes=4096), [b"one\r\ntwo\rthree\n"]),
        "code": (corpus("code", ".py"), [b"def f():\n    return 1\n"]),
        "wiki": (corpus("wiki", ".xml"), [WIKI]),
        "parquet": (corpus("parquet", ".parquet"), [parquet_seed()]),
        "triples csv": (counted("facts", "triples", ".csv"), [TABLE]),
        "triples tsv": (counted("facts", "triples", ".tsv"), [TABLE.replace(b",", b"\t")]),
        "triples jsonl": (counted("facts", "triples", ".jsonl"), [FACT_ROW]),
        "wikidata": (counted("facts", "wikidata", ".json"), [ITEM]),
        "probes": (counted("probes", "jsonl", ".jsonl"), [FACT_ROW]),
        "records csv": (records(".csv"), [TABLE]),
        "records json": (records(".json"), [b"[" + TEXT_ROW.strip().replace(b"\n", b",") + b"]"]),
        "records jsonl": (records(".jsonl"), [TEXT_ROW]),
        "records parquet": (records(".parquet"), [parquet_seed()]),
        "tasks": (tasks, [b'{"text": "a", "label": "x", "tokens": ["a"], "labels": ["b"], "prompt": "p"}\n' * 3]),
        "dates": (dates, [b"2021-09-14T10:30:00Z", b"1630000000", b"20210914"]),
        "plan": (plan_text, [PLAN.encode(), LEARN.encode(), SPEC.encode()]),
    }
