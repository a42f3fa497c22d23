"""`rewarm corpus`: verbs that make text and probes out of snapshots, each a file `corpus_<verb>.py` beside this one."""

from __future__ import annotations

import importlib
import pkgutil

import typer

from rewarm import cli


def register(app: typer.Typer) -> None:
    """Adds the group with its verbs: modules of this folder that have a function `register_corpus(group)`."""
    group = typer.Typer(help="Make text and probes: what changed between two snapshots.", no_args_is_help=True)
    for module_info in sorted(pkgutil.iter_modules(cli.__path__), key=lambda module: module.name):
        if module_info.name.startswith("corpus_"):
            importlib.import_module(f"rewarm.cli.{module_info.name}").register_corpus(group)
    app.add_typer(group, name="corpus")
