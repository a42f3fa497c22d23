"""Code in README and docs: commands are ones that rewarm has, plans are plans, and the tutorial runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from documentation import DOCS, EVERY, ROOT, Block

from rewarm.cli import build
from rewarm.plan import from_values
from rewarm.records.spec import Spec
from rewarm.tasks.plan import from_values as learn_from_values

COMMAND = typer.main.get_command(build())
BARE = {"data": "law", "tokens": 1000, "learning_rate": 1e-4}
PLAIN = {"output_dir": "runs/one", "base": "base"}
OF_PLANS = {"base", "corpora", "stages", "suites", "watch", "languages", "controls", "clean", "old_corpus"}


def commands(block: Block) -> Iterator[str]:
    """The commands of rewarm in a block, without what a shell does around them."""
    if block.kind not in ("", "sh", "console"):
        return
    text = re.sub(r"\\\n\s*", " ", block.text)
    for line in text.splitlines():
        for part in re.split(r"&&|\|(?=\s)|;\s", re.sub(r"\s#.*$", "", line)):
            if part.strip().startswith("rewarm "):
                yield part.strip()


def parsed(words: list[str]) -> str:
    """The verb that a command line calls, its options read as rewarm reads them; nothing is done."""
    context, command = COMMAND.make_context("rewarm", list(words)), COMMAND
    while hasattr(command, "commands"):
        rest = [*context._protected_args, *context.args]
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)
    return str(context.command_path)


CALLS = [(block, line) for block in EVERY for line in commands(block)]


@pytest.mark.parametrize(
    ("block", "line"), CALLS, ids=[f"{block.place}-{number}" for number, (block, _) in enumerate(CALLS)]
)
def test_commands_are_ones_that_rewarm_has(block: Block, line: str) -> None:
    words = shlex.split(line.replace("...", ""))[1:]
    assert parsed(words).startswith("rewarm ")


def test_a_command_that_rewarm_does_not_have_is_found() -> None:
    for words in (["trian", "plan.yaml"], ["run", "plan.yaml", "--fast"], ["gate", "runs/x", "--max-forget"]):
        with pytest.raises(typer.TyperException):
            parsed(words)


def whole(values: Mapping[str, Any], elided: bool) -> dict[str, Any]:
    """A part of a plan, completed: corpora that it names and does not have, a stage if it has none, keys left out."""
    corpora = dict(values.get("corpora", {}))
    stages = values.get("stages") or [BARE | {"name": "one", "data": next(iter(corpora), "new")}]
    named = set(re.findall(r"[\w-]+", json.dumps([stages, values.get("watch", [])], default=str)))
    for name in ("old", "new", "danish", "abstracts", "law", "news", "books", "questions", "dansk", "islandsk"):
        if name in named | {"old"}:
            corpora.setdefault(name, {"type": "jsonl", "path": f"{name}.jsonl"})
    if isinstance(stages, list):
        stages = [BARE | stage for stage in stages] if elided else stages
    return {**PLAIN, **values, "corpora": corpora, "stages": stages}


YAML = [block for block in EVERY if block.kind == "yaml"]


@pytest.mark.parametrize("block", YAML, ids=[block.place for block in YAML])
def test_yaml_is_read_by_what_it_is_for(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("out/text", "repositories"):  # what a folder holds says of which type it is
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "part.jsonl").write_text('{"text": "a"}\n', encoding="utf-8")
    text, left_out = re.subn(r"^\s*\.\.\.\n", "", block.text, flags=re.MULTILINE)
    values = yaml.safe_load(text)
    if isinstance(values, list):
        values = {"stages": values}
    if "ways" in values:
        learn_from_values(values)
    elif "sources" in values:
        Spec.model_validate(values)
    elif "--templates" in block.text:
        assert all("[X]" in str(item) and "[Y]" in str(item) for item in values.values())
    else:
        assert set(values) & OF_PLANS, f"{block.place}: of which kind is this?"
        if "each" in values.get("stages", {}) and isinstance(values["stages"], dict):
            pytest.skip("stages of a folder's files need the folder")
        from_values(whole(values, bool(left_out)))


PYTHON = [block for block in EVERY if block.kind == "python"]


@pytest.mark.parametrize("block", PYTHON, ids=[block.place for block in PYTHON])
def test_python_is_python(block: Block) -> None:
    compile(block.text, block.place, "exec")


@pytest.mark.timeout(1500)
def test_the_tutorial_runs_from_its_first_line_to_its_last(tmp_path: Path) -> None:
    """Blocks marked `runnable`, one after the other in one folder: Python in a process of its own, sh line by line."""
    steps = [block for block in EVERY if block.page == DOCS / "tutorial.md" and block.word == "runnable"]
    assert {block.kind for block in steps} >= {"python", "sh", "yaml"}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for block in steps:
        if block.kind == "yaml":
            (tmp_path / "plan.yaml").write_text(block.text, encoding="utf-8")
            continue
        lines = [["-c", block.text]] if block.kind == "python" else [
            ["-m", *shlex.split(line)] for line in commands(block)
        ]  # fmt: skip
        for words in lines:
            done = subprocess.run(
                [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{block.place}: {words[-1]}\n{done.stdout[-800:]}\n{done.stderr[-1500:]}"
    assert (tmp_path / "runs/code/report.html").is_file()
