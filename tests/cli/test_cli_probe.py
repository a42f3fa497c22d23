"""`rewarm probe` on tiny models: every figure is that of the library, and files appear as asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

ROWS: list[dict[str, Any]] = [
    {"id": "u1", "label": "unchanged", "subject": "moria", "relation": "lake", "object": "zuke"},
    {"id": "u2", "label": "unchanged", "subject": "luria", "relation": "lake", "object": ["lomi", "lomi tra"]},
    {"id": "c1", "label": "changed", "subject": "dorne", "relation": "lake", "object": "tishi", "object_old": "bake"},
    {"id": "n1", "label": "new", "subject": "zuben", "relation": "lake", "object": "vora"},
    {"id": "d1", "label": "deleted", "subject": "keba", "relation": "lake", "object_old": "sera"},
    {"id": "q1", "label": "new", "prompt": "Who rules?", "object": "mina", "choices": ["mina", "nula"]},
    {"id": "r1", "label": "reworded", "subject": "moria", "relation": "lake", "object": "zukee"},
]  # fmt: skip


def prompt(subject: str) -> str:
    return f"The lake of {subject} is"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of six probes, and a row that is left out."""
    file = tmp_path_factory.mktemp("probes") / "lakes.jsonl"
    lines = [{"suffix": ".", "prompt": prompt(row.get("subject", "")), **row} for row in ROWS]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def updated(base: Path, tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_folder: Path) -> Path:
    """The base, trained a little on the changed fact and the new one."""
    from rewarm.models.load import load_model, save_model
    from rewarm.tokens.tokenizer import TextTokenizer

    model = load_model(str(base)).train()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    texts = [f"{prompt('dorne')} tishi.", f"{prompt('zuben')} vora."]
    documents = [ids.astype(np.int64) for ids in TextTokenizer(tiny_tokenizer_folder).encode(texts)]
    for step in range(160):
        ids = torch.from_numpy(documents[step % 2])[None]
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        optimizer.step()
    folder = tmp_path_factory.mktemp("updated") / "model"
    save_model(model, tiny_tokenizer_folder, folder)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, so that nothing has been scored before."""
    monkeypatch.setenv("REWARM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_figures_are_those_of_the_library(cli: Any, base: Path, rows: Path) -> None:
    from rewarm.evaluation.fact_summary import by_kind, by_relation
    from rewarm.evaluation.facts import score_facts
    from rewarm.evaluation.scorers import open_scorer
    from rewarm.methods import build
    from rewarm.types import BadRows

    called = cli("probe", base, rows, "--json")
    assert called.code == 0, called.err
    source: Any = build("probes", {"type": "jsonl", "path": str(rows)})
    scores = score_facts(open_scorer(str(base)), list(source.read(BadRows())))
    found = called.json()["sets"]["lakes"]
    for part, expected in (("kinds", by_kind(scores)), ("relations", by_relation(scores))):
        assert list(found[part]) == list(expected)
        for kind, figures in expected.items():
            assert found[part][kind] == {name: pytest.approx(one._asdict()) for name, one in figures.items()}
    assert (found["rows"], found["left_out"], found["bad_rows"]) == (7, {"label reworded": 1}, {})
    assert found["answer_not_last"] == 0


def test_what_goes_on_after_the_answer_is_counted(cli: Any, base: Path, tmp_path: Path) -> None:
    file = tmp_path / "middle.jsonl"
    row = {"label": "new", "prompt": "They call", "suffix": " their king.", "object": "mina"}
    file.write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert cli("probe", base, file, "--json").json()["sets"]["middle"]["answer_not_last"] == 1
    assert "middle: 1 probes go on after the answer" in cli("probe", base, file, "--quiet").out


def test_a_table_for_people(cli: Any, base: Path, rows: Path) -> None:
    called = cli("probe", base, rows, "--quiet")
    assert called.code == 0, called.err
    lines = [line.split() for line in called.out.splitlines()]
    assert lines[0] == ["lakes"]
    kinds = ("all", "unchanged", "changed", "new", "deleted")
    assert [line[:2] for line in lines if line and line[0] in kinds] == [
        ["all", "6"], ["unchanged", "2"], ["changed", "1"], ["new", "2"], ["deleted", "1"],
    ]  # fmt: skip
    assert max(map(len, called.out.split("nats/byte, perplexity:")[0].splitlines())) <= 80
    assert "…" not in called.out
    assert "lakes: 1 of 7 rows left out (1 label reworded)" in called.out


def test_a_model_against_itself(cli: Any, base: Path, rows: Path) -> None:
    found = cli("probe", base, rows, "--against", base, "--json").json()
    assert found["fuar"]["exact"]["words"] == "no gain"
    for kind in found["changes"]["lakes"].values():
        for change in kind.values():
            assert change["interval"]["delta"] == 0
            assert change["interval"]["verdict"] == "not distinguishable from noise"


def test_an_update_against_its_base(cli: Any, base: Path, updated: Path, rows: Path, tmp_path: Path) -> None:
    """Both learned facts are generated; the untouched base generates none, so what was gained is all of UL and half
    of NL, and nothing could be lost."""
    output = tmp_path / "rows.jsonl"
    called = cli("probe", updated, rows, "--against", base, "--json", "--output", output)
    assert called.code == 0, called.err
    found = called.json()
    assert found["files"] == [str(output)]
    assert found["sets"]["lakes"]["kinds"]["changed"]["exact"] == {"value": 1.0, "probes": 1}
    assert found["sets"]["lakes"]["kinds"]["changed"]["prefers_new"]["value"] == 1
    ratio = found["fuar"]["exact"]
    assert (ratio["value"], ratio["gained"], ratio["vacuous"]) == (0, 1.5, True)
    assert ratio["updated"] == [{"before": 0, "after": 1}]
    assert found["changes"]["lakes"]["changed"]["nats_per_byte"]["interval"]["delta"] < 0
    written = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in written] == ["u1", "u2", "c1", "n1", "d1", "q1"]
    changed = written[2]
    assert (changed["exact"], changed["before"]["exact"], changed["known"]) == (1, 0, True)
    assert changed["generated"].startswith(" tishi")
    assert "exact" not in written[4]  # deleted
    told = cli("probe", updated, rows, "--against", base, "--quiet").out
    assert "FUAR by exact: 0.00 (vacuous); IL 0.0% -> 0.0%, UL 0.0% -> 100.0%, NL 0.0% -> 50.0%" in told


def test_probes_that_a_base_knows_are_taken_out(cli: Any, updated: Path, rows: Path, tmp_path: Path) -> None:
    left = tmp_path / "unknown.jsonl"
    found = cli("probe", updated, rows, "--unknown-only", left, "--json").json()
    assert found["known"]["ids"] == ["c1", "n1"]
    assert found["known"]["known"] == {"unchanged": 0, "changed": 1, "new": 1}
    assert found["known"]["asked"] == {"unchanged": 2, "changed": 1, "new": 2}
    again = cli("probe", updated, left, "--json").json()
    assert again["known"]["ids"] == []
    kinds = again["sets"]["unknown"]["kinds"]
    assert kinds["unchanged"]["exact"]["probes"] == 2
    assert kinds["new"]["chosen"]["probes"] == 1
    assert kinds["deleted"]["stale"]["probes"] == 1
    assert again["sets"]["unknown"]["rows"] == 4


def test_the_same_is_scored_once(cli: Any, base: Path, rows: Path, cache: Path) -> None:
    first = cli("probe", base, rows, "--json").json()
    (kept,) = (cache / "facts").iterdir()
    stamp = kept.stat().st_mtime_ns
    assert cli("probe", base, rows, "--json").json() == first
    assert kept.stat().st_mtime_ns == stamp
    cli("probe", base, rows, "--candidates", "3", "--json")
    assert len(list((cache / "facts").iterdir())) == 2


def test_a_dry_run_counts_and_writes_nothing(cli: Any, base: Path, rows: Path, tmp_path: Path, cache: Path) -> None:
    """Four probes of the relation rank among five or six objects, spellings included; then one old answer, and two
    choices."""
    output = tmp_path / "rows.jsonl"
    found = cli("probe", base, rows, "--dry-run", "--output", output, "--json").json()
    assert found["sets"]["lakes"]["probes"] == 6
    assert found["sets"]["lakes"]["answers"] == 4 * 7 + 1 + 2 - 0
    assert found["would_write"] == [str(output)]
    assert not output.exists()
    assert not (cache / "facts").exists()


def test_a_limit_draws_the_same_probes_again(cli: Any, base: Path, rows: Path) -> None:
    found = [cli("probe", base, rows, "--limit", "3", "--json").json()["sets"] for _ in range(2)]
    assert found[0] == found[1]
    assert found[0]["lakes"]["rows"] == 7


def test_options_of_the_format(cli: Any, base: Path, rows: Path) -> None:
    found = cli("probe", base, rows, "--set", "without_relations=[lake]", "--json").json()
    assert list(found["sets"]["lakes"]["kinds"]) == ["all", "new"]


def test_sets_of_one_name_are_told_apart(cli: Any, base: Path, rows: Path, tmp_path: Path) -> None:
    other = tmp_path / "lakes.jsonl"
    other.write_bytes(rows.read_bytes())
    assert list(cli("probe", base, rows, other, "--json").json()["sets"]) == [str(rows), str(other)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{rows}", "--limit", "0"], "--limit 0: ask at least 1 probe"),
        (["{rows}", "{rows}"], "is given twice"),
        (["{rows}", "--unknown-only", "x.csv"], "end its name in .jsonl"),
        (["{rows}", "--output", "{rows}"], "would be overwritten: name another file"),
        (["{rows}", "--output", "x.jsonl", "--unknown-only", "x.jsonl"], "written twice"),
        (["{rows}", "--output", "."], "'.' is a folder"),
        (["{rows}.txt"], "Name it with --format: ckl,"),
        (["{rows}", "--format", "jsnl"], "no probes method is called 'jsnl'. Did you mean 'jsonl'?"),
        (["{rows}", "--set", "relations"], "write KEY=VALUE"),
        (["{rows}", "--set", "relation=[x]"], "unknown key"),
        (["{rows}", "--candidates", "1"], "at least 2 candidates"),
        (["{rows}", "--bad-rows", "many"], "give a share such as 5%"),
        (["nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_wrong_input_is_refused_before_any_model_is_read(
    cli: Any, rows: Path, arguments: list[str], message: str
) -> None:
    called = cli("probe", "no-such-model", *(word.format(rows=rows) for word in arguments))
    assert called.code == 3
    assert message in called.err


def test_no_model_is_a_sentence(cli: Any, rows: Path, tmp_path: Path) -> None:
    called = cli("probe", tmp_path / "nothing", rows)
    assert called.code == 3
    assert "is no folder, and no model that could be fetched" in called.err


@pytest.mark.parametrize("kind", ["masked", "encoder-decoder"])
def test_other_kinds_of_models(cli: Any, rows: Path, tmp_path: Path, kind: str) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    words = dict.fromkeys(
        ["<pad>", "</s>", "<mask>", "<unk>", *rows.read_text(encoding="utf-8").replace('"', " ").split()]
    )
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", mask_token="<mask>", unk_token="<unk>"
    )
    model: Any
    if kind == "masked":
        model = BertForMaskedLM(BertConfig(vocab_size=len(words), hidden_size=16, num_hidden_layers=1,
                                           num_attention_heads=2, intermediate_size=16))  # fmt: skip
    else:
        model = T5ForConditionalGeneration(T5Config(vocab_size=len(words), d_model=16, d_ff=16, d_kv=8, num_layers=1,
                                                    num_heads=2, decoder_start_token_id=0))  # fmt: skip
    model.save_pretrained(tmp_path / "model")
    fast.save_pretrained(tmp_path / "model")
    called = cli("probe", tmp_path / "model", rows, "--json")
    assert called.code == 0, called.err
    kinds = called.json()["sets"]["lakes"]["kinds"]
    assert kinds["all"]["nats_per_byte"]["probes"] == 5
    assert kinds["changed"]["rank"]["probes"] == 1
