"""Texts and a tiny base that every recipe can be planned with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rewarm.recipes.small_texts import month, write_wiki
from rewarm.types import silent


@pytest.fixture(scope="session")
def wiki_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The invented wiki in three snapshots, as the small recipe of TemporalWiki has it. Read only."""
    folder = tmp_path_factory.mktemp("recipes") / "wiki"
    write_wiki(folder, 3, silent, lambda: False)
    return folder


@pytest.fixture
def asked_of(wiki_folder: Path, make_base: Callable[..., Path]) -> Callable[..., Any]:
    """A function: family of a tiny base, **changes -> what a full-scale plan is asked of: two months of differences."""
    from rewarm.recipes.inputs import Asked

    def make(family: str = "llama", **changes: Any) -> Asked:
        given = {
            "base": str(make_base(family)),
            "corpus": (str(wiki_folder / "differences" / "*" / "diff.jsonl.zst"),),
            "old": str(wiki_folder / "snapshots" / f"{month(1)}.jsonl"),
            "probes": (str(wiki_folder / "probes" / "*.jsonl"),),
        }
        return Asked(**given | changes)  # type: ignore[arg-type]

    return make


@pytest.fixture
def make_base(
    tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_folder: Path, make_tiny: Callable[..., Any]
) -> Callable[..., Path]:
    """A function: name of a tiny configuration -> a folder with that model and its tokenizer."""
    from rewarm.models.load import save_model

    def make(family: str) -> Path:
        folder = tmp_path_factory.mktemp("base") / family
        save_model(make_tiny(family), tiny_tokenizer_folder, folder)
        return folder

    return make
