"""What a wrong plan is answered with: the path of the key, what is wrong, and the remedy."""

import copy
from pathlib import Path
from typing import Any

import pytest

from rewarm.plan import from_values, load
from rewarm.types import UserError

STAGE: dict[str, Any] = {"name": "june", "data": "new", "tokens": "1M", "learning_rate": 1e-3}
VALUES: dict[str, Any] = {
    "base": "some/model",
    "output_dir": "run",
    "corpora": {"old": "old.jsonl", "new": "new.jsonl"},
    "stages": [STAGE],
}
SCRATCH = {"from": "scratch", "config": {"model_type": "llama"}}


def values(stage: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    made = copy.deepcopy(VALUES) | changes
    if stage is not None:
        made["stages"] = [{**STAGE, **stage}]
    return made


def message(stage: dict[str, Any] | None = None, **changes: Any) -> str:
    with pytest.raises(UserError) as caught:
        from_values(values(stage, **changes))
    return str(caught.value)


def without(key: str, **more: Any) -> dict[str, Any]:
    return {name: value for name, value in {**STAGE, **more}.items() if name != key}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"base": 3}, "base: give text or a mapping with the keys from, config, tokenizer (given: 3)."),
        ({"base": ""}, "base: String should have at least 1 character"),
        ({"base": {"from": "scratch", "config": {}}}, "base: config needs 'model_type', such as llama or gpt_neox."),
        ({"base": {"config": {"model_type": "llama"}}}, "base.from: required, and not given."),
        ({"base": {**SCRATCH, "tok": 1}}, "base.tok: unknown key. Allowed: config, from, tokenizer."),
        (
            {"base": {**SCRATCH, "tokenizer": {"vocab_size": 10}}},
            "base.tokenizer.vocab_size: Input should be greater than or equal to 260 (given: 10).",
        ),
        ({"base": {**SCRATCH, "tokenizer": {"vocab": 1}}}, "base.tokenizer.vocab: unknown key. Did you mean"),
        ({"output_dir": ""}, "output_dir: String should have at least 1 character"),
        ({"seq_len": "abc"}, "seq_len: Input should be a valid integer"),
        ({"seq_len": 4}, "seq_len: Input should be greater than or equal to 8 (given: 4)."),
        ({"seq_length": 4}, "seq_length: unknown key. Did you mean 'seq_len'?"),
        ({"cutoff_len": 4}, "cutoff_len: unknown key. Did you mean 'seq_len'?"),
        ({"recompute": True}, "recompute: unknown key. Did you mean 'gradient_checkpointing'?"),
        ({"gradient_checkpointing": "some"}, "gradient_checkpointing.bool: Input should be a valid boolean"),
        ({"model": "x"}, "model: unknown key. Did you mean 'base'?"),
        ({"learning_rate": 1}, "learning_rate: unknown key. It belongs inside 'stages', as stages[].learning_rate."),
        ({"lr": 1}, "lr: unknown key. It belongs inside 'stages', as stages[].learning_rate."),
        ({"replay": 1}, "replay: unknown key. It belongs inside 'stages', as stages[].replay."),
        ({"vocab_size": 1}, "vocab_size: unknown key. It belongs inside 'base.tokenizer', as"),
        ({"zzz": 1}, "zzz: unknown key. Allowed: adam_betas, adam_epsilon, bad_rows, base,"),
        ({"seed": -1}, "seed: Input should be greater than or equal to 0 (given: -1)."),
        ({"precision": "fp8"}, "precision: Input should be 'auto', 'fp32' or 'bf16' (given: 'fp8')."),
        ({"adam_betas": [0.9, 1.0]}, "adam_betas.1: Input should be less than 1 (given: 1.0)."),
        ({"max_grad_norm": float("inf")}, "max_grad_norm: Input should be a finite number (given: inf)."),
        ({"bad_rows": "5"}, "bad_rows: Input should be less than or equal to 1 (given: '5')."),
        ({"bad_rows": None}, "bad_rows: give a share such as 5%, 0.05 or 1/2."),
        ({"batch_tokens": "a lot"}, "batch_tokens: give a whole number such as 500k, 20M or 1.5B (given: 'a lot')."),
        ({"batch_tokens": 0}, "batch_tokens: Input should be greater than 0 (given: 0)."),
        ({"batch_tokens": 1000}, "batch_tokens 1000 is not a multiple of seq_len 512: give 1024."),
        ({"batch_tokens": 100}, "batch_tokens 100 is not a multiple of seq_len 512: give 512."),
        (
            {"micro_batch_tokens": 512 * 5},
            "micro_batch_tokens 2560 must be a multiple of seq_len 512 that divides batch_tokens 16384.",
        ),
        ({"micro_batch_tokens": 0}, "micro_batch_tokens: Input should be greater than 0 (given: 0)."),
        ({"eval_tokens": 0}, "eval_tokens: Input should be greater than 0 (given: 0)."),
        ({"save_total_limit": 1}, "save_total_limit: Input should be greater than or equal to 2 (given: 1)."),
        ({"stages": []}, "stages: give at least one."),
        ({"stages": {"june": STAGE}}, "stages: give a list."),
        ({"stages": [None]}, "stages.0: give a mapping with the keys name, data, tokens,"),
        ({"controls": ["baseline"]}, "controls.0: Input should be 'base', 'new-only', 'joint', 'same-data' or 'alone'"),
        ({"watch": ["ol"]}, "watch 'ol' is not in corpora. Did you mean 'old'?"),
        ({"watch": [{"corpus": "old", "rol": "new"}]}, "watch.0.rol: unknown key. Did you mean 'role'?"),
        ({"watch": [{"corpus": "old", "role": "newer"}]}, "watch.0.role: Input should be 'old' or 'new'"),
        ({"watch": ["old", "old"]}, "watch names corpus 'old' twice."),
        ({"corpora": ["old.jsonl"]}, "corpora: give a mapping from a name of yours to a path"),
        ({"corpora": {}}, "corpora: give at least one"),
        ({"corpora": {"new": None}}, "corpora.new: give a name or a mapping with 'type', got None."),
        ({"corpora": {"new": {"pth": "x"}}}, "corpora.new: give a path, or a mapping with 'path' or 'type'"),
        ({"corpora": {False: "x"}}, "corpora.False: give a name; this reads as False, so put it in quotes"),
        ({"corpora": {"a/b": "x"}}, "corpora.a/b: a name is made of letters, digits,"),
        ({"corpora": {"self": "x.jsonl", "new": "x.jsonl"}}, "'self' is a reserved word"),
    ],
)  # fmt: skip
def test_a_wrong_plan_says_what_is_wrong(changes: dict[str, Any], said: str) -> None:
    assert message(**changes).startswith(said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "a b"}, ".name: a name is made of letters, digits, '.', '_' and '-', begins with a letter or digit,"),
        ({"name": True}, ".name: give a name; this reads as True, so put it in quotes"),
        ({"name": "base"}, "stage name 'base' is used twice (or is the reserved 'base'"),
        ({"lr": 1e-3}, ".lr: unknown key. Did you mean 'learning_rate'?"),
        ({"adapter": ["lora"]}, ".adapter: a stage has one adapter: give its name or a mapping"),
        ({"adapter": {"type": "lora", "rank": 8}}, ".adapter.rank: unknown key. Did you mean 'r'?"),
        ({"retention": {"type": "ewc", "lambda": 1}}, ".retention.lambda: unknown key. Did you mean 'strength'?"),
        ({"learning_rate": "fast"}, ".learning_rate: Input should be a valid number"),
        ({"learning_rate": 0}, ".learning_rate: Input should be greater than 0 (given: 0)."),
        ({"learning_rate": float("inf")}, ".learning_rate: Input should be a finite number (given: inf)."),
        ({"tokens": None}, ": give the stage's budget as either 'tokens' or 'epochs'."),
        ({"epochs": 1}, ": give the stage's budget as either 'tokens' or 'epochs'."),
        ({"tokens": 0}, ": a budget of 0 tokens trains nothing."),
        ({"tokens": None, "epochs": 0}, ".epochs: Input should be greater than 0 (given: 0)."),
        ({"data": []}, ".data: give at least one."),
        ({"data": False}, ".data.0.corpus: give a name; this reads as False, so put it in quotes"),
        ({"data": "newer"}, "stage 'june' data 'newer' is not in corpora. Did you mean 'new'?"),
        ({"data": ["new", "new"]}, ": data names corpus 'new' twice: name it once, with a weight."),
        ({"data": [{"corpus": "new", "weight": 0}]}, ".data.0.weight: Input should be greater than 0 (given: 0)."),
        ({"replay": "old"}, ".replay: give a mapping with the keys from, share, mode, half_life, stale,"),
        ({"replay": {"from": "ol"}}, "stage 'june' replay from 'ol' is not in corpora. Did you mean 'old'?"),
        ({"replay": {"from": "old", "share": 2}}, ".replay: a share of 2 leaves no token for new text"),
        ({"replay": {"from": "old", "share": 0}}, ".replay.share: give a share above 0, or 1/t"),
        ({"replay": {"from": "old", "share": "100%"}}, ".replay: a share of 1 leaves no token for new text"),
        ({"replay": {"from": "old", "share": "some"}}, ".replay.share: give a share such as 5%, 0.05 or 1/2"),
        ({"replay": {"from": "old", "ratio": 0.1}}, ".replay.ratio: unknown key. Did you mean 'share'?"),
        ({"replay": {"share": 0.1}}, ".replay.from: required, and not given."),
        ({"release": {}}, ".release.tokens: required, and not given."),
        ({"schedule": "rewrm"}, ".schedule: no schedules method is called 'rewrm'. Did you mean 'rewarm'?"),
        ({"schedule": {"type": "wsd", "warmpu": 1}}, ".schedule.warmpu: unknown key. Did you mean 'warmup'?"),
        ({"schedule": {"warmup": 1}}, ".schedule: give a name or a mapping with 'type', got {'warmup': 1}."),
        ({"mixture": "fxd"}, ".mixture: no mixtures method is called 'fxd'. Did you mean 'fixed'?"),
        ({"warmup_steps": 5}, ".warmup_steps: unknown key. It belongs among the options of schedule (type"),
        ({"seq_len": 5}, ".seq_len: unknown key. It belongs at the top level, as seq_len."),
        ({"optimizer_state": "drop"}, ".optimizer_state: Input should be 'reset', 'keep' or 'keep-second-moment'"),
        ({"from": "may"}, "stage 'june' starts from 'may', which is no earlier stage. Allowed: base."),
        ({"from": "june"}, "stage 'june' starts from 'june', which is no earlier stage."),
    ],
)  # fmt: skip
def test_a_wrong_stage_says_what_is_wrong(changes: dict[str, Any], said: str) -> None:
    said = said.replace("of schedule", "of stages[].schedule")
    assert message(changes).startswith(f"stages.0{said}" if said[0] in ".:" else said)


@pytest.mark.parametrize("key", ["base", "output_dir", "corpora", "stages"])
def test_what_a_plan_needs(key: str) -> None:
    with pytest.raises(UserError, match=f"^{key}: required, and not given.$"):
        from_values({name: value for name, value in VALUES.items() if name != key})


@pytest.mark.parametrize("key", ["name", "data", "learning_rate"])
def test_what_a_stage_needs(key: str) -> None:
    assert message(stages=[without(key)]) == f"stages.0.{key}: required, and not given."


def test_names_of_stages_are_told_apart() -> None:
    twice = [STAGE, {**STAGE, "data": "old"}]
    assert message(stages=twice).startswith("stage name 'june' is used twice")
    release = {**STAGE, "release": {"tokens": "10k"}}
    other = {**STAGE, "name": "june-release"}
    for stages in ([release, other], [other, release]):
        assert message(stages=stages).startswith("stage name 'june-release' is used twice")
    from_values(values(stages=[release, {**STAGE, "name": "july", "from": "june-release"}]))


def test_every_fault_is_told_at_once() -> None:
    told = message({"lr": 3, "replay": {"from": "x", "share": 0}}, seq_le=1, corpora={"a": {"type": "jsnl"}, "b": {}})
    assert told.splitlines() == [
        "corpora.a: no corpora method is called 'jsnl'. Did you mean 'jsonl'?",
        "corpora.b: give a path, or a mapping with 'path' or 'type'; this has no key.",
        "stages.0.replay.share: give a share above 0, or 1/t (given: 0).",
        "stages.0.lr: unknown key. Did you mean 'learning_rate'?",
        "seq_le: unknown key. Did you mean 'seq_len' or 'seed'?",
    ]
    told = message({"data": "x"}, watch=["y"], batch_tokens=100)
    assert len(told.splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n- b\n", "holds no mapping of keys; the first key of a plan is usually 'base'"),
        ("", "holds no mapping of keys"),
        ("base: [1\n", "cannot be read as YAML"),
        ("base: a\nbase: b\n", "key 'base' is given twice"),
        ("corpora:\n  new: a\n  old: b\n  new: c\n", "key 'new' is given twice"),
        ("base: !!python/object:os.system x\n", "cannot be read as YAML"),
    ],
)
def test_files_that_hold_no_plan(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "plan.yaml").write_text(text)
    with pytest.raises(UserError, match=r"plan '.*plan\.yaml' ") as caught:
        load(tmp_path / "plan.yaml")
    assert said in str(caught.value)


def test_a_plan_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"does not exist\. Write one with: rewarm init"):
        load(tmp_path / "none.yaml")
    (tmp_path / "plan.yaml").write_bytes(b"base: \xff\xfe")
    with pytest.raises(UserError, match="cannot be read as YAML"):
        load(tmp_path / "plan.yaml")


def test_yaml_anchors_and_merges_are_no_repeated_keys(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(
        "base: b\noutput_dir: o\ncorpora: {new: a.jsonl}\nstages:\n"
        "  - &first {name: a, data: new, tokens: 1M, learning_rate: 1e-3}\n"
        "  - {<<: *first, name: b}\n"
    )
    assert [stage.name for stage in load(tmp_path / "plan.yaml").stages] == ["a", "b"]
