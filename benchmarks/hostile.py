"""Every hostile input through `rewarm run` on a tiny model: each must be refused with a sentence, or counted.

    python benchmarks/hostile.py [--only WORD ...] [--out FILE]

Refused: exit code 3 (1 where it shows in training), a sentence with the words that belong to the input, no traceback,
and nothing of the attack happened.
Counted: the run ends well, and its report has exactly as many bad rows and documents as there are. The inputs stand in
benchmarks/hostile_inputs.py; many more variants of them are attacked in tests/hostile. The exit code is 1 when one was
neither refused nor counted.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from hostile_inputs import CASES, GOOD, OLD, SECRET, Case
from turns import machine

from rewarm.cli import call
from rewarm.models.load import make_model, save_model
from rewarm.tokens.tokenizer import TextTokenizer, train

CONFIG = {
    "model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 128,
}  # fmt: skip


def good_plan(work: Path, folder: Path) -> dict[str, Any]:
    """A plan that is well, for the changes of a case."""
    return {
        "base": str(work / "base"),
        "output_dir": str(folder / "run"),
        "corpora": {"old": {"path": str(work / "good.jsonl"), "holdout": "20%"}, "new": str(work / "new.jsonl")},
        "stages": [{"name": "update", "data": "new", "tokens": 512, "learning_rate": 1e-3, "max_epochs": 99}],
        "watch": ["old"], "seq_len": 64, "batch_tokens": 256, "eval_every": 0, "bad_rows": "50%",
        "precision": "fp32",
    }  # fmt: skip


def changed(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The plan with the changes of a case, whose keys are paths with dots."""
    for path, value in changes.items():
        *above, last = path.split(".")
        place: Any = values
        for key in above:
            place = place[int(key)] if isinstance(place, list) else place[key]
        if isinstance(place, list):
            place.append(dict(place[0]) if value == "same" else value)
        else:
            place[last] = value
    return values


def called(plan: Path) -> tuple[int, str]:
    """`rewarm run`: its exit code, and the sentence it ends with."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = call(["run", str(plan), "--quiet"])
    return code, said.getvalue().strip()


def outcome(case: Case, code: int, said: str, folder: Path) -> tuple[str, str]:
    """`refused`, `counted` or `FAILED`, and what was said."""
    run = folder / "run"
    if not case.after(run) or list(folder.rglob("ran")):
        return "FAILED", f"the attack came through (exit code {code}): {said}"
    if case.bad is None:
        is_sentence = code == case.code and case.says in said and "Traceback" not in said
        return ("refused" if is_sentence else "FAILED"), said or f"exit code {code}"
    told = said
    if code == 0:
        report = json.loads((run / "report.json").read_text(encoding="utf-8"))
        corpus = next(one for one in report["corpora"] if one["name"] == "new")
        bad, documents = sum(corpus["bad_rows"].values()), corpus["documents"]
        told = f"{documents} documents, {bad} bad: {', '.join(corpus['bad_rows']) or 'none'}"
        if (bad, documents) == (case.bad, case.documents):
            return "counted", told
    # Without a document there is nothing to train on: that is refused, with the bad rows.
    if case.documents == 0 and code == 3 and said and "Traceback" not in said:
        return "refused", said
    return "FAILED", f"exit code {code}: {told}; expected {case.documents} documents, {case.bad} bad"


def tried(name: str, work: Path, number: int) -> dict[str, Any]:
    """One input: its name, what came of it, and the sentence."""
    folder = work / f"case-{number}"
    folder.mkdir()
    case = CASES[name](folder)
    plan = folder / "plan.yaml"
    values = changed(good_plan(work, folder), case.changes)
    plan.write_text(json.dumps(values) if case.text is None else case.text, encoding="utf-8")
    code, said = called(plan)
    if case.again is not None:
        if code:
            return {"input": name, "outcome": "FAILED", "message": f"the run before the attack: {said}"}
        case.again(folder / "run")
        code, said = called(plan)
    result, message = outcome(case, code, said, folder)
    return {"input": name, "outcome": result, "message": message.replace(str(work), "WORK")[:400]}


def prepare(work: Path) -> None:
    """The base, its tokenizer, and good text."""
    for name, text in (("good.jsonl", OLD), ("new.jsonl", GOOD)):
        (work / name).write_text(text, encoding="utf-8")
    train([GOOD, OLD] * 3, 400, work / "tokenizer")
    tokenizer = TextTokenizer(work / "tokenizer")
    save_model(make_model(CONFIG, tokenizer, 0), work / "tokenizer", work / "base")


def main() -> None:
    """Every input, as a table and as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="Inputs whose names hold one of these words.")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    os.environ |= {
        "REWARM_TUNED": "off",
        "HF_TOKEN": SECRET,
        "WANDB_API_KEY": SECRET,
        "TRANSFORMERS_VERBOSITY": "error",
    }
    names = [name for name in CASES if not given.only or any(word in name for word in given.only)]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        prepare(work)
        for number, name in enumerate(names):
            found.append(tried(name, work, number))
            one = found[-1]
            print(f"{one['outcome']:8} {name:45} {one['message'][:200]}", flush=True)
    wrong = [one["input"] for one in found if one["outcome"] == "FAILED"]
    counts = {word: sum(one["outcome"] == word for one in found) for word in ("refused", "counted", "FAILED")}
    print(f"{len(found) - len(wrong)} of {len(found)} refused or counted: {counts}", file=sys.stderr)
    if given.out is not None:
        result = {"inputs": len(found), **counts, "cases": found, "machine": machine()}
        given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
