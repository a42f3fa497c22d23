"""The order of the site: pages in groups, and every other page of docs/ under More, so that none can be forgotten."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1]
GROUPS = {
    "Start": ("index", "tutorial", "planning", "migration", "recipes", "site"),
    "How-to": (
        "diff", "probes", "facts", "cleaning", "selection", "records", "instruct", "alignment", "recycling", "merging",
        "languages", "vocabulary", "tasks", "prompts", "code", "middles", "sketches", "masked", "spans", "suites",
        "probing", "scale", "cluster",
    ),
    "Methods": ("methods",),
    "Evidence": ("studies", "rewarm-study", "log", "performance"),
    "Reliability": ("reliability", "security"),
    "Reference": (),
}  # fmt: skip
"""Pages of each group that exist, by name; others of docs/ stand under More."""
MORE = "More"
CLAIMS = "studies/rewarm"
"""Where the pages of single claims lie; they stand below the page that lists them."""


def titles(names: Iterable[str]) -> dict[str, str]:
    """The first heading of each page, by name."""
    found = {}
    for name in names:
        first = (DOCS / f"{name}.md").read_text(encoding="utf-8").splitlines()[0]
        found[name] = first.removeprefix("# ").split(":")[0]
    return found


def claims() -> list[dict[str, str]]:
    """The pages of claims, T1 to T12 in their order, then the others."""
    files = sorted((DOCS / CLAIMS).glob("*.md"), key=lambda file: (file.stem[:1] != "T", len(file.stem), file.stem))
    return [{file.stem: f"{CLAIMS}/{file.name}"} for file in files]


def grouped(names: Iterable[str]) -> dict[str, list[str]]:
    """The names of pages in their groups, in the order of `GROUPS`; what no group names stands under More."""
    left = set(names)
    found: dict[str, list[str]] = {}
    for group, members in GROUPS.items():
        found[group] = [name for name in members if name in left]
        left -= set(members)
    return found | ({MORE: sorted(left)} if left else {})


def nav(methods: dict[str, list[str]], reference: list[str]) -> list[Any]:
    """The navigation of the site: `methods` are pages by the title of their kind, `reference` pages of the package."""
    names = [file.stem for file in DOCS.glob("*.md")]
    shown = titles(names) | {"index": "rewarm"}
    found: list[Any] = []
    for group, members in grouped(["index", *names]).items():
        entries: list[Any] = [{shown[name]: f"{name}.md"} for name in members]
        if group == "Evidence":
            entries += [{"Claims": claims()}]
        if group == "Methods":
            entries += [{title: paths} for title, paths in methods.items()]
        if group == "Reference":
            entries += reference
        if entries:
            found.append({group: entries})
    return found
