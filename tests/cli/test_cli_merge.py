"""`rewarm merge` on a finished run: options to order, the answer, nothing written on a dry run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rewarm.cli.merge import Options, order
from rewarm.river.merge_order import MergeOrder


def test_options_make_an_order() -> None:
    found = order(Options(run=Path("run")))
    assert found == MergeOrder(weights=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0))
    found = order(Options(run=Path("run"), method="soup", with_=["a", "b"], max_forgetting="1%"))
    assert found == MergeOrder(method="soup", others=("a", "b"), max_forgetting=0.01)
    found = order(Options(run=Path("run"), method="ties", with_=["a"], weights="0,0.25,1.5", density=0.2, prefer="new"))
    assert found == MergeOrder(method="ties", others=("a",), weights=(0, 0.25, 1.5), density=0.2, prefer="new")


def test_merge_tells_what_was_chosen_and_where_it_is(cli: Any, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "merged"
    called = cli("merge", finished, "--points", 3, "--output", out, "--quiet")
    assert (called.code, called.err) == (0, "")
    assert called.out.splitlines()[-2:] == [f"Model: {out / 'model'}", f"Page: {out / 'merge.html'}"]
    found = cli("merge", finished, "--points", 3, "--output", out, "--json").json()
    assert found["page"] == str(out / "merge.html")
    assert [point["name"] for point in found["merge"]["points"]] == ["base", "weight 0.5", "stage-1-update"]
    assert found["merge"]["reason"] in called.out
    scored = cli("evaluate", found["merge"]["model"], "--on", finished, "--json").json()["cells"]
    chosen = next(point for point in found["merge"]["points"] if point["name"] == found["merge"]["choice"])
    assert scored["new"]["loss"] == pytest.approx(chosen["cells"]["new"]["loss"], rel=1e-5)


def test_a_dry_run_says_what_would_be_scored(cli: Any, finished: Path) -> None:
    found = cli("merge", finished, "--dry-run", "--json").json()
    assert (found["points"], found["parts"]) == (9, ["base", "stage-1-update"])
    assert found["would_write"] == str(finished / "merges" / "wise-ft-stage-1-update")
    assert set(found["tokens_per_point"]) == {"old", "new"}
    assert not (finished / "merges").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--points", "1"], "--points 1 must be 2 or more"),
        (["--points", "3", "--weights", "0,1"], "give --points or --weights, not both"),
        (["--weights", "0,half"], "--weights '0,half': give numbers with commas"),
        (["--density", "0.5"], "--density is for ties and dare, not for wise-ft"),
        (["--prefer", "newest"], "--prefer 'newest': give balanced, old or new"),
        (["--max-forgetting", "little"], "--max-forgetting 'little': give a share such as 5%, 0.05 or 1/2"),
        (["--method", "slerp"], "there is no merging method 'slerp'"),
        (["--method", "soup", "--points", "3", "--with", "x"], "soup sweeps no weight"),
        (["--stage", "updaet"], "has no stage 'updaet'. Did you mean 'update'?"),
    ],
)
def test_wrong_options_are_wrong_input(arguments: list[str], message: str, cli: Any, finished: Path) -> None:
    called = cli("merge", finished, *arguments)
    assert (called.code, called.out) == (3, "")
    assert message in called.err
    assert not (finished / "merges").exists()
