"""Many runs -> a folder of pages that open from disk: an index, a page for each run, comparisons, histories.

One report at a time is in memory. The folder is made beside the old one and takes its place whole; a page of a run
whose report has not changed is taken over from the old folder.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewarm import __version__
from rewarm.report import page
from rewarm.report.result import Result
from rewarm.report.site_pages import Pages
from rewarm.report.site_parts import RunFacts, Site
from rewarm.river.site_find import Found, find
from rewarm.river.site_pairs import arranged, summary
from rewarm.river.site_read import UNREADABLE, Limits, broken, read_run
from rewarm.storage import held, stored
from rewarm.types import StorageError, Tell, UserError, silent

MARK = "site.json"
"""What a folder holds that is a site, and may be replaced by another."""
FORMAT = 1
_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)


@dataclass(frozen=True, slots=True)
class Made:
    """A site and the folder it lies in; `reused` pages of runs were taken over from the site before."""

    folder: Path
    site: Site
    reused: int


def build(given: Sequence[Path], output: Path, limits: Limits, tell: Tell = silent) -> Made:
    """Writes the site of some runs, or folders of runs, to `output`.

    UserError when there is no run, or `output` holds anything but a site; StorageError when the disk refuses. A run
    that cannot be read is listed with the reason. `tell` may raise to stop: the old site is then still there.
    """
    runs = find(given)
    _check_output(output, runs)
    with _partial(output) as folder, stored(f"the site '{output}'"):
        facts, reused = _run_pages(runs, limits, folder, _before(output), tell)
        site = arranged(facts, limits.words(), tell)
        _write_pages(site, folder, tell)
        values = {"format": FORMAT, "rewarm": __version__, **summary(site)}
        _write(folder / MARK, json.dumps(values, indent=1, sort_keys=True) + "\n")
        _take_place(folder, output)
    return Made(output, site, reused)


def planned(given: Sequence[Path], output: Path) -> list[Found]:
    """The runs that `build` would take in; UserError as there."""
    runs = find(given)
    _check_output(output, runs)
    return runs


def _check_output(output: Path, runs: Sequence[Found]) -> None:
    if output.exists() and not (output.is_dir() and (not any(output.iterdir()) or (output / MARK).is_file())):
        raise UserError(f"--site '{output}' exists and is no site of ours (it holds no {MARK}): give another folder")
    here = output.resolve()
    for run in runs:
        folder = run.folder.resolve()
        if here == folder or here in folder.parents or folder in here.parents:
            raise UserError(f"--site '{output}' and the run '{run.folder}' lie in each other: give another folder")


@contextmanager
def _partial(output: Path) -> Iterator[Path]:
    """An empty folder beside the output, held by this process and gone afterwards."""
    folder = output.resolve().with_name(f".{output.resolve().name}.partial")
    try:
        with held(folder, f"The site in '{output}'"):
            for left in folder.iterdir():
                if left.name != ".lock":
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    except PermissionError as error:
        raise StorageError(f"could not write beside '{output}': {error}. Choose another folder") from error


def _before(output: Path) -> dict[tuple[str, str], Path]:
    """Pages of the site that lies there, by slug and digest of the report they show; none of another version's."""
    try:
        values = json.loads((output / MARK).read_text(encoding="utf-8"))
        if (values["format"], values["rewarm"]) != (FORMAT, __version__):
            return {}
        pages = {(run["page"].split("/")[1], run["digest"]): run["page"] for run in values["runs"] if run["page"]}
    except UNREADABLE:
        return {}
    return {key: output / name for key, name in pages.items() if ".." not in name and (output / name).is_file()}


def _run_pages(
    runs: Sequence[Found], limits: Limits, folder: Path, before: dict[tuple[str, str], Path], tell: Tell
) -> tuple[list[RunFacts], int]:
    """What each run has to say, its page written; how many pages were taken over."""
    found, reused = [], 0
    for done, run in enumerate(runs):
        tell("read runs", done, len(runs), "runs")
        facts, result = read_run(run, limits)
        if result is not None:
            old = before.get((facts.slug, facts.digest))
            reused += old is not None
            facts = _run_page(facts, result, folder, old)
        found.append(facts)
    return found, reused


def _run_page(facts: RunFacts, result: Result, folder: Path, old: Path | None) -> RunFacts:
    file = folder / facts.page
    file.parent.mkdir(parents=True)
    if old is not None:
        shutil.copyfile(old, file)
        return facts
    try:
        text = page.html(result, home="../../index.html")
    except UNREADABLE as error:
        file.parent.rmdir()
        return broken(facts, error)
    _write(file, text)
    return facts


def _write_pages(site: Site, folder: Path, tell: Tell) -> None:
    pages = Pages(site)
    _write(folder / "index.html", pages.index())
    _write(folder / "compare.html", pages.comparisons())
    _write(folder / "history.html", pages.histories())
    many: list[tuple[str, Any, Any]] = [(one.page, pages.comparison, one) for one in site.comparisons]
    many += [(one.page, pages.history, one) for one in site.histories]
    for done, (name, render, one) in enumerate(many):
        tell("write pages", done, len(many), "pages")
        _write(folder / name, render(one))


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="\n") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())


def _take_place(folder: Path, output: Path) -> None:
    """Puts the folder in the place of the output: in one step where the file system can exchange two folders."""
    (folder / ".lock").unlink(missing_ok=True)
    if not output.exists():
        os.rename(folder, output)
    elif not _exchanged(folder, output.resolve()):
        aside = folder.with_name(f"{folder.name}.old")
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(output.resolve(), aside)
        os.rename(folder, output.resolve())
        shutil.rmtree(aside, ignore_errors=True)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchanges two folders at once; False where the system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    here = -100  # AT_FDCWD
    if rename(here, os.fsencode(one), here, os.fsencode(other), _EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(other))
