"""Recipes of domains and tasks: plans that load and can be checked, a source for each setting, and their commands."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
import zstandard

from rewarm.plan import Plan, from_values
from rewarm.recipes.inputs import Asked, suite
from rewarm.recipes.published import compare_command, full_lines, full_plan, recipe, small_lines, small_plans
from rewarm.river.forecast import forecast
from rewarm.types import UserError

NAMES = ("efficient", "ecomgpt", "cossu", "recyclable", "pllama", "shift")
FULL = [(name, method) for name in NAMES for method in recipe(name).methods]
SMALL = [(name, method) for name in NAMES for method in recipe(name, small=True).methods]
SETTINGS = (
    "seq_len", "batch_tokens", "weight_decay", "max_grad_norm", "epochs", "learning_rate", "schedule", "replay",
    "select", "objective", "suites",
)  # fmt: skip
SOURCES = ("[code", "[abs]", "[second-hand]", "[ours]")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory, words: Any, write_jsonl: Any) -> dict[str, str]:
    """Files of every kind that a recipe of domains takes. Read only."""
    folder = tmp_path_factory.mktemp("domains")
    for place, name in enumerate(("law", "code", "old", "task")):
        write_jsonl(folder / f"{name}.jsonl", [words(1000 * place + number, 30) for number in range(60)])
    rows: dict[str, list[dict[str, Any]]] = {
        "records": [{"sku": f"s{n}", "title": words(n, 2), "brand": f"b{n % 3}"} for n in range(30)],
        "chat": [{"prompt": words(n, 4), "response": words(n + 50, 4)} for n in range(40)],
        "preferences": [{"prompt": words(n, 4), "chosen": words(n, 3), "rejected": words(n + 9, 3)} for n in range(40)],
        "choices": [{"query": words(n, 4), "choices": [words(n, 2), words(n + 9, 2)], "gold": 0} for n in range(9)],
        "prompts": [{"prompt": words(n, 4), "rules": {"max_words": 9}} for n in range(9)],
        "requests": [{"prompt": words(n, 4), "expected": ("refuse", "comply")[n % 2]} for n in range(9)],
        "labelled": [{"text": words(n, 6), "label": n % 2} for n in range(90)],
    }
    for name, found in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in found), encoding="utf-8")
    spec = {"sources": {"goods": {"path": str(folder / "records.jsonl"), "id": "sku"}}, "holdout": 0.1}
    (folder / "shop.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    return {file.stem: str(file) for file in folder.iterdir()}


@pytest.fixture
def asked_for(texts: dict[str, str], tmp_path: Path, make_base: Callable[..., Path]) -> Callable[..., Asked]:
    """A function: name of a recipe, **changes -> what a full-scale plan of it is asked of, everything given."""
    kinds = {
        "general": "choices", "domain": "choices", "instruction": "prompts", "safety": "requests",
        "control": "labelled", "stream": "labelled", "similarity": "labelled",
    }  # fmt: skip

    def make(name: str, **changes: Any) -> Asked:
        found = recipe(name)
        extra = {key: texts[key] for key in ("old", "task", "chat", "preferences") if key in found.needs + found.takes}
        stream = (texts["law"], texts["code"]) if name in ("cossu", "recyclable", "shift") else (texts["law"],)
        given = {
            "base": str(make_base("llama")),
            "corpus": (texts["shop"],) if name == "ecomgpt" else stream,
            "suites": tuple((kind, texts[kinds[kind]]) for kind in found.suites),
            "output_dir": str(tmp_path / "run"),
            **({"tuned": "tuned"} if "tuned" in found.needs else {}),
        }
        return Asked(**given | extra | changes)

    return make


def made(name: str, method: str, asked: Asked) -> Plan:
    return from_values(yaml.safe_load(full_plan(name, method, asked)))


@pytest.mark.parametrize(("name", "method"), FULL)
def test_every_plan_of_a_decoder_can_be_checked(
    name: str, method: str, asked_for: Callable[..., Asked], tmp_path: Path, texts: dict[str, str]
) -> None:
    if name == "ecomgpt":
        # What the first of its commands leaves behind.
        rows = [
            {"id": str(number), **json.loads(row)}
            for number, row in enumerate(Path(texts["law"]).read_text().splitlines())
        ]
        for file in ("text/epoch-1.jsonl.zst", "held_out.jsonl.zst"):
            written = tmp_path / "run-records" / file
            written.parent.mkdir(parents=True, exist_ok=True)
            written.write_bytes(zstandard.compress("".join(f"{json.dumps(row)}\n" for row in rows).encode()))
    values = yaml.safe_load(full_plan(name, method, asked_for(name)))
    for stage in values["stages"]:
        stage["max_epochs"] = 1000
    for corpus in values["corpora"].values():
        # A hundredth of so little text is no document.
        corpus |= {"holdout": 0.2} if corpus.get("holdout") else {}
    values |= {"seq_len": 64, "batch_tokens": 128, "bad_rows": 1.0}
    if method == "masked":
        # The base is a decoder: what is said is that it cannot be trained so, and not that the plan is wrong.
        with pytest.raises(UserError, match="masked"):
            forecast(from_values(values)).faults()
        return
    found = forecast(from_values(values))
    assert found.faults() == []
    assert all(leg.steps > 0 for leg in found.legs)


@pytest.mark.parametrize(("name", "method"), FULL)
def test_every_setting_of_a_domain_says_where_it_comes_from(
    name: str, method: str, asked_for: Callable[..., Asked]
) -> None:
    text = full_plan(name, method, asked_for(name))
    assert recipe(name).methods[method]["about"] in text.splitlines()[0]
    assert "[mem" not in text
    above: list[str] = []
    for line in text.splitlines():
        key = line.strip().removeprefix("- ").partition(":")[0]
        if line.strip().startswith("#"):
            above.append(line)
            continue
        said = any(source in part for part in (line, *above) for source in SOURCES)
        # max_epochs is a guard that says nothing of its own, and a comment may hold for it and the line before.
        assert key not in SETTINGS or said, line
        above = []


def test_a_method_chooses_as_the_paper_does(asked_for: Callable[..., Asked]) -> None:
    plans = {method: made("efficient", method, asked_for("efficient")) for name, method in FULL if name == "efficient"}
    selects = {method: plan.stages[0].select for method, plan in plans.items()}
    found = {method: None if one is None else (one.method.method_name(), one.share) for method, one in selects.items()}
    assert found == {
        "ets": ("similarity", 0.1), "eta": ("perplexity", 0.1), "eta-entropy": ("entropy", 0.1),
        "combined": ("combined", 0.1), "random": ("random", 0.1), "full": ("random", 1.0), "task": None,
    }  # fmt: skip
    assert plans["task"].stages[0].data[0].corpus == "task"
    # Or runs of two methods would watch other documents of it, and could not be compared.
    assert all(plan.trained("task") for plan in plans.values())
    assert made("efficient", "full", asked_for("efficient", task=None)).stages[0].select is None


def test_a_stream_is_learned_in_the_order_given(asked_for: Callable[..., Asked], texts: dict[str, str]) -> None:
    asked = asked_for("cossu", corpus=(texts["law"], texts["code"]))
    plans = {method: made("cossu", method, asked) for method in ("masked", "causal", "sep")}
    assert [stage.name for stage in plans["causal"].stages] == ["law", "code"]
    masked = plans["masked"]
    assert (masked.seq_len, masked.batch_tokens // masked.seq_len, masked.weight_decay) == (512, 25, 0.0)
    for stage in masked.stages:
        assert (stage.objective.described()["probability"], stage.learning_rate, stage.epochs) == (0.15, 5e-5, 30)
    select = plans["sep"].stages[1].select
    assert select is not None
    assert (select.method.described(), select.share) == ({"type": "loss", "keep": "median"}, 0.1)
    labelled = masked.suites["control"].described()
    assert (labelled["ability"], list(labelled["read"])) == ("general", ["linear", "full"])
    assert (list(labelled["learning_rates"]), labelled["epochs"], labelled["batch_size"]) == ([1e-5], 20, 10)


def test_replay_is_what_the_methods_of_pllama_differ_in(asked_for: Callable[..., Asked]) -> None:
    plans = {method: made("pllama", method, asked_for("pllama")) for method in ("replay", "plain", "aligned")}
    shares = {
        method: [None if stage.replay is None else stage.replay.share for stage in plan.stages]
        for method, plan in plans.items()
    }
    assert shares == {"replay": [0.2, 0.1], "plain": [None, None], "aligned": [0.2, 0.1, None]}
    # Or a run without replay would watch other documents of it, and could not be compared.
    assert all(plan.trained("general") for plan in plans.values())
    assert plans["aligned"].stages[-1].objective.method_name() == "preference"
    assert set(plans["plain"].suites) == {"general", "instruction", "safety", "domain"}


def test_commands_go_with_the_plan(asked_for: Callable[..., Asked], texts: dict[str, str]) -> None:
    lines = {name: full_lines(name, None, asked_for(name), "my plan.yaml") for name in NAMES}
    words = {name: [shlex.split(line) for line in found if not line.startswith("#")] for name, found in lines.items()}
    for name, found in words.items():
        assert ["rewarm", "run", "my plan.yaml"] in found
        assert compare_command(name, asked_for(name), "my plan.yaml") is None
    assert words["ecomgpt"][0][:4] == ["rewarm", "corpus", "records", texts["shop"]]
    recycled = [found for found in words["recyclable"] if found[1] == "recycle"]
    assert [Path(found[4]).name for found in recycled] == ["stage-1-law", "stage-2-code"]
    assert all(found[found.index("--preset") + 1] == "published" for found in recycled)
    gate = next(found for found in words["pllama"] if found[1] == "gate")
    assert [one.split(" ")[0] for one in gate if one.startswith("ability")] == [
        "ability:general", "ability:instruction", "ability:safety",
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "method"), SMALL)
def test_every_small_plan_loads(name: str, method: str, tmp_path: Path) -> None:
    plans = small_plans(name, method, str(tmp_path))
    assert "first.yaml" not in plans
    assert recipe(name, small=True).methods[method]["about"] in plans["plan.yaml"].splitlines()[0]
    output_dirs = {from_values(yaml.safe_load(text)).output_dir for text in plans.values()}
    assert len(output_dirs) == len(plans)
    commands = [shlex.split(line) for line in small_lines(name, method, str(tmp_path))]
    run = [Path(found[2]).name for found in commands if found[:2] == ["rewarm", "run"]]
    assert "plan.yaml" in run
    assert set(run) <= set(plans)


def test_what_a_domain_lacks_or_has_no_use_for_is_said(asked_for: Callable[..., Asked]) -> None:
    with pytest.raises(UserError, match=r"'efficient' with method 'ets' needs --task"):
        full_plan("efficient", "ets", asked_for("efficient", task=None))
    with pytest.raises(UserError, match=r"'recyclable' with method 'causal' needs --tuned"):
        full_plan("recyclable", None, asked_for("recyclable", tuned=None))
    with pytest.raises(UserError, match=r"'cossu' has no use for --chat"):
        full_plan("cossu", None, asked_for("cossu", chat="chat.jsonl"))
    with pytest.raises(UserError, match=r"'efficient' has no use for --suite safety"):
        full_plan("efficient", None, asked_for("efficient", suites=(("safety", "x"),)))
    with pytest.raises(UserError, match=r"'ecomgpt' takes one --corpus"):
        full_plan("ecomgpt", None, asked_for("ecomgpt", corpus=("a", "b")))
    with pytest.raises(UserError, match=r"nothing matches '/nowhere"):
        full_plan("cossu", None, asked_for("cossu", corpus=("/nowhere/*.jsonl",)))
    with pytest.raises(UserError, match=r"--suite general is given twice"):
        full_plan("efficient", None, asked_for("efficient", suites=(("general", "a"), ("general", "b"))))
    with pytest.raises(UserError, match=r"there is no kind 'generall'. Did you mean 'general'"):
        suite("generall=x.jsonl")
    with pytest.raises(UserError, match=r"give a kind and a file"):
        suite("general")
