"""`rewarm recipe`: what it lists and writes, and small recipes run from end to end with tiny budgets."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

NAMES = ("temporalwiki", "ckl", "tic")
DOMAINS = ("efficient", "ecomgpt", "cossu", "recyclable", "pllama", "shift", "languages", "cert", "codetask")


def shortened(plan: Path, base: str, tokens: int, **changes: Any) -> Path:
    """A plan beside the written one with a tiny base and budget, of the first month only."""
    text = plan.read_text(encoding="utf-8").replace("differences/*/", "differences/1001-02/")
    values = yaml.safe_load(text.replace("months/*", "months/1001-02").replace("probes/*", "probes/1001-02"))
    for stage in values["stages"] if isinstance(values["stages"], list) else [values["stages"]]:
        stage.pop("epochs", None)
        stage["tokens"] = tokens
    values |= {"base": base, "seq_len": 64, "batch_tokens": 256, "eval_tokens": 500, "precision": "fp32"} | changes
    file = plan.with_name(f"tiny-{plan.name}")
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, cli: Any) -> Any:
    """A function: name of a recipe -> the folder that --small wrote for it."""
    root = tmp_path_factory.mktemp("small")

    def make(name: str) -> Path:
        folder = root / name
        if not folder.exists():
            called = cli("recipe", name, "--small", "--output", folder, "--quiet")
            assert called.code == 0, called.err
        return folder

    return make


@pytest.fixture(scope="module")
def first(small: Any, cli: Any, base: Path) -> Path:
    """A model that had a few steps on the first snapshot."""
    folder = small("temporalwiki")
    plan = shortened(folder / "first.yaml", str(base), 1024)
    called = cli("run", plan, "--quiet")
    assert called.code == 0, called.err
    return folder / "first" / "stage-1-world"


def test_recipes_and_their_methods_are_listed(cli: Any) -> None:
    called = cli("recipe", "--json")
    assert called.code == 0
    assert tuple(called.json()) == NAMES + DOMAINS
    assert "k-adapter" in called.json()["temporalwiki"]["methods"]
    shown = cli("recipe").out
    assert all(method in shown for one in called.json().values() for method in one["methods"])


def test_a_full_plan_is_written_with_the_command_that_compares(
    small: Any, cli: Any, base: Path, tmp_path: Path
) -> None:
    folder = small("temporalwiki")
    given = (
        "recipe", "temporalwiki", "--base", base, "--corpus", folder / "differences" / "*" / "diff.jsonl.zst",
        "--probes", folder / "probes" / "*.jsonl", "--output", tmp_path / "month.yaml",
    )  # fmt: skip
    dry = cli(*given, "--dry-run", "--json").json()
    assert not (tmp_path / "month.yaml").exists()
    called = cli(*given, "--json").json()
    assert called | {"written": False} == dry
    assert (tmp_path / "month.yaml").read_text(encoding="utf-8") == called["text"]
    assert yaml.safe_load(called["text"])["output_dir"] == "runs/month"
    assert called["compare"].startswith(f"rewarm compare {tmp_path / 'month.yaml'} --seeds 3 --tune --vary ")
    again = cli(*given)
    assert (again.code, again.err) == (
        3, f"rewarm: '{tmp_path / 'month.yaml'}' exists: give another --output, or --force to overwrite it\n",
    )  # fmt: skip
    assert cli(*given, "--force", "--method", "recadam").code == 0
    assert "retention: {type: recadam" in (tmp_path / "month.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_a_small_recipe_runs_and_reports_facts(name: str, small: Any, first: Path, cli: Any) -> None:
    folder = small(name)
    plan = shortened(folder / "plan.yaml", str(first), 1024, output_dir=str(folder / "tiny"))
    checked = cli("check", plan)
    assert checked.code == 0, checked.out + checked.err
    called = cli("run", plan, "--quiet")
    assert called.code == 0, called.err
    assert "\n## Facts\n" in (folder / "tiny" / "report.md").read_text(encoding="utf-8")
    (told,) = json.loads((folder / "tiny" / "report.json").read_text(encoding="utf-8"))["facts"]["sets"]
    counts = {kind: cell["facts"] for kind, cell in told["rows"][0]["cells"].items()}
    # 176 facts in all. Of those about known subjects 32 change in the news; 7 subjects of 36 (40 facts) are new there.
    if name == "ckl":
        assert counts == {"unchanged": 104, "changed": 32, "new": 40}
    else:
        assert counts["changed"] == 42
        assert (counts["unchanged"] == 134) == (name == "temporalwiki")


def test_a_small_recipe_of_a_domain_is_run_by_the_commands_it_prints(small: Any, cli: Any, base: Path) -> None:
    folder = small("ecomgpt")
    called = cli("recipe", "ecomgpt", "--small", "--output", folder, "--force", "--json").json()
    commands = [shlex.split(command)[1:] for command in called["commands"]]
    assert [found[:2] for found in commands[:2]] == [["corpus", "records"]] * 2
    for command in commands[:2]:
        done = cli(*command, "--quiet")
        assert done.code == 0, done.err
    for name in ("plan", "isolated"):
        assert ["run", str(folder / f"{name}.yaml")] in commands
        output_dir = Path(commands[-1][-1]).with_name(f"tiny-{name}")
        done = cli("run", shortened(folder / f"{name}.yaml", str(base), 1024, output_dir=str(output_dir)), "--quiet")
        assert done.code == 0, done.err
    assert commands[-1] == ["compare", str(folder / "run"), str(folder / "isolated")]
    compared = cli("compare", folder / "tiny-plan", folder / "tiny-isolated", "--json")
    assert len(compared.json()["runs"]) == 2
    # Only a document of a cluster says whose a product is.
    report = json.loads((folder / "tiny-plan" / "report.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in report["suites"]["sets"]] == ["makers"]


def test_a_full_plan_of_a_domain_is_written_with_its_commands(cli: Any, base: Path, tmp_path: Path) -> None:
    for name in ("law", "task"):
        (tmp_path / f"{name}.jsonl").write_text('{"text": "a"}\n', encoding="utf-8")
    given = ("recipe", "efficient", "--base", base, "--corpus", tmp_path / "law.jsonl", "--output", tmp_path / "p.yaml")
    missing = cli(*given)
    assert (missing.code, "'efficient' with method 'ets' needs --task" in missing.err) == (3, True)
    wrong = cli(*given, "--task", tmp_path / "task.jsonl", "--suite", "art=x.jsonl")
    assert (wrong.code, "there is no kind 'art'" in wrong.err) == (3, True)
    called = cli(*given, "--task", tmp_path / "task.jsonl", "--json").json()
    assert called["compare"] is None
    assert called["commands"][:2] == [f"rewarm {verb} {tmp_path / 'p.yaml'}" for verb in ("check", "run")]
    select = shlex.split(called["commands"][2])
    assert select[:3] == ["rewarm", "corpus", "select"]
    assert select[select.index("--by") + 1] == "similarity"


def test_a_small_recipe_writes_again_what_it_wrote(small: Any, cli: Any) -> None:
    folder = small("tic")
    before = (folder / "plan.yaml").read_bytes()
    refused = cli("recipe", "tic", "--small", "--output", folder, "--quiet")
    assert refused.code == 3
    assert "plan.yaml' exists" in refused.err
    called = cli("recipe", "tic", "--small", "--output", folder, "--force", "--json")
    assert (called.code, called.json()["commands"][:2]) == (
        0, [f"rewarm run {folder / 'first.yaml'}", f"rewarm run {folder / 'plan.yaml'}"],
    )  # fmt: skip
    assert (folder / "plan.yaml").read_bytes() == before


def test_a_dry_run_of_a_small_recipe_writes_nothing(cli: Any, tmp_path: Path) -> None:
    called = cli("recipe", "ckl", "--small", "--output", tmp_path / "ckl", "--method", "modular", "--dry-run")
    assert (called.code, called.out.count("modular")) == (0, 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tik",), "there is no recipe 'tik'. Did you mean 'tic'?"),
        (("tic",), "needs --base"),
        (("tic", "--small"), "give their folder with --output FOLDER"),
        (("tic", "--small", "--old", "x", "--output", "y"), "--old: a small recipe writes its own text"),
        (("tic", "--small", "--method", "lora", "--output", "y"), "recipe 'tic' has no method 'lora'"),
        (("pllama", "--small", "--chat", "x", "--output", "y"), "--chat: a small recipe writes its own text"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(arguments: tuple[str, ...], message: str, cli: Any) -> None:
    called = cli("recipe", *arguments)
    assert called.code == 3
    assert message in called.err
