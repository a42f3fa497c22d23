"""Dated rows become files of periods: every row once, in order, whole; nothing half-written under its name."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from rewarm.corpora import Corpus, faults, period_files, splitting
from rewarm.corpora.splitting import Split
from rewarm.corpora.streams import BLOCK_BYTES
from rewarm.kinds import corpus_options
from rewarm.methods import build
from rewarm.types import Stopped, StorageError, UserError

Lines = list[bytes]


def nothing() -> None:
    """Neither looks nor stops."""


def split(path: Any, output: Path, by: Any = "month", **options: Any) -> Split:
    corpus = build("corpora", corpus_options(path))
    assert isinstance(corpus, Corpus)
    return Split(corpus, by, output, **options)


def done(job: Split) -> dict[str, Any]:
    return job.run(job.reading(), nothing)


def lines(file: Path) -> Lines:
    with file.open("rb") as packed:
        return zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True).read().splitlines()


def written(folder: Path) -> dict[str, Lines]:
    return {file.name: lines(file) for file in sorted(folder.glob("*.zst"))}


@pytest.fixture
def rows(tmp_path: Path) -> Callable[[int, int], tuple[Path, dict[str, Lines]]]:
    """A function: rows, months -> a file of rows in no order of time, and the lines that each file of a month holds."""

    def make(count: int, months: int) -> tuple[Path, dict[str, Lines]]:
        source, expected, found = random.Random(0), {}, []
        for number in range(count):
            month = source.randrange(months)
            name = f"{2000 + month // 12}-{month % 12 + 1:02}"
            row = {"date": f"{name}-05", "n": number, "text": "x" * source.randrange(60), "more": {"a": [1, None]}}
            found.append(json.dumps(row).encode())
            expected.setdefault(f"{name}.jsonl.zst", []).append(found[-1])
        (tmp_path / "rows.jsonl").write_bytes(b"\n".join(found) + b"\n")
        return tmp_path / "rows.jsonl", dict(sorted(expected.items()))

    return make


def test_every_row_goes_to_its_month_whole_and_in_order(rows: Any, tmp_path: Path) -> None:
    file, expected = rows(500, 7)
    summary = done(split(file, tmp_path / "out"))
    assert written(tmp_path / "out") == expected
    assert (summary["rows"], summary["bad_rows"]) == (500, {})
    assert {name: held["rows"] for name, held in summary["files"].items()} == {
        name: len(found) for name, found in expected.items()
    }
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([".lock", "split.json", *expected])


def test_memory_is_flat_with_many_periods(rows: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for a few rows only, files are written in many frames, and hold the same."""
    file, expected = rows(600, 50)
    monkeypatch.setattr(period_files, "MEMORY", 2000)
    waited: list[int] = []
    add = period_files.PeriodFiles.add

    def counted(self: period_files.PeriodFiles, row: Any) -> None:
        add(self, row)
        waited.append(sum(len(line) + 1 for kept in self._waiting.values() for line in kept))

    monkeypatch.setattr(period_files.PeriodFiles, "add", counted)
    done(split(file, tmp_path / "out"))
    assert written(tmp_path / "out") == expected
    assert max(waited) < 2000


@pytest.mark.parametrize(
    ("by", "prefix", "names"),
    [("year", None, ["2021", "2022"]), ("quarter", "q", ["q-2021-04", "q-2021-07", "q-2022-01"]),
     ("day", None, ["2021-05-01", "2021-06-30", "2021-07-01", "2022-01-31"])],
)  # fmt: skip
def test_files_are_named_by_their_period(tmp_path: Path, by: str, prefix: str | None, names: list[str]) -> None:
    dates = ["2021-06-30", "2022-01-31", "2021-07-01", "2021-05-01"]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"when": date}) + "\n" for date in dates))
    done(split(tmp_path / "a.jsonl", tmp_path / "out", by, prefix=prefix, date_field="when"))
    assert [file.name for file in sorted((tmp_path / "out").glob("*.zst"))] == [f"{name}.jsonl.zst" for name in names]


def test_rows_without_a_date_are_counted_with_their_place(tmp_path: Path) -> None:
    good = [json.dumps({"date": "2021-09-01", "n": number}) for number in range(7)]
    bad = [json.dumps({"n": 8}), json.dumps({"date": "2021"}), "[1]", "{broken", json.dumps({"date": None})]
    (tmp_path / "a.jsonl").write_text("\n".join([*good, "", *bad]) + "\n")
    name = str(tmp_path / "a.jsonl")
    with pytest.raises(UserError, match=r"5 of 12 rows .* cannot be used") as refused:
        done(split(name, tmp_path / "out"))
    assert "name the field that holds the date with --date-field" in str(refused.value)
    assert not list((tmp_path / "out").glob("*.zst"))
    summary = done(split(name, tmp_path / "out", bad_rows=0.5))
    assert summary["rows"] == 12
    assert summary["bad_rows"] == {
        faults.NO_DATE: 2, faults.UNREADABLE_DATE: 1, faults.NOT_AN_OBJECT: 1, faults.BROKEN_JSON: 1,
    }  # fmt: skip
    assert summary["bad_examples"][faults.NO_DATE] == [f"{name}:9", f"{name}:13"]
    assert written(tmp_path / "out") == {"2021-09.jsonl.zst": [line.encode() for line in good]}


@pytest.mark.parametrize("stops", [[1], [2, 3], [1, 1, 2]])
def test_a_stopped_split_goes_on(rows: Any, tmp_path: Path, stops: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked every 256 rows. What was appended after the last note is not kept."""
    file, expected = rows(2000, 9)
    monkeypatch.setattr(period_files, "MEMORY", 4000)
    job = split(file, tmp_path / "out")
    for most in stops:
        asked = iter(range(1, 10_000))

        def look(asked: Any = asked, most: int = most) -> None:
            if next(asked) == most:
                raise Stopped("stop")

        with pytest.raises(Stopped):
            job.run(job.reading(), look)
        assert not list((tmp_path / "out").glob("*.zst"))
        with next((tmp_path / "out" / "unfinished").glob("*.zst")).open("ab") as cut:
            cut.write(b"half a frame that a kill left behind")
    summary = done(job)
    assert written(tmp_path / "out") == expected
    assert summary["rows"] == 2000
    before = (tmp_path / "out" / "split.json").stat().st_mtime_ns
    assert done(job) == summary
    assert (tmp_path / "out" / "split.json").stat().st_mtime_ns == before


def test_a_kill_between_two_files_is_made_good(rows: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, expected = rows(200, 4)
    job = split(file, tmp_path / "out")
    replace, moved = os.replace, []

    def killed(made: Path, target: Path) -> None:
        if str(target).endswith(".zst"):
            moved.append(target)
            if len(moved) == 3:
                raise KeyboardInterrupt
        replace(made, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        done(job)
    assert len(written(tmp_path / "out")) == 2
    monkeypatch.setattr(os, "replace", replace)
    done(job)
    assert written(tmp_path / "out") == expected


def test_a_folder_of_another_job_is_refused(rows: Any, tmp_path: Path) -> None:
    file, _ = rows(20, 2)
    done(split(file, tmp_path / "out"))
    with pytest.raises(UserError, match="holds a split of other rows or with other options"):
        done(split(file, tmp_path / "out", "year"))
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "2021.jsonl.zst").write_bytes(b"mine")
    with pytest.raises(UserError, match="is not from this command"):
        done(split(file, tmp_path / "own"))
    assert (tmp_path / "own" / "2021.jsonl.zst").read_bytes() == b"mine"


def test_parquet_keeps_every_column(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    columns = {"text": ["a", "b"], "date": ["2021-09-01", "2021-10-01"], "title": ["t", None], "n": [1, 2]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    done(split(tmp_path / "a.parquet", tmp_path / "out"))
    assert [json.loads(line) for found in written(tmp_path / "out").values() for line in found] == [
        {"text": "a", "date": "2021-09-01", "title": "t", "n": 1}, {"text": "b", "date": "2021-10-01", "n": 2},
    ]  # fmt: skip


def test_texts_without_fields_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("words")
    with pytest.raises(UserError, match="type text has no field 'date'"):
        done(split(tmp_path / "a.txt", tmp_path / "out"))


def test_a_full_disk_is_said_and_made_good(rows: Any, mount_disk: Callable[[int], Path], tmp_path: Path) -> None:
    disk = mount_disk(1)
    file = tmp_path / "big.jsonl"
    source = random.Random(1)
    found = [json.dumps({"date": "2021-09-01", "text": source.randbytes(2000).hex()}).encode() for _ in range(900)]
    file.write_bytes(b"\n".join(found))
    with pytest.raises(StorageError, match="make room and run the same command again"):
        done(split(file, disk / "out"))
    assert not list((disk / "out").glob("*.zst"))


def test_the_outlook_counts_a_small_input_whole(rows: Any, tmp_path: Path) -> None:
    file, expected = rows(300, 3)
    found = split(file, tmp_path / "out").outlook()
    assert (found.rows, found.share, found.bytes) == (300, 1.0, file.stat().st_size)
    assert found.periods == [name.removesuffix(".jsonl.zst") for name in expected]
    assert found.seconds > 0
    assert not (tmp_path / "out").exists()


@pytest.mark.data
def test_real_months_hold_every_row_of_the_set(tmp_path: Path) -> None:
    folder = Path(os.environ.get("REWARM_DATA") or Path(__file__).parents[3] / "shared" / "data")
    file = folder / "temporal" / "arxiv_cscl_2024_2026.jsonl.zst"
    if not file.is_file():
        pytest.skip("set REWARM_DATA to the folder of real data")
    summary = done(split(file, tmp_path / "out"))
    assert (summary["rows"], len(summary["files"]), summary["bad_rows"]) == (5460, 21, {})
    assert {held["rows"] for held in summary["files"].values()} == {260}
    assert sorted(line for found in written(tmp_path / "out").values() for line in found) == sorted(lines(file))


def test_the_outlook_of_a_large_input_is_scaled_from_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines of 1,000 bytes, of which 1 MB is read: in blocks, so the share is that or a block more."""
    line = b'{"date": "2021-09-01", "text": "' + b"x" * 965 + b'"}\n'
    (tmp_path / "a.jsonl").write_bytes(line * 4000)
    monkeypatch.setattr(splitting, "_SAMPLE_BYTES", 1_000_000)
    found = split(tmp_path / "a.jsonl", tmp_path / "out").outlook(seconds=60)
    assert found.share * 4_000_000 == pytest.approx(1_000_000, abs=2 * BLOCK_BYTES)
    assert found.rows == 1002
