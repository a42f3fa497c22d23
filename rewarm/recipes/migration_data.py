"""The data sets of LLaMA-Factory and axolotl as corpora of a plan."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rewarm.recipes.migration_given import Given
from rewarm.types import UserError

MOST_BYTES = 8_000_000
_READ = (".jsonl", ".json", ".ndjson", ".parquet", ".txt", ".md", ".gz", ".bz2", ".zst")
_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+$")
Options = dict[str, Any]


@dataclass(slots=True)
class Corpora:
    """The corpora of a plan: those a stage learns, with their weights, and those that are only watched."""

    options: dict[str, Options] = field(default_factory=dict)
    learned: list[str] = field(default_factory=list)
    watched: list[str] = field(default_factory=list)
    comments: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, options: Options, learned: bool, comment: str = "") -> None:
        """Takes in a corpus under a name of its own; the same options twice are one corpus."""
        known = next((key for key, held in self.options.items() if held == options), None)
        own = known or self._free(name)
        self.options[own] = options
        kept = self.learned if learned else self.watched
        if own not in kept:
            kept.append(own)
        if comment:
            self.comments.setdefault(own, []).append(comment)

    def _free(self, name: str) -> str:
        stem = re.sub(r"[^A-Za-z0-9-]+", "-", name).strip("-")[:40] or "text"
        own, number = stem, 2
        while own in self.options or own in ("self", "base", "old", "new", "replay", "earlier"):
            own, number = f"{stem}-{number}", number + 1
        return own


def dataset_info(given: Given, beside: Path) -> tuple[Path, Mapping[str, Any]]:
    """The folder and entries of LLaMA-Factory's dataset_info.json, looked up beside the configuration and from here;
    UserError when there is none or it cannot be read."""
    named = str(given.take("dataset_dir", "where dataset_info.json is looked up") or "data")
    tried = [beside / named, Path(named), beside.parent / named, beside]
    folder = next((one for one in tried if (one / "dataset_info.json").is_file()), None)
    if folder is None:
        places = ", ".join(f"'{one}'" for one in dict.fromkeys(tried))
        raise UserError(f"no dataset_info.json in {places}: put it beside the configuration, or set dataset_dir")
    file = folder / "dataset_info.json"
    if file.stat().st_size > MOST_BYTES:
        raise UserError(f"'{file}' has more than {MOST_BYTES:,} bytes")
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"'{file}' cannot be read as JSON: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"'{file}' holds no object of data sets")
    return folder, values


def names_of(value: Any) -> list[str]:
    """Names in a list, or in one text with commas."""
    parts = value if isinstance(value, list) else str(value).split(",")
    return [name for part in parts if (name := str(part).strip())]


def llama_corpus(name: str, info: Mapping[str, Any], folder: Path, kind: str) -> tuple[Options, str]:
    """The corpus of an entry of dataset_info.json for a stage of `kind` (pt, sft or dpo), and a remark."""
    columns = info.get("columns")
    columns = columns if isinstance(columns, Mapping) else {}
    where = info.get("file_name")
    if where is None:
        where = next(
            (info[key] for key in ("hf_hub_url", "ms_hub_url", "cloud_file_name", "script_url") if key in info), ""
        )
        return _from_hub(name, str(where), info.get("subset"), info.get("split"), kind, columns.get("prompt"))
    path = folder / str(where)
    remark = _unread(path)
    if kind == "pt":
        return {**_typed(path), "text_field": columns.get("prompt", "instruction")}, remark or _array(path)
    shape = _shape(info, columns)
    if kind == "dpo":
        known = {"messages": "prompt", "prompt": "prompt", "chosen": "chosen", "rejected": "rejected",
                 "system": "system", "role": "role", "content": "content"}  # fmt: skip
        own = {known[key]: held for key, held in shape["columns"].items() if key in known}
        return {"type": "preferences", "path": str(path), **shape, "columns": own}, remark
    return {"type": "chat", "path": str(path), **shape}, remark


def _shape(info: Mapping[str, Any], columns: Mapping[str, Any]) -> Options:
    """Columns and roles as a chat corpus writes them; those it knows anyway are written, too, to be seen."""
    if info.get("formatting", "alpaca") == "alpaca":
        found = {
            "prompt": columns.get("prompt", "instruction"),
            "input": columns.get("query", "input"),
            "response": columns.get("response", "output"),
        }
        return {"columns": found | {key: columns[key] for key in ("system", "chosen", "rejected") if key in columns}}
    tags = info.get("tags")
    tags = tags if isinstance(tags, Mapping) else {}
    found = {
        "messages": columns.get("messages", "conversations"),
        "role": tags.get("role_tag", "from"),
        "content": tags.get("content_tag", "value"),
    }
    roles = {tags.get("function_tag", "function_call"): "assistant"}
    usual = (("user_tag", "human", "user"), ("assistant_tag", "gpt", "assistant"),
             ("observation_tag", "observation", "tool"), ("system_tag", "system", "system"))  # fmt: skip
    roles |= {tags[key]: role for key, default, role in usual if tags.get(key, default) != default}
    found |= {key: columns[key] for key in ("system", "chosen", "rejected") if key in columns}
    return {"columns": found, "roles": {str(key): role for key, role in roles.items()}}


def _from_hub(name: str, where: str, config: Any, split: Any, kind: str, field_: Any = None) -> tuple[Options, str]:
    """A data set that lies on a hub: a corpus of type hub for text, a place to fill in for anything else."""
    if kind == "pt" and _HUB.match(where):
        found = {"type": "hub", "name": where, **({"config": str(config)} if config else {})}
        found |= {"split": str(split)} if split else {}
        return {**found, "text_field": str(field_ or "text")}, "on the hub: pin a revision (needs rewarm[hub])"
    kinds = {"pt": "jsonl", "sft": "chat", "dpo": "preferences"}
    remark = f"'{where}' is on a hub, and conversations are read from files: download it and correct the path"
    return {"type": kinds[kind], "path": f"{name}.jsonl"}, remark


def _typed(path: Path) -> Options:
    kind = "parquet" if ".parquet" in path.suffixes else "jsonl"
    return {"type": kind, "path": str(path)}


def _unread(path: Path) -> str:
    if path.suffix.lower() in _READ or path.is_dir() or not path.suffix:
        return ""
    return f"files of type {path.suffix} are not read: write its rows as JSON lines and correct the path"


def _array(path: Path) -> str:
    """A remark on a file of JSON that is one array, which corpora of text do not read."""
    if path.suffix != ".json" or not path.is_file():
        return ""
    with path.open("rb") as opened:
        begins = opened.read(64).lstrip()[:1]
    return "its file is one JSON array, and text is read from lines: jq -c '.[]' makes them" if begins == b"[" else ""


def axolotl_corpus(one: Mapping[str, Any], kind: str, beside: Path) -> tuple[str, Options, str, set[str]]:
    """Name, corpus, remark and the keys understood of an entry of axolotl's datasets, for text (pt), chat or pairs."""
    path, files = str(one.get("path") or ""), one.get("data_files")
    used = {"path", "data_files", "type", "ds_type", "split", "name"}
    if not path and not files:
        raise UserError("an entry of datasets has no path: name one in the configuration")
    places = [str(file) for file in (files if isinstance(files, list) else [files])] if files else [path]
    local = [str(_local(beside, place)) for place in places]
    word = one.get("type")
    shape, more = _axolotl_shape(one, word, kind)
    name = Path(places[0].rstrip("/*")).name.split(".")[0]
    on_disk = bool(files) or Path(local[0]).exists() or path.startswith((".", "/", "~")) or Path(path).suffix in _READ
    if not on_disk:
        field_ = shape.get("text_field")
        options, remark = _from_hub(name, path, one.get("name"), one.get("split"), kind, field_)
        return name, {**options, **({} if kind == "pt" else shape)}, remark, used | more
    where = local[0] if len(local) == 1 else local
    types = {"pt": "parquet" if one.get("ds_type") == "parquet" or ".parquet" in Path(local[0]).suffixes else "jsonl"}
    options = {"type": types.get(kind, "chat" if kind == "sft" else "preferences"), "path": where, **shape}
    return name, options, _unread(Path(local[0])) or (_array(Path(local[0])) if kind == "pt" else ""), used | more


def _local(beside: Path, place: str) -> Path:
    """A path as it is from here, or beside the configuration where it is only there."""
    path = Path(place).expanduser()
    return beside / path if not path.exists() and (beside / path).exists() else path


def _axolotl_shape(one: Mapping[str, Any], word: Any, kind: str) -> tuple[Options, set[str]]:
    """Fields of the rows as a corpus names them, and the keys they were read from."""
    if kind == "pt":
        key = "text_column" if "text_column" in one else "field"
        return {"text_field": str(one.get(key) or "text")}, {"text_column", "field"}
    if isinstance(word, Mapping):
        named = {"field_instruction": "prompt", "field_input": "input", "field_output": "response",
                 "field_system": "system", "field_prompt": "prompt", "field_chosen": "chosen",
                 "field_rejected": "rejected"}  # fmt: skip
        return {"columns": {ours: str(word[key]) for key, ours in named.items() if word.get(key)}}, set()
    read = {"field_messages": "messages" if kind == "sft" else "prompt", "message_field_role": "role",
            "message_field_content": "content", "field_system": "system", "field_chosen": "chosen",
            "field_rejected": "rejected"}  # fmt: skip
    columns = {ours: str(one[key]) for key, ours in read.items() if one.get(key)}
    mapped = one.get("message_property_mappings")
    if isinstance(mapped, Mapping):
        columns |= {key: str(mapped[key]) for key in ("role", "content") if mapped.get(key)}
    given_roles = one.get("roles")
    pairs = given_roles.items() if isinstance(given_roles, Mapping) else ()
    roles = {
        str(name): role
        for role, names in pairs
        for name in _listed(names)
        if role in ("system", "user", "assistant", "tool")
    }
    shape: Options = ({"columns": columns} if columns else {}) | ({"roles": roles} if roles else {})
    return shape, {*read, "message_property_mappings", "roles", "chat_template"}


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def weights(corpora: Corpora) -> list[Options]:
    """The portions of a stage: one corpus, or several by the size of their files, which is how theirs are joined."""
    if len(corpora.learned) == 1:
        return [{"corpus": corpora.learned[0]}]
    sizes = {name: _bytes(corpora.options[name].get("path")) for name in corpora.learned}
    if not all(sizes.values()):
        return [{"corpus": name} for name in corpora.learned]
    whole = sum(sizes.values())
    return [{"corpus": name, "weight": float(f"{size / whole:.3g}")} for name, size in sizes.items()]


def _bytes(path: Any) -> int:
    files = [Path(str(one)) for one in (path if isinstance(path, list) else [path])] if path else []
    return sum(file.stat().st_size for file in files if file.is_file())
