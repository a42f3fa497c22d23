"""`rewarm corpus records` from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

RECORDS = ("corpus", "records")


@pytest.fixture
def lamps(tmp_path: Path) -> Path:
    """Forty lamps of four brands."""
    file = tmp_path / "lamps.jsonl"
    rows = [
        {"id": n, "name": f"Lamp {n}", "brand": f"Maker {n % 4}", "watt": n, "url": "http://x.example"}
        for n in range(40)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_a_file_needs_no_options(lamps: Path, tmp_path: Path, cli: Any) -> None:
    called = cli(*RECORDS, lamps, "--output", tmp_path / "out", "--epochs", "2", "--json")
    assert called.code == 0, called.err
    found = called.json()
    assert found["records"] == {"records": 40}
    assert found["edges"]["brand"]["groups"] == 4
    assert [epoch["documents"] for epoch in found["epochs"]] == [4, 4]
    assert found["dropped"]["records"][0] == {"id": 40, "address (URL)": 40}
    again = cli(*RECORDS, lamps, "--output", tmp_path / "out", "--epochs", "2")
    assert "40 records, nodes: 40 attributes\nedge brand: 40 records, 4 groups" in again.out
    assert "steps by edge: 0 record, 36 brand\n" in again.out


def test_a_dry_run_shows_fields_and_an_example_and_writes_nothing(lamps: Path, tmp_path: Path, cli: Any) -> None:
    called = cli(*RECORDS, lamps, "--output", tmp_path / "out", "--dry-run")
    assert called.code == 0, called.err
    assert "40 records, nodes: 40 attributes" in called.out
    assert "brand: Maker" in called.out.partition("Example:")[2]
    assert list(tmp_path.iterdir()) == [lamps]
    found = cli(*RECORDS, lamps, "--output", tmp_path / "out", "--dry-run", "--json").json()
    assert found["fields"]["records"]["watt"] == {"share": 1.0, "different": 40, "example": "0"}
    assert found["chosen"]["records"]["id"] == "id"


def test_a_spec_a_tokenizer_and_records_left_out(
    lamps: Path, tmp_path: Path, cli: Any, tiny_tokenizer_folder: Path
) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(yaml.safe_dump({"sources": {"lamps": {"path": str(lamps), "edges": ["brand"]}}}))
    gone = tmp_path / "gone.txt"
    gone.write_text("7\nlamps:9\n400\n")
    asked = (*RECORDS, spec, "--output", tmp_path / "out", "--tokenizer", tiny_tokenizer_folder, "--limit", "60")
    called = cli(*asked, "--without", gone)
    assert called.code == 0, called.err
    assert "left out: 2 records; in the documents: 0\nnote: no record has the id 400\n" in called.out
    found = cli(*asked, "--without", gone, "--json").json()
    assert found["epochs"][0]["nodes"] == 38
    assert found["epochs"][0]["largest"] <= 60


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--arm", "clusters"), "Did you mean 'cluster'?"),
        (("--epochs", "0"), "give 1 or more"),
        (("--without", ","), "no id in it"),
        (("--edge", "link:brand->shops"), "goes to 'shops', which is no source: records"),
        (("--drop", "brand", "--drop", "watt", "--drop", "name"), "none of 40 rows has text"),
        (("--title", "nam"), "no row has a field 'nam'. Did you mean 'name'?"),
        (("--id", "brand"), "36 of 40 rows (90 %) cannot be used"),
    ],
)
def test_what_is_wrong_is_said(lamps: Path, tmp_path: Path, cli: Any, options: tuple[str, ...], error: str) -> None:
    called = cli(*RECORDS, lamps, *options, "--output", tmp_path / "out")
    assert called.code == 3
    assert error in called.err
    assert not list(tmp_path.glob("out/text/*"))
