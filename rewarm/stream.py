"""`stages: {each: corpus/*.jsonl, by: date}` -> a corpus and a stage for every date, in order.

What one of them is called and holds is decided here alone, so that a stage added next month is like those before it.
"""

from __future__ import annotations

import copy
import glob
import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from rewarm.kinds import corpus_options
from rewarm.methods import Faults, Options, checked, find
from rewarm.stages import Name, parse_name

_DATE = re.compile(r"(?<!\d)(\d{4})(?:[-_.]?(0[1-9]|1[0-2])(?:[-_.]?(0[1-9]|[12]\d|3[01]))?)?(?!\d)")
_WEAK_TYPES = ("text", "code")
"""Types that a path is taken for when its name says nothing."""
Patterns = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    Field(min_length=1),
]


class Each(Options):
    """A stage for each of some files. Keys of a stage beside these hold for every stage.

    `each` is a pattern of files or folders, `by` says what puts them in order and names them: the `date` in their names
    (2021, 2021-09, 2021-09-14), of which several files may have the same, or their `name`. `stream` goes before the
    date in the names of corpora and stages. `corpus` holds options of every corpus, `probes` is a pattern of probe
    files by the same dates. Corpora are watched unless `watch` is false.
    """

    each: Patterns
    by: Literal["date", "name"] = "date"
    stream: Name | None = None
    corpus: dict[str, Any] = Field(default_factory=dict)
    probes: Patterns | None = None
    watch: bool = True


def expanded(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a plan with every `each` among its stages turned into stages, corpora, watches and probe sets.

    Faults for a pattern without files, a file without a date where dates are asked for, or a name that is taken.
    """
    stages = values.get("stages")
    listed = [stages] if isinstance(stages, Mapping) else stages
    if not isinstance(listed, list | tuple) or not any(isinstance(one, Mapping) and "each" in one for one in listed):
        return dict(values)
    made: dict[str, Any] = {"corpora": {}, "stages": [], "watch": [], "probes": {}}
    for number, one in enumerate(listed):
        if not isinstance(one, Mapping) or "each" not in one:
            made["stages"].append(one)
            continue
        where = "stages" if isinstance(stages, Mapping) else f"stages.{number}"
        own = {key: value for key, value in one.items() if key in Each.model_fields}
        if wrong := sorted(one.keys() & {"name", "data", "date", "from"}):
            raise Faults([(where, f"'{wrong[0]}' is given for each stage by 'each' itself: leave it out")])
        _expand(checked(Each, own, where), {key: one[key] for key in one if key not in own}, made, where)
    for key in ("corpora", "probes"):
        given = values.get(key) or {}
        if isinstance(given, Mapping):
            if taken := sorted(given.keys() & made[key].keys()):
                raise Faults([(f"{key}.{taken[0]}", "a stage of 'each' has this name: rename it, or set 'stream'")])
            made[key] = {**given, **made[key]}
    watch = values.get("watch") or []
    made["watch"] = [*(watch if isinstance(watch, list | tuple) else [watch]), *made["watch"]]
    return {**values, **made}


def _expand(each: Each, template: Mapping[str, Any], made: dict[str, Any], where: str) -> None:
    sets = _grouped(each.probes, each.by, f"{where}.probes") if each.probes else {}
    for key, paths in _grouped(each.each, each.by, f"{where}.each").items():
        stage = add_stage(made, template, each, key, paths)
        for number, path in enumerate(sets.pop(key, []), 1):
            made["probes"][_set_name(made["probes"], stage, path, number)] = {"path": path, "stage": stage}
    if sets:
        dates = ", ".join(sorted(sets)[:3])
        raise Faults([(f"{where}.probes", f"probes for {dates} have no text of the same {each.by}: 'each' has none")])


def add_stage(made: dict[str, Any], template: Mapping[str, Any], each: Each, key: str, paths: list[str]) -> str:
    """Adds corpus, stage and watch for one date to plain values of a plan; the name of the stage and its corpus."""
    name = stage_name(each.stream, key)
    made["corpora"][name] = {**each.corpus, "path": paths if len(paths) > 1 else paths[0]}
    dated = {"date": key} if each.by == "date" else {}
    made["stages"].append({**template, "name": name, "data": name, **dated})
    if each.watch:
        made["watch"].append({"corpus": name, "role": "new"})
    return name


def grown(
    values: Mapping[str, Any], path: str, name: str | None, changes: Mapping[str, Any], probes: str | None = None
) -> dict[str, Any]:
    """A plan's resolved values with one more stage at their end: the last one again, with the text in `path`.

    It has the options of the last stage and of its corpus, its place on the watch-list, and a name in the style of its
    names, unless one is given. `changes` are values of the stage by dotted key (`replay.share`), or of its corpus
    (`corpus.holdout`). Faults for a name that is taken or cannot be made, and for a key inside of nothing.
    """
    last = values["stages"][-1]
    if len(last["data"]) > 1 and "data" not in changes:
        raise Faults(
            [("data", f"stage '{last['name']}' learns several corpora: say what this one learns, by set data")]
        )
    before = last["data"][0]["corpus"]
    template = {key: value for key, value in last.items() if key not in ("name", "data", "date", "from")}
    template["from"] = _start_after(values["stages"])
    made: dict[str, Any] = {key: copy.copy(values[key]) for key in ("stages", "watch", "corpora", "probes")}
    given = {"corpus": _options_for(path, values["corpora"][before]), **template}
    for key, value in changes.items():
        _put(given, key, value)
    date, stream = date_in(path), _stream_of(last)
    dated = last["date"] is not None and name is None
    if dated and date is None:
        raise Faults([("name", f"'{path}' has no date in its name, which names the stages of this run: give one")])
    each = Each(
        each=(path,), by="date" if dated else "name", stream=stream if dated else None, corpus=given.pop("corpus"),
        watch=False,
    )  # fmt: skip
    key = str(date) if dated else name or _stem(path)
    taken = {*made["corpora"], *(stage["name"] for stage in made["stages"]), *(made["probes"] if probes else ())}
    if (called := stage_name(each.stream, key)) in taken:
        raise Faults([("name", f"'{called}' is in the plan already: give the stage another name")])
    data = given.pop("data", None)
    add_stage(made, given if dated else {**given, "date": date}, each, key, [path])
    made["stages"][-1] |= {} if data is None else {"data": data}
    made["watch"] += [{**watch, "corpus": called} for watch in values["watch"] if watch["corpus"] == before]
    if probes is not None:
        like = [held for held in values["probes"].values() if held["stage"] == last["name"]]
        made["probes"][called] = {**(like[0] if like else {}), "path": probes, "stage": called}
    return {**values, **made}


def without_last_stage(values: Mapping[str, Any]) -> dict[str, Any]:
    """A plan's resolved values as they were before `grown` added their last stage."""
    *stages, last = values["stages"]
    return {
        **values,
        "stages": stages,
        "corpora": {name: held for name, held in values["corpora"].items() if name != last["name"]},
        "watch": [watch for watch in values["watch"] if watch["corpus"] != last["name"]],
        "probes": {name: held for name, held in values["probes"].items() if held["stage"] != last["name"]},
    }


def _start_after(stages: list[dict[str, Any]]) -> str | None:
    """Where a next stage starts: at the base or at a release, if the last stage did so, otherwise at the last stage."""
    last = stages[-1]
    if last["from"] is None or last["from"] == "base":
        return last["from"]  # type: ignore[no-any-return]
    from_release = last["release"] is not None and any(f"{one['name']}-release" == last["from"] for one in stages)
    return f"{last['name']}-release" if from_release else None


def _stream_of(stage: Mapping[str, Any]) -> str | None:
    """What goes before the date in the name of a stage; None when nothing does."""
    stream, dash, date = str(stage["name"]).rpartition(f"-{stage['date']}")
    return stream if dash and stream and not date else None


def _options_for(path: str, before: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a corpus for another path; where that is plainly of another type, those that this type has."""
    kind = corpus_options(path)["type"]
    if "path" in before and kind in (before["type"], *_WEAK_TYPES):
        return {key: value for key, value in before.items() if key != "path"}
    fields = find("corpora", kind).model_fields
    return {**{key: value for key, value in before.items() if key in fields and key != "path"}, "type": kind}


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    """Sets a value by its dotted key; a budget replaces the other one."""
    *parents, leaf = key.split(".")
    for parent in parents:
        if not isinstance(values.get(parent), dict):
            raise Faults([(key, f"'{parent}' holds no options here: set it whole, as in {parent}={{{leaf}: VALUE}}")])
        values[parent] = dict(values[parent])
        values = values[parent]
    values[leaf] = value
    if key in ("tokens", "epochs"):
        values["epochs" if key == "tokens" else "tokens"] = None


def stage_name(stream: str | None, key: str) -> str:
    """The name of a date's stage and corpus; ValueError when it cannot be a name."""
    return str(parse_name(f"{stream}-{key}" if stream else key))


def date_in(path: str) -> str | None:
    """The last date in the name of a file or folder, as 2021, 2021-09 or 2021-09-14, or else in that of the folder it
    lies in (`2021-09/diff.jsonl`); None when there is none."""
    folder, name = os.path.split(path.rstrip("/"))
    found = list(_DATE.finditer(name)) or list(_DATE.finditer(os.path.basename(folder)))
    return "-".join(part for part in found[-1].groups() if part) if found else None


def _set_name(taken: Mapping[str, Any], stage: str, path: str, number: int) -> str:
    """The name of a date's set of probes: that of the stage, or where it has several, with that of the file."""
    if stage not in taken:
        return stage
    name = f"{stage}-{_stem(path)}"[:60]
    return name if name not in taken else f"{name[:50]}-{number}"


def _stem(path: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]+", "-", os.path.basename(path.rstrip("/")).split(".")[0]).strip("-")


def _grouped(patterns: tuple[str, ...], by: str, where: str) -> dict[str, list[str]]:
    """Paths by date or name, in order. Dates are as exact as the names say: 2021 comes before 2021-01."""
    paths = sorted({path for pattern in patterns for path in glob.glob(os.path.expanduser(pattern), recursive=True)})
    if not paths:
        raise Faults([(where, f"nothing matches '{', '.join(patterns)}': give a pattern of files or folders")])
    groups: dict[str, list[str]] = {}
    for path in paths:
        key = date_in(path) if by == "date" else _stem(path)
        if not key:
            raise Faults([(where, f"'{path}' has no {by} in its name. Name files by date (2021-09.jsonl; rewarm corpus "
                           "split makes such files from dated rows), or set by: name")])  # fmt: skip
        groups.setdefault(key, []).append(path)
    return dict(sorted(groups.items()))
