"""What a recipe is asked to be of: a base, texts and files of tasks -> the values that its template is filled with."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewarm.methods import nearest
from rewarm.models.decoder import decoder_layers
from rewarm.plan_file import read_yaml
from rewarm.recipes.demo import BASE
from rewarm.river.shapes import base_shape
from rewarm.stages import repeated
from rewarm.stream import date_in
from rewarm.types import UserError

SUITES: Mapping[str, str] = {
    "general": "choices, of what must not be lost",
    "domain": "choices, of what is to be learned",
    "instruction": "prompts with rules for the answer",
    "safety": "prompts to be refused or complied with",
    "control": "labelled texts outside of the stream",
    "stream": "labelled texts of the stream",
    "similarity": "texts by which layers are compared",
}
"""Kinds of suites that a recipe can ask, and the rows of their files."""
OPTIONAL = ("old", "probes", "first", "task", "chat", "preferences", "tuned")
"""What a recipe says itself whether it takes."""
_READ_LAYERS = (1, 11)
"""The layers that K-Adapter reads in TemporalWiki's and CKL's code."""
_SHAPES = {"targets", "fused", "layers"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a full-scale plan is of. `corpus` and `probes` are patterns of files, `first` how many dates of them.

    `suites` are files by kind, `tuned` a model that the base became when it was tuned on the task.
    """

    base: str
    corpus: tuple[str, ...]
    old: str | None = None
    probes: tuple[str, ...] = ()
    task: str | None = None
    chat: str | None = None
    preferences: str | None = None
    tuned: str | None = None
    suites: tuple[tuple[str, str], ...] = ()
    output_dir: str = "runs/recipe"
    first: int | None = None

    def given(self) -> set[str]:
        """The names of everything that was given."""
        named = {name for name in ("corpus", *OPTIONAL) if getattr(self, name)}
        return named | {f"suite {kind}" for kind, _ in self.suites}


def suite(text: str) -> tuple[str, str]:
    """The kind and the file of `KIND=FILE`; UserError for another form or kind."""
    kind, equals, file = text.partition("=")
    if not equals or not file:
        raise UserError(f"--suite '{text}': give a kind and a file, as in --suite general=questions.jsonl")
    if kind not in SUITES:
        raise UserError(f"--suite '{text}': there is no kind '{kind}'. {nearest(kind, tuple(SUITES))}")
    return kind, file


def check_suites(suites: Collection[tuple[str, str]]) -> None:
    """UserError for a kind that is given twice."""
    for kind in repeated([kind for kind, _ in suites]):
        raise UserError(f"--suite {kind} is given twice: name one file or pattern for each kind")


def full_fields(asked: Asked, wanted: Collection[str]) -> dict[str, Any]:
    """The values that a full-scale template may name; of costly ones those `wanted`.

    UserError when files or the base cannot be read.
    """
    corpus, probes = (
        list(one if asked.first is None else _first(one, asked.first)) for one in (asked.corpus, asked.probes)
    )
    found: dict[str, Any] = {
        "base": asked.base,
        "output_dir": asked.output_dir,
        "corpus": corpus,
        "old": asked.old,
        "probes": probes,
        "probe_type": "ckl" if all(one.endswith(".csv") for one in probes) else "jsonl",
        "task": asked.task,
        "chat": asked.chat,
        "preferences": asked.preferences,
        "tuned": asked.tuned,
        "suites": dict(asked.suites),
    }
    if "held_out" in wanted:
        found["held_out"] = _holds_out(asked.corpus[0])
    if "stream" in wanted:
        found["stream"] = _stream(asked.corpus)
    return found | (shape_fields(asked.base) if _SHAPES & set(wanted) else {})


def small_fields(folder: str, wanted: Collection[str], plan: str, first: bool) -> dict[str, Any]:
    """The values that a template in small may name.

    The run of the plan called `plan` goes to a folder beside it. The base is the one that is shipped (`first`: what
    `first.yaml` makes of it).
    """
    base = os.path.join(folder, "first", "stage-1-world") if first else str(BASE)
    fields = {"base": base, "output_dir": os.path.join(folder, "run" if plan == "plan" else plan), "folder": folder}
    return fields | (shape_fields(str(BASE)) if _SHAPES & set(wanted) else {})


def shape_fields(base: str) -> dict[str, Any]:
    """Where adapters go in a base: `targets` for LoRA, whether these are more than q and v (`fused`), `layers` for
    K-Adapter or None. UserError when the base cannot be read."""
    model = base_shape(base)
    _, layers = decoder_layers(model)
    inside = {name.rpartition(".")[2] for name, _ in layers.named_modules()}
    split = {"q_proj", "v_proj"} <= inside
    targets: list[str] | str = ["q_proj", "v_proj"] if split else ["c_attn"] if "c_attn" in inside else "attention"
    read = list(_READ_LAYERS) if len(layers) >= max(_READ_LAYERS) else None
    return {"targets": targets, "fused": not split, "layers": read}


def _holds_out(source: str) -> bool:
    """Whether a YAML file of sources of records holds some of them out."""
    if not source.endswith((".yaml", ".yml")) or not Path(source).is_file():
        return False
    return bool(read_yaml(source, "", "spec").get("holdout"))


def _stream(patterns: tuple[str, ...]) -> list[dict[str, str]]:
    """Name and path of each text in the order given, the files of a pattern sorted; UserError for a name twice."""
    paths: list[str] = []
    for pattern in patterns:
        found = sorted(glob.glob(os.path.expanduser(pattern), recursive=True))
        if not found:
            raise UserError(f"nothing matches '{pattern}': give the texts of the stream, in their order")
        paths += found
    names = [re.sub(r"[^A-Za-z0-9-]+", "-", Path(path).name.split(".")[0]).strip("-")[:50] for path in paths]
    for name in repeated(names):
        raise UserError(f"two texts of the stream are called '{name}': rename one of the files")
    return [{"name": name, "path": path} for name, path in zip(names, paths, strict=True)]


def _first(patterns: tuple[str, ...], count: int) -> list[str]:
    """The files of the first dates, in order; UserError when there are not so many."""
    paths = sorted({path for pattern in patterns for path in glob.glob(os.path.expanduser(pattern), recursive=True)})
    dates = sorted({date for path in paths if (date := date_in(path))})
    if patterns and len(dates) < count:
        raise UserError(
            f"--first {count}: '{', '.join(patterns)}' has files of {len(dates)} dates. Give at most that many"
        )
    return [path for path in paths if date_in(path) in dates[:count]]
