"""A stage added to a finished run: one more row and column, and nothing trained or scored again."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rewarm.hashing import text_hash
from rewarm.plan import from_values
from rewarm.report.result import Result, read
from rewarm.river.adding import Addition, add_stage, update
from rewarm.river.directory import ADDED, RunDirectory
from rewarm.river.forecast import forecast
from rewarm.river.run import report, run
from rewarm.river.status import status
from rewarm.river.train import Hooks
from rewarm.tokens.order import is_held_out
from rewarm.types import Stopped, UserError

MakeValues = Callable[..., dict[str, Any]]
NOT_COMPARED = {"created", "command"}


class Told:
    """Hooks that count what is scored, and ask to stop at the question `most`."""

    def __init__(self, most: int = 10**9) -> None:
        self.scored: set[str] = set()
        self.asked = 0
        self.most = most

    def hooks(self) -> Hooks:
        return Hooks(tell=self.tell, stop=self.stop)

    def tell(self, label: str, *rest: Any) -> None:
        if label.startswith("score "):
            self.scored.add(label.removeprefix("score "))

    def stop(self) -> bool:
        self.asked += 1
        return self.asked == self.most


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory, words: Any, write_jsonl: Any) -> Path:
    """Five months of 120 documents each; November holds all of September's text besides its own."""
    folder = tmp_path_factory.mktemp("months")
    for place, month in enumerate(("09", "10", "11", "12")):
        rows = [words(7000 * (place + 1) + number, 20 + number % 40) for number in range(120)]
        rows += [words(7000 + number, 20 + number % 40) for number in range(120)] if month == "11" else []
        write_jsonl(folder / f"2021-{month}.jsonl", rows)
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, values_in: MakeValues, months: Path) -> Path:
    """The directory of a finished run of two months, with every control. Read only."""
    root = tmp_path_factory.mktemp("finished") / "run"
    each = {"each": str(months / "2021-[01][09]*"), "stream": "news", "corpus": {"holdout": 0.1}}
    replay = {"from": ["old", "earlier"], "share": 0.5}
    values = values_in(root, [{**each, "replay": replay}], watch=["old"], controls=["new-only", "joint", "alone"])
    run(from_values(values))
    return root


@pytest.fixture
def begun(finished: Path, tmp_path: Path) -> Path:
    """A copy of that run, to be added to."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def added(root: Path) -> list[dict[str, Any]]:
    return [entry for entry in RunDirectory(root).ledger() if entry["event"] == ADDED]


def test_the_matrix_gets_a_row_and_a_column(begun: Path, months: Path) -> None:
    before, told = read(begun), Told()
    result = add_stage(begun, Addition(str(months / "2021-11.jsonl")), told.hooks(), "the command")
    assert result.complete
    assert [row.name for row in result.rows] == [
        "base", "stage-1-news-2021-09", "stage-2-news-2021-10", "stage-3-news-2021-11", "new-only",
        "joint of 2 stages", "alone",
    ]  # fmt: skip
    columns = {"old", "news-2021-09", "news-2021-10", "news-2021-11"}
    assert all(set(row.cells) == columns for row in result.rows)
    # What was scored before is what it was.
    for old, new in zip(before.rows[:3], result.rows[:3], strict=True):
        assert {name: new.cells[name] for name in old.cells} == old.cells
    assert result.rows[5].cells["old"] == next(row for row in before.rows if row.control == "joint").cells["old"]
    assert any("no upper bound" in note for note in result.notes)
    assert result.months is not None
    assert result.months.names == ["2021-09", "2021-10", "2021-11"]
    assert result.months.cells == (3, 3, 3)
    assert [entry["stage"] for entry in added(begun)] == ["news-2021-11"]
    assert (added(begun)[0]["command"], added(begun)[0]["corpus"]["holdout"]) == ("the command", 0.1)
    assert len(RunDirectory(begun).resolved().stages) == 3
    again = report(begun)
    assert again.model_dump(exclude=NOT_COMPARED) == result.model_dump(exclude=NOT_COMPARED)


def test_nothing_is_scored_twice(begun: Path, months: Path) -> None:
    """New text: the base, two stages and the joint control. New models: main, new-only and alone, on four corpora, at
    their ends and three times while they train (8 steps, every 2 of them but the last)."""
    told = Told()
    add_stage(begun, Addition(str(months / "2021-11.jsonl")), told.hooks())
    ends = Counter(label.split(" on ")[0] for label in told.scored if "-2021-11" not in label.split(" on ")[0])
    assert ends == {"base": 1, "stage-1-news-2021-09": 1, "stage-2-news-2021-10": 1, "stage-1-joint": 1}
    assert all(label.endswith(" on news-2021-11") for label in told.scored if label.split(" on ")[0] in ends)
    own = Counter(label.split(" on ")[0] for label in told.scored if "-2021-11" in label.split(" on ")[0])
    assert set(own.values()) == {4}
    assert {"stage-3-news-2021-11", "stage-2-news-2021-11"} <= set(own)
    second = Told()
    add_stage(begun, Addition(str(months / "2021-12.jsonl")), second.hooks())
    old = [label for label in second.scored if "-2021-12" not in label.split(" on ")[0]]
    assert sorted(old) == [f"{name} on news-2021-12" for name in sorted([*ends, "stage-3-news-2021-11"])]


@pytest.mark.parametrize(("share", "of"), [(0.4, "news-2021-09"), (0.03, "news-2021-11")])
def test_text_watched_in_one_month_is_trained_on_in_none(begun: Path, months: Path, share: float, of: str) -> None:
    """November holds September's text, of which a tenth is watched there: with a larger share November watches more of
    it, which September replays no longer; with a smaller one November leaves out what September watches."""
    lines = (months / "2021-09.jsonl").read_text(encoding="utf-8").splitlines()
    keys = [text_hash(json.loads(line)["text"]) for line in lines]
    held = {one: sum(is_held_out(key, one) for key in keys) for one in (share, 0.1)}
    result = add_stage(begun, Addition(str(months / "2021-11.jsonl"), changes={"corpus.holdout": share}))
    dropped = {facts.name: sum(facts.dropped.values()) for facts in result.corpora}
    assert dropped[of] == abs(held[share] - held[0.1]) > 0
    assert sum(dropped.values()) - dropped["old"] == dropped[of]


def test_earlier_files_may_be_gone(begun: Path, months: Path, texts: dict[str, Path]) -> None:
    hidden = [file.rename(file.with_name(file.name + ".away")) for file in (months / "2021-09.jsonl", texts["old"])]
    try:
        found = update(begun, Addition(str(months / "2021-11.jsonl")))
        legs = forecast(found.plan, added=True).legs
        result = add_stage(begun, Addition(str(months / "2021-11.jsonl")))
    finally:
        for file in hidden:
            file.rename(file.with_name(file.name.removesuffix(".away")))
    assert [(leg.run, leg.name, leg.steps) for leg in legs] == [
        ("", "stage-3-news-2021-11", 8), ("new-only", "stage-3-news-2021-11", 8), ("alone", "stage-2-news-2021-11", 8),
    ]  # fmt: skip
    shares = {share.corpus: share.tokens for share in result.shares if (share.run, share.stage[:7]) == ("", "stage-3")}
    # Half of 2048 tokens are replay, of three sources; whole rows of 64 tokens.
    assert shares["news-2021-11"] == 1024
    assert sum(shares[name] for name in ("old", "news-2021-09", "news-2021-10")) == 1024
    assert all(shares[name] == pytest.approx(1024 / 3, abs=64) for name in ("old", "news-2021-09", "news-2021-10"))


@pytest.mark.parametrize("most", [1, 4, 9, 14, 22])
def test_a_stopped_addition_goes_on(begun: Path, months: Path, most: int, uninterrupted: Result) -> None:
    addition = Addition(str(months / "2021-11.jsonl"))
    with pytest.raises(Stopped):
        add_stage(begun, addition, Told(most).hooks(), "first")
    result = add_stage(begun, addition, command="first")
    assert result.complete
    compared = [{row.name: row.cells for row in one.rows} for one in (result, uninterrupted)]
    assert compared[0] == compared[1]
    assert len(added(begun)) == 1


@pytest.fixture(scope="module")
def uninterrupted(finished: Path, months: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The result of the same addition without a stop."""
    root = shutil.copytree(finished, tmp_path_factory.mktemp("uninterrupted") / "run")
    return add_stage(Path(root), Addition(str(months / "2021-11.jsonl")), command="first")


def test_an_unfinished_addition_is_finished_first_and_as_it_was_begun(begun: Path, months: Path) -> None:
    november, december = (Addition(str(months / f"2021-{month}.jsonl")) for month in ("11", "12"))
    told = Told()
    with pytest.raises(Stopped):
        add_stage(begun, november, Told(14).hooks(), "add november")
    assert status(begun).state == "stopped"
    with pytest.raises(UserError, match=r"has not finished \(stage-3-news-2021-11.*Finish it first: add november"):
        add_stage(begun, december, told.hooks())
    with pytest.raises(UserError, match=r"changed: stages\.2\.tokens: 2048 -> 512\. Go on with: add november"):
        add_stage(begun, Addition(november.corpus, changes={"tokens": 512}), told.hooks())
    assert told.scored == set()


def test_nothing_is_added_twice(begun: Path, months: Path, tmp_path: Path) -> None:
    before = RunDirectory(begun).ledger()
    with pytest.raises(UserError, match="is what stage 'news-2021-10' of"):
        add_stage(begun, Addition(str(months / "2021-10.jsonl")))
    copied = shutil.copy(months / "2021-10.jsonl", tmp_path / "2021-12.jsonl")
    with pytest.raises(UserError, match="holds the very text that stage 'news-2021-10' learned"):
        add_stage(begun, Addition(str(copied)))
    with pytest.raises(UserError, match="has no date in its name"):
        add_stage(begun, Addition(str(tmp_path / "law.jsonl")))
    with pytest.raises(UserError, match="does not exist"):
        forecast(update(begun, Addition(str(tmp_path / "2022-01.jsonl"))).plan, added=True)
    with pytest.raises(UserError, match="more than max_epochs"):
        add_stage(begun, Addition(str(months / "2021-12.jsonl"), changes={"tokens": 10**6}))
    assert RunDirectory(begun).ledger() == before
    assert len(RunDirectory(begun).resolved().stages) == 2


def test_a_folder_that_is_no_run_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no run directory"):
        add_stage(tmp_path / "nothing", Addition("2021-12.jsonl"))
    assert not (tmp_path / "nothing").exists()


def test_a_model_that_is_gone_is_said_and_not_trained_again(begun: Path, months: Path) -> None:
    shutil.rmtree(begun / "stage-1-news-2021-09")
    result = add_stage(begun, Addition(str(months / "2021-11.jsonl")))
    rows = {row.name: row for row in result.rows}
    assert set(rows["stage-1-news-2021-09"].cells) == {"old", "news-2021-09", "news-2021-10"}
    assert "stage-1-news-2021-09 could not be scored on news-2021-11: its folder is gone" in result.notes
    assert not (begun / "stage-1-news-2021-09").exists()
    assert result.months is not None
    assert result.months.cells == (3, 3, 2)
    assert result.metrics.forgetting is None


def test_the_base_is_still_checked(begun: Path, months: Path, base: Path, tmp_path: Path) -> None:
    other = shutil.copytree(base, tmp_path / "base")
    values = json.loads((begun / "plan.resolved.json").read_text())
    file = begun / "plan.resolved.json"
    file.write_text(json.dumps({**values, "base": str(other)}))
    from safetensors.torch import load_file, save_file

    weights = load_file(other / "model.safetensors")
    save_file({name: value + 1 for name, value in weights.items()}, other / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="its weights are not those the run began with"):
        add_stage(begun, Addition(str(months / "2021-11.jsonl")))


def test_the_plan_of_the_run_destroys_nothing(finished: Path, begun: Path, months: Path) -> None:
    original = from_values({**RunDirectory(finished).resolved().resolved(), "output_dir": str(begun)})
    add_stage(begun, Addition(str(months / "2021-11.jsonl")), command="rewarm add-stage there")
    with pytest.raises(
        UserError, match=r"added since this plan was run: news-2021-11\. .* go on with: rewarm add-stage"
    ):
        run(original)
    whole = RunDirectory(begun).resolved()
    assert len(whole.stages) == 3
    assert run(whole).complete
    longer = from_values({**whole.resolved(), "output_dir": str(finished)})
    with pytest.raises(UserError, match=r"this plan has more: news-2021-11\. Add them one by one: rewarm add-stage"):
        run(longer)


def test_a_corpus_watched_whole_is_not_trained_on_later(
    values_in: MakeValues, months: Path, tmp_path: Path, texts: dict[str, Path]
) -> None:
    run(from_values(values_in(tmp_path / "run", [{"name": "law", "data": "law", "tokens": 512}])))
    with pytest.raises(UserError, match="corpus 'old' was watched whole"):
        update(tmp_path / "run", Addition(str(months / "2021-12.jsonl"), changes={"replay": {"from": "old"}}))
    result = add_stage(tmp_path / "run", Addition(str(months / "2021-12.jsonl")))
    assert [row.name for row in result.rows] == ["base", "stage-1-law", "stage-2-2021-12"]


def test_optimizer_state_is_handed_on_by_a_dated_stream(values_in: MakeValues, months: Path, tmp_path: Path) -> None:
    own = {"optimizer_state": "keep", "tokens": 512}
    each = {"each": str(months / "2021-[01][09]*"), "corpus": {"holdout": 0.1}, **own}
    root = tmp_path / "dated"
    run(from_values(values_in(root, [each], watch=["old"])))
    assert [file.parent.name for file in root.glob("training/*/checkpoint-*")] == ["stage-2-2021-10"]
    assert add_stage(root, Addition(str(months / "2021-11.jsonl"))).complete
    assert [file.parent.name for file in root.glob("training/*/checkpoint-*")] == ["stage-3-2021-11"]
    root = tmp_path / "undated"
    stages = [{"name": "law", "data": "law", **own}, {"name": "code", "data": "code", **own}]
    run(from_values(values_in(root, stages)))
    with pytest.raises(UserError, match=r"stage-2-code of '.*' ended with is not kept.*--set optimizer_state=reset"):
        add_stage(root, Addition(str(months / "2021-11.jsonl")))
    reset = Addition(str(months / "2021-11.jsonl"), changes={"optimizer_state": "reset"})
    assert add_stage(root, reset).complete
