"""Recipes: plans that load and can be checked, with the settings of the papers and no others."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from rewarm.plan import Plan, from_values
from rewarm.recipes.inputs import shape_fields
from rewarm.recipes.published import compare_command, full_plan, recipe
from rewarm.river.forecast import forecast
from rewarm.river.variants import arms, parse_vary, with_controls
from rewarm.types import UserError

NAMES = ("temporalwiki", "ckl", "tic")
FULL = [(name, method) for name in NAMES for method in recipe(name).methods]
LINEAR = {"type": "wsd", "warmup": 0.1, "warmup_steps": None, "decay": 0.9, "shape": "linear", "floor": 0.0}

of_every_method = pytest.mark.parametrize(("name", "method"), FULL)


def made(name: str, method: str, asked: Any) -> Plan:
    return from_values(yaml.safe_load(full_plan(name, method, asked)))


@of_every_method
def test_every_plan_can_be_checked(name: str, method: str, asked_of: Callable[..., Any]) -> None:
    # One probe of a fact: those of two months would have the same id in one set.
    asked = asked_of(first=1) if name == "ckl" else asked_of()
    values = yaml.safe_load(full_plan(name, method, asked))
    stages = values["stages"] if isinstance(values["stages"], list) else [values["stages"]]
    for stage in stages:
        # The tiny text would be read too often, or fill no batch.
        stage |= {"max_epochs": 1000} | ({"tokens": 8192} if "tokens" in stage else {})
    values |= {"seq_len": 64, "batch_tokens": 512}
    found = forecast(from_values(values))
    assert found.faults() == []
    assert [leg.steps > 0 for leg in found.legs] == [True] * (1 if name == "ckl" else 2)


@of_every_method
def test_every_setting_says_where_it_comes_from(name: str, method: str, asked_of: Callable[..., Any]) -> None:
    text = full_plan(name, method, asked_of())
    for key in ("seq_len", "batch_tokens", "weight_decay", "max_grad_norm", "learning_rate"):
        (line,) = [line for line in text.splitlines() if line.strip().startswith(f"{key}:")]
        assert "[code" in line or "[ours]" in line, line
    assert recipe(name).methods[method]["about"] in text.splitlines()[0]


@pytest.mark.parametrize(
    ("method", "seq_len", "rows", "rate", "epochs"),
    [("initial", 1024, 480, 1e-5, 4), ("full", 1024, 480, 1e-5, 1), ("diff", 512, 64, 1e-4, 1)],
)
def test_temporalwiki_has_the_settings_of_its_configurations(
    method: str, seq_len: int, rows: int, rate: float, epochs: float, asked_of: Callable[..., Any]
) -> None:
    plan = made("temporalwiki", method, asked_of())
    assert (plan.seq_len, plan.batch_tokens, plan.weight_decay, plan.max_grad_norm) == (
        seq_len,
        seq_len * rows,
        0.01,
        0.1,
    )
    assert plan.seed == 40
    assert [(stage.learning_rate, stage.epochs) for stage in plan.stages] == [(rate, epochs)] * 2
    assert all(stage.schedule.described() == LINEAR for stage in plan.stages)
    assert [stage.date for stage in plan.stages] == ["1001-02", "1001-03"]


def test_methods_of_temporalwiki_are_those_of_the_paper(asked_of: Callable[..., Any]) -> None:
    plans = {method: made("temporalwiki", method, asked_of("gpt2")) for _, method in FULL if _ == "temporalwiki"}
    first = {method: plan.stages[0] for method, plan in plans.items()}
    assert first["recadam"].retention[0].described() == {
        "type": "recadam", "center": 250.0, "width": 2.0, "pull": 5000.0, "anchor": "start",
    }  # fmt: skip
    # One old row for each new one: half of all.
    replay = first["mix-review"].replay
    assert replay is not None
    assert (replay.sources, replay.share, replay.mode, replay.stale) == (("old",), 1.0, "additive", False)
    lora, adapter = first["lora"].adapter, first["k-adapter"].adapter
    assert lora is not None
    assert adapter is not None
    assert {key: lora.described()[key] for key in ("r", "alpha", "targets")} == {
        "r": 4, "alpha": 16.0, "targets": ["c_attn"],
    }  # fmt: skip
    assert {key: adapter.described()[key] for key in ("blocks", "scale", "layers")} == {
        "blocks": 2, "scale": 0.1, "layers": None,
    }  # fmt: skip
    ours = first["replay"].replay
    assert ours is not None
    assert (ours.sources, ours.stale) == (("old", "earlier"), True)
    assert [first[method].replay for method in ("diff", "full", "recadam", "lora", "k-adapter")] == [None] * 5
    assert [held.stage for held in plans["diff"].probes.values()] == ["wiki-1001-02", "wiki-1001-03"]
    assert plans["initial"].probes == {}


def test_ckl_has_the_settings_of_its_configurations(asked_of: Callable[..., Any]) -> None:
    plans = {method: made("ckl", method, asked_of()) for name, method in FULL if name == "ckl"}
    plan = plans["vanilla"]
    (stage,) = plan.stages
    assert (plan.weight_decay, plan.max_grad_norm, stage.learning_rate, stage.epochs) == (0.0, 0.5, 1e-4, 4)
    assert stage.schedule.described() == LINEAR
    assert plans["mix-review"].stages[0].mixture.described() == {
        "type": "mix-review", "amount": 4.0, "decay": 0.7, "epochs": 4.0,
    }  # fmt: skip
    modular, adapter = plans["modular"].stages[0].adapter, plans["k-adapter"].stages[0].adapter
    assert modular is not None
    assert adapter is not None
    assert {key: modular.described()[key] for key in ("width", "depth", "scale")} == {
        "width": 0.5, "depth": 0.25, "scale": 0.05,
    }  # fmt: skip
    assert adapter.described()["scale"] == 0.1
    assert set(plans) == {"initial", "vanilla", "recadam", "mix-review", "lora", "k-adapter", "modular", "replay"}


def test_tables_are_read_as_ckl_has_them(tmp_path: Path, asked_of: Callable[..., Any]) -> None:
    table = tmp_path / "invariantLAMA.csv"
    table.write_text("id,input,output\n1,The capital of Ovo is <extra_id_0>.,Una\n", encoding="utf-8")
    plan = made("ckl", "vanilla", asked_of(probes=(str(table),)))
    assert plan.probes["facts"].probes.method_name() == "ckl"
    assert plan.probes["facts"].stage == "news"


@pytest.mark.parametrize(
    ("method", "rate", "schedule"),
    [
        ("cosine", 1e-4, {"type": "cosine", "warmup_steps": 50, "floor": 0.3}),
        ("autoregressive", 3e-4, {"type": "autoregressive", "warmup_steps": 50, "floor": 0.1}),
        ("inverse-sqrt", 1e-3, {"type": "inverse-sqrt", "warmup_steps": 50, "cooldown": 0.212, "floor": 0.03}),
        ("replay", 3e-4, {"type": "autoregressive", "warmup_steps": 50, "floor": 0.1}),
        ("replay-1-t", 3e-4, {"type": "autoregressive", "warmup_steps": 50, "floor": 0.1}),
        ("ewc", 1e-4, {"type": "cosine", "warmup_steps": 50, "floor": 0.3}),
    ],
)
def test_tic_has_the_settings_of_its_scripts(
    method: str, rate: float, schedule: dict[str, Any], asked_of: Callable[..., Any]
) -> None:
    plan = made("tic", method, asked_of())
    assert (plan.seq_len, plan.batch_tokens) == (2048, 256 * 2048)
    assert (plan.weight_decay, plan.adam_betas[1], plan.max_grad_norm) == (0.033, 0.95, 1.0)
    for stage in plan.stages:
        assert (stage.tokens, stage.learning_rate) == (1887 * 256 * 2048, rate)
        assert schedule.items() <= stage.schedule.described().items()
    replay = plan.stages[-1].replay
    shares = {"replay": 0.5, "replay-1-t": "1/t"}
    assert (None if replay is None else (replay.sources, replay.share)) == (
        (("earlier",), shares[method]) if method in shares else None
    )
    # The rates of the paper at its floor: 3e-5.
    assert rate * schedule["floor"] == pytest.approx(3e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_command_that_compares_methods_has_every_one_of_them(name: str, asked_of: Callable[..., Any]) -> None:
    asked = asked_of()
    plan = made(name, recipe(name).default, asked)
    words = shlex.split(compare_command(name, asked, "plan.yaml"))
    assert words[:3] == ["rewarm", "compare", "plan.yaml"]
    vary = [word for before, word in pairwise(words) if before == "--vary"]
    found = with_controls(arms(plan, parse_vary(vary)))
    expected = {
        "temporalwiki": {"adapter": 2, "replay": 2, "retention": 1},
        "ckl": {"adapter": 3, "replay": 1, "retention": 1},
        # Its default's own schedule is the sweep's.
        "tic": {"replay": 2, "retention": 1, "schedule": 2},
    }
    counts = {key: sum(arm.key == key and arm.kind == "variant" for arm in found) for key in expected[name]}
    assert counts == expected[name]


def test_methods_whose_needs_are_not_met_are_not_compared(asked_of: Callable[..., Any]) -> None:
    assert "replay" not in compare_command("temporalwiki", asked_of(old=None), "plan.yaml")
    assert "stale" not in compare_command("temporalwiki", asked_of(probes=()), "plan.yaml")


def test_the_first_dates_alone(asked_of: Callable[..., Any]) -> None:
    plan = made("tic", "replay", asked_of(first=1))
    assert [stage.date for stage in plan.stages] == ["1001-02"]
    assert list(plan.probes) == ["web-1001-02"]
    with pytest.raises(UserError, match=r"--first 3: .* has files of 2 dates. Give at most that many"):
        full_plan("tic", "replay", asked_of(first=3))


def test_where_adapters_go_follows_the_base(make_base: Callable[..., Path]) -> None:
    assert shape_fields(str(make_base("llama"))) == {"targets": ["q_proj", "v_proj"], "fused": False, "layers": None}
    assert shape_fields(str(make_base("gpt2"))) == {"targets": ["c_attn"], "fused": True, "layers": None}


def test_what_is_missing_or_wrong_is_a_users_error(asked_of: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match=r"method 'mix-review' needs --old: name the files"):
        full_plan("temporalwiki", "mix-review", asked_of(old=None))
    with pytest.raises(UserError, match=r"needs --corpus and --probes"):
        full_plan("ckl", "vanilla", asked_of(corpus=(), probes=()))
    with pytest.raises(UserError, match=r"no method 'recadm'. Did you mean 'recadam'"):
        full_plan("temporalwiki", "recadm", asked_of())
    with pytest.raises(UserError, match=r"there is no recipe 'temporal-wiki'. Did you mean 'temporalwiki'"):
        recipe("temporal-wiki")
    with pytest.raises(UserError, match="nothing matches '/nowhere"):
        full_plan("temporalwiki", "diff", asked_of(corpus=("/nowhere/*.jsonl",)))
