"""`rewarm plan` and what comes after it: several corpora from pilots to report, the forecast in check, and errors.

The planning and its run take half a minute alone on one core."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture(scope="module")
def known_base(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base, saying the peak that it was trained at: no sweep is needed."""
    folder = tmp_path_factory.mktemp("known") / "base"
    shutil.copytree(base, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"learning_rate": 3e-3}))
    return folder


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory, words: Any, write_jsonl: Any) -> dict[str, Path]:
    """Two old and two new texts; the second old one has few documents."""
    folder = tmp_path_factory.mktemp("several")
    sizes = {"books": 80, "letters": 25, "law": 80, "bio": 100}
    return {
        name: write_jsonl(folder / f"{name}.jsonl", [words(1000 * place + number, 40) for number in range(size)])
        for place, (name, size) in enumerate(sizes.items())
    }


@pytest.fixture(scope="module")
def planned(
    tmp_path_factory: pytest.TempPathFactory, known_base: Path, several: dict[str, Path], cli: Any
) -> tuple[Path, Any]:
    """The plan of two new texts that keeps two old ones, by real pilots, and the verb's own JSON."""
    folder = tmp_path_factory.mktemp("planned")
    called = cli(
        "plan", known_base, "--new", several["law"], "--new", several["bio"], "--old", several["books"],
        "--old", several["letters"], "--max-forget", "50%", "--budget", "26k", "--min-tokens", "0",
        "--max-pilots", "10", "--out", folder / "plan.yaml", "--output-dir", folder / "run", "--json",
    )  # fmt: skip
    assert called.code == 0, called.err
    return folder / "plan.yaml", called.json()


def test_several_corpora_are_planned_checked_run_and_reported(planned: tuple[Path, Any], cli: Any) -> None:
    file, told = planned
    plan = yaml.safe_load(file.read_text())
    assert [stage["name"] for stage in plan["stages"]] == ["law", "bio"]
    assert set(told["solved"]["forecasts"]) == {"books", "letters", "law", "bio"}
    assert any(one.startswith("letters: pilots are scored on ") for one in told["notes"])
    comment = file.read_text()
    assert "stages, one after another: law (" in comment
    assert "each replays books; watched, but not replayed: letters" in comment

    checked = cli("check", file)
    assert checked.code == 0, checked.err
    flat = " ".join(checked.out.split())
    assert "Forecast of losses" in flat
    assert f"from 10 pilots in '{plan['forecast']['pilots']}'; the longest has " in flat
    losses = cli("check", file, "--json").json()["losses"]
    assert [(one["corpus"], one["role"]) for one in losses["corpora"]] == [
        ("books", "old"), ("letters", "old"), ("law", "new"), ("bio", "new"), (None, "old"), (None, "new"),
    ]  # fmt: skip
    for one in losses["corpora"][:4]:
        solved = told["solved"]["forecasts"][one["corpus"]]
        assert {name: one[name] for name in ("point", "low", "high")} == {
            name: pytest.approx(solved[name]) for name in ("point", "low", "high")
        }
    parts = {one["corpus"]: one for one in losses["corpora"]}
    assert losses["corpora"][5]["high"] == pytest.approx((parts["law"]["high"] + parts["bio"]["high"]) / 2)
    assert losses["learned_from"] == len(told["pilots"]) == 10
    assert losses["longest"] == max(one["tokens"] for one in told["pilots"])
    assert losses["changed"] == []

    ran = cli("run", file, "--json", "--quiet")
    assert ran.code == 0, ran.err
    report = json.loads((Path(plan["output_dir"]) / "report.json").read_text())
    assert {one["corpus"] for one in report["forecast"]["corpora"]} == {"books", "letters", "law", "bio"}
    assert all(one["inside"] is not None for one in report["forecast"]["corpora"])
    assert "Forecast: " in cli("report", plan["output_dir"]).out


def test_the_pilots_folder_says_that_it_is_no_run(planned: tuple[Path, Any], cli: Any) -> None:
    pilots = Path(yaml.safe_load(planned[0].read_text())["forecast"]["pilots"])
    called = cli("status", pilots)
    assert called.code == 3
    assert "holds pilots of rewarm plan, and is no run itself: 10 begun of 10, and what was found is in" in called.err
    assert cli("status", next((pilots / "pilots").iterdir())).code == 0


def test_every_stage_of_the_shortest_pilot_has_a_dozen_steps(planned: tuple[Path, Any]) -> None:
    file, told = planned
    batch = yaml.safe_load(file.read_text())["batch_tokens"]
    shortest = min(one["tokens"] for one in told["pilots"])
    assert shortest >= 2 * 12 * batch * 0.95


def test_a_changed_plan_says_that_the_forecast_is_not_of_it(
    planned: tuple[Path, Any], cli: Any, tmp_path: Path
) -> None:
    values = yaml.safe_load(planned[0].read_text())
    was = values["stages"][0]["learning_rate"]
    values["stages"][0]["learning_rate"] = 2 * was
    values["output_dir"] = str(tmp_path / "run")
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(values))
    said = " ".join(cli("check", tmp_path / "plan.yaml").out.split())
    assert "note: the plan was changed, so this is no forecast of it: learning_rate is " in said
    assert f"and was {was}" in said
    dry = cli("run", tmp_path / "plan.yaml", "--dry-run", "--json").json()
    assert len(dry["losses"]["changed"]) == 1


def test_a_plan_without_a_forecast_shows_none(write_plan: Any, cli: Any, tmp_path: Path) -> None:
    file = write_plan(tmp_path)
    assert "Forecast of losses" not in cli("check", file).out
    assert cli("check", file, "--json").json()["losses"] is None


def plan_law(cli: Any, base: Path, several: dict[str, Path], folder: Path, *more: str) -> Any:
    """rewarm plan of an update with law, books being old, into a folder."""
    return cli(
        "plan", base, "--new", several["law"], "--old", several["books"],
        "--out", folder / "plan.yaml", "--output-dir", folder / "run", *more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--budget", "0"), "--budget 0: give at least one token"),
        (("--pilot-tokens", "0"), "--pilot-tokens 0: give at least one token"),
        (("--budget", "10"), "the shortest pilot would have 1 token, less than 12 steps of rows of 32"),
        (("--max-forget", "nan"), "--max-forget nan"),
        (("--old", "NEW"), "is given as --new and as --old"),
        (("--old", "nowhere.jsonl"), "path 'nowhere.jsonl' does not exist"),
    ],
)
def test_what_cannot_be_planned_is_told_before_any_work(
    more: tuple[str, str], says: str, known_base: Path, several: dict[str, Path], cli: Any, tmp_path: Path
) -> None:
    given = [str(several["law"]) if one == "NEW" else one for one in more]
    called = plan_law(cli, known_base, several, tmp_path, *given)
    assert (called.code, says in called.err) == (3, True), called.err
    assert list(tmp_path.iterdir()) == []


def test_the_dry_run_says_stages_replay_and_time(
    known_base: Path, several: dict[str, Path], cli: Any, tmp_path: Path
) -> None:
    called = plan_law(cli, known_base, several, tmp_path, "--budget", "20k", "--max-pilots", "10", "--dry-run")
    assert called.code == 0, called.err
    said = " ".join(called.out.split())
    assert "text: one stage: law (20k tokens); it replays books peaks: 'learning_rate' in the base's config" in said
    assert "10 pilots of 20k tokens in all, 100% of the budget of 20k: about " in said
    assert list(tmp_path.iterdir()) == []


def test_do_not_is_an_answer_with_exit_code_2_and_reasons(
    known_base: Path, several: dict[str, Path], cli: Any, tmp_path: Path
) -> None:
    called = plan_law(cli, known_base, several, tmp_path, "--budget", "20k", "--min-tokens", "1M", "--json")
    assert called.code == 2
    told = called.json()
    assert (told["decision"], told["plan"], told["pilots"]) == ("do not CPT", None, [])
    assert told["advice"].startswith("Retrieval would serve")
    assert "less than 1M. That is a rule, not measured here" in told["reason"]
    assert not (tmp_path / "plan.yaml").exists()
