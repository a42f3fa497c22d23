"""The task of a recycling: rows of a file, split, and turned into what a learner reads."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from transformers import AutoTokenizer

from rewarm.corpora import paths
from rewarm.evaluation.answering import Answers
from rewarm.evaluation.classifier import Examples
from rewarm.facts import reject
from rewarm.facts.files import LINES, rows
from rewarm.hashing import seed_of
from rewarm.models.recycling import Kind
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import BadRows, UserError

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")
_NAMES: dict[str, Split] = {"train": "train", "dev": "dev", "validation": "dev", "valid": "dev", "test": "test"}
_NO_TASK = "neither text and label nor prompt and response"


@dataclass(frozen=True, slots=True)
class Task:
    """A task: texts and labels, or prompts and responses, by split. `bad` counts what could not be used."""

    kind: Kind
    given: Mapping[Split, Sequence[tuple[str, str]]]
    bad: BadRows
    sha256: str

    def labels(self) -> list[str]:
        """The labels that occur, in the order of their numbers or names."""
        found = {label for split in self.given.values() for _, label in split}
        return sorted(found, key=lambda label: (not label.isdigit(), int(label) if label.isdigit() else 0, label))

    def counts(self) -> dict[str, int]:
        """Rows of each split."""
        return {split: len(self.given[split]) for split in SPLITS}

    def rows(self, split: Split, folder: Path, classes: Sequence[str], max_length: int) -> Examples | Answers:
        """The rows of a split as the tokenizer in a folder reads them. UserError for a label that is no class."""
        texts = [text for text, _ in self.given[split]]
        said = [label for _, label in self.given[split]]
        if self.kind == "answers":
            return Answers.of(texts, said, TextTokenizer(folder), max_length)
        if unknown := set(said) - set(classes):
            raise UserError(f"the task has the label {min(unknown)!r}, and the tuned model knows {', '.join(classes)}")
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        tokens = tokenizer(texts, truncation=True, max_length=max_length)["input_ids"] if texts else []
        return Examples(tokens, [classes.index(label) for label in said])


def read_task(file: Path, shots: int | None, seed: int) -> Task:
    """The task in a file of JSON lines; rows that say no `split` are cut 80 : 10 : 10 by their text.

    `shots` keeps so many rows of each label (of all rows, for answers) for training, drawn by the seed. UserError for a
    file that holds both kinds of rows or none, or a split without a row.
    """
    files = paths.expand([str(file)], paths.FolderRule(LINES))
    bad = BadRows()
    given: dict[Split, list[tuple[str, str]]] = {split: [] for split in SPLITS}
    kinds: Counter[Kind] = Counter()
    for row, place in rows(files, bad):
        found = _pair(row)
        if found is None:
            reject(bad, _NO_TASK, place)
            continue
        kind, text, said = found
        split = _NAMES.get(str(row["split"])) if row.get("split") is not None else _drawn(text)
        if split is None:
            reject(bad, f"split {row['split']}", place)
            continue
        bad.rows += 1
        kinds[kind] += 1
        given[split].append((text, said))
    if len(kinds) != 1:
        told = "both kinds of rows" if kinds else "no row that can be used"
        raise UserError(
            f"'{file}' has {told}: give lines of JSON with text and label, or lines with prompt and response"
        )
    kind = next(iter(kinds))
    if shots is not None:
        given["train"] = _few(given["train"], kind, shots, seed)
    if empty := [split for split in SPLITS if not given[split]]:
        raise UserError(f"'{file}' has no row for {empty[0]}: give more rows, or mark some with split: {empty[0]}")
    digest = hashlib.sha256(repr(sorted(given.items())).encode()).hexdigest()
    return Task(kind, given, bad, digest)


def _pair(row: Mapping[str, Any]) -> tuple[Kind, str, str] | None:
    text, label = row.get("text"), row.get("label")
    if isinstance(text, str) and text.strip() and isinstance(label, str | int) and str(label):
        return "labels", text, str(label)
    prompt, response = row.get("prompt"), row.get("response")
    if isinstance(prompt, str) and isinstance(response, str) and prompt and response:
        return "answers", prompt, response
    return None


def _drawn(text: str) -> Split:
    place = seed_of(0, "split", text) % 10
    return "train" if place < 8 else "dev" if place == 8 else "test"


def _few(pairs: list[tuple[str, str]], kind: Kind, shots: int, seed: int) -> list[tuple[str, str]]:
    order = np.random.default_rng(seed_of(seed, "shots")).permutation(len(pairs))
    taken: Counter[str] = Counter()
    kept = []
    for number in order.tolist():
        group = pairs[number][1] if kind == "labels" else ""
        if taken[group] < shots:
            taken[group] += 1
            kept.append(pairs[number])
    return kept
