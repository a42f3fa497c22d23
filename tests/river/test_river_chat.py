"""Stages that learn conversations: answers only, alone or beside plain text, with replay, retention and resuming."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewarm.evaluation.loss import load
from rewarm.plan import Plan, from_values
from rewarm.report import wording
from rewarm.report.result import Result
from rewarm.river.chat import make_ready, shown
from rewarm.river.directory import RunDirectory
from rewarm.river.forecast import forecast
from rewarm.river.inputs import make_inputs, read_inputs
from rewarm.river.run import run
from rewarm.tokens.chat import ChatEncoder
from rewarm.tokens.templates import choose, plain
from rewarm.types import UserError

MakeValues = Callable[..., dict[str, Any]]
REPLAY = {"from": "old", "share": 0.25}


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory, words: Any) -> Path:
    """150 conversations of one or two questions, with every answer in the words of its question."""
    file = tmp_path_factory.mktemp("talk") / "talk.jsonl"
    with file.open("w", encoding="utf-8") as out:
        for number in range(150):
            turns = []
            for turn in range(1 + number % 2):
                question = words(9000 + 2 * number + turn, 6)
                turns += [{"role": "user", "content": question}, {"role": "assistant", "content": question[:12]}]
            out.write(json.dumps({"messages": turns}) + "\n")
    return file


@pytest.fixture(scope="module")
def talking(values_in: MakeValues, talk: Path) -> MakeValues:
    """A function: run directory, stages, **changes -> a plan with the corpus of conversations, watched."""

    def make(root: Path, stages: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
        values = values_in(root, stages, watch=["old", "talk"], eval_tokens=800, **changes)
        del values["corpora"]["code"]
        values["corpora"]["talk"] = {"type": "chat", "path": str(talk), "holdout": 0.1}
        return values

    return make


STAGES = [
    {"name": "law", "data": "law", "tokens": 1024},
    {"name": "talk", "data": "talk", "replay": REPLAY},
    {"name": "both", "data": [{"corpus": "law", "weight": 3}, {"corpus": "talk", "weight": 1}], "tokens": 1024,
     "replay": {"from": "talk", "share": 0.25},
     "retention": [{"type": "ewc", "text": "talk"}, {"type": "distillation", "top_k": 8, "swap": True}]},
]  # fmt: skip


@pytest.fixture(scope="module")
def talked(talking: MakeValues, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """Directory and result of a finished run: plain text, conversations with replay, and a mixture with retention."""
    root = tmp_path_factory.mktemp("talked") / "run"
    return root, run(from_values(talking(root, STAGES, controls=["new-only"])))


def test_budgets_count_all_tokens_and_the_report_says_how_many_are_learned(talked: tuple[Path, Result]) -> None:
    root, result = talked
    shares = {(one.stage, one.corpus): one for one in result.shares if not one.run}
    assert shares["stage-2-talk", "talk"].realised == pytest.approx(0.75, abs=0.01)
    assert sum(one.tokens for one in result.shares if not one.run and one.stage == "stage-2-talk") == 2048
    assert shares["stage-3-both", "talk"].planned == pytest.approx(0.25 + 0.75 / 4)
    assert shares["stage-3-both", "law"].learned is None
    counted = shares["stage-2-talk", "talk"]
    assert counted.learned is not None
    assert 0 < counted.learned < counted.tokens / 2
    assert wording.learned(counted).endswith("of them learned")
    assert all(
        wording.learned(counted) in (root / name).read_text(encoding="utf-8") for name in ("report.html", "report.md")
    )
    entry = RunDirectory(root).finished()["stage-2-talk"]
    assert entry["learned"] == {"talk": counted.learned}
    assert "learned" not in RunDirectory(root).finished()["stage-1-law"]


def test_scores_are_of_answers_only(talked: tuple[Path, Result]) -> None:
    root, _ = talked
    inputs = read_inputs(RunDirectory(root).resolved(), RunDirectory(root, root / "prepared"))
    store, documents = inputs.stores["talk"], inputs.watch_documents["talk"]
    losses = load(root / "evaluations" / "stage-2-talk" / "talk.npz")
    masks = [store.learned(int(number)) for number in documents]
    assert losses.tokens_D.tolist() == [int(mask.sum()) for mask in masks if mask is not None]
    assert losses.bytes_D.tolist() == np.asarray(store.bytes)[documents].tolist()
    base = load(root / "evaluations" / "base" / "talk.npz")
    assert losses.nats_D.sum() < base.nats_D.sum()


def test_models_know_when_to_stop_and_how_to_be_asked(talked: tuple[Path, Result]) -> None:
    """From the stage that first read conversations on: its template, and the ids that end an answer."""
    from transformers import AutoTokenizer

    root, _ = talked
    assert not (root / "stage-1-law" / "chat_template.jinja").exists()
    for leg in ("stage-2-talk", "stage-3-both"):
        tokenizer = AutoTokenizer.from_pretrained(root / leg)
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": "ba"}], add_generation_prompt=True, tokenize=False
        )
        assert prompt == "<|bos|>### User:\nba\n\n### Assistant:\n"
        ends = json.loads((root / leg / "generation_config.json").read_text())["eos_token_id"]
        assert ends == tokenizer.eos_token_id


def test_a_model_gets_the_ends_of_its_template(make_tiny: Any, tmp_path: Path, tiny_tokenizer_folder: Path) -> None:
    from transformers import AutoTokenizer

    from rewarm.tokens.tokenizer import TextTokenizer

    made = AutoTokenizer.from_pretrained(tiny_tokenizer_folder)
    made.add_special_tokens({"additional_special_tokens": ["<|end|>"]})
    made.chat_template = (
        "{% for m in messages %}{{ m['role'] + ':' + m['content'] + '<|end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}"
    )
    made.save_pretrained(tmp_path / "own")
    own = TextTokenizer(tmp_path / "own")
    model = make_tiny("llama")
    assert make_ready(model, ChatEncoder(choose("auto", own))) is None
    assert model.generation_config.eos_token_id == [own.eos_id, made.convert_tokens_to_ids("<|end|>")]
    again = list(model.generation_config.eos_token_id)
    assert make_ready(model, ChatEncoder(choose("plain", own))) == plain(own)
    assert model.generation_config.eos_token_id == again


def test_a_stopped_run_is_the_unbroken_one(
    talking: MakeValues, talked: tuple[Path, Result], tmp_path: Path, run_with_stops: Callable[[Plan, int], int]
) -> None:
    plan = from_values(talking(tmp_path / "run", STAGES[:2]))
    assert run_with_stops(plan, 9) > 1
    whole, broken = (RunDirectory(root).finished() for root in (talked[0], tmp_path / "run"))
    for leg in ("stage-1-law", "stage-2-talk"):
        assert broken[leg]["weights_sha256"] == whole[leg]["weights_sha256"]


def test_check_shows_what_is_learned(talking: MakeValues, tmp_path: Path, talk: Path) -> None:
    found = forecast(from_values(talking(tmp_path / "run", STAGES[:2])))
    first = json.loads(talk.read_text().splitlines()[0])["messages"]
    question, answer = (turn["content"] for turn in first)
    (example,) = found.examples
    text = shown(example)
    assert text == f"<|bos|>### User:\n{question}\n\n### Assistant:\n⟦{answer.strip()}<|eos|>⟧"
    assert (example.template, example.ends) == ("plain", ["<|eos|>"])
    estimated = next(corpus for corpus in found.corpora if corpus.name == "talk")
    inputs = make_inputs(from_values(talking(tmp_path / "run", STAGES[:2])), RunDirectory(tmp_path / "run"))
    assert estimated.tokens == inputs.stores["talk"].tokens


def test_two_templates_in_one_plan_are_refused(talking: MakeValues, tmp_path: Path, talk: Path) -> None:
    values = talking(tmp_path / "run", [{"name": "talk", "data": ["talk", "more"]}])
    given = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + eos_token }}{% endfor %}"
    values["corpora"]["more"] = {"type": "chat", "path": str(talk), "template": given}
    for refusing in (forecast, lambda plan: make_inputs(plan, RunDirectory.of(plan))):
        with pytest.raises(UserError, match="corpora more and talk have different chat templates"):
            refusing(from_values(values))
    values["corpora"]["more"]["template"] = "tokenizer"
    with pytest.raises(UserError, match=r"corpora\.more: the tokenizer has no chat template"):
        forecast(from_values(values))


def test_little_raw_text_is_noted_and_conversations_are_not(talked: tuple[Path, Result]) -> None:
    _, result = talked
    notes = [note for note in result.notes if "EntiGraph" in note]
    assert [note.split("'")[1] for note in notes] == ["law", "both"]
