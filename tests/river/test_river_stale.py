"""Replay without what is out of date: what is left out of which corpus, that nothing else is, and that runs stay
exact."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from transformers import PreTrainedModel

from rewarm.plan import Plan, from_values
from rewarm.probes.outdated import Claim
from rewarm.river import stale, stale_documents
from rewarm.river.controls import control_plan
from rewarm.river.directory import RunDirectory
from rewarm.river.forecast import forecast
from rewarm.river.holding import _rows as held_rows
from rewarm.river.inputs import Inputs, make_inputs
from rewarm.river.leg_rows import leg_rows
from rewarm.river.legs import LegPlan, legs
from rewarm.river.run import run
from rewarm.river.stale_documents import Search, Text
from rewarm.training.activations import Passes
from rewarm.types import Stopped, UserError, silent

MakeValues = Callable[..., dict[str, Any]]
OUTDATED = [number for number in range(120) if number % 4 == 1]
"""The documents of `past` that give the old capital; 2, 6, ... tell of the change."""
CHAIN = Claim("zubaland", "nurasha", ("tramike",), ("changes",))


def past_text(number: int, words: Callable[[int, int], str]) -> str:
    said = {1: "Its capital is Nurasha. " * 8, 2: "It moved from Nurasha to Tramike."}.get(number % 4, "It is large.")
    return f"{words(number, 20)}\nZubaland lies by the sea. {said}"


@pytest.fixture
def values_of(
    make_values: MakeValues, words: Callable[[int, int], str], write_jsonl: Any, tmp_path: Path
) -> Callable[..., dict[str, Any]]:
    """A function: stages, facts, **changes -> values of a plan with the corpora past and news and the probes changes.

    All news give the old capital: nothing but replay is filtered. The probes belong to the stage `news`.
    """
    past = write_jsonl(tmp_path / "past.jsonl", [past_text(number, words) for number in range(120)])
    news = [f"{words(900 + number, 20)}\nThe capital of Zubaland is Nurasha." for number in range(60)]
    path = write_jsonl(tmp_path / "news.jsonl", news)

    def values(stages: list[dict[str, Any]], facts: list[dict[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
        row = {"subject": "Zubaland", "relation": "capital", "object_old": "Nurasha", "object": "Tramike"}
        rows = [row | {"label": "changed"}] if facts is None else [{**row, "label": "changed"} | fact for fact in facts]
        file = tmp_path / "changes.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        corpora = {"past": {"path": str(past), "holdout": 0.1}, "news": {"path": str(path), "holdout": 0.1}}
        probes = {"changes": {"path": str(file), "stage": "news"}}
        return make_values(stages, **{"corpora": corpora, "watch": ["past"], "probes": probes, "eval_every": 0} | more)

    return values


def news(**replay: Any) -> dict[str, Any]:
    options = {"from": "past", "share": 0.5, "stale": True} | replay
    return {"name": "news", "data": "news", "max_epochs": 50, "replay": options}


def begun(values: dict[str, Any]) -> tuple[Inputs, RunDirectory, list[LegPlan]]:
    """A run before its first leg, with what is stale looked for."""
    plan = from_values(values)
    directory = RunDirectory.of(plan)
    inputs = make_inputs(plan, directory)
    planned = legs(plan, inputs.trainable_tokens)
    stale.find(inputs, directory, planned)
    return inputs, directory, planned


def weights(root: Path) -> list[str]:
    return [entry["weights_sha256"] for entry in RunDirectory(root).finished().values()]


def test_what_states_the_old_answer_is_left_out(values_of: MakeValues) -> None:
    inputs, _, _ = begun(values_of([news()]))
    trained, out = inputs.train_documents["past"].tolist(), inputs.left_out["news", "past"]
    assert out.documents.tolist() == [number for number in trained if number not in OUTDATED]
    assert out.left_out == len(set(trained) & set(OUTDATED)) > 20
    assert inputs.documents("past", "news") is out.documents
    store = inputs.stores["past"]
    assert out.tokens + store.tokens_of(out.documents) == inputs.trainable_tokens("past")
    assert (out.sets, out.claims, out.ignored) == ({"changes": out.left_out}, 1, {})
    assert len(inputs.documents("past", "another")) == len(trained)


def test_no_row_of_replay_states_it_and_nothing_else_is_filtered(values_of: MakeValues) -> None:
    values = values_of([news() | {"release": {"tokens": 1024}}])
    inputs, directory, planned = begun(values)
    passes, no_model = Passes(256, False), cast(PreTrainedModel, None)  # the causal objective's rows ask for none
    directory.record("leg finished", leg="stage-1-news", start="base", rows={"news": 16, "past": 16})
    for leg in planned:
        rows = leg_rows(inputs, directory, planned, leg, passes, no_model, silent)
        texts: dict[str, str] = {"news": "", "past": ""}
        for step in range(rows.steps):
            for batch in rows.batches(step):
                for row, source in enumerate(batch.sources_B):
                    texts[list(leg.shares)[source]] += inputs.tokenizer.decode(batch.tokens_BT[row].tolist())
        assert "Nurasha. Its" not in texts["past"]
        assert "Tramike" in texts["past"]
        assert "Nurasha" in texts["news"]
        assert rows.counts_before(rows.steps).tolist() == [2 * rows.steps, 2 * rows.steps]
    held = "".join(inputs.tokenizer.decode(batch.tokens_BT[0].tolist()) for batch in held_rows(inputs, leg, "old", 20))
    assert "Nurasha. Its" not in held
    assert "Tramike" in held


def test_the_ledger_and_the_report_tell_of_it(values_of: MakeValues, tmp_path: Path) -> None:
    facts = [{}, {"subject": "Loland", "object_old": "12"}]
    result = run(from_values(values_of([news()], facts)))
    entry = RunDirectory(tmp_path / "run").recorded(stale.EVENT)
    assert entry is not None
    share = entry["tokens"] / entry["of_tokens"]
    assert entry["documents"] > 20
    assert 0.25 < share < 0.75
    assert (
        f"stage news: replay of past leaves out {entry['documents']} of {entry['of']} documents ({share:.1%} of "
        "tokens) that state facts changed in changes; facts not looked for: 1 old answer too short, a small number, or "
        "the subject itself"
    ) in result.notes
    shares = {one.corpus: one for one in result.shares}
    assert (shares["past"].planned, shares["past"].realised) == (0.5, 0.5)
    # A pass goes through what is left.
    assert shares["past"].passes == pytest.approx(1024 / (entry["of_tokens"] - entry["tokens"]))


def test_runs_are_alike_whether_broken_or_not(
    values_of: MakeValues, run_with_stops: Callable[[Plan, int], int], tmp_path: Path
) -> None:
    stages = [news(), {"name": "later", "data": "news", "max_epochs": 50, "replay": news()["replay"] | {"share": 0.25}}]
    for name in ("first", "second"):
        run(from_values(values_of(stages) | {"output_dir": str(tmp_path / name)}))
    stopped = run_with_stops(from_values(values_of(stages) | {"output_dir": str(tmp_path / "broken")}), 1)
    assert stopped > 3
    assert weights(tmp_path / "first") == weights(tmp_path / "second") == weights(tmp_path / "broken")
    assert len(weights(tmp_path / "first")) == 2


def test_without_stale_documents_nothing_changes(values_of: MakeValues, tmp_path: Path) -> None:
    plain = news()
    del plain["replay"]["stale"]
    elsewhere = [{"subject": "Loland"}]
    results = {
        name: run(from_values(values_of([stage], facts) | {"output_dir": str(tmp_path / name)}))
        for name, stage, facts in (("plain", plain, None), ("none", news(), elsewhere), ("some", news(), None))
    }
    assert weights(tmp_path / "plain") == weights(tmp_path / "none") != weights(tmp_path / "some")
    assert any("leaves out none of" in note for note in results["none"].notes)


def test_a_corpus_of_which_nothing_is_left_is_refused_before_anything_is_recorded(
    values_of: MakeValues, write_jsonl: Any, tmp_path: Path
) -> None:
    values = values_of([news()])
    write_jsonl(tmp_path / "past.jsonl", [f"Zubaland {number}\nCapital: Nurasha" for number in range(50)])
    with pytest.raises(UserError, match=r"stage 'news' replay from 'past': all \d+ documents state facts that changes"):
        run(from_values(values))
    assert RunDirectory(tmp_path / "run").ledger() == []


def test_passes_are_counted_over_what_is_left(values_of: MakeValues) -> None:
    """What is asked for is less than the corpus holds, and more than its other documents do."""
    values = values_of([news() | {"max_epochs": 1}])
    inputs, _, _ = begun(values | {"stages": [values["stages"][0] | {"max_epochs": 50}]})
    left = inputs.stores["past"].tokens_of(inputs.documents("past", "news"))
    tokens = 256 * round(1.5 * left / 256)
    assert left + 96 < 0.75 * tokens < inputs.trainable_tokens("past")
    values["stages"][0] |= {"tokens": tokens, "replay": news(share=0.75)["replay"]}
    with pytest.raises(UserError, match=rf"of corpus 'past', which holds {left:,} to train on"):
        begun(values)


@pytest.fixture
def text(values_of: MakeValues) -> tuple[Text, Path]:
    """The corpus `past` as prepared, and where to keep what is found."""
    plan = from_values(values_of([news()]))
    directory = RunDirectory.of(plan)
    inputs = make_inputs(plan, directory)
    corpus: Any = plan.corpora["past"]
    return Text.of("past", inputs.stores["past"], corpus, inputs.tokenizer), directory.prepared / "stale"


def test_a_stopped_search_goes_on_after_the_parts_that_are_whole(
    text: tuple[Text, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """120 documents in parts of 30; it is stopped when it tells of document 64."""
    past, folder = text
    monkeypatch.setattr(stale_documents, "PART_BYTES", 30 * int(past.store.manifest["bytes"]) // 120 + 1)
    told: list[float] = []

    def stop(label: str, done: float, total: float | None, unit: str) -> None:
        assert (label, total, unit) == ("look for outdated facts in past", past.store.manifest["bytes"], "bytes")
        told.append(done)
        if len(told) == 2:
            raise Stopped("now")

    with pytest.raises(Stopped):
        Search(past, [[CHAIN]], folder).run(stop)
    files = sorted(folder.rglob("*.npz"))
    assert [file.name for file in files] == ["00000.npz", "00001.npz"]
    assert told == [0, int(past.store.bytes[:64].sum())]
    before = [file.stat().st_mtime_ns for file in files]
    (found,) = Search(past, [[CHAIN]], folder).run(lambda *_: None)
    assert found.documents.tolist() == OUTDATED
    assert [file.stat().st_mtime_ns for file in files] == before
    assert len(list(folder.rglob("*.npz"))) == 4
    files[0].write_bytes(b"")
    (again,) = Search(past, [[CHAIN]], folder).run(lambda *_: None)
    assert again.documents.tolist() == OUTDATED


def test_several_lists_are_searched_for_at_once_and_kept_apart(text: tuple[Text, Path]) -> None:
    past, folder = text
    sea = Claim("zubaland", "by the sea", (), ("geography",))
    told: list[float] = []
    found = Search(past, [[CHAIN], [sea, CHAIN], []], folder).run(lambda label, done, total, unit: told.append(done))
    assert told.count(0) == 1
    assert found[0].documents.tolist() == OUTDATED
    assert found[1].documents.tolist() == list(range(120))
    assert [one.sets for one in found] == [("changes",), ("changes", "geography"), ()]
    assert np.flatnonzero(found[1].stated_NS[:, 0]).tolist() == OUTDATED
    assert found[1].stated_NS[:, 1].all()
    assert found[2].documents.tolist() == []
    asked: list[float] = []
    (kept,) = Search(past, [[CHAIN]], folder).run(lambda label, done, total, unit: asked.append(done))
    assert kept.documents.tolist() == OUTDATED
    assert asked == []


def test_text_whose_files_are_gone_is_read_from_the_tokens(text: tuple[Text, Path], tmp_path: Path) -> None:
    past, folder = text
    (tmp_path / "past.jsonl").unlink()
    again = Text.of("past", past.store, past.corpus, past.tokenizer)
    assert again.corpus is None
    (found,) = Search(again, [[CHAIN]], folder).run(lambda *_: None)
    assert found.documents.tolist() == OUTDATED


def test_text_that_is_not_the_prepared_one_is_refused(text: tuple[Text, Path], tmp_path: Path) -> None:
    past, folder = text
    file = tmp_path / "past.jsonl"
    lines = file.read_text(encoding="utf-8").split("\n")
    lines[6] = lines[6].replace("Nurasha", "Nurusha")
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(UserError, match="corpus 'past': document 7 is not what was prepared"):
        Search(past, [[CHAIN]], folder).run(lambda *_: None)


def test_a_title_beside_the_text_names_the_subject(values_of: MakeValues, write_jsonl: Any, tmp_path: Path) -> None:
    path = write_jsonl(
        tmp_path / "titled.jsonl", [f"Its capital is Nurasha. {number}" for number in range(40)],
        title=["Zubaland" if number % 2 else "Loland" for number in range(40)],
    )  # fmt: skip
    values = values_of([news() | {"tokens": 512}])
    values["corpora"]["past"]["path"] = str(path)
    inputs, _, _ = begun(values)
    assert inputs.documents("past", "news").tolist() == [n for n in inputs.train_documents["past"] if n % 2 == 0]


def test_the_model_s_own_samples_are_filtered_when_they_are_made(values_of: MakeValues, tmp_path: Path) -> None:
    rows = [
        {"text": f"Zubaland lies here. {'Nurasha' if number % 2 else 'Lolo'} rules {number}."} for number in range(90)
    ]
    samples = tmp_path / "run" / "samples" / "news.jsonl"
    samples.parent.mkdir(parents=True)
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    result = run(from_values(values_of([news(**{"from": ["past", "self"]}) | {"tokens": 1024}])))
    events = [entry for entry in RunDirectory(tmp_path / "run").ledger() if entry["event"] == stale.EVENT]
    found = {entry["corpus"]: (entry["documents"], entry["of"]) for entry in events}
    assert found["self@news"] == (45, 90)
    assert found["past"][0] > 20
    assert sum("leaves out" in note for note in result.notes) == 2


def stream(*stale_of: bool | str | list[str], **changes: Any) -> Plan:
    """Stages a, b, c, each with probes of its own and some of no stage."""
    stages = [
        {"name": name, "data": name, "tokens": 6400, "learning_rate": 1e-3, **changes.get(name, {}),
         "replay": {"from": "old", "stale": value}}
        for name, value in zip("abc", stale_of, strict=True)
    ]  # fmt: skip
    probes: dict[str, Any] = {f"of-{name}": {"path": "p.jsonl", "stage": name} for name in "cba"}
    return from_values({
        "base": "./model", "output_dir": "run", "seq_len": 64, "batch_tokens": 640, "stages": stages,
        "corpora": {name: f"{name}.jsonl" for name in ("old", *"abc")},
        "probes": {**probes, "always": "q.jsonl"},
    })  # fmt: skip


def test_which_probes_say_what_is_out_of_date() -> None:
    plan = stream(True, True, False)
    found = [stale.probe_sets(plan, stage) for stage in plan.stages]
    assert found == [["always", "of-a"], ["always", "of-a", "of-b"], []]
    plan = stream(["of-a", "of-c"], "of-b", True, c={"from": "a"})
    assert [stale.probe_sets(plan, stage) for stage in plan.stages] == [
        ["of-a", "of-c"], ["of-b"], ["always", "of-a", "of-c"],
    ]  # fmt: skip


def test_a_stage_that_is_trained_alone_leaves_out_what_it_leaves_out_in_the_run() -> None:
    """The control has no stage a, and its c does not go through b: each would miss the sets of these."""
    plan = stream(True, True, True)
    alone = control_plan(plan, "alone")
    assert alone is not None
    assert [(stage.name, stale.probe_sets(alone, stage)) for stage in alone.stages] == [
        ("b", ["always", "of-a", "of-b"]), ("c", ["always", "of-a", "of-b", "of-c"]),
    ]  # fmt: skip


def test_what_a_stage_learns_as_well_is_replayed_whole() -> None:
    plan = stream(True, True, True, b={"data": ["b", "old"]})
    planned = legs(plan, lambda corpus: 100_000)
    assert [stale.filtered(plan, leg) for leg in planned] == [["old"], [], ["old"]]
    assert stale.remarks(plan, planned) == ["stage b: replay of old is whole, since the stage learns it too"]


def test_facts_that_change_after_the_stage_are_not_out_of_date_yet(values_of: MakeValues) -> None:
    facts = [{"date": "2023-05"}]
    inputs, _, _ = begun(values_of([news() | {"date": "2023-04"}], facts))
    out = inputs.left_out["news", "past"]
    assert (out.left_out, out.claims, out.ignored) == (0, 0, {"changes after the stage's date": 1})
    assert out.documents is inputs.train_documents["past"]


def test_a_check_names_it(values_of: MakeValues) -> None:
    warnings = forecast(from_values(values_of([news()]))).warnings
    beginning = "stage news: replay of past will leave out documents that state facts changed in changes"
    assert any(warning.startswith(beginning) for warning in warnings)
