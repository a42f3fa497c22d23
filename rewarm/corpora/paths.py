"""From the `path` of a plan to the files it stands for: files, folders and patterns with `*`, `?`, `[...]` and `**`."""

import difflib
import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rewarm.corpora.streams import COMPRESSED
from rewarm.types import UserError

_NAMES_SHOWN = 5
_PART = re.compile(r"-p\d+p\d+$")


def suffix_of(name: str) -> str:
    """The lower-case suffix that tells what a file holds: `.jsonl` for `a.JSONL.zst`, and '' where there is none.

    The pages that a part of a dump holds are no part of it: `.xml` for `articles1.xml-p1p41242.bz2`.
    """
    path = Path(name)
    while path.suffix.lower() in COMPRESSED:
        path = path.with_suffix("")
    return _PART.sub("", path.suffix.lower())


@dataclass(frozen=True)
class FolderRule:
    """What a folder contributes. Hidden files and folders never count.

    `suffixes` are those of the files taken, `skipped_folders` the names of folders not entered, `marker_files` the
    names of files that keep their folder from being entered. Links to folders are followed when `follow_links`.
    """

    suffixes: frozenset[str]
    skipped_folders: frozenset[str] = frozenset()
    marker_files: tuple[str, ...] = ()
    follow_links: bool = True

    def takes(self, name: str) -> bool:
        """Whether a folder's file of this name is read."""
        return suffix_of(name) in self.suffixes and not name.startswith(".")

    def enters(self, folder: str) -> bool:
        """Whether a folder inside the named one is read."""
        name = os.path.basename(folder)
        if name.startswith(".") or name in self.skipped_folders:
            return False
        return not any(os.path.exists(os.path.join(folder, marker)) for marker in self.marker_files)

    def walk(self, top: Path) -> Iterator[Path]:
        """The files taken of a folder and of all folders inside it; a folder that links lead to twice is read once."""
        read: set[str] = set()
        for folder, inner, names in os.walk(top, onerror=_refused, followlinks=self.follow_links):
            real = os.path.realpath(folder)
            if real in read:
                inner.clear()
                continue
            read.add(real)
            inner[:] = sorted(name for name in inner if self.enters(os.path.join(folder, name)))
            yield from (Path(folder, name) for name in names if self.takes(name))


def _refused(error: OSError) -> None:
    """Without this, the walk passes over a folder it may not read."""
    raise UserError(f"folder '{error.filename}' cannot be read: {error.strerror}. Check who may read it.") from None


def expand(patterns: Sequence[str], rule: FolderRule) -> list[Path]:
    """The files that the patterns stand for, sorted by path, each once; UserError for a pattern that gives none.

    A file named outright is read whatever its suffix, a folder gives what `rule` takes. Each match of a pattern
    counts as if it had been named, except that a last part of only `*` or `**` takes the files a folder would.
    """
    found: set[Path] = set()
    for pattern in patterns:
        matched = set(_matches(pattern, rule))
        if not matched:
            raise UserError(_no_match(pattern, rule))
        found |= matched
    once: dict[str, Path] = {}
    for file in sorted(found, key=Path.as_posix):
        once.setdefault(os.path.realpath(file), file)
    dangling = [str(file) for file in once.values() if not file.is_file()]
    if dangling:
        raise UserError(
            f"{len(dangling)} of {len(once)} files are links to nothing or not regular files, such as {dangling[0]!r}. "
            "Fetch or remove them, or name the files to read in path."
        )
    return list(once.values())


def root(patterns: Sequence[str]) -> str:
    """The absolute folder that file names are told relative to: the one that holds all the patterns name.

    It follows from the patterns and not from the files found, so that a new file changes no other file's name.
    """
    folders = []
    for pattern in patterns:
        folder = pattern if _is_plain(pattern) else _fixed_part(pattern)
        folders.append(os.path.abspath(folder if os.path.isdir(folder) else os.path.dirname(folder) or "."))
    return os.path.commonpath(folders)


def printable(path: str | Path) -> str:
    """The path with `/` between its parts, and bytes that are no UTF-8 written as escapes, so that it can be saved."""
    return Path(path).as_posix().encode("utf-8", "backslashreplace").decode("utf-8")


def _is_plain(pattern: str) -> bool:
    return os.path.lexists(pattern) or not glob.has_magic(pattern)


def _fixed_part(pattern: str) -> str:
    """The folder before the first part of a pattern that has a `*`, `?` or `[`."""
    parts = Path(pattern).parts
    free = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    return str(Path(*parts[:free])) if free else "."


def _matches(pattern: str, rule: FolderRule) -> Iterator[Path]:
    path = Path(pattern)
    if _is_plain(pattern):
        if path.is_dir():
            yield from rule.walk(path)
        elif path.exists():
            yield path
        return
    base = _fixed_part(pattern)
    last = path.name
    entered: dict[Path, bool] = {Path(base): True}
    for match in map(Path, glob.iglob(pattern, recursive=True)):
        if match.is_dir():
            if last != "**" and _entered(match, rule, entered):
                yield from rule.walk(match)
        elif (last not in ("*", "**") or rule.takes(match.name)) and _entered(match.parent, rule, entered):
            yield match


def _entered(folder: Path, rule: FolderRule, known: dict[Path, bool]) -> bool:
    """Whether `rule` enters the folder and every folder between it and the fixed part of the pattern."""
    if folder not in known:
        at_the_top = folder.parent == folder
        known[folder] = at_the_top or (_entered(folder.parent, rule, known) and rule.enters(str(folder)))
    return known[folder]


def _no_match(pattern: str, rule: FolderRule) -> str:
    suffixes = ", ".join(sorted(rule.suffixes)[:12])
    if _is_plain(pattern) and os.path.isdir(pattern):
        return f"path '{pattern}': no file with a suffix that is read ({suffixes}). {_held(Path(pattern), '')}"
    if os.path.lexists(pattern):
        return f"path '{pattern}' is a link to nothing. Fetch the file it points to, or name another."
    fault = "does not exist" if _is_plain(pattern) else "matches no file"
    folder = Path(pattern if _is_plain(pattern) else _fixed_part(pattern))
    missing = Path(pattern).name
    while not folder.is_dir():
        folder, missing = folder.parent, folder.name
    return f"path '{pattern}' {fault}. {_held(folder, missing)}"


def _held(folder: Path, missing: str) -> str:
    """A sentence with the names in a folder that are nearest to the one missing, or the first of them."""
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    if not names:
        return f"The folder '{folder}' is empty."
    close = difflib.get_close_matches(missing, names, n=3, cutoff=0.6)
    if close:
        return f"Did you mean {' or '.join(repr(str(folder / name)) for name in close)}?"
    rest = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"The folder '{folder}' holds: {', '.join(names[:_NAMES_SHOWN])}{rest}."
