"""Names on the hub: every verb loads one commit, says which, and says plainly when there is none to be had."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rewarm import hub as hub_names
from rewarm.cli import call
from rewarm.corpora.hub import Hub
from rewarm.corpora.jsonl import Jsonl
from rewarm.models.load import load_model, weights_hash
from rewarm.plan import from_values
from rewarm.river.comparison import run_plan
from rewarm.river.directory import RunDirectory
from rewarm.river.extending import Extend
from rewarm.river.merge_parts import given_part
from rewarm.river.pinning import as_begun, locked_commit, pinned
from rewarm.tasks.plan import LearnPlan
from rewarm.tasks.run import _pinned
from rewarm.tasks.work import Work
from rewarm.tokens.prepare import prepare
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import UserError

NAME = "owner/tiny"
FIRST, SECOND = "1" * 40, "2" * 40
Upload = Callable[[int], str]


def test_a_name_is_fetched_at_one_commit(hub: Upload, tmp_path: Path) -> None:
    first = hub(1)
    found = hub_names.fetched(NAME)
    assert (found.name, found.commit) == (NAME, FIRST)
    second = hub(2)
    assert weights_hash(load_model(found.folder)) == first != second
    assert hub_names.fetched(NAME).commit == SECOND
    assert hub_names.fetched(NAME, FIRST).folder == found.folder
    own = hub_names.fetched(str(tmp_path))
    assert (own.folder, own.commit) == (str(tmp_path), None)


def test_no_pickle_is_fetched() -> None:
    assert not [pattern for pattern in hub_names.PATTERNS if pattern.endswith((".bin", ".pt", ".ckpt", "*", ".py"))]


@pytest.mark.parametrize("ask", [hub_names.fetched, hub_names.commit_of, given_part])
def test_a_name_that_is_not_there_offline_is_a_sentence(hub: Upload, ask: Callable[[str], Any]) -> None:
    with pytest.raises(UserError, match=r"(?s)'owner/none' is no .*Give a folder, or fetch it first"):
        ask("owner/none")


def test_a_folder_keeps_the_commit_it_was_begun_with(hub: Upload, tmp_path: Path) -> None:
    hub(1)
    assert locked_commit(tmp_path / "old", NAME, None, begun=True) is None
    assert not (tmp_path / "old").exists()
    assert locked_commit(tmp_path / "new", NAME, None, begun=False) == FIRST
    hub(2)
    assert locked_commit(tmp_path / "new", NAME, None, begun=True) == FIRST
    assert locked_commit(tmp_path / "new", str(tmp_path), None, begun=False) is None


def test_learning_goes_on_from_the_base_it_began_with(hub: Upload, tmp_path: Path) -> None:
    plan = LearnPlan.model_construct(base=NAME, revision=None, output_dir=str(tmp_path / "out"))
    work = Work(plan, {}, [], "accuracy")
    hub(1)
    assert _pinned(work).plan.revision == FIRST
    hub(2)
    assert _pinned(work).plan.revision == FIRST


def test_a_model_to_merge_with_is_of_one_commit(hub: Upload) -> None:
    first = hub(1)
    part = given_part(NAME)
    hub(2)
    assert part.revision == FIRST
    assert weights_hash(part.load()) == first


def test_all_runs_of_a_comparison_have_one_base(hub: Upload, scratch_plan: Any, tmp_path: Path) -> None:
    hub(1)
    plan = from_values(scratch_plan(base=NAME))
    root = RunDirectory(tmp_path / "compare")
    assert as_begun(plan, root.root) is plan
    begun = pinned(plan, root)
    hub(2)
    assert as_begun(plan, root.root).revision == begun.revision == FIRST
    arm: Any = SimpleNamespace(plan=plan, folder="plain")
    assert run_plan(begun, arm, 1, root.root).revision == FIRST


def test_new_tokens_name_the_commit_that_they_were_added_to(hub: Upload, tmp_path: Path, write_jsonl: Any) -> None:
    hub(1)
    file = write_jsonl(tmp_path / "a.jsonl", [f"blåbærgrød med fløde nummer {number}" for number in range(60)])
    extend = Extend(NAME, Jsonl(path=str(file)), 5, ("mean", "mean"), tmp_path / "out")
    assert extend.run(dry=True)["revision"] == FIRST


def test_probes_name_the_commit_that_was_asked(
    hub: Upload, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub(1)
    monkeypatch.setenv("REWARM_CACHE", str(tmp_path / "cache"))
    row = {"id": "u", "label": "unchanged", "subject": "t", "relation": "r", "object": "ba", "prompt": "a is"}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert call(["probe", NAME, str(tmp_path / "a.jsonl"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["revisions"] == {"model": FIRST, "against": None}


@pytest.fixture
def dataset(hub: Upload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A function: commit -> makes it the newest of `owner/texts` in the cache; the file of revisions asked for."""
    datasets = pytest.importorskip("datasets")
    asked = tmp_path / "asked"

    def load(name: str, config: None, split: str, revision: str | None, streaming: bool) -> Any:
        with asked.open("a") as file:
            file.write(f"{name} {revision}\n")
        return datasets.Dataset.from_dict({"text": ["one text", "another text"]})

    monkeypatch.setattr(datasets, "load_dataset", load)
    hub_names.dataset_commit.cache_clear()

    def upload(commit: str) -> Path:
        refs = tmp_path / "hub" / "datasets--owner--texts" / "refs"
        refs.mkdir(parents=True, exist_ok=True)
        (refs / "main").write_text(commit)
        return asked

    return upload


def test_a_dataset_is_read_at_one_commit_which_its_store_keeps(
    dataset: Callable[[str], Path], tmp_path: Path, tiny_tokenizer_folder: Path
) -> None:
    asked = dataset(FIRST)
    corpus = Hub(name="owner/texts")
    assert corpus.commit() == FIRST
    dataset(SECOND)
    store = prepare("new", corpus, TextTokenizer(tiny_tokenizer_folder), tmp_path / "prepared", 0.0)
    assert store.manifest["commit"] == FIRST
    assert set(asked.read_text().splitlines()) == {f"owner/texts {FIRST}"}
    assert Hub(name="owner/texts", revision=SECOND).commit() == SECOND
    assert Hub(name=str(tmp_path)).commit() is None
