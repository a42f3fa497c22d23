"""What a plan's `clean` leaves out of the text that stages learn: found once, and kept beside the prepared corpora.

Corpora that a stage learns are compared, each with itself and with what is watched, asked and replayed. What is only
replayed, or only watched, is never left out. Everything is compared as the tokens have it, so that the corpora's own
files need not be there. Shapes: N documents.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from rewarm.corpora.preferences import PAIRS
from rewarm.engines import Engine
from rewarm.engines.local import Here
from rewarm.engines.parts import kept
from rewarm.hashing import Indices
from rewarm.plan import Plan
from rewarm.probes import Probe
from rewarm.selection.cleaning import Doing, Reference, Settings
from rewarm.selection.cleaning import clean as compare
from rewarm.storage import read_json, replaced, write_json
from rewarm.tokens.prepare import alone_in
from rewarm.tokens.shards import Store
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import Tell, UserError

if TYPE_CHECKING:
    from rewarm.river.inputs import Inputs

_RULES = 1
"""Goes up when other documents are found than before: what was kept is then looked for again."""
FOLDER = "cleaned"


def learned(plan: Plan) -> list[str]:
    """The corpora that are cleaned: what stages learn, unless it holds pairs, of which none can lose a half."""
    names = dict.fromkeys(portion.corpus for stage in plan.stages for portion in stage.data)
    return [name for name in names if getattr(plan.corpora[name], "holds", "") != PAIRS]


def replayed(plan: Plan) -> list[str]:
    """The corpora that are trained on again and not learned."""
    new = {portion.corpus for stage in plan.stages for portion in stage.data}
    named = [name for stage in plan.stages if stage.replay for name in stage.replay.named]
    return [name for name in dict.fromkeys(named) if name in plan.corpora and name not in new]


def promise(plan: Plan) -> list[str]:
    """What a plan's `clean` will do, in sentences; none when the plan has none."""
    if plan.clean is None:
        return []
    sets = {
        "watch": [watch.corpus for watch in plan.watch], "probes": list(plan.probes), "replay": replayed(plan),
    }  # fmt: skip
    against = [f"{kind} {name}" for kind in plan.clean.against for name in sets[kind]]
    scored = [name for name in against if not name.startswith("replay")]
    told = []
    if plan.clean.near_duplicates is not None:
        told.append(
            f"documents nearly like another (similarity {plan.clean.near_duplicates:g} or more) of their corpus"
            + (f", or of {', '.join(against)}" if against else "")
        )
    if plan.clean.ngram is not None and scored:
        told.append(f"documents that share {plan.clean.ngram} words in a row with {', '.join(scored)}")
    if not told:
        return ["clean: nothing is left out, since both ways are off or there is nothing to compare with"]
    kept = [f"'{name}' holds pairs and is not cleaned" for name in _pairs(plan)]
    return [f"clean: out of {', '.join(learned(plan))} go {'; and '.join(told)}", *kept]


def _pairs(plan: Plan) -> list[str]:
    every = dict.fromkeys(portion.corpus for stage in plan.stages for portion in stage.data)
    return [name for name in every if name not in learned(plan)]


def clean(inputs: Inputs, prepared: Path, tell: Tell, engine: Engine | None = None) -> None:
    """Takes what is to be left out of what is trained on; `inputs.unclean` counts it by reason.

    UserError when nothing of a corpus is left.
    """
    if inputs.plan.clean is None:
        return
    found = _found(inputs, prepared / FOLDER, tell, engine or Here())
    for name, one in found.items():
        before = inputs.train_documents[name]
        inputs.train_documents[name] = np.setdiff1d(before, np.array(one["documents"], before.dtype), True)
        inputs.unclean[name] = one["reasons"]
        if not len(inputs.train_documents[name]):
            raise UserError(
                f"corpus '{name}' has nothing left to train on after clean: {_told(one['reasons'])}. Raise "
                "clean.near_duplicates or clean.ngram, or name fewer sets in clean.against"
            )


def _told(reasons: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())


def _found(inputs: Inputs, folder: Path, tell: Tell, engine: Engine) -> dict[str, Any]:
    """Documents to leave out and counts by reason, of each corpus; from an earlier run where it looked for the same."""
    file = folder / f"{_key(inputs)}.json"
    with alone_in(folder):
        known = read_json(file)
        if known is None:
            with kept(file.with_suffix(".parts")) as parts:
                known = _look(inputs, folder, file, tell, Doing(engine, parts))
            write_json(file, known)
    return dict(known)


def _key(inputs: Inputs) -> str:
    """Of everything that decides what is found."""
    plan = inputs.plan
    assert plan.clean is not None
    parts = [_RULES, version("rensa"), plan.clean.model_dump(mode="json"), inputs.tokenizer.hash]
    chosen = {name: inputs.train_documents[name] for name in learned(plan)}
    if "replay" in plan.clean.against:
        chosen |= {name: inputs.train_documents[name] for name in replayed(plan)}
    if "watch" in plan.clean.against:
        chosen |= {f"watch {name}": documents for name, documents in _watched(inputs).items()}
    digest = hashlib.sha256(json.dumps(parts).encode())
    for name, documents in chosen.items():
        digest.update(f"{name} {inputs.stores[name.removeprefix('watch ')].hash} {len(documents)}".encode())
        digest.update(np.asarray(documents, np.int64).data)
    if "probes" in plan.clean.against:
        for name, probes in inputs.probes.items():
            digest.update(orjson.dumps([name, *(list(items_of(probe)) for probe in probes)]))
    return digest.hexdigest()[:16]


def _watched(inputs: Inputs) -> dict[str, Indices]:
    return {**inputs.watch_documents, **inputs.watch_pairs}


def _look(inputs: Inputs, folder: Path, file: Path, tell: Tell, doing: Doing) -> dict[str, Any]:
    """Compares, and writes a line on each document that goes beside `file`."""
    plan = inputs.plan
    assert plan.clean is not None
    new = {name: _texts(name, inputs, inputs.train_documents[name]) for name in learned(plan)}
    settings = Settings(plan.clean.near_duplicates, plan.clean.ngram)
    found = compare(new, _references(inputs), settings, folder, tell, doing)
    kept: dict[str, Any] = {}
    with replaced(file.with_suffix(".dropped.jsonl.zst")) as lines:
        for name, dropped in found.dropped.items():
            documents = inputs.train_documents[name]
            kept[name] = {
                "documents": [int(documents[one.place]) for one in dropped],
                "reasons": dict(Counter(one.reason for one in dropped).most_common()),
            }
            for one in dropped:
                lines.write(orjson.dumps({"corpus": name, **asdict(one), "place": int(documents[one.place])}) + b"\n")
    return kept


def _references(inputs: Inputs) -> list[Reference]:
    assert inputs.plan.clean is not None
    against = inputs.plan.clean.against
    found = []
    if "watch" in against:
        for name, documents in _watched(inputs).items():
            found.append(Reference(f"watch {name}", _texts(name, inputs, documents), True))
    if "probes" in against:
        for name, probes in inputs.probes.items():
            texts = ((f"{name}:{probe.id}", item) for probe in probes for item in items_of(probe))
            found.append(Reference(f"probes {name}", texts, True))
    if "replay" in against:
        found += [
            Reference(f"replay {name}", _texts(name, inputs, inputs.train_documents[name]), False)
            for name in replayed(inputs.plan)
        ]
    return found


def items_of(probe: Probe) -> Iterator[str]:
    """What a model is asked, with each answer in its place."""
    for answer in (*probe.answers, *probe.old_answers):
        yield f"{probe.prompt} {answer} {probe.suffix}"


def _texts(name: str, inputs: Inputs, documents: Indices) -> Iterator[tuple[str, str]]:
    """Documents of a store as text, each with the corpus and its number there for an id."""
    return _decoded(name, inputs.stores[name], documents, inputs.tokenizer)


def _decoded(name: str, store: Store, documents: Indices, tokenizer: TextTokenizer) -> Iterator[tuple[str, str]]:
    for number in documents:
        yield f"{name}:{number}", tokenizer.decode(store.ids(int(number)).tolist())
