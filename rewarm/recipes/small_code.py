"""What the small recipe of CERT reads: modules of the standard library that every installation has, and a few problems
of our own."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from pathlib import Path

from rewarm.recipes.demo_text import write_documents, write_rows
from rewarm.types import Document

MAX_BYTES = 40_000
"""Of a module: longer ones are not taken."""
LEFT_OUT = frozenset({"site-packages", "test", "tests", "idlelib", "lib2to3", "__pycache__"})
PROBLEMS = {
    "digits": ("def digits(text):\n    # every run of digits in the text\n", "    return re.findall(r'[0-9]+', text)\n",
               "assert candidate('a1 b22') == ['1', '22']"),
    "words": ("def words(text):\n    # the words of the text\n", "    return re.findall(r'[a-z]+', text)\n",
              "assert candidate('to be') == ['to', 'be']"),
    "no_blanks": ("def no_blanks(text):\n    # the text without white space\n",
                  "    return re.sub(r'\\s+', '', text)\n",
                  "assert candidate('a b\\tc') == 'abc'"),
    "is_number": ("def is_number(text):\n    # whether the text is a whole number\n",
                  "    return re.fullmatch(r'-?[0-9]+', text) is not None\n",
                  "assert candidate('-12') and not candidate('1x')"),
    "fields": ("def fields(line):\n    # what stands between commas and blanks\n",
               "    return re.split(r'[, ]+', line)\n", "assert candidate('a, b c') == ['a', 'b', 'c']"),
    "starts": ("def starts(text, word):\n    # whether the text starts with the word\n",
               "    return re.match(re.escape(word), text) is not None\n",
               "assert candidate('a.b', 'a.') and not candidate('axb', 'a.')"),
}  # fmt: skip


def write_cert(folder: Path) -> None:
    """Writes sources.jsonl and problems.jsonl."""
    write_documents(folder / "sources.jsonl", list(_modules(Path(sysconfig.get_path("stdlib")))))
    rows = [
        {
            "task_id": f"small/{name}", "prompt": f"import re\n\n\n{prompt}", "entry_point": name,
            "canonical_solution": answer, "test": f"def check(candidate):\n    {test}\n",
        }
        for name, (prompt, answer, test) in PROBLEMS.items()
    ]  # fmt: skip
    write_rows(folder / "problems.jsonl", rows)


def _modules(root: Path) -> Iterator[Document]:
    for file in sorted(root.rglob("*.py")):
        name = file.relative_to(root)
        if LEFT_OUT.isdisjoint(name.parts) and file.stat().st_size <= MAX_BYTES:
            text = file.read_text(encoding="utf-8", errors="replace")
            if "def " in text and "\ufffd" not in text:
                yield Document(str(name), text, str(name), {"group": str(name.parent)})
