"""Which folders are runs, and the names they go by on a site."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rewarm.river.directory import PLAN
from rewarm.types import UserError

REPORT = "report.json"
MOST_LEVELS = 6
"""So deep below a given folder runs are looked for."""


@dataclass(frozen=True, slots=True)
class Found:
    """A run folder, and the name and slug it goes by on the site."""

    folder: Path
    name: str
    slug: str


def find(given: Sequence[Path]) -> list[Found]:
    """The runs in some folders, each once: a run's own folder, or those below a folder, in the order of their names.

    UserError for a path that is none, or a folder with no run in it.
    """
    folders: dict[Path, tuple[Path, str]] = {}
    for path in given:
        if not path.is_dir():
            raise UserError(f"'{path}' is no folder: give run directories, or a folder that holds some")
        inside = [path] if _is_run(path) else sorted(_below(path))
        if not inside:
            raise UserError(
                f"'{path}' holds no run: none of its folders, {MOST_LEVELS} deep, holds a {PLAN} or a {REPORT}"
            )
        for folder in inside:
            name = folder.name or str(folder) if folder == path else str(folder.relative_to(path))
            folders.setdefault(folder.resolve(), (folder, name))
    names = [name for _, name in folders.values()]
    called = [(folder, name if names.count(name) == 1 else str(folder)) for folder, name in folders.values()]
    return [Found(folder, name, slug) for (folder, name), slug in zip(called, slugs(n for _, n in called), strict=True)]


def _is_run(folder: Path) -> bool:
    return (folder / PLAN).is_file() or (folder / REPORT).is_file()


def _below(top: Path) -> Iterable[Path]:
    """Run folders below a folder; controls and models in a run are part of it, and links are not followed."""
    for place, folders, files in os.walk(top):
        here = Path(place)
        if PLAN in files or REPORT in files:
            yield here
            folders.clear()
        elif len(here.relative_to(top).parts) >= MOST_LEVELS:
            folders.clear()
        folders[:] = sorted(name for name in folders if not name.startswith("."))


def slugs(names: Iterable[str]) -> list[str]:
    """A file name for each name, all different, also where upper and lower case are the same."""
    taken: set[str] = set()
    found = []
    for name in names:
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:60] or "run"
        slug, number = stem, 2
        while slug.casefold() in taken:
            slug, number = f"{stem}-{number}", number + 1
        taken.add(slug.casefold())
        found.append(slug)
    return found
