"""What the machine refuses: room, memory, a write, a number, a reader that has left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rewarm.river import costs
from rewarm.training import memory

WritePlan = Callable[..., Path]
COMMAND = "from rewarm.cli import main\nmain()"


def test_a_run_that_cannot_fit_the_memory(
    cli: Any, write_plan: WritePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(costs.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=5_000_000))
    plan = write_plan(tmp_path)
    called = cli("run", plan)
    assert (called.code, called.out) == (3, "")
    # 600 MB of libraries, and 1 MB of this model and one row of 64 tokens in the smallest way.
    assert "memory: the run needs about 601 MB and 5 MB are available. Lower micro_batch_tokens" in called.err
    assert not (tmp_path / "run").exists()
    found = cli("check", plan, "--json").json()
    assert found["exit_code"] == 3
    assert found["seconds"] == {}  # timing would make the very model that does not fit
    assert cli("prepare", plan, "--quiet").code == 0  # tokens need no model


def test_tokens_that_cannot_fit_the_disk(
    cli: Any, write_plan: WritePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(costs.shutil, "disk_usage", lambda path: SimpleNamespace(free=50_000))
    called = cli("prepare", write_plan(tmp_path))
    assert (called.code, called.out) == (3, "")
    # 2 bytes for each of 25,000 tokens and 28 for each of 300 documents, and one of both corpora once more as shards;
    # models and checkpoints do not count.
    assert "the run needs about 87.6 kB and 50 kB are free. Make room" in called.err
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(costs.shutil, "disk_usage", lambda path: SimpleNamespace(free=90_000))
    assert cli("prepare", write_plan(tmp_path), "--quiet").code == 0


def test_a_write_that_fails_in_a_run_is_code_1_and_the_same_command_goes_on(
    python: Any, cli: Any, write_plan: WritePlan, tmp_path: Path
) -> None:
    limited = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (90_000, resource.RLIM_INFINITY))\n"
    plan = write_plan(tmp_path)
    process = python(limited + COMMAND, "run", plan, "--quiet")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err.startswith("rewarm: ")
    assert "File too large" in err
    assert "Traceback" not in err
    called = cli("run", plan, "--quiet")
    assert called.code == 0, called.err


def test_a_loss_that_is_no_number_is_code_1(cli: Any, write_plan: WritePlan, tmp_path: Path) -> None:
    stage = {"name": "update", "data": "new", "tokens": 4096, "learning_rate": 1e30}
    called = cli("run", write_plan(tmp_path, stages=[stage]), "--json")
    assert called.code == 1
    found = called.json()
    assert found["exit_code"] == 1
    assert "the update was not made" in found["error"]
    assert "lower learning_rate" in found["error"]


def test_a_whole_run_prints_one_object(python: Any, write_plan: WritePlan, tmp_path: Path) -> None:
    """In a process of its own, where libraries can write to stdout past Python."""
    process = python(COMMAND, "run", write_plan(tmp_path), "--json")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["complete"] is True
    assert out.isascii()  # for a terminal of any encoding
    assert "Traceback" not in err


@pytest.mark.parametrize("arguments", [["methods"], ["methods", "--json"], ["--help"]])
def test_a_reader_that_has_left_is_no_error(arguments: list[str], python: Any) -> None:
    process = python(COMMAND, *arguments)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=60) == (1 if arguments == ["--help"] else 0)
    process.stderr.close()


def test_the_exit_code_does_not_depend_on_the_reader(python: Any, finished: Path) -> None:
    process = python(COMMAND, "gate", finished, "--min-gain", "99%")
    process.stdout.close()
    assert (process.stderr.read(), process.wait(timeout=60)) == ("", 2)
    process.stderr.close()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_an_answer_for_a_terminal_of_another_encoding(encoding: str, python: Any, finished: Path) -> None:
    code = f"import sys\nsys.stdout.reconfigure(encoding={encoding!r})\n" + COMMAND
    process = python(code, "gate", finished, "--max-forget", "900%")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    first, *_, last = out.splitlines()
    # The change of loss is negative, and only one of these has a true minus sign.
    assert ("\u2212" in first, "\\u2212" in first) == (encoding == "utf-8", encoding != "utf-8")
    assert last == "gate met"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_an_answer_that_cannot_be_written_is_code_1(python: Any) -> None:
    process = python("import os\nos.dup2(os.open('/dev/full', os.O_WRONLY), 1)\n" + COMMAND, "methods")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err == "rewarm: the answer could not be printed: [Errno 28] No space left on device\n"


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"hidden_size": "abc"}, "expected int"),
        ({"num_attention_heads": 5}, "not a multiple"),
        ({"vocab_size": -4}, "negative dimension"),
        ({"model_type": "nonsense"}, "nonsense"),
    ],
)
def test_a_configuration_that_makes_no_model(
    change: dict[str, Any], part: str, cli: Any, write_plan: WritePlan, base: Path, finished: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(base, tmp_path / "broken")
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(config | change))
    init = ["init", "--base", broken, "--new", tmp_path / "never-read.jsonl", "--output", tmp_path / "first.yaml"]
    plan = write_plan(tmp_path, base=str(broken))
    for called in (cli("check", plan), cli("run", plan), cli(*init), cli("evaluate", broken, "--on", finished)):
        assert called.code == 3
        assert "is no causal language model that could be read" in called.err
        assert part in called.err


def test_weights_that_are_cut_short_or_missing(cli: Any, write_plan: WritePlan, base: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(base, tmp_path / "broken")
    plan = write_plan(tmp_path, base=str(broken))
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    called = cli("check", plan)
    assert called.code == 3
    assert "model.safetensors is damaged" in called.err
    shutil.copy(base / "model.safetensors", broken / "model-00001-of-00002.safetensors")
    weights.unlink()
    parts = {"lm_head.weight": "model-00002-of-00002.safetensors", "x": "model-00001-of-00002.safetensors"}
    (broken / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    called = cli("check", plan)
    assert called.code == 3
    assert "lacks model-00002-of-00002.safetensors: download it again" in called.err
