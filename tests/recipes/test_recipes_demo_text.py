"""The demo's real text: same bytes each time, sane sizes, and only the parts of sources that belong in it."""

import json
import re
import sysconfig
from collections import Counter
from pathlib import Path

import pytest

from rewarm.recipes import demo_text
from rewarm.recipes.demo_facts import RELATIONS
from rewarm.recipes.demo_text import code, docstrings, old, prose, write
from rewarm.types import UserError

LONG_SENTENCE = "This is a sentence of the reference that the reader should be able to read without any trouble. "


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write(tmp_path_factory.mktemp("demo"))


def rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# The two files


def test_writing_twice_gives_the_same_bytes(written: dict[str, Path], tmp_path: Path) -> None:
    again = write(tmp_path / "new" / "folder")
    assert list(again) == ["old", "code"]
    assert {name: path.name for name, path in again.items()} == {
        "old": "old.jsonl",
        "code": "code.jsonl",
    }
    for name, path in again.items():
        assert path.read_bytes() == written[name].read_bytes()
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [
        "code.jsonl",
        "old.jsonl",
    ]


def test_only_a_file_with_other_content_is_written_again(tmp_path: Path) -> None:
    first = write(tmp_path)
    whole = first["code"].read_bytes()
    first["code"].write_bytes(whole[:1000])
    before = {name: path.stat().st_mtime_ns for name, path in first.items()}
    second = write(tmp_path)
    after = {name: path.stat().st_mtime_ns for name, path in second.items()}
    assert after["old"] == before["old"]
    assert after["code"] != before["code"]
    assert second["code"].read_bytes() == whole


@pytest.mark.parametrize(
    ("name", "fewest", "least_bytes", "most_bytes"),
    [
        ("old", 300, 1_000_000, 2_000_000),
        ("code", 60, 1_000_000, 1_700_000),
    ],
)
def test_sizes_and_fields(written: dict[str, Path], name: str, fewest: int, least_bytes: int, most_bytes: int) -> None:
    found = rows(written[name])
    assert len(found) >= fewest
    assert least_bytes <= sum(len(row["text"].encode()) for row in found) <= most_bytes
    assert all(list(row) == ["id", "text", "group"] for row in found)
    assert all(row["text"].strip() and row["group"] for row in found)
    assert len({row["id"] for row in found}) == len(found)
    assert len({row["text"] for row in found}) == len(found)


def test_groups_are_many_enough_to_hold_some_out_whole(written: dict[str, Path]) -> None:
    counts = {name: len({row["group"] for row in rows(path)}) for name, path in written.items()}
    assert counts["old"] >= 150
    assert counts["code"] >= 7


# Old prose


def test_docstrings_come_unindented_in_the_order_of_the_source() -> None:
    source = '''"""Module."""
class Outer:
    """Outer.

    First line.
        Deeper line.
    """
    def method(self):
        """Method."""
        def inner():
            "Inner."
    async def later(self):
        """Later."""
def after():
    return "no docstring"
class Last:
    """Last."""
'''
    assert docstrings(source) == [
        "Module.",
        "Outer.\n\nFirst line.\n    Deeper line.",
        "Method.",
        "Inner.",
        "Later.",
        "Last.",
    ]


def test_prose_keeps_english_and_drops_examples_grammar_signatures_and_titles() -> None:
    text = """The standard hierarchy of types
    *******************************

    The ``open`` call of :mod:`io` and :class:`the file <io.FileIO>` returns a file that must be closed.

    >>> the_file_is_a_file = open("a")
    'this is what the example prints'

    The end of a line is kept,
    as it was in the text.

       assert_stmt ::= "assert" expression ["," expression]

        for item in things:
            print(item, item + 1)

    copy(source, target, follow=True, exist_ok=False)

    too short
    """
    assert prose(text) == [
        'The "open" call of io and the file returns a file that must be closed.',
        "The end of a line is kept,\nas it was in the text.",
    ]


def library(folder: Path, **modules: str) -> Path:
    """A small standard library: two topics, and modules whose names have `__` for a folder."""
    (folder / "pydoc_data").mkdir(parents=True)
    topics = {"while": LONG_SENTENCE * 4, "assert": "The first of the topics is this one. " * 10}
    (folder / "pydoc_data" / "topics.py").write_text(f"# -*- coding: utf-8 -*-\ntopics = {topics!r}\n")
    for name, text in modules.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'"""{text}"""\nraise RuntimeError("imported")\n')
    return folder


def test_topics_and_standard_modules_are_read_and_optional_parts_are_not(tmp_path: Path) -> None:
    folder = library(
        tmp_path,
        json__decoder="The decoder is the part that reads. " * 10,
        json__tests__big="The tests of a module are not for reading. " * 10,
        abc="The abstract base of a class is made here. " * 10,
        tkinter__font="The font of the window is an optional part. " * 10,
        zebra="The zebra is not a part of the library. " * 10,
        heapq="It is short.",
        copy=LONG_SENTENCE * 4,
    )
    found = old(folder)
    assert [one.id for one in found] == [
        "topic/assert",
        "topic/while",
        "module/abc.py",
        "module/json/decoder.py",
    ]
    assert [one.meta["group"] for one in found] == [
        "topic/assert",
        "topic/while",
        "module/abc",
        "module/json",
    ]
    assert found[1].text == (LONG_SENTENCE * 4).strip()


def test_long_prose_becomes_several_documents_of_one_group(tmp_path: Path) -> None:
    # 22 paragraphs of 402 characters: 19 of them and the blank lines between are 7674, 20 would be 8078.
    paragraphs = [f"{number:02d} " + "a b c d e of the " * 23 + "12345678" for number in range(22)]
    assert {len(one) for one in paragraphs} == {402}
    found = old(library(tmp_path, abc="\n\n".join(paragraphs)))[2:]
    assert [one.id for one in found] == ["module/abc.py#1", "module/abc.py#2"]
    assert [len(one.text) for one in found] == [19 * 402 + 18 * 2, 3 * 402 + 2 * 2]
    assert {one.meta["group"] for one in found} == {"module/abc"}


def test_each_paragraph_of_the_real_library_is_there_once() -> None:
    found = old(Path(sysconfig.get_path("stdlib")))
    counts = Counter(paragraph for one in found for paragraph in one.text.split("\n\n"))
    assert counts.most_common(1)[0][1] == 1
    assert not [one.id for one in found if re.search(r"^[ \t]*>>>", one.text, re.MULTILINE) or "::=" in one.text]


def test_a_library_without_source_is_a_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"topics\.py' does not exist"):
        old(tmp_path)


# Code


@pytest.fixture
def heron(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package whose import fails, as the only one the demo reads."""
    folder = tmp_path / "heron"
    (folder / "tests").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (folder / "tests" / "test_fly.py").write_text("def test_fly() -> None: ...\n" * 20)
    (folder / "table.py").write_text("WINGS = 2\n" * 100)
    (folder / "fly.py").write_text("#!python\n# Licence.\n\n# More of it.\ndef fly():\n" + "    # up\n" * 50)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(demo_text, "PACKAGES", ("heron",))
    return folder


def test_code_drops_licences_tables_and_tests(heron: Path) -> None:
    found = code()
    assert [one.id for one in found] == ["heron/fly.py"]
    assert found[0].text == "def fly():\n" + "    # up\n" * 50
    assert found[0].meta["group"] == "heron"


def test_a_long_file_is_cut_after_a_whole_line(heron: Path) -> None:
    (heron / "fly.py").write_text("def fly():\n" + "    # ü0123456789\n" * 3000)
    # 11 bytes, then lines of 19 bytes (ü has 2): 2104 lines end at 39987, one more would end at 40006.
    text = code()[0].text
    assert len(text.encode()) == 11 + 2104 * 19
    assert text.endswith("    # ü0123456789\n")


def test_code_stops_before_the_cap(heron: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for letter in "abcd":
        (heron / f"{letter}.py").write_text(f"def {letter}():\n" + "    # up\n" * 49)  # 9 + 49 * 9 = 450 bytes
    (heron / "fly.py").unlink()
    whole = [one.id for one in code()]
    assert sorted(whole) == ["heron/a.py", "heron/b.py", "heron/c.py", "heron/d.py"]
    monkeypatch.setattr(demo_text, "MAX_CODE_BYTES", 3 * 450)
    assert [one.id for one in code()] == whole[:3]


def test_a_missing_package_is_a_users_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_text, "PACKAGES", ("a_package_of_herons",))
    with pytest.raises(UserError, match="'a_package_of_herons', which is not installed"):
        code()


def test_code_comes_from_every_package_and_holds_no_file_over_the_limit(written: dict[str, Path]) -> None:
    found = rows(written["code"])
    for package in demo_text.PACKAGES:
        assert sum(row["id"].startswith(f"{package}/") for row in found) >= 3
    assert max(len(row["text"].encode()) for row in found) <= 40_000
    assert not any(row["text"].startswith("#") for row in found)


def test_no_wording_of_the_facts_occurs_in_the_text_of_others(written: dict[str, Path]) -> None:
    kept = [row["text"] for name in ("old", "code") for row in rows(written[name])]
    others = " ".join(" ".join(text.split()) for text in kept)
    templates = [template for relation in RELATIONS.values() for template in relation.templates]
    wordings = [part.strip(" .,") for template in templates for part in re.split(r"\{[so]\}", template)]
    telling = [part for part in wordings if len(part.split()) >= 5]
    assert len(telling) >= 15
    assert not [part for part in telling if part in others]
