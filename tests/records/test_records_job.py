"""The folder of a job: documents and their provenance, epochs, resuming, deletion, order of input."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from rewarm.methods import checked
from rewarm.records.building import Question, surveyed
from rewarm.records.job import Job
from rewarm.records.spec import Spec, read_spec
from rewarm.types import Stopped, UserError, silent

Written = Callable[..., tuple[dict[str, Any], list[list[dict[str, Any]]], list[Any]]]


def pieces(documents: list[dict[str, Any]], provenance: list[dict[str, Any]]) -> dict[tuple[str, str, int], list[str]]:
    """By source, record and number of node: its lines, cut out of the documents by their provenance."""
    found = {}
    for document, told in zip(documents, provenance, strict=True):
        assert document["id"] == told["id"]
        for node in told["nodes"]:
            key = (node["source"], node["record"], node["node"])
            assert key not in found
            found[key] = document["text"][node["start"] : node["end"]].split("\n")
    return found


def test_a_document_by_hand(written: Written, rows: Callable[..., str]) -> None:
    path = rows("a", [{"id": "x", "name": "Lamp", "brand": "Lumo"}, {"id": "y", "name": "Torch", "brand": "Lumo"}])
    summary, [documents], [provenance] = written({"a": {"path": path}})
    texts = ["name: Lamp\nbrand: Lumo", "name: Torch\nbrand: Lumo"]
    assert [row["text"] for row in documents] in (["\n\n".join(texts)], ["\n\n".join(reversed(texts))])
    [told] = provenance
    assert sorted(node["record"] for node in told["nodes"]) == ["x", "y"]
    assert [node.get("edge") for node in told["nodes"]].count("brand") == 1
    assert all(node["fields"] == ["brand"] and node["kind"] == "attributes" for node in told["nodes"])
    joined = next(node for node in told["nodes"] if "edge" in node)
    assert told["nodes"][joined["from"]] is not joined
    assert summary["epochs"][0]["documents_by_nodes"] == {"2": 1}
    assert summary["epochs"][0]["steps"] == {"record": 0, "brand": 1}
    assert summary["epochs"][0]["size"] == len(documents[0]["text"])


def test_provenance_gives_every_line_back_and_orders_differ_between_epochs(
    written: Written, shop: dict[str, Any]
) -> None:
    shop["lamps"]["texts"] = ["colour"]
    _, documents, provenance = written(shop, epochs=2, limit=300)
    first, second = (pieces(*both) for both in zip(documents, provenance, strict=True))
    assert first.keys() == second.keys()
    assert len(first) == 60 * 2 + 90
    assert all(Counter(first[key]) == Counter(second[key]) for key in first)
    assert 10 < sum(first[key] != second[key] for key in first) < 60
    assert all(lines[0] == f"name: Lamp {key[1][5:]}" for key, lines in first.items() if key[0] == "lamps")
    for told in provenance[0]:
        for node in told["nodes"]:
            lines = first[(node["source"], node["record"], node["node"])][1 if node["source"] == "lamps" else 0 :]
            assert [line.split(":")[0] for line in lines] == node["fields"]
    together = [{row["text"] for row in rows if "\n\n" in row["text"]} for rows in documents]
    assert len(together[0]) > 10
    assert together[0].isdisjoint(together[1])
    ids = [row["id"] for rows in documents for row in rows]
    assert len(ids) == len(set(ids))


def test_arms_hold_the_same_node_texts(written: Written, shop: dict[str, Any]) -> None:
    found = []
    for arm in ("cluster", "isolated", "shuffled"):
        _, [documents], [provenance] = written(shop, arm=arm, limit=300)
        found.append(pieces(documents, provenance))
    assert found[0] == found[1] == found[2]


def test_the_order_of_files_and_rows_changes_nothing(written: Written, shop: dict[str, Any], tmp_path: Path) -> None:
    before = written(shop, epochs=2, holdout=0.1, folder="before")
    for name in ("lamps", "reviews"):
        lines = Path(shop[name]["path"]).read_text().splitlines()
        random.Random(3).shuffle(lines)
        folder = tmp_path / f"{name}-parts"
        folder.mkdir()
        for number, part in enumerate((lines[:17], lines[17:])):
            (folder / f"{9 - number}.jsonl").write_text("\n".join(part))
        shop[name]["path"] = str(folder)
    assert written(shop, epochs=2, holdout=0.1, folder="after")[1:] == before[1:]
    assert written(shop, epochs=2, holdout=0.1, folder="seed", seed=1)[1:] != before[1:]


def test_a_stopped_job_goes_on_and_more_epochs_can_be_asked_for(
    written: Written, shop: dict[str, Any], tmp_path: Path
) -> None:
    spec, _ = surveyed(checked(Spec, {"sources": shop}))
    told: list[str] = []

    def tell(label: str, done: float, total: float | None, unit: str) -> None:
        told.append(label)

    job = Job(Question(spec), tmp_path / "stopped", "cluster", 3)
    with pytest.raises(Stopped):
        job.run(tell, lambda: "epoch 2 of 3" in told)
    assert sorted(file.name for file in (tmp_path / "stopped/text").iterdir()) == ["epoch-1.jsonl.zst"]
    kept = (tmp_path / "stopped/text/epoch-1.jsonl.zst").stat().st_mtime_ns
    job.run(silent, lambda: False)
    assert (tmp_path / "stopped/text/epoch-1.jsonl.zst").stat().st_mtime_ns == kept
    assert not (tmp_path / "stopped/unfinished").exists()
    written(shop, epochs=1, folder="more", bad_rows=0.001)
    summary, _, _ = written(shop, epochs=3, folder="more", bad_rows=0.001)
    assert len(summary["epochs"]) == 3
    for number in range(3):
        name = f"text/epoch-{number + 1}.jsonl.zst"
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "more" / name).read_bytes()


def test_another_job_or_other_files_in_the_folder(written: Written, shop: dict[str, Any], tmp_path: Path) -> None:
    written(shop, folder="a")
    with pytest.raises(UserError, match="changed: spec"):
        written(shop, folder="a", limit=100)
    with pytest.raises(UserError, match="changed: arm"):
        written(shop, folder="a", arm="isolated")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine.txt").touch()
    with pytest.raises(UserError, match="holds other files"):
        written(shop, folder="b")


def test_a_record_left_out_is_gone_and_who_names_it_is_told(
    written: Written, shop: dict[str, Any], rows: Callable[..., str]
) -> None:
    shop["notes"] = {"path": rows("notes", [{"id": "n", "t": "As good as Lamp 47, they say."}]), "title": None}
    shop["lamps"]["id"] = shop["reviews"]["id"] = shop["notes"]["id"] = "id"
    summary, [documents], [provenance] = written(shop, without=["lamp-47", "reviews:r3", "nobody"])
    records = {(node["source"], node["record"]) for told in provenance for node in told["nodes"]}
    assert len(records) == 60 + 90 + 1 - 2
    assert not records & {("lamps", "lamp-47"), ("reviews", "r3")}
    assert "name: Lamp 47" not in "\n".join(row["text"] for row in documents)
    found = summary["epochs"][0]["without"]
    [note] = [row["id"] for row in documents if "As good as" in row["text"]]
    assert found == {
        "asked": 3, "records_left_out": 2, "not_found": ["nobody"], "still_present": [],
        "still_named": {"lamps:lamp-47": {"documents": 1, "first": [note]}},
    }  # fmt: skip
    assert summary["left_out"] == {"lamps": {"asked to be left out": 1}, "reviews": {"asked to be left out": 1}}


def test_shares_are_told_as_they_came_out(written: Written, shop: dict[str, Any]) -> None:
    shop["lamps"]["weight"], shop["reviews"]["weight"] = 1, 1
    summary, documents, provenance = written(shop, epochs=2)
    for number in range(2):
        told = summary["epochs"][number]["shares"]
        sizes = Counter[str]()
        for (source, _, _), lines in pieces(documents[number], provenance[number]).items():
            sizes[source] += len("\n".join(lines))
        assert told["lamps"]["share"] == pytest.approx(sizes["lamps"] / sizes.total())
        assert told["lamps"]["share"] == pytest.approx(0.5, abs=0.02)
        assert told["reviews"]["asked"] == pytest.approx(0.5)
        assert told["lamps"]["used"] < told["reviews"]["used"] == 1.0


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"edges": ["brand", {"field": "x", "name": "brand"}]}, "two edges are called 'brand'"),
        ({"edges": ["link:a->other"]}, "goes to 'other', which is no source"),
        ({"edges": [{"field": "brand", "to": "s"}]}, "'to' goes with kind link"),
        ({"titel": "x"}, "Did you mean 'title'"),
        ({"weight": 0}, "greater than 0"),
    ],
)
def test_faults_of_a_spec(change: dict[str, Any], fault: str, tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump({"sources": {"s": {"path": "x.jsonl", **change}}}))
    with pytest.raises(UserError, match=fault):
        read_spec(file)


def test_a_template_needs_its_parts() -> None:
    with pytest.raises(UserError, match=r"template needs \{key\} and \{value\}"):
        checked(Spec, {"sources": {"s": {"path": "x"}}, "template": "The {key}."})
