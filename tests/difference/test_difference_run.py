"""Two snapshots into one folder: what is written, in any order of the input, after any kill."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from rewarm.corpora.jsonl import Jsonl
from rewarm.corpora.wiki import STRIPPED
from rewarm.difference import run as running
from rewarm.types import BadRows, Stopped, StorageError, UserError

FILES = ("diff.jsonl.zst", "pieces.jsonl.zst", "deleted.jsonl.zst")


def made_up(size: int) -> tuple[dict[str, str], dict[str, str]]:
    """Old and new articles: every third changed, every tenth gone, some new; ids are numbers that ascend."""
    old = {str(n): f"Town {n} is old. It has {n * 37} people.\nIts river is long." for n in range(1, size)}
    new = {key: text.replace(" people", "0 people") if int(key) % 3 == 0 else text for key, text in old.items()}
    new = {key: text for key, text in new.items() if int(key) % 10}
    return old, {**new, **{str(size + n): f"Village {n} is new." for n in range(size // 10)}}


def content(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in FILES]


@pytest.fixture
def small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks of a few articles and parts of two tasks, so that a small job has many."""
    monkeypatch.setattr(running, "TASK_ARTICLES", 4)
    monkeypatch.setattr(running, "PART_TASKS", 2)


def test_every_kind_of_change_lands_in_its_file(snapshot: Any, diff: Any, read: Any, tmp_path: Path) -> None:
    old = snapshot("old", {"1": "Same.", "2": "A is 1. B.", "3": "Gone for good.", "5": "Ends. Short."})
    new = snapshot("new", {"1": "Same.", "2": "A is 2. B.\nC is a new line.", "4": "Fresh text.", "5": "Ends."})
    summary = diff(old, new, tmp_path / "out", unchanged=tmp_path / "same.jsonl.zst")
    assert read(tmp_path / "out" / FILES[0]) == [
        {"id": "2", "title": "T2", "date": "", "text": "T2\nA is 2.\nC is a new line.",
         "kinds": {"changed_sentence": 1, "new_paragraph": 1}},
        {"id": "4", "title": "T4", "date": "", "text": "T4\nFresh text.", "kinds": {"new_article": 1}},
    ]  # fmt: skip
    assert read(tmp_path / "out" / FILES[1]) == [
        {"id": "2#1", "article": "2", "title": "T2", "kind": "changed_sentence", "text": "A is 2.",
         "paragraph": "A is 2. B.", "old": "A is 1."},
        {"id": "2#2", "article": "2", "title": "T2", "kind": "new_paragraph", "text": "C is a new line.",
         "paragraph": "", "old": ""},
    ]  # fmt: skip
    deleted = [(row["id"], row["text"], row["kind"]) for row in read(tmp_path / "out" / FILES[2])]
    assert deleted == [
        ("2", "A is 1.", "sentences"), ("3", "Gone for good.", "article"), ("5", "Short.", "sentences"),
    ]  # fmt: skip
    same = [(row["id"], row["text"]) for row in read(tmp_path / "same.jsonl.zst")]
    assert same == [("1", "Same."), ("2", "B."), ("5", "Ends.")]
    assert summary["articles"] == {"same": 1, "changed": 2, "added": 1, "removed": 1}
    assert summary["paragraphs"] == {"new": 1, "changed": 1}
    assert summary["sentences"] == {"new": 2, "same": 2, "deleted": 2}
    assert summary["characters"]["new"] == len("T2\nA is 2.\nC is a new line.") + len("T4\nFresh text.")
    assert (summary["old"]["articles"], summary["new"]["articles"]) == (4, 4)
    assert summary["old"]["sha256"] == hashlib.sha256(old.read_bytes()).hexdigest()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".lock", *sorted(FILES), "summary.json"]


def test_a_plan_reads_the_files_as_a_corpus(snapshot: Any, diff: Any, tmp_path: Path) -> None:
    old, new = made_up(50)
    diff(snapshot("old", old), snapshot("new", new), tmp_path / "out")
    for name in FILES:
        bad = BadRows()
        assert len([*Jsonl(path=str(tmp_path / "out" / name), id_field="id").read(bad)]) == bad.rows > 0
        assert bad.total == 0


def test_nothing_changed_gives_empty_files_and_no_fault(snapshot: Any, diff: Any, read: Any, tmp_path: Path) -> None:
    file = snapshot("one", {"1": "Same.", "2": "Too."})
    summary = diff(file, file, tmp_path / "out")
    assert summary["articles"] == {"same": 2, "changed": 0, "added": 0, "removed": 0}
    assert [read(tmp_path / "out" / name) for name in FILES] == [[], [], []]


def test_the_context_may_be_the_paragraph(snapshot: Any, diff: Any, read: Any, tmp_path: Path) -> None:
    old, new = snapshot("old", {"1": "A is 1. B.\nC."}), snapshot("new", {"1": "A is 2. B.\nC."})
    diff(old, new, tmp_path / "out", context="paragraph")
    assert read(tmp_path / "out" / FILES[0])[0]["text"] == "T1\nA is 2. B."


@pytest.mark.usefixtures("small_tasks")
def test_any_order_gives_the_same_rows(snapshot: Any, diff: Any, read: Any, tmp_path: Path) -> None:
    old, new = made_up(120)
    ascending = diff(snapshot("old", old), snapshot("new", new), tmp_path / "merged")
    keys = [*new]
    random.Random(0).shuffle(keys)
    mixed = diff(
        snapshot("old", old), snapshot("mixed", {key: new[key] for key in keys}), tmp_path / "b", memory=20_000
    )
    assert (ascending["paired"], mixed["paired"]) == ("as read", "by buckets")
    for name in FILES:
        rows = [sorted(map(repr, read(tmp_path / folder / name))) for folder in ("merged", "b")]
        assert rows[0] == rows[1] != []
    for name in ("articles", "paragraphs", "sentences", "characters"):
        assert ascending[name] == mixed[name]


def test_an_id_that_comes_late_is_found_although_the_rest_ascends(snapshot: Any, diff: Any, tmp_path: Path) -> None:
    old = snapshot("old", {"1": "One.", "3": "Three.", "2": "Two."})
    new = snapshot("new", {"1": "One.", "2": "Two.", "3": "Three."})
    summary = diff(old, new, tmp_path / "out")
    assert summary["articles"] == {"same": 3, "changed": 0, "added": 0, "removed": 0}


@pytest.mark.usefixtures("small_tasks")
@pytest.mark.parametrize("mixed", [False, True])
def test_workers_change_no_byte(snapshot: Any, diff: Any, tmp_path: Path, mixed: bool) -> None:
    old, new = made_up(60)
    news = snapshot("new", dict(reversed(new.items())) if mixed else new)
    for workers in (1, 2):
        diff(snapshot("old", old), news, tmp_path / str(workers), workers=workers, memory=20_000)
    assert content(tmp_path / "1") == content(tmp_path / "2")


class Killed(BaseException):
    """Ends the process where it stands: nothing catches it."""


@pytest.mark.usefixtures("small_tasks")
@pytest.mark.parametrize("mixed", [False, True])
def test_a_job_killed_at_every_step_ends_with_the_same_bytes(
    snapshot: Any, diff: Any, tmp_path: Path, mixed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is whole became so by os.replace: the job is killed at the first of these calls, the second, and so on."""
    old, new = made_up(24)
    inputs = snapshot("old", old), snapshot("new", dict(reversed(new.items())) if mixed else new)
    diff(*inputs, tmp_path / "whole", memory=5_000)
    replace, left = os.replace, [0]

    def deadly(source: Any, target: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        replace(source, target)

    monkeypatch.setattr(os, "replace", deadly)
    for step in count(1):
        left[0] = step
        folder = tmp_path / str(step)
        with contextlib.suppress(Killed):
            diff(*inputs, folder, memory=5_000)
        if left[0] > 0:
            break
        diff(*inputs, folder, memory=5_000)
        assert content(folder) == content(tmp_path / "whole")
        assert (folder / "summary.json").read_bytes() == (tmp_path / "whole" / "summary.json").read_bytes()
    assert step > 12


@pytest.mark.usefixtures("small_tasks")
def test_a_job_asked_to_stop_goes_on(snapshot: Any, job: Any, diff: Any, tmp_path: Path) -> None:
    old, new = made_up(60)
    inputs = snapshot("old", old), snapshot("new", new)
    diff(*inputs, tmp_path / "whole")
    looks = iter([False] * 40 + [True])
    with pytest.raises(Stopped, match="goes on from there"):
        job(*inputs, tmp_path / "out").run(lambda *_: None, lambda: next(looks))
    assert (tmp_path / "out" / "unfinished" / "parts" / "000002").is_dir()
    diff(*inputs, tmp_path / "out")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_finished_job_is_not_made_again(snapshot: Any, diff: Any, tmp_path: Path) -> None:
    inputs = snapshot("old", {"1": "A."}), snapshot("new", {"1": "B."})
    first = diff(*inputs, tmp_path / "out")
    before = (tmp_path / "out" / FILES[0]).stat().st_mtime_ns
    assert diff(*inputs, tmp_path / "out", workers=2) == first
    assert (tmp_path / "out" / FILES[0]).stat().st_mtime_ns == before


def test_a_folder_of_another_job_is_refused(snapshot: Any, diff: Any, tmp_path: Path) -> None:
    inputs = snapshot("old", {"1": "A."}), snapshot("new", {"1": "B."})
    diff(*inputs, tmp_path / "out")
    with pytest.raises(UserError, match="changed: context"):
        diff(*inputs, tmp_path / "out", context="paragraph")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "mine.jsonl.zst").touch()
    with pytest.raises(UserError, match=r"mine\.jsonl\.zst' is not from this command"):
        diff(*inputs, tmp_path / "foreign")


def test_a_file_for_unchanged_text_is_not_written_over(snapshot: Any, diff: Any, tmp_path: Path) -> None:
    inputs = snapshot("old", {"1": "A."}), snapshot("new", {"1": "B."})
    kept = tmp_path / "kept.jsonl.zst"
    kept.write_bytes(b"mine")
    with pytest.raises(UserError, match=r"kept\.jsonl\.zst' is not from this command"):
        diff(*inputs, tmp_path / "out", unchanged=kept)
    assert kept.read_bytes() == b"mine"


PAGE = "<page><title>{title}</title><ns>0</ns><id>{id}</id><revision><id>1</id><timestamp>{time}</timestamp>{text}"
TANGLED = "{{a|" * 3000 + "x" + "}}" * 3000


def dump(file: Path, time: str, *pages: tuple[int, str]) -> Path:
    written = (
        PAGE.format(title=f"T{number}", id=number, time=time, text=f"<text>{text}</text></revision></page>")
        for number, text in pages
    )
    file.write_text(f"<mediawiki>{''.join(written)}</mediawiki>", encoding="utf-8")
    return file


@pytest.mark.parametrize("mixed", [False, True])
def test_what_a_dump_leaves_out_and_dates_that_go_back_are_counted(diff: Any, tmp_path: Path, mixed: bool) -> None:
    pages = [(1, "#REDIRECT [[T2]]"), (2, "Two."), (3, f"Three.\n{TANGLED}"), (4, "Four.")]
    old = dump(tmp_path / "old.xml", "2022-02-01T00:00:00Z", *(reversed(pages) if mixed else pages))
    new = dump(tmp_path / "new.xml", "2022-01-01T00:00:00Z", pages[1], (3, "Three."), (4, "Four 4."))
    summary = diff(old, new, tmp_path / "out")
    assert summary["paired"] == ("by buckets" if mixed else "as read")
    assert summary["old"]["left_out"] == {"redirect": 1, STRIPPED: 1}
    assert (summary["new"]["left_out"], summary["backdated"]) == ({}, 2)


def test_a_full_disk_is_told(snapshot: Any, diff: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    inputs = snapshot("old", {"1": "A."}), snapshot("new", {"1": "B."})
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="make room and run the same command again"):
            diff(*inputs, tmp_path / "out")
    assert diff(*inputs, tmp_path / "out")["articles"]["changed"] == 1


def test_bad_rows_are_counted_and_too_many_refused(snapshot: Any, diff: Any, tmp_path: Path) -> None:
    old, new = snapshot("old", {"1": "A.", "2": "B."}), snapshot("new", {"1": "B."})
    with old.open("a") as file:
        file.write("{broken\n")
    with pytest.raises(UserError, match=r"(?s)'OLD': 1 of 3 rows.*broken JSON: 1, at .*old\.jsonl:3"):
        diff(old, new, tmp_path / "out")
    assert diff(old, new, tmp_path / "out", bad_rows=0.5)["old"]["bad_rows"] == {"broken JSON": 1}
