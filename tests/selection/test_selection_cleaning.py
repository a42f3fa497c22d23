"""What is left out of new text, why, and in which order of reasons."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewarm.selection.cleaning import WITHIN, Cleaned, Reference, Settings, clean
from rewarm.types import UserError


def text(seed: int, count: int = 60, change: int | None = None) -> str:
    words = [f"w{seed}x{place}" for place in range(count)]
    if change is not None:
        words[change] = "other"
    return " ".join(words)


def run(folder: Path, new: dict[str, str], near: float | None = 0.8, ngram: int | None = 13) -> Cleaned:
    watched = [("law:1", text(1)), ("law:2", text(2))]
    asked = [("t1", "The mayor of Lomi is Bake ."), ("t2", "Yes")]
    references = [
        Reference("watch law", watched, True),
        Reference("probes towns", asked, True),
        Reference("replay old", [("old:7", text(7))], False),
    ]
    return clean({"new": new.items()}, references, Settings(near, ngram), folder)


def test_every_reason_is_counted_and_named(tmp_path: Path) -> None:
    new = {
        "near watch": text(1, change=40),
        "near replay": text(7, change=40),
        "shares words with replay": " ".join(text(7).split()[:20]) + " " + text(30),
        "quotes watch": text(20) + " " + " ".join(text(2).split()[:13]),
        "nearly quotes": text(21) + " " + " ".join(text(2).split()[:12]),
        "answers": f"{text(22)}. The mayor of Lomi is Bake. {text(23)}",
        "once": text(3), "twice": text(3, change=40), "own": text(4), "empty": "",
    }  # fmt: skip
    found = run(tmp_path, new)
    dropped = {one.id: one for one in found.dropped["new"]}
    within = dropped.pop("once", None) or dropped.pop("twice")
    assert (within.reason, within.of in ("once", "twice")) == (WITHIN, True)
    assert {name: (one.reason, one.of, one.words) for name, one in dropped.items()} == {
        "near watch": ("near duplicate of watch law", "law:1", 0),
        "near replay": ("near duplicate of replay old", "old:7", 0),
        "quotes watch": ("shares 13 words with watch law", "", 13),
        "answers": ("shares 13 words with probes towns", "", 6),
    }
    assert dropped["near watch"].similarity == round(51 / 61, 4)
    assert found.documents == {"new": len(new)}
    assert sum(found.counts("new").values()) == len(found.dropped["new"]) == 5
    assert [list(new)[one.place] for one in found.dropped["new"]] == [one.id for one in found.dropped["new"]]
    assert (found.items, found.too_short) == ({"watch law": 2, "probes towns": 2}, {"watch law": 0, "probes towns": 1})
    assert list(tmp_path.iterdir()) == []


def test_nothing_goes_because_it_repeats_what_goes_anyway(tmp_path: Path) -> None:
    """One of two near duplicates quotes what is watched: it goes, and the other one stays whichever was first."""
    for seed in range(40, 46):
        quoting = text(seed, 60, change=40) + " " + " ".join(text(2).split()[:13])
        found = run(tmp_path, {"a": text(seed, 100), "b": text(seed, 100) + " " + " ".join(text(2).split()[:13])})
        assert [(one.id, one.words) for one in found.dropped["new"]] == [("b", 13)]
        assert [one.id for one in run(tmp_path, {"b": quoting, "a": quoting}).dropped["new"]] == ["b", "a"]


def test_either_way_can_be_off(tmp_path: Path) -> None:
    new = {"near": text(1, change=40), "quotes": text(20) + " " + " ".join(text(2).split()[:13])}
    assert run(tmp_path, new, ngram=None).counts("new") == {"near duplicate of watch law": 1}
    assert run(tmp_path, new, near=None).counts("new") == {"shares 13 words with watch law": 2}
    assert run(tmp_path, new, None, None).counts("new") == {}


def test_new_texts_are_compared_with_themselves_only(tmp_path: Path) -> None:
    twice = {"a": text(3), "b": text(3, change=40)}
    found = clean({"law": twice.items(), "code": twice.items()}, [], Settings(0.8, 13), tmp_path)
    assert found.counts("law") == found.counts("code") == {WITHIN: 1}
    assert {one.of for one in found.dropped["code"]} <= {"a", "b"}


def test_too_many_references_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="put some of them together"):
        clean({"new": []}, [Reference(str(number), [], False) for number in range(260)], Settings(0.8, 13), tmp_path)
