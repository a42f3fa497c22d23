"""Plans of published systems, from a template for each in this folder: what `rewarm recipe` writes.

`NAME.yaml` holds two documents: what the recipe needs and its methods, and a template (jinja) of its plan with the
source of every setting. `NAME_small.yaml` is the same in small, on a world of our own that `small_texts` writes.
"""

from __future__ import annotations

import glob
import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

from rewarm.methods import nearest
from rewarm.models.decoder import decoder_layers
from rewarm.plan import from_values
from rewarm.recipes.demo import BASE
from rewarm.river.shapes import base_shape
from rewarm.stream import date_in
from rewarm.types import UserError

NAMES = ("temporalwiki", "ckl", "tic")
SMALL = "_small"
VARIED = {"retention", "adapter", "replay", "schedule"}
_READ_LAYERS = (1, 11)
"""The layers that K-Adapter reads in TemporalWiki's and CKL's code."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A template with its methods by name: what each is about, and what it needs beyond the recipe's `needs`.

    A method that is `alone` is no variant of the others: it trains on other text.
    """

    name: str
    default: str
    methods: Mapping[str, Mapping[str, Any]]
    template: str
    title: str = ""
    source: str = ""
    needs: tuple[str, ...] = ()

    def chosen(self, method: str | None) -> str:
        """The method of that name, or the recipe's own choice; UserError when it has none such."""
        if method is not None and method not in self.methods:
            raise UserError(f"recipe '{self.name}' has no method '{method}'. {nearest(method, self.methods)}")
        return method or self.default

    def plan(self, method: str, fields: Mapping[str, Any]) -> str:
        """The text of a plan, which loads; UserError when what the fields name is not there or does not fit."""
        text = self._rendered(method, fields)
        from_values(yaml.safe_load(text))
        return text

    def stage(self, method: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The plain values of the plan's last stage."""
        stages = yaml.safe_load(self._rendered(method, fields))["stages"]
        return dict(stages[-1] if isinstance(stages, list) else stages)

    def _rendered(self, method: str, fields: Mapping[str, Any]) -> str:
        environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        environment.filters["text"] = lambda value: json.dumps(value, ensure_ascii=False)
        template = environment.from_string(self.template)
        return template.render(**fields, method=method, about=self.methods[method]["about"]).rstrip("\n") + "\n"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a full-scale plan is of. `corpus` and `probes` are patterns of files, `first` how many dates of them."""

    base: str
    corpus: tuple[str, ...]
    old: str | None = None
    probes: tuple[str, ...] = ()
    output_dir: str = "runs/recipe"
    first: int | None = None


def recipe(name: str, small: bool = False) -> Recipe:
    """The recipe of a name, or its small form; UserError for a name that no recipe has."""
    if name not in NAMES:
        raise UserError(f"there is no recipe '{name}'. {nearest(name, NAMES)}")
    return _read(f"{name}{SMALL if small else ''}")


@cache
def _read(name: str) -> Recipe:
    file = files("rewarm.recipes") / f"{name}.yaml"
    about, template = file.read_text(encoding="utf-8").split("\n---\n")
    values = yaml.safe_load(about)
    return Recipe(
        name=name.removesuffix(SMALL), template=template, **{**values, "needs": tuple(values.get("needs", ()))}
    )


def full_plan(name: str, method: str | None, asked: Asked) -> str:
    """The text of a recipe's full-scale plan; UserError when something that it needs is missing or cannot be read."""
    found = recipe(name)
    chosen = found.chosen(method)
    _check_needs(found, chosen, asked)
    return found.plan(chosen, _fields(name, asked))


def _fields(name: str, asked: Asked) -> dict[str, Any]:
    corpus, probes = (
        list(one if asked.first is None else _first(one, asked.first)) for one in (asked.corpus, asked.probes)
    )
    return {
        "base": asked.base,
        "output_dir": asked.output_dir,
        "corpus": corpus,
        "old": asked.old,
        "probes": probes,
        "probe_type": "ckl" if all(one.endswith(".csv") for one in probes) else "jsonl",
        **shape_fields(asked.base),
    }


def small_plan(name: str, method: str | None, folder: str) -> str:
    """The text of a recipe's plan in small, on the texts that `small_texts` has written to a folder.

    Its base is what `first_plan` makes there.
    """
    found = recipe(name, small=True)
    return found.plan(found.chosen(method), _small_fields(folder))


def first_plan(folder: str) -> str:
    """The text of the plan that makes the base of a small one in the same folder."""
    return _read(f"first{SMALL}").plan("first", {"base": str(BASE), "folder": folder})


def _small_fields(folder: str) -> dict[str, Any]:
    base = os.path.join(folder, "first", "stage-1-world")
    fields = {"base": base, "output_dir": os.path.join(folder, "run"), "folder": folder}
    return fields | shape_fields(str(BASE))


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


def compare_command(name: str, asked: Asked, plan: str) -> str:
    """The command that trains a recipe's methods beside each other, as far as their needs are met."""
    met = {need for need, given in (("old", asked.old), ("probes", asked.probes)) if given}
    return _command(recipe(name), _fields(name, asked), met, plan)


def compare_small(name: str, folder: str) -> str:
    """The command that trains the methods of a small recipe beside each other."""
    return _command(recipe(name, small=True), _small_fields(folder), set(), os.path.join(folder, "plan.yaml"))


def _command(found: Recipe, fields: Mapping[str, Any], met: set[str], plan: str) -> str:
    """Methods with another mixture or text are no single change of a plan: they are left out, and have plans."""
    values: dict[str, list[Any]] = {}
    for method, about in found.methods.items():
        stage = found.stage(method, fields) if met.issuperset(about.get("needs", ())) else {}
        if not about.get("alone") and "mixture" not in stage:
            for key in VARIED & stage.keys():
                if stage[key] not in values.setdefault(key, []):
                    values[key].append(stage[key])
    words = ["rewarm", "compare", plan, "--seeds", "3", "--tune"]
    for key in sorted(values):
        if key != "schedule" or len(values[key]) > 1:
            listed = [_flow(one) for one in values[key]]
            words += ["--vary", f"{key}={','.join(listed if key == 'schedule' else ['none', *listed])}"]
    return shlex.join(words)


def _flow(value: Any) -> str:
    return str(yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)).strip()


def _check_needs(found: Recipe, method: str, asked: Asked) -> None:
    needs = {*found.needs, *found.methods[method].get("needs", ())} - ({"probes"} if method == "initial" else set())
    given = {"corpus": asked.corpus, "old": asked.old, "probes": asked.probes}
    if missing := [f"--{name}" for name in given if name in needs and not given[name]]:
        raise UserError(
            f"recipe '{found.name}' with method '{method}' needs {' and '.join(missing)}: name the files, or write a "
            f"small one that makes its own with --small"
        )


def _first(patterns: tuple[str, ...], count: int) -> list[str]:
    """The files of the first dates, in order; UserError when there are not so many."""
    paths = sorted({path for pattern in patterns for path in glob.glob(os.path.expanduser(pattern), recursive=True)})
    dates = sorted({date for path in paths if (date := date_in(path))})
    if patterns and len(dates) < count:
        raise UserError(
            f"--first {count}: '{', '.join(patterns)}' has files of {len(dates)} dates. Give at most that many"
        )
    return [path for path in paths if date_in(path) in dates[:count]]
