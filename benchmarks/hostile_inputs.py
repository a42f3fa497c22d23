"""Hostile inputs, each as a change to a good plan of a tiny model, and what must come of it."""

from __future__ import annotations

import gzip
import json
import pickle
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zstandard
from safetensors.torch import load_file, save_file

OLD = "".join(json.dumps({"text": f"line {number} of older text, other words"}) + "\n" for number in range(40))
GOOD = "".join(json.dumps({"text": f"row {number} of the good text, plain words"}) + "\n" for number in range(40))
SECRET = "hf_QQsecretQQtoken"


class Touch:
    """Pickled, it is a command that makes a file when the pickle is opened."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


@dataclass(slots=True)
class Case:
    """A plan to run: `changes` to its values or, in `text`, the file itself.

    `bad` rows and `documents` must be counted of the corpus `new`; without them the plan must be refused with exit code
    `code`, in a sentence that `says` so. `again` is an attack on a run that has ended, after which it is to go on, and
    `after` what must be true in the end.
    """

    changes: dict[str, Any] = field(default_factory=dict)
    says: str = ""
    text: str | None = None
    bad: int | None = None
    documents: int | None = None
    after: Callable[[Path], bool] = lambda run: True
    code: int = 3
    again: Callable[[Path], None] | None = None


Make = Callable[[Path], Case]


def counted(name: str, content: bytes, bad: int, documents: int = 40, **options: Any) -> Make:
    """A corpus of one file: so many bad rows and so many documents."""

    def make(folder: Path) -> Case:
        (folder / name).write_bytes(content)
        return Case({"corpora.new": {"path": str(folder / name), **options}}, bad=bad, documents=documents)

    return make


def refused(name: str, content: bytes, says: str) -> Make:
    """A corpus of one file that is refused whole."""

    def make(folder: Path) -> Case:
        (folder / name).write_bytes(content)
        return Case({"corpora.new": str(folder / name)}, says)

    return make


def rows(*added: bytes, bad: int | None = None) -> Make:
    """Good rows with others after them, of which `bad` (all) are bad."""
    bad = len(added) if bad is None else bad
    return counted("new.jsonl", GOOD.encode() + b"\n".join(added) + b"\n", bad, 40 + len(added) - bad)


def plan(text: str, says: str) -> Make:
    """A plan that is refused."""
    return lambda folder: Case(says=says, text=text)


def changed(says: str, **changes: Any) -> Make:
    """A plan of which some values are hostile; `a__b` is the key b of a."""
    return lambda folder: Case({key.replace("__", "."): value for key, value in changes.items()}, says)


def model(change: Callable[[Path], None], says: str, code: int = 3) -> Make:
    """A base that somebody changed; it must make no file `ran`."""

    def make(folder: Path) -> Case:
        shutil.copytree(folder.parent / "base", folder / "base")
        change(folder / "base")
        return Case({"base": str(folder / "base")}, says, after=lambda run: not (folder / "ran").exists(), code=code)

    return make


def pickled(base: Path) -> None:
    (base / "model.safetensors").unlink()
    (base / "pytorch_model.bin").write_bytes(pickle.dumps(Touch(base.parent / "ran")))


def with_code(base: Path) -> None:
    values = json.loads((base / "config.json").read_text())
    values |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"}}
    (base / "config.json").write_text(json.dumps(values))
    (base / "mine.py").write_text(f"open({str(base.parent / 'ran')!r}, 'w')\n")


def other_tokenizer(base: Path) -> None:
    values = json.loads((base / "tokenizer.json").read_text())
    values["model"]["vocab"] |= {f"w{number}": number for number in range(400, 2000)}
    (base / "tokenizer.json").write_text(json.dumps(values))


def weights(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Path], None]:
    """Changes every weight of a base."""

    def write(base: Path) -> None:
        file = base / "model.safetensors"
        found = {name: change(value).contiguous() for name, value in load_file(file).items()}
        save_file(found, file, metadata={"format": "pt"})

    return write


def cut(base: Path) -> None:
    (base / "model.safetensors").write_bytes((base / "model.safetensors").read_bytes()[:-100])


def escaping_index(base: Path) -> None:
    names = dict.fromkeys(load_file(base / "model.safetensors"), "../../other.safetensors")
    (base / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))


def shard(change: Callable[[Path], None]) -> Make:
    """Prepared text that is damaged after a run, which then has to be made again."""

    def make(folder: Path) -> Case:
        def damage(run: Path) -> None:
            change(next(run.glob("prepared/new-*")))
            shutil.rmtree(run / "stage-1-update")

        return Case(says="damaged. Delete the folder", again=damage)

    return make


def cut_shard(store: Path) -> None:
    (store / "tokens-00000.bin").write_bytes((store / "tokens-00000.bin").read_bytes()[:-1])


def wide_shard(store: Path) -> None:
    ids = np.fromfile(store / "tokens-00000.bin", np.uint16)
    ids.astype(np.uint32).tofile(store / "tokens-00000.bin")


def typed_shard(store: Path) -> None:
    manifest = store / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"uint16"', b'"int16"'))


def text_changed(folder: Path) -> Case:
    """A file that is another one when the run goes on."""
    file = folder / "new.jsonl"
    file.write_text(GOOD)

    def change(run: Path) -> None:
        file.write_text(GOOD.replace("plain", "other"))
        shutil.rmtree(run / "stage-1-update")

    return Case({"corpora.new": str(file)}, "the text is not what", again=change)


def length_changed(folder: Path) -> Case:
    """A plan that has another sequence length when the run goes on."""

    def change(run: Path) -> None:
        values = json.loads((folder / "plan.yaml").read_text())
        (folder / "plan.yaml").write_text(json.dumps(values | {"seq_len": 32}))

    return Case(says="changed: seq_len: 64 -> 32", again=change)


def tokenizer_changed(folder: Path) -> Case:
    """A run whose tokenizer is another one when it goes on."""

    def change(run: Path) -> None:
        file = run / "tokenizer" / "tokenizer.json"
        values = json.loads(file.read_text())
        vocabulary = values["model"]["vocab"]
        vocabulary["a"], vocabulary["e"] = vocabulary["e"], vocabulary["a"]
        file.write_text(json.dumps(values))
        shutil.rmtree(run / "stage-1-update")

    return Case(says="tokenizer", again=change)


def archive(kind: str, says: str) -> Make:
    """An archive whose member would be written outside its folder."""

    def make(folder: Path) -> Case:
        file = folder / f"new.{kind}"
        (folder / "member").write_text(GOOD)
        if kind == "zip":
            with zipfile.ZipFile(file, "w") as opened:
                opened.write(folder / "member", "../../escaped.jsonl")
        else:
            with tarfile.open(file, "w:gz") as packed:
                packed.add(folder / "member", "../../escaped.jsonl")
        return Case({"corpora.new": str(file)}, says, after=lambda run: not list(folder.parent.rglob("escaped*")))

    return make


def link(folder: Path) -> Case:
    """A link in a folder of text to a file elsewhere: it is read, and the manifest names it."""
    (folder / "own").mkdir()
    (folder / "elsewhere.txt").write_text("a text that lies elsewhere, of some words")
    (folder / "own" / "a.txt").write_text("a text that lies in the folder, of some words")
    (folder / "own" / "b.txt").symlink_to(folder / "elsewhere.txt")

    def named(run: Path) -> bool:
        return any("b.txt" in file.read_text() for file in run.glob("prepared/new-*/manifest.json"))

    return Case(
        {"corpora.new": {"type": "text", "path": str(folder / "own")}, "stages.0.max_epochs": 999},
        bad=0, documents=2, after=named,
    )  # fmt: skip


def code_link(folder: Path) -> Case:
    """A link out of a folder of code is not followed."""
    (folder / "own").mkdir()
    (folder / "elsewhere").mkdir()
    for place in ("own", "elsewhere"):
        (folder / place / f"{place}.py").write_text(f"def {place}():\n    return 'a function of some words'\n")
    (folder / "own" / "out").symlink_to(folder / "elsewhere")
    return Case(
        {"corpora.new": {"type": "code", "path": str(folder / "own")}, "stages.0.max_epochs": 999}, bad=0, documents=1
    )


def script(folder: Path) -> Case:
    """Script in the text and in the name of the file: text in the report."""
    attack = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    file = folder / "<script>x.jsonl"
    file.write_text(GOOD + json.dumps({"text": attack}) + "\n{" + attack + "\n")

    def escaped(run: Path) -> bool:
        page = (run / "report.html").read_text()
        return "<script" not in page.lower() and "onerror=alert(1)>" not in page

    return Case({"corpora.new": str(file)}, bad=1, documents=41, after=escaped)


def secrets(folder: Path) -> Case:
    """Secrets in the environment: in no file of the run."""

    def silent(run: Path) -> bool:
        return not any(SECRET.encode() in file.read_bytes() for file in run.rglob("*") if file.is_file())

    return Case(bad=0, documents=40, after=silent)


LIST_BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
BINARY = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\0>\0" + bytes(range(256))
HUGE = json.dumps({"text": "word " * 500_000}).encode()
TEXT = GOOD.encode()

CASES: dict[str, Make] = {
    "gzip, cut": counted("new.jsonl.gz", gzip.compress(TEXT)[:-4], 1),
    "zstd, cut": counted("new.jsonl.zst", zstandard.compress(TEXT)[:-4], 1, 0),
    "gzip that is none": counted("new.jsonl.gz", b"no gzip" * 99, 1, 0),
    "a document of 2.5 MB where 1 MB is allowed": counted("new.jsonl", TEXT + HUGE + b"\n", 1, max_row_bytes="1M"),
    "empty documents": rows(b'{"text": ""}', b'{"text": "  \\n "}'),
    "a binary file": refused("new.jsonl", BINARY, "2 of 2 rows (100 %) cannot be used"),
    "binary rows among good ones": counted("new.jsonl", TEXT + BINARY.replace(b"\n", b"") + b"\n", 1),
    "mixed line ends": counted("new.jsonl", TEXT.replace(b"\n", b"\r\n", 20) + b"\r\n\n\r\n", 0),
    "lone surrogates": rows(b'{"text": "a \\ud800 b"}'),
    "bytes that are no UTF-8": rows(b'{"text": "a \xff\xfe b"}', b'{"text": "a \xed\xa0\x80 b"}'),
    "NUL in text": rows(b'{"text": "a \\u0000 b"}', bad=1),
    "a byte order mark": counted("new.jsonl", b"\xef\xbb\xbf" + TEXT, 0),
    "UTF-16": refused("new.jsonl", GOOD.encode("utf-16"), "41 of 41 rows (100 %) cannot be used"),
    "broken JSON": rows(b"{", b'{"text": "a"', b"nothing", b'{"text": "a"} {}'),
    "JSON that nests without end": rows(b"[" * 200_000),
    "rows of another type": rows(
        b'{"text": 3}', b'{"text": null}', b'{"text": ["a"]}', b"[]", b'"a"', b'{"body": "a"}'
    ),
    "a corpus of no bytes": refused("new.jsonl", b"", "is empty: 0 rows"),
    "a corpus of bad rows only": refused("new.jsonl", b"{\n" * 50, "50 of 50 rows (100 %) cannot be used"),
    "a zip that leaves its folder": archive("zip", ".zip files are not read"),
    "a tar that leaves its folder": archive("tar.gz", "binary file"),
    "a link to a file elsewhere, text": link,
    "a link to a folder elsewhere, code": code_link,
    "script in text and file name": script,
    "YAML: aliases that expand": plan(LIST_BOMB, "aliases stand for more than 100,000 values"),
    "YAML: a call of Python": plan(
        "base: !!python/object/apply:os.system ['touch ran']\n", "could not determine a constructor"
    ),
    "YAML: holds itself": plan("base: &a {from: *a}\n", "holds itself by an alias"),
    "YAML: 10 MB": plan("a: '" + "x" * 10_000_000 + "'", "more than 1,000,000 bytes"),
    "YAML: nests without end": plan("a: " + "[" * 5000, "too deep in each other"),
    "YAML: a key twice": plan("base: a\nbase: b\n", "key 'base' is given twice"),
    "a key that is no key": changed("bace: unknown key", bace="x"),
    "values of another type": changed("seq_len: Input should be a valid integer", seq_len=[1], stages=3),
    "two stages of one name": lambda folder: Case({"stages.1": "same"}, "is used twice"),
    "a stage named ../../x": changed("a name is made of letters", stages__0__name="../../x"),
    "a corpus named ../x": lambda folder: Case({"corpora": {"../x": "new.jsonl"}}, "a name is made of letters"),
    "a file that is not there": changed("path 'nowhere.jsonl' does not exist", corpora__new="nowhere.jsonl"),
    "weights in a pickle": model(pickled, "never pickles"),
    "a model with code of its own": model(with_code, "contains custom code"),
    "a tokenizer of another model": model(other_tokenizer, "tokenizer mismatch"),
    "weights that are no numbers (NaN)": model(
        weights(lambda value: value * float("nan")), "the update was not made", code=1
    ),
    "weights of 8 bits": model(weights(lambda value: (value * 9).to(torch.int8)), "no type to train from"),
    "weights, cut": model(cut, "is damaged"),
    "an index that names files outside": model(escaping_index, "lacks other.safetensors"),
    "a shard, cut": shard(cut_shard),
    "a shard of another type": shard(wide_shard),
    "a manifest of another type": shard(typed_shard),
    "a file changed under a run": text_changed,
    "another sequence length when a run goes on": length_changed,
    "another tokenizer when a run goes on": tokenizer_changed,
    "secrets in the environment": secrets,
}
"""Name -> how it is made in an empty folder."""
