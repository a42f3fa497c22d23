"""`rewarm corpus probes`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def facts(tmp_path: Path) -> tuple[Path, Path]:
    """Two tables of 40 people: all stay at their sport, every fourth changes the employer."""
    for name, moves in (("old", 0), ("new", 1)):
        rows = ["subject,relation,object"]
        for number in range(40):
            rows.append(f"Person {number},sport,game {number}")
            rows.append(f"Person {number},employer,firm {number + 100 * moves * (number % 4 == 0)}")
        (tmp_path / f"{name}.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path / "old.csv", tmp_path / "new.csv"


def test_probes_of_two_tables(facts: Any, cli: Any, tmp_path: Path) -> None:
    output = tmp_path / "probes.jsonl"
    called = cli("corpus", "probes", *facts, "--output", output, "--date-new", "2021", "--quiet")
    assert (called.code, called.err) == (0, "")
    assert "old: 80 rows, 80 facts, 0 bad rows; left out: none" in called.out
    rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    changed = next(row for row in rows if row["label"] == "changed")
    assert {key: value for key, value in changed.items() if key != "id"} == {
        "subject": "Person 0", "relation": "employer", "object": "firm 100", "object_old": "firm 0", "label": "changed",
        "prompt": "Person 0 is employed by", "suffix": ".", "date": "2021", "source": "old.csv -> new.csv",
    }  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "new.csv",
        "old.csv",
        "probes.jsonl",
        "probes.summary.json",
    ]


def test_the_summary_as_json_and_packed_probes(facts: Any, cli: Any, tmp_path: Path) -> None:
    called = cli("corpus", "probes", *facts, "--output", tmp_path / "p.jsonl.zst", "--json", "--relation-cap", "50%")
    assert called.code == 0
    answer = called.json()
    assert answer["changes"] == {"unchanged": 70, "changed": 10, "new": 0, "deleted": 0}
    assert answer["probes"] == {"unchanged": 60, "changed": 0, "new": 0, "deleted": 0}
    assert answer["dropped"] == {
        "unchanged": {"cap of its relation": 10}, "changed": {"cap of its relation": 10}, "new": {}, "deleted": {},
    }  # fmt: skip
    written = json.loads((tmp_path / "p.summary.json").read_text(encoding="utf-8"))
    assert written == {key: value for key, value in answer.items() if key != "output"}
    assert (tmp_path / "p.jsonl.zst").read_bytes()[:4] == b"\x28\xb5\x2f\xfd"


def test_a_dry_run_counts_and_writes_nothing(facts: Any, cli: Any, tmp_path: Path) -> None:
    called = cli("corpus", "probes", *facts, "--output", tmp_path / "new" / "p.jsonl", "--dry-run", "--json")
    answer = called.json()
    assert (called.code, answer["old"]["facts"], answer["new"]["whole"]) == (0, 80, True)
    assert answer["old"]["bytes"] == facts[0].stat().st_size
    assert answer["free"] > answer["disk"] > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.csv", "old.csv"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--sample", "chnaged=5%"], "Did you mean 'changed'"),
        (["--sample", "changed=2"], "give a share from 0 to 1"),
        (["--object-cap", "many"], "--object-cap many: give a share"),
        (["--max-words", "-1"], "--max-words 1 or more"),
        (["--diff", "nowhere"], "--diff 'nowhere': give a folder"),
        (["--unchanged-text", "nowhere"], "path 'nowhere' does not exist"),
        (["--templates", "nowhere.yaml"], "templates 'nowhere.yaml' cannot be read"),
        (["--date-old", "2022-03", "--date-new", "2021"], "OLD is of 2022-03 and NEW of 2021: give the earlier"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(
    facts: Any, cli: Any, tmp_path: Path, wrong: list[str], message: str
) -> None:
    called = cli("corpus", "probes", *facts, "--output", tmp_path / "p.jsonl", *wrong)
    assert (called.code, called.out) == (3, "")
    assert message in called.err
    assert not list(tmp_path.glob("p.*"))


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_snapshots_without_a_fact_are_refused(facts: Any, cli: Any, tmp_path: Path, dry: tuple[str, ...]) -> None:
    for number, content in enumerate(("", '{"s": "A", "r": "b", "o": "c"}\n')):
        (tmp_path / "no.jsonl").write_text(content, encoding="utf-8")
        called = cli("corpus", "probes", facts[0], tmp_path / "no.jsonl", "--output", tmp_path / "p.jsonl", *dry)
        assert (called.code, called.out) == (3, "")
        assert f"no.jsonl ({('no row', '1 no subject')[number]}), read as triples" in called.err
        assert not list(tmp_path.glob("p.*"))


def test_no_input_is_written_over(facts: Any, cli: Any, tmp_path: Path) -> None:
    row = '{"subject": "A", "relation": "capital", "object": "B"}\n'
    (tmp_path / "new.jsonl").write_text(row, encoding="utf-8")
    called = cli("corpus", "probes", facts[0], tmp_path / "new.jsonl", "--output", tmp_path / "new.jsonl")
    assert (called.code, "is a file that is read: give another name" in called.err) == (3, True)
    assert (tmp_path / "new.jsonl").read_text(encoding="utf-8") == row


def test_wrong_names_of_files(facts: Any, cli: Any, tmp_path: Path) -> None:
    called = cli("corpus", "probes", *facts, "--output", tmp_path / "p.csv")
    assert (called.code, "ends with .jsonl" in called.err) == (3, True)
    called = cli("corpus", "probes", tmp_path / "odl.csv", facts[1], "--output", tmp_path / "p.jsonl")
    assert called.code == 3
    assert "Did you mean" in called.err


def test_a_stop_keeps_what_is_sorted(facts: Any, cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rewarm.cli.watcher import Watcher

    tell = Watcher.tell

    def stopping(self: Watcher, label: str, done: float, total: float | None, unit: str) -> None:
        tell(self, label, done, total, unit)
        self.stopping = label.startswith("new")

    monkeypatch.setattr(Watcher, "tell", stopping)
    output = tmp_path / "p.jsonl"
    called = cli("corpus", "probes", *facts, "--output", output, "--quiet")
    assert (called.code, called.out) == (1, "")
    assert "the same command goes on from there" in called.err
    assert not output.exists()
    monkeypatch.setattr(Watcher, "tell", tell)
    assert cli("corpus", "probes", *facts, "--output", output, "--quiet").code == 0
    assert not output.with_name("p.jsonl.work").exists()
