"""What a run reads: found before any work, split without a leak, and the same text from the first stage to the last."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoModelForCausalLM

from rewarm.hashing import text_hash
from rewarm.plan import from_values
from rewarm.river.directory import RunDirectory
from rewarm.river.inputs import Inputs, make_inputs, read_inputs, record_inputs
from rewarm.river.run import run
from rewarm.types import UserError

MakeValues = Callable[..., dict[str, Any]]
ONE: list[dict[str, Any]] = [{"name": "law", "data": "law", "tokens": 512}]


def inputs_of(values: dict[str, Any]) -> Inputs:
    """Prepared inputs of a plan's values."""
    plan = from_values(values)
    return make_inputs(plan, RunDirectory(plan.directory))


@pytest.fixture
def own_law(make_values: MakeValues, tmp_path: Path, texts: dict[str, Path]) -> tuple[dict[str, Any], Path]:
    """Values whose corpus `law` is a file of this test's own, and that file."""
    file = tmp_path / "law.jsonl"
    shutil.copyfile(texts["law"], file)
    values = make_values(ONE)
    values["corpora"]["law"] = {"path": str(file), "holdout": 0.1}
    return values, file


def test_only_what_is_used_is_prepared(make_values: MakeValues, tmp_path: Path) -> None:
    plan = from_values(make_values(ONE, watch=["old"]))
    assert plan.used_corpora() == ["old", "law"]
    inputs = make_inputs(plan, RunDirectory(plan.directory))
    assert {folder.name.rpartition("-")[0] for folder in (tmp_path / "run" / "prepared").glob("*-*")} == {"law", "old"}
    # `old` is watched and never trained on, so all of it is held out; `law` is trained on and not watched.
    assert inputs.held_out == {"old": 150, "law": 0}
    # Every text of `old` stands in `law` too, and all of them are watched.
    assert inputs.copies == {"old": 0, "law": 150}
    assert len(inputs.train_documents["law"]) == 150


def test_held_out_documents_are_not_trained_on(make_values: MakeValues) -> None:
    inputs = inputs_of(make_values([*ONE, {"name": "code", "data": "code"}]))
    store = inputs.stores["code"]
    trained = set(inputs.train_documents["code"].tolist())
    watched = set(inputs.watch_documents["code"].tolist())
    assert not trained & watched
    assert inputs.held_out["code"] == 150 - len(trained)
    assert int(store.lengths[inputs.watch_documents["code"]].sum()) <= 1500
    assert inputs.trainable_tokens("code") == sum(len(store.ids(document)) for document in trained)
    assert set(map(int, store.hashes[sorted(watched)])) <= set(map(int, inputs.watched_hashes))


def test_a_text_watched_in_one_corpus_is_not_trained_on_in_another(
    make_values: MakeValues, texts: dict[str, Path]
) -> None:
    inputs = inputs_of(make_values(ONE, watch=["old"]))
    old = {text_hash(json.loads(line)["text"]) for line in texts["old"].read_text().splitlines()}
    law = inputs.stores["law"]
    assert not old & {int(law.hashes[document]) for document in inputs.train_documents["law"]}


def test_few_watched_documents_are_noted(make_values: MakeValues) -> None:
    inputs = inputs_of(make_values(ONE, watch=[{"corpus": "law", "tokens": 100}]))
    assert [note for note in inputs.notes if "watch 'law' scores only" in note]


def test_every_missing_file_is_named_before_any_work(make_values: MakeValues, tmp_path: Path) -> None:
    values = make_values(ONE, base=str(tmp_path / "no-base"))
    values["corpora"]["law"]["path"] = str(tmp_path / "no-law.jsonl")
    with pytest.raises(UserError) as caught:
        inputs_of(values)
    assert "corpora.law" in str(caught.value)
    assert "no-base' is no folder" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_watched_corpus_with_nothing_held_out_is_refused(make_values: MakeValues) -> None:
    values = make_values(ONE)
    values["corpora"]["law"]["holdout"] = 0.0
    with pytest.raises(UserError, match="watch 'law': no document is held out"):
        inputs_of(values)


def test_a_corpus_with_nothing_left_is_refused(make_values: MakeValues, texts: dict[str, Path]) -> None:
    values = make_values([{"name": "copy", "data": "copy"}], watch=["old"])
    values["corpora"]["copy"] = {"path": str(texts["old"])}
    with pytest.raises(UserError, match="corpus 'copy' has nothing left to train on: all 150"):
        inputs_of(values)


def test_inputs_are_read_again_without_the_corpora(
    own_law: tuple[dict[str, Any], Path], make_values: MakeValues
) -> None:
    values, file = own_law
    plan = from_values(values)
    directory = RunDirectory(plan.directory)
    first = make_inputs(plan, directory)
    with pytest.raises(UserError, match="has not begun"):
        read_inputs(plan, directory)
    record_inputs(first, directory)
    record_inputs(first, directory)
    assert len(directory.ledger()) == 1
    file.unlink()
    again = read_inputs(plan, directory)
    for name, store in first.stores.items():
        assert again.stores[name].hash == store.hash
        assert np.array_equal(again.train_documents[name], first.train_documents[name])
        assert np.array_equal(again.watch_documents[name], first.watch_documents[name])
    assert (again.held_out, again.copies, again.notes) == (first.held_out, first.copies, first.notes)
    shutil.rmtree(first.stores["law"].folder)
    with pytest.raises(UserError, match="is gone"):
        read_inputs(plan, directory)


def test_changed_text_is_refused_though_every_stage_is_finished(own_law: tuple[dict[str, Any], Path]) -> None:
    values, file = own_law
    run(from_values(values))
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"text": "one more"}\n')
    prepared = sorted(Path(values["output_dir"], "prepared").iterdir())
    with pytest.raises(UserError, match=r"^law: the text is not what .*Restore the files"):
        run(from_values(values))
    assert sorted(Path(values["output_dir"], "prepared").iterdir()) == prepared  # refused before any tokenising
    same_size = whole.replace(b" ba ", b" ke ", 1)
    assert len(same_size) == len(whole)
    assert same_size != whole
    file.write_bytes(same_size)
    with pytest.raises(UserError, match=r"^law: the text is not what"):
        run(from_values(values))
    file.write_bytes(whole)
    os.utime(file, ns=(1, 1))  # another time of change, the same text
    assert run(from_values(values)).complete


def test_a_changed_base_is_refused_though_every_stage_is_finished(
    make_values: MakeValues, tmp_path: Path, base: Path
) -> None:
    own = tmp_path / "base"
    shutil.copytree(base, own)
    values = make_values(ONE, base=str(own))
    run(from_values(values))
    os.utime(own / "model.safetensors", ns=(1, 1))
    assert run(from_values(values)).complete  # touched, not changed
    model = AutoModelForCausalLM.from_pretrained(own)
    model.model.norm.weight.data += 0.01
    model.save_pretrained(own)
    with pytest.raises(UserError, match=r"the base of .* has changed"):
        run(from_values(values))
