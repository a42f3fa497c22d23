"""Plans that somebody else wrote: whatever they hold, the answer is a sentence, at once, and nothing is run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from rewarm.plan import from_values, load
from rewarm.plan_file import MOST_BYTES, read_yaml, yaml_value
from rewarm.records.spec import read_spec
from rewarm.tasks import plan as task_plan
from rewarm.types import UserError

LIST_BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
MAPPING_BOMB = "a0: &a0 {a: 1}\n" + "".join(
    f"a{n}: &a{n} {{{', '.join(f'k{m}: *a{n - 1}' for m in range(10))}}}\n" for n in range(1, 9)
)
MERGE_BOMB = "a0: &a0 {a: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 9)
)
HOSTILE = {
    "list bomb": (LIST_BOMB, "aliases stand for more than 100,000 values"),
    "mapping bomb": (MAPPING_BOMB, "aliases stand for more than 100,000 values"),
    "merge bomb": (MERGE_BOMB, "aliases stand for more than 100,000 values"),
    "holds itself": ("base: &a {from: *a}\n", "holds itself by an alias"),
    "merges itself": ("base: &a {<<: *a}\n", "holds itself by an alias"),
    "deep": ("a: " + "[" * 500 + "]" * 500, "too deep in each other"),
    "deep and open": ("a: " + "{a: " * 500, "too deep in each other"),
    "too large": ("a: '" + "x" * 10_000_000 + "'", "more than 1,000,000 bytes"),
    "python call": ("base: !!python/object/apply:os.system ['touch ran']\n", "could not determine a constructor"),
    "python name": ("base: !!python/name:os.system\n", "could not determine a constructor"),
    "python module": ("base: !!python/module:os\n", "could not determine a constructor"),
    "no date": ("base: 2020-99-99\n", "'2020-99-99' is no timestamp"),
    "no int": ("base: !!int ''\n", "is no int"),
    "no bool": ("base: !!bool x\n", "'x' is no bool"),
    "long int": ("seed: " + "9" * 5000 + "\n", "is no int"),
    "no text": ("a: \0\n", "special characters are not allowed"),
    "key of a list": ("? [a]\n: b\n", "found unhashable key"),
    "two documents": ("a: 1\n---\na: 2\n", "expected a single document"),
    "a tag for a mapping": ("a: !!map x\n", "expected a mapping node"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_a_sentence_at_once(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, said = HOSTILE[name]
    (tmp_path / "plan.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    start = time.process_time()
    for read in (load, task_plan.load, read_spec):
        with pytest.raises(UserError, match=said):
            read(Path("plan.yaml"))
    assert time.process_time() - start < 20  # of three; a bomb that went off would take hours
    assert [file.name for file in tmp_path.iterdir()] == ["plan.yaml"]


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    for content in (b"\xff\xfeb\0a\0s\0e\0", b"base: caf\xe9\n", b"\x80"):
        (tmp_path / "plan.yaml").write_bytes(content)
        with pytest.raises(UserError, match="cannot be read as YAML"):
            load(tmp_path / "plan.yaml")
    with pytest.raises(UserError, match="does not exist"):
        load(tmp_path)


def test_what_is_large_but_honest_is_read(tmp_path: Path) -> None:
    """Aliases are allowed, and so are plans of hundreds of stages."""
    text = "a: &a {b: [1, 2]}\nc: *a\nd: {<<: *a, e: 3}\n"
    assert yaml_value(text) == {"a": {"b": [1, 2]}, "c": {"b": [1, 2]}, "d": {"b": [1, 2], "e": 3}}
    stages = "".join(f"- {{name: s{n}, data: new, tokens: 1M, learning_rate: 1e-3}}\n" for n in range(500))
    (tmp_path / "plan.yaml").write_text("stages:\n" + stages, encoding="utf-8")
    assert len(read_yaml(tmp_path / "plan.yaml", "")["stages"]) == 500
    assert len(stages) < MOST_BYTES


def test_faults_without_end_are_told_to_an_end() -> None:
    with pytest.raises(UserError, match=r"and 9[0-9]{2} more faults: mend these first") as caught:
        from_values({f"k{number}": 1 for number in range(1000)})
    assert len(str(caught.value).splitlines()) <= 101


STAGE = {"name": "june", "data": "new", "tokens": "1M", "learning_rate": 1e-3}
VALUES = {"base": "some/model", "output_dir": "run", "corpora": {"new": "new.jsonl"}, "stages": [STAGE]}
NAMES = [
    "../x",
    "..",
    ".",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "-rf",
    "~root",
    "x" * 61,
    "a\nb",
    "a\0b",
    "",
    " ",
    "é",
    "$HOME",
    "a;b",
]


@pytest.mark.parametrize("name", NAMES)
def test_no_name_leaves_the_run_directory(name: str) -> None:
    """Names of stages, corpora, probes and suites become names of files."""
    attacks: list[dict[str, Any]] = [
        {"stages": [STAGE | {"name": name}]},
        {"corpora": {"new": "new.jsonl", name: "x.jsonl"}},
        {"probes": {name: "x.jsonl"}},
        {"suites": {name: {"type": "choices", "path": "x.jsonl"}}},
        {"stages": [STAGE | {"data": name}]},
        {"watch": [name]},
    ]
    for attack in attacks:
        with pytest.raises(UserError, match="a name is made of letters"):
            from_values(VALUES | attack)
    learn = {"base": "some/model", "output_dir": "run", "ways": ["naive"]}
    with pytest.raises(UserError, match="a name is made of letters"):
        task_plan.from_values(learn | {"tasks": {key: {"kind": "classes", "path": "x.jsonl"} for key in ("a", name)}})
