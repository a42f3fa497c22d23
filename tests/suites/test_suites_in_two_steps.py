"""Programs drafted by one model and written by another."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from rewarm.evaluation.sampled import Drawing
from rewarm.methods import build
from rewarm.sandbox.permission import executing
from rewarm.sketches.blocks import SEGMENTATION
from rewarm.suites import in_two_steps
from rewarm.suites.code import Code
from rewarm.suites.in_two_steps import sketcher_key
from rewarm.suites.problems import problem_of
from rewarm.types import UserError

DOUBLE = {
    "id": "double", "prompt": "def double(n):\n    ", "entry_point": "double", "canonical_solution": "return 2 * n\n",
    "test": "def check(candidate):\n    assert candidate(2) == 4",
}  # fmt: skip
TRIPLE = DOUBLE | {"id": "triple", "prompt": "def triple(n):\n    "}


@pytest.fixture
def sketcher(make_tiny: Any, tiny_tokenizer_folder: Path, tmp_path: Path) -> Path:
    """A model folder."""
    folder = tmp_path / "sketcher"
    make_tiny("llama", seed=5).save_pretrained(folder)
    for file in tiny_tokenizer_folder.iterdir():
        shutil.copy(file, folder)
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="programs are run on Linux only")
def test_the_model_that_is_asked_writes_from_the_sketch(
    write_rows: Any, answers_of: Any, sketcher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sketch of the first problem has a marker, and the generator is asked with it; the second is an answer."""
    monkeypatch.setenv("REWARM_CACHE", str(tmp_path / "cache"))
    seen: list[str] = []

    def sampler(asked: Any, new_tokens: int, drawing: Drawing) -> Any:
        def draw(prompt: str, count: int) -> list[str]:
            seen.append(prompt)
            if SEGMENTATION in prompt:
                return ["\n    return 2 * n\n"] * count
            return ["\n    return number * n" if "double" in prompt else "\n    return n + n"] * count

        return draw

    monkeypatch.setattr(in_two_steps, "_sampler", sampler)
    values = {"type": "code", "path": write_rows([DOUBLE, TRIPLE | {"entry_point": "triple"}]), "new_tokens": 3}
    with executing():
        found = answers_of(values | {"sketcher": str(sketcher)})
    assert found.extra["written_by"] == {"sketcher": 1, "generator": 1}
    assert list(found.measures["pass@1"].values_N) == [1, 1]
    assert f"\n    return number * n\n{SEGMENTATION}\n{DOUBLE['prompt']}" in seen


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_is_written_does_not_depend_on_other_problems(asked: Any, sketcher: Path, temperature: float) -> None:
    drawing = Drawing(1 if temperature == 0 else 3, temperature, 0.95, 7)
    both = [problem_of(DOUBLE), problem_of(TRIPLE)]
    texts, by = in_two_steps.in_two_steps(asked(), sketcher, both, [(), ()], 6, drawing)
    alone, _ = in_two_steps.in_two_steps(asked(), sketcher, both[1:], [()], 6, drawing)
    assert texts[1] == alone[0]
    assert [len(several) for several in texts] == [drawing.samples] * 2
    assert sum(by.values()) == 2


def test_another_sketcher_is_another_suite(write_rows: Any, sketcher: Path, make_tiny: Any) -> None:
    suite = Code(path=write_rows([DOUBLE]), sketcher=sketcher)
    before, plain = suite.fingerprint(), Code(path=write_rows([DOUBLE])).fingerprint()
    make_tiny("llama", seed=6).save_pretrained(sketcher)
    assert len({before, plain, suite.fingerprint()}) == 3


def test_a_folder_without_a_model_is_refused(write_rows: Any, tmp_path: Path) -> None:
    suite: Any = build("suites", {"type": "code", "path": write_rows([DOUBLE]), "sketcher": str(tmp_path)})
    with pytest.raises(UserError, match=r"has no config\.json"):
        suite.check("mine", 1.0)
    with pytest.raises(UserError, match=r"has no config\.json"):
        sketcher_key(tmp_path)
