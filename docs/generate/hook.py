"""What mkdocs calls: it adds pages made of the README, the registry of methods and the docstrings, and the navigation.

Mentions of other pages in the text (`docs/scale.md`) become links, and pictures of `studies/` become part of the site.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
import methods as method_pages  # noqa: E402
import nav as navigation  # noqa: E402
from markdown.extensions import Extension  # noqa: E402
from markdown.inlinepatterns import InlineProcessor  # noqa: E402
from mkdocs.structure.files import File, Files  # noqa: E402

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "rewarm"
_CODE = re.compile(r"(^```.*?^```|^(?: {4}|\t).*$|`[^`\n]*`|\]\([^)]*\))", re.MULTILINE | re.DOTALL)
_MENTION = re.compile(r"\bdocs/([\w-]+)\.md\b")
_PICTURE = re.compile(r"\]\((?:\.\./)?((?:docs|studies)/[^)]+\.(?:svg|png))\)")


class _Entry(InlineProcessor):
    """`R[i][j]` is an entry of a matrix, not a reference to something called j."""

    def handleMatch(self, m: Any, data: str) -> Any:
        """The text as it stands."""
        return m[0], m.start(0), m.end(0)


class Matrices(Extension):
    """Leaves entries of matrices alone; it comes before all that knows links."""

    def extendMarkdown(self, md: Any) -> None:
        """Registers the pattern."""
        md.inlinePatterns.register(_Entry(r"(?<=\w)\[[\w +-]+\]\[[\w +-]+\]", md), "entries of matrices", 175)


def on_config(config: Any) -> Any:
    """Sets the navigation, and keeps entries of matrices from being taken for links."""
    config["markdown_extensions"].append(Matrices())
    kinds = {
        title: [f"methods/{kind}/index.md", *(f"methods/{kind}/{entry.name}.md" for entry in _of_kind(kind))]
        for kind, (title, _, _) in method_pages.KINDS.items()
    }
    config["nav"] = navigation.nav(kinds, [path for path, _ in reference_pages()])
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds what is made: the start page, methods, reference, and the pictures that lie beside the studies."""
    made = [("index.md", (ROOT / "README.md").read_text(encoding="utf-8")), *method_pages.pages(), *reference_pages()]
    for path, text in made:
        files.append(File.generated(config, path, content=text))
    for picture in sorted((ROOT / "studies").rglob("*.svg")):
        path = picture.relative_to(ROOT).as_posix()
        files.append(File.generated(config, path, content=picture.read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Any, **more: Any) -> str:
    """Turns mentions of pages into links, and paths of pictures into those of the site."""
    return linked(markdown, page.file.src_uri)


def linked(markdown: str, source: str) -> str:
    """The text of a page (`source` is its path in the site) with links for `docs/NAME.md`, outside of code."""
    up = "../" * source.count("/")
    text = _PICTURE.sub(lambda found: f"]({up}{found[1].removeprefix('docs/')})", markdown)
    pieces = _CODE.split(text)
    for place in range(0, len(pieces), 2):
        pieces[place] = _MENTION.sub(lambda found: f"[docs/{found[1]}.md]({up}{found[1]}.md)", pieces[place])
    return "".join(pieces)


def reference_pages() -> list[tuple[str, str]]:
    """A page for each folder of the package with its modules, and one for the modules beside the folders."""
    found = []
    alone = sorted(file.stem for file in PACKAGE.glob("*.py") if not file.stem.startswith("_"))
    found.append(("reference/plan.md", _reference("rewarm: plans and values", [f"rewarm.{name}" for name in alone])))
    for folder in sorted(file.parent for file in PACKAGE.glob("*/__init__.py")):
        files = sorted(folder.glob("*.py"), key=lambda file: (file.stem != "__init__", file.stem))
        names = [f"rewarm.{folder.name}" + ("" if file.stem == "__init__" else f".{file.stem}") for file in files]
        found.append((f"reference/{folder.name}.md", _reference(f"rewarm.{folder.name}", names)))
    return found


def _reference(title: str, modules: list[str]) -> str:
    return f"# {title}\n\n" + "\n\n".join(f"::: {module}" for module in modules) + "\n"


def _of_kind(kind: str) -> list[method_pages.Entry]:
    return [entry for entry in method_pages.entries() if entry.kind == kind]
