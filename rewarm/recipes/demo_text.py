"""The demo's real text, made from what every installation has: nobody's text is shipped with this package.

`old` is English prose: the language reference and the docstrings of the Python standard library. `code` is the
source of Python packages that rewarm requires. Sources are read and never imported. The same versions of Python
and of the packages give the same text on every machine.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import json
import os
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from textwrap import dedent
from typing import Any

from rewarm.types import Document, UserError

OPTIONAL = frozenset(
    [
        "test",
        "tests",
        "tkinter",
        "turtle",
        "turtledemo",
        "idlelib",
        "lib2to3",
        "distutils",
        "ensurepip",
        "venv",
    ]
)
"""Parts of the standard library that some installations leave out, and its tests: never read."""
PACKAGES = (
    "jinja2",
    "pydantic",
    "rich",
    "transformers/pipelines",
    "transformers/quantizers",
    "typer",
    "yaml",
)
"""Folders of pure Python that this package's own requirements install."""
NOT_CODE = frozenset({"test", "tests", "v1", "deprecated"})
"""Folders of `PACKAGES` not read: tests, and an earlier release kept as a near copy of the present one."""
MIN_CHARACTERS = 300
MAX_PROSE_CHARACTERS = 8_000
MAX_FILE_BYTES = 40_000
MAX_CODE_BYTES = 1_500_000

_ROLE = re.compile(r":[a-z:]+:`[~!]?([^`<]+?)(?:\s*<[^`>]*>)?`")
_DOCTEST = re.compile(r"^[ \t]*>>>.*(?:\n[ \t]*\S.*)*", re.MULTILINE)
_ENGLISH = re.compile(
    r"\b(?:a|an|are|be|been|by|can|has|have|it|its|may|must|of|should|that|the|this|to|was|which|will)\b",
    re.IGNORECASE,
)


def write(directory: Path) -> dict[str, Path]:
    """The paths of `old` and `code`: JSON Lines files in `directory` with `id`, `text` and `group`.

    `group` is what belongs together: a topic or a top-level module, a folder of code.
    A file that already holds the same bytes is left untouched. UserError where sources cannot be found.
    """
    texts = {"old": old(Path(sysconfig.get_path("stdlib"))), "code": code()}
    return {name: write_documents(directory / f"{name}.jsonl", found) for name, found in texts.items()}


def write_documents(path: Path, found: Iterable[Document]) -> Path:
    """Writes documents as JSON Lines with `id`, `text` and `group`, as `write_rows` does; the path."""
    return write_rows(path, ({"id": one.id, "text": one.text, "group": one.meta["group"]} for one in found))


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Writes rows as JSON Lines; a file that already holds the same bytes is left untouched. The path."""
    return write_bytes(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())


def write_bytes(path: Path, content: bytes) -> Path:
    """Writes a whole file at once, unless it already holds the same bytes, and its folder; the path."""
    if not path.is_file() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        partial.write_bytes(content)
        os.replace(partial, path)
    return path


def old(library: Path) -> list[Document]:
    """Prose of the documentation in `library`, the standard library's folder; each paragraph once.

    One document per topic of the language reference and per module; beyond `MAX_PROSE_CHARACTERS` a text
    becomes several documents of one group. Less prose than `MIN_CHARACTERS` makes no document. UserError when
    the folder holds no source.
    """
    found: list[Document] = []
    seen: set[str] = set()
    for name, group, text in chain(_topics(library), _modules(library)):
        fresh = [one for one in dict.fromkeys(prose(text)) if one not in seen]
        seen.update(fresh)
        parts = [part for part in _parts(fresh) if len(part) >= MIN_CHARACTERS]
        for number, part in enumerate(parts, start=1):
            id_ = name if len(parts) == 1 else f"{name}#{number}"
            found.append(Document(id_, part, name, {"group": group}))
    return found


def _topics(library: Path) -> Iterator[tuple[str, str, str]]:
    """Name, group and text of each topic of the language reference, in order of the name."""
    path = library / "pydoc_data" / "topics.py"
    if not path.is_file():
        raise UserError(
            f"the demo reads the standard library's documentation, and '{path}' does not exist. "
            "Run it with a Python that has its whole library as .py files."
        )
    tables = [node.value for node in ast.parse(path.read_bytes()).body if isinstance(node, ast.Assign)]
    for name, text in sorted(ast.literal_eval(tables[0]).items()):
        yield f"topic/{name}", f"topic/{name}", text


def _modules(library: Path) -> Iterator[tuple[str, str, str]]:
    """Name, group and concatenated docstrings of each standard module, in order of the name."""
    for top in sorted(sys.stdlib_module_names - OPTIONAL):
        alone = library / f"{top}.py"
        paths = [alone] if alone.is_file() else list((library / top).rglob("*.py"))
        named = sorted((path.relative_to(library).as_posix(), path) for path in paths)
        for name, path in named:
            if OPTIONAL.isdisjoint(name.split("/")):
                yield f"module/{name}", f"module/{top}", "\n\n".join(docstrings(path.read_bytes()))


def docstrings(source: str | bytes) -> list[str]:
    """The docstrings of a module, its classes and its functions, unindented, in the order of the source."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    holders = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    holders.sort(key=lambda node: getattr(node, "lineno", 0))
    return [text for node in holders if (text := ast.get_docstring(node))]


def prose(text: str) -> list[str]:
    """The paragraphs of English in a text; examples, grammar, signatures and underlined titles are left out.

    A paragraph is English if it has at least four words, is mostly letters, and every sixteenth word or more
    is one that no program is made of.
    """
    plain = _ROLE.sub(r"\1", _DOCTEST.sub("", inspect.cleandoc(text))).replace("``", '"')
    return [dedent(one).strip() for one in re.split(r"\n[ \t]*\n", plain) if _is_english(one)]


def _is_english(paragraph: str) -> bool:
    words = len(re.findall(r"[A-Za-z']+", paragraph))
    letters = sum(character.isalpha() or character.isspace() for character in paragraph)
    mostly_letters = letters >= 0.8 * len(paragraph)
    return words >= 4 and mostly_letters and len(_ENGLISH.findall(paragraph)) * 16 >= words


def _parts(paragraphs: Iterable[str]) -> Iterator[str]:
    """The paragraphs joined into texts of up to `MAX_PROSE_CHARACTERS` (one longer paragraph stays whole)."""
    part = ""
    for one in paragraphs:
        if part and len(part) + 2 + len(one) > MAX_PROSE_CHARACTERS:
            yield part
            part = ""
        part = f"{part}\n\n{one}" if part else one
    yield part


def code() -> list[Document]:
    """Source files of `PACKAGES` in the order of a hash of their names, until `MAX_CODE_BYTES` are full.

    A file is cut after its last whole line within `MAX_FILE_BYTES`. Comments at its top (licences, the same
    in each file) are left out, and so is a file without a function: a table or a list of imports.
    """
    files = {f"{package}/{name}": path for package in PACKAGES for name, path in _sources(package)}
    found: list[Document] = []
    room = MAX_CODE_BYTES
    for name in sorted(files, key=lambda name: hashlib.sha256(name.encode()).digest()):
        text = _cut(re.sub(r"\A(?:[ \t]*(?:#.*)?\n)+", "", files[name].read_text(encoding="utf-8")))
        if len(text) < MIN_CHARACTERS or "def " not in text:
            continue
        room -= len(text.encode())
        if room < 0:
            break
        found.append(Document(name, text, name, {"group": name.rpartition("/")[0]}))
    return found


def _sources(package: str) -> Iterator[tuple[str, Path]]:
    """Relative name and path of the Python files of a package's folder, found without importing it."""
    top, _, inside = package.partition("/")
    spec = importlib.util.find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"the demo reads the source of '{top}', which is not installed. Install rewarm again.")
    folder = Path(spec.submodule_search_locations[0]) / inside
    for path in folder.rglob("*.py"):
        name = path.relative_to(folder)
        if NOT_CODE.isdisjoint(name.parts):
            yield name.as_posix(), path


def _cut(text: str) -> str:
    encoded = text.encode()
    if len(encoded) <= MAX_FILE_BYTES:
        return text
    return encoded[: encoded.rfind(b"\n", 0, MAX_FILE_BYTES) + 1].decode()
