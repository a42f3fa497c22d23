"""Plans of published systems, from a template for each in this folder: what `rewarm recipe` writes.

`NAME.yaml` holds what the recipe needs and its methods, a template (jinja) of its plan with the source of every
setting, and perhaps one of the commands that go with it. `NAME_small.yaml` is the same in small, on texts of our own
that `small_texts` writes.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined, meta

from rewarm.methods import nearest
from rewarm.plan import from_values
from rewarm.recipes.demo import BASE
from rewarm.recipes.inputs import OPTIONAL, Asked, check_suites, full_fields, small_fields
from rewarm.tasks import plan as learning
from rewarm.types import UserError

NAMES = (
    "temporalwiki", "ckl", "tic", "efficient", "ecomgpt", "cossu", "recyclable", "pllama", "shift", "languages", "cert",
    "codetask",
)  # fmt: skip
SMALL = "_small"
VARIED = {"retention", "adapter", "replay", "schedule"}


@dataclass(frozen=True, slots=True)
class Recipe:
    """A template with its methods by name: what each is about, and what it needs beyond the recipe's `needs`.

    A method that is `alone` is no variant of the others: it trains on other text. `takes` and `suites` are what else
    may be given. The plans of one that `learns` are of `rewarm learn`. `commands` is a template of what to run, in
    order; a recipe without it is run and its methods are compared by one command. In small, plans of the methods
    `beside` are written too, and `first` says that the base is made by `first.yaml`.
    """

    name: str
    default: str
    methods: Mapping[str, Mapping[str, Any]]
    template: str
    commands: str = ""
    title: str = ""
    source: str = ""
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()
    one_corpus: bool = False
    learns: bool = False
    beside: tuple[str, ...] = ()
    first: bool = True

    def chosen(self, method: str | None) -> str:
        """The method of that name, or the recipe's own choice; UserError when it has none such."""
        if method is not None and method not in self.methods:
            raise UserError(f"recipe '{self.name}' has no method '{method}'. {nearest(method, self.methods)}")
        return method or self.default

    def wanted(self) -> set[str]:
        """The values that its templates name."""
        return meta.find_undeclared_variables(_environment().parse(self.template + self.commands))

    def plan(self, method: str, fields: Mapping[str, Any]) -> str:
        """The text of a plan, which loads; UserError when what the fields name is not there or does not fit."""
        text = self._rendered(self.template, method, fields)
        (learning.from_values if self.learns else from_values)(yaml.safe_load(text))
        return text

    def stage(self, method: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The plain values of the plan's last stage."""
        stages = yaml.safe_load(self._rendered(self.template, method, fields))["stages"]
        return dict(stages[-1] if isinstance(stages, list) else stages)

    def lines(self, method: str, fields: Mapping[str, Any]) -> list[str]:
        """What to run in order, with notes as a shell has them (# ...); none for a recipe without commands."""
        return [line for line in self._rendered(self.commands, method, fields).splitlines() if line.strip()]

    def _rendered(self, template: str, method: str, fields: Mapping[str, Any]) -> str:
        filled = _environment().from_string(template)
        return filled.render(**fields, method=method, about=self.methods[method]["about"]).rstrip("\n") + "\n"


def _environment() -> Environment:
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["text"] = lambda value: json.dumps(value, ensure_ascii=False)
    environment.filters["word"] = lambda value: shlex.quote(str(value))
    return environment


def recipe(name: str, small: bool = False) -> Recipe:
    """The recipe of a name, or its small form; UserError for a name that no recipe has."""
    if name not in NAMES:
        raise UserError(f"there is no recipe '{name}'. {nearest(name, NAMES)}")
    return _read(f"{name}{SMALL if small else ''}")


@cache
def _read(name: str) -> Recipe:
    file = files("rewarm.recipes") / f"{name}.yaml"
    about, template, *commands = file.read_text(encoding="utf-8").split("\n---\n")
    values: dict[str, Any] = yaml.safe_load(about)
    values = {key: tuple(one) if isinstance(one, list) else one for key, one in values.items()}
    return Recipe(name=name.removesuffix(SMALL), template=template, commands="".join(commands), **values)


def full_plan(name: str, method: str | None, asked: Asked) -> str:
    """The text of a recipe's full-scale plan; UserError when something that it needs is missing or cannot be read."""
    found = recipe(name)
    chosen = found.chosen(method)
    _check_needs(found, chosen, asked)
    return found.plan(chosen, full_fields(asked, found.wanted()))


def full_lines(name: str, method: str | None, asked: Asked, plan: str) -> list[str]:
    """What to run with a recipe's full-scale plan, in order, where it has commands of its own."""
    found = recipe(name)
    fields = full_fields(asked, found.wanted()) if found.commands else {}
    return found.lines(found.chosen(method), {**fields, "plan": plan})


def small_plans(name: str, method: str | None, folder: str) -> dict[str, str]:
    """The texts of a recipe's plans in small by their file's name, the one of the method as plan.yaml.

    They are on the texts that `small_texts` has written to a folder.
    """
    found = recipe(name, small=True)
    chosen = found.chosen(method)
    beside = {other: other for other in found.beside if other != chosen}
    plans = {
        f"{file}.yaml": found.plan(one, _small(found, folder, file)) for file, one in {"plan": chosen, **beside}.items()
    }
    first = {"first.yaml": _read(f"first{SMALL}").plan("first", {"base": str(BASE), "folder": folder})}
    return (first if found.first else {}) | plans


def small_lines(name: str, method: str | None, folder: str) -> list[str]:
    """What to run in the folder of a small recipe, in order."""
    found = recipe(name, small=True)
    if found.commands:
        return found.lines(found.chosen(method), _small(found, folder, "plan"))
    return [f"rewarm run {shlex.quote(os.path.join(folder, file))}" for file in ("first.yaml", "plan.yaml")]


def _small(found: Recipe, folder: str, plan: str) -> dict[str, Any]:
    return small_fields(folder, found.wanted(), plan, found.first)


def compare_command(name: str, asked: Asked, plan: str) -> str | None:
    """The command that trains a recipe's methods beside each other, as far as their needs are met; None for a recipe
    with commands of its own."""
    found = recipe(name)
    return None if found.commands else _command(found, full_fields(asked, found.wanted()), asked.given(), plan)


def compare_small(name: str, folder: str) -> str | None:
    """The command that trains the methods of a small recipe beside each other; None as of `compare_command`."""
    found = recipe(name, small=True)
    plan = os.path.join(folder, "plan.yaml")
    return None if found.commands else _command(found, _small(found, folder, "plan"), set(), plan)


def _command(found: Recipe, fields: Mapping[str, Any], met: Collection[str], plan: str) -> str:
    """Methods with another mixture or text are no single change of a plan: they are left out, and have plans."""
    values: dict[str, list[Any]] = {}
    for method, about in found.methods.items():
        stage = found.stage(method, fields) if set(about.get("needs", ())) <= set(met) else {}
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
    """UserError for what a method lacks, and for what the recipe has no use for: nothing given is left out."""
    own = found.methods[method].get("needs", ())
    needs = [*found.needs, *own] if method != "initial" else [one for one in found.needs if one != "probes"]
    given = asked.given()
    if missing := [f"--{name}" for name in dict.fromkeys(needs) if name not in given]:
        raise UserError(
            f"recipe '{found.name}' with method '{method}' needs {' and '.join(missing)}: name the files, or write a "
            f"small one that makes its own with --small"
        )
    takes = {*found.needs, *found.takes, *(f"suite {kind}" for kind in found.suites)}
    if unused := [name for name in (*OPTIONAL, *(f"suite {kind}" for kind, _ in asked.suites))
                  if name in given - takes]:  # fmt: skip
        raise UserError(f"recipe '{found.name}' has no use for --{unused[0]}: leave it out")
    if found.one_corpus and len(asked.corpus) > 1:
        raise UserError(
            f"recipe '{found.name}' takes one --corpus: give a folder, a pattern, or a YAML file of sources"
        )
    check_suites(asked.suites)
