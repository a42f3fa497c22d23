"""What the source may not hold: readers that run what they read, code of models, a shell, pages that escape nothing."""

from __future__ import annotations

import ast
import os
from functools import cache
from pathlib import Path

import pytest

import rewarm

PACKAGE = Path(rewarm.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
RUNS_PROGRAMS = {"sandbox/jail.py", "sandbox/run.py"}
"""The only files that may run text as a program, and only when a user typed --execute (docs/code.md)."""
STARTS_PROCESSES = {"sandbox/run.py", "river/jobs.py", "launch.py"}
UNPACKERS = {"tarfile", "zipfile", "shutil.unpack_archive", "rarfile", "py7zr"}
PICKLERS = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
NOT_HTML = {"recipes/published.py"}
"""Fills the package's own templates of plans and shell lines, whose values are quoted by its filters."""


@cache
def nodes(file: Path) -> tuple[ast.AST, ...]:
    """Calls and imports of a file."""
    kinds = (ast.Call, ast.Import, ast.ImportFrom)
    return tuple(node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, kinds))


def dotted(node: ast.expr) -> str:
    """A name with dots, as `np.load`; what is called before the last dot is left out."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


@cache
def every_call() -> tuple[tuple[str, str, ast.Call], ...]:
    """The place of every call of the package, the dotted name it is written as, and itself."""
    return tuple(
        (f"{file.relative_to(PACKAGE).as_posix()}:{node.lineno}", dotted(node.func), node)
        for file in FILES
        for node in nodes(file)
        if isinstance(node, ast.Call)
    )


@cache
def imported(file: Path) -> frozenset[str]:
    found = set()
    for node in nodes(file):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").partition(".")[0])
    return frozenset(found)


def keyword(node: ast.Call, name: str) -> ast.expr | None:
    return next((one.value for one in node.keywords if one.arg == name), None)


def is_constant(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def test_nothing_is_pickled() -> None:
    assert {file.name: imported(file) & PICKLERS for file in FILES if imported(file) & PICKLERS} == {}
    bad = [
        place
        for place, name, node in every_call()
        if name in ("torch.load", "torch.save", "numpy.save", "pandas.read_pickle")
        or (name.split(".")[-1] == "load" and name.startswith(("np.", "numpy.")) and not is_constant(
            keyword(node, "allow_pickle"), False
        ))
    ]  # fmt: skip
    assert bad == []


def test_text_is_run_in_the_sandbox_only() -> None:
    found = {place.partition(":")[0] for place, name, _ in every_call() if name in ("eval", "exec", "__import__")}
    assert found <= RUNS_PROGRAMS
    found = {
        place.partition(":")[0] for place, name, _ in every_call() if name.startswith(("subprocess.", "os.system"))
    }
    assert found <= STARTS_PROCESSES
    assert [place for place, _, node in every_call() if keyword(node, "shell") is not None] == []


def test_code_of_models_is_off_wherever_something_is_loaded() -> None:
    """`trust_remote_code` is said each time: transformers would ask a person at the terminal where it is not."""
    loads = [
        (place, name, node) for place, name, node in every_call() if name.endswith((".from_pretrained", ".from_config"))
    ]
    assert len(loads) > 10
    bad = [
        place for place, name, node in loads
        if not name.startswith(("PeftModel.", "PeftConfig."))
        and not is_constant(keyword(node, "trust_remote_code"), False)
    ]  # fmt: skip
    assert bad == []
    said = [place for place, _, node in every_call() if is_constant(keyword(node, "trust_remote_code"), True)]
    assert said == []


def test_yaml_is_read_by_the_one_careful_reader() -> None:
    """`yaml.safe_load` reads the package's own templates only; everything of a user's goes through plan_file."""
    unsafe = ("yaml.load", "yaml.full_load", "yaml.unsafe_load", "yaml.load_all")
    assert {place.partition(":")[0] for place, name, _ in every_call() if name in unsafe} == {"plan_file.py"}
    safe = {place.partition(":")[0] for place, name, _ in every_call() if name == "yaml.safe_load"}
    assert safe <= {"recipes/published.py"}


def test_pages_escape_what_is_put_into_them() -> None:
    made = [(place, node) for place, name, node in every_call() if name in ("Environment", "jinja2.Environment")]
    bad = [
        place for place, node in made
        if place.partition(":")[0] not in NOT_HTML and not is_constant(keyword(node, "autoescape"), True)
    ]  # fmt: skip
    assert len(made) > 4
    assert bad == []
    templates = [*PACKAGE.rglob("*.j2")]
    assert templates
    for file in templates:
        text = file.read_text(encoding="utf-8")
        assert "autoescape false" not in text
        # The index of a site has one script, our own, which the page's policy names by its digest.
        own = "<script>{{ script }}</script>" if file.name == "site_index.html.j2" else ""
        assert "<script" not in (text.replace(own, "", 1) if own else text)


def test_no_archive_is_unpacked() -> None:
    """So no member can leave its folder: packed corpora are streams of bytes, and hold no names."""
    users = {file.relative_to(PACKAGE).as_posix() for file in FILES if imported(file) & UNPACKERS}
    assert all("BadZipFile" in (PACKAGE / file).read_text(encoding="utf-8") for file in users)  # of damaged .npz files
    bad = [
        place
        for place, name, _ in every_call()
        if name.endswith(("extractall", "unpack_archive", "ZipFile", "tarfile.open"))
    ]
    assert bad == []


def test_nothing_is_reported_to_anybody() -> None:
    """What is set when the package is imported, and that the libraries have read it."""
    constants = pytest.importorskip("huggingface_hub.constants")
    assert constants.HF_HUB_DISABLE_TELEMETRY
    for name, value in {
        "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_UPDATE_DOWNLOAD_COUNTS": "false",
        "DISABLE_SAFETENSORS_CONVERSION": "1", "DO_NOT_TRACK": "1", "RAY_USAGE_STATS_ENABLED": "0",
    }.items():  # fmt: skip
        assert os.environ[name] == value
    from transformers.utils import http_user_agent

    sent = http_user_agent({"file_type": "model", "from_auto_class": True})
    assert "telemetry/off" in sent
    assert "file_type" not in sent
