"""`rewarm corpus sketch` from the command line."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

from rewarm.sketches.blocks import recovered

SKETCH = ("corpus", "sketch")


def rows(file: Path) -> list[dict[str, Any]]:
    with file.open("rb") as packed, zstandard.ZstdDecompressor().stream_reader(packed) as reader:
        return [json.loads(line) for line in io.TextIOWrapper(reader, encoding="utf-8")]


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A folder with two modules that use libraries, one that does not, one that does not parse, and one in C."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "a.py").write_bytes(b"import pandas as pd\r\n\r\ndf = pd.read_csv('a.csv')  # read\r\n")
    (folder / "b.py").write_text("from numpy import ones\n\n\ndef f(n=1):\n    return ones(n)\n")
    (folder / "c.py").write_text("x = 1\n")
    (folder / "d.py").write_text("print 'a'\n")
    (folder / "e.c").write_text("int x = 1;\n")
    return folder


def test_every_source_becomes_its_sketch(code: Path, tmp_path: Path, cli: Any) -> None:
    called = cli(*SKETCH, code, "--out", tmp_path / "out" / "s.jsonl.zst", "--json")
    assert called.code == 0, called.err
    found = called.json()
    assert (found["read"], found["written"]) == (5, 3)
    assert found["dropped"] == {"does not parse as Python": 1, "is no Python but c": 1}
    made = {row["id"]: row for row in rows(tmp_path / "out" / "s.jsonl.zst")}
    assert made["a.py"]["text"] == "import pandas as pd\r\n\r\ndf = pd.read_csv(string)  # read\r\n"
    assert made["a.py"]["language"] == "python"
    dropped = rows(tmp_path / "out" / "s.dropped.jsonl.zst")
    assert [row["id"] for row in dropped] == ["d.py", "e.c"]
    assert dropped[0]["detail"].startswith("line 1: ")
    assert json.loads((tmp_path / "out" / "s.json").read_text())["written"] == 3


def test_a_generators_documents_give_the_sources_back(code: Path, tmp_path: Path, cli: Any) -> None:
    asked = (*SKETCH, code, "--out", tmp_path / "g.jsonl.zst", "--write", "generator", "--library", "pandas")
    called = cli(*asked, "--library", "numpy")
    assert called.code == 0, called.err
    assert "left out: imports none of the libraries" in called.out
    made = rows(tmp_path / "g.jsonl.zst")
    assert [row["id"] for row in made] == ["a.py", "b.py"]
    assert [recovered(row).encode() for row in made] == [(code / row["id"]).read_bytes() for row in made]
    assert "def f(n=number):\n    return ones(n)\n# [segmentation]\n" in made[1]["text"]
    before = (tmp_path / "g.jsonl.zst").read_bytes()
    assert cli(*asked, "--library", "numpy").code == 0
    assert (tmp_path / "g.jsonl.zst").read_bytes() == before


def test_the_control_is_the_same_sources_as_they_are(code: Path, tmp_path: Path, cli: Any) -> None:
    for write in ("sketcher", "sources"):
        called = cli(*SKETCH, code, "--out", tmp_path / f"{write}.jsonl.zst", "--write", write, "--library", "pandas")
        assert called.code == 0, called.err
    sketches, sources = (rows(tmp_path / f"{write}.jsonl.zst") for write in ("sketcher", "sources"))
    assert [row["id"] for row in sources] == [row["id"] for row in sketches] == ["a.py"]
    assert sources[0]["text"].encode() == (code / "a.py").read_bytes()


def test_rows_keep_their_fields(tmp_path: Path, cli: Any) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"content": "count = 1\n", "stars": 3}) + "\n")
    given = f"{{path: {file}, text_field: content, keep_fields: [stars]}}"
    called = cli(*SKETCH, given, "--out", tmp_path / "s.jsonl.zst", "--mode", "names")
    assert called.code == 0, called.err
    assert rows(tmp_path / "s.jsonl.zst") == [{"stars": 3, "id": "rows.jsonl:1", "text": "var = 1\n"}]


def test_a_dry_run_shows_an_example_and_writes_nothing(code: Path, tmp_path: Path, cli: Any) -> None:
    called = cli(*SKETCH, code, "--out", tmp_path / "s.jsonl.zst", "--dry-run")
    assert called.code == 0, called.err
    assert "df = pd.read_csv(string)" in called.out
    assert list(tmp_path.iterdir()) == [code]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--mode", "constant"), "--mode constant: "),
        (("--write", "sketch"), "--write sketch: "),
        (("--library", "scikit-learn"), "--library 'scikit-learn': "),
        (("--out", "x.json"), "--out x.json: give a name that ends in .jsonl.zst"),
    ],
)
def test_wrong_options_are_named(options: tuple[str, ...], message: str, code: Path, tmp_path: Path, cli: Any) -> None:
    called = cli(*SKETCH, code, "--out", tmp_path / "s.jsonl.zst", *options)
    assert called.code == 3
    assert message in called.err
    assert list(tmp_path.iterdir()) == [code]


def test_it_needs_no_torch(code: Path, tmp_path: Path, python: Any) -> None:
    process = python(
        "import sys\nfrom rewarm.cli import call\ncode = call(sys.argv[1:])\n"
        "print('torch' in sys.modules, file=sys.stderr)\nsys.exit(code)",
        *SKETCH, str(code), "--out", str(tmp_path / "s.jsonl.zst"), "--quiet",
    )  # fmt: skip
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "False\n")
