"""The languages of a run's corpora, from their prepared tokens, and what its stages did to each other's languages."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from operator import add

from rewarm.evaluation.intervals import DocumentLosses, paired_delta
from rewarm.evaluation.languages import LINES, Profile, detector, detector_name, distance, profile
from rewarm.plan import Plan
from rewarm.report.language_parts import Languages, Transfer
from rewarm.report.languages import described
from rewarm.river.directory import RunDirectory
from rewarm.river.inputs import Inputs
from rewarm.river.legs import BASE, LegPlan
from rewarm.river.replaying import SELF_CORPUS
from rewarm.river.stream_metrics import Losses, path_of
from rewarm.river.vocabulary import DOCUMENT_TOKENS, spread
from rewarm.storage import write_json
from rewarm.tokens.shards import Store
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import StorageError

TOKENS = 1_000_000
"""Read of each corpus, at most, in the beginnings of documents spread evenly over it."""
_FORMAT = 1


def languages(
    plan: Plan, inputs: Inputs, run: RunDirectory, planned: Sequence[LegPlan], own: Mapping[str, Losses],
    alone: Mapping[str, Losses],
) -> Languages | None:  # fmt: skip
    """The languages of every corpus of a plan that asks for them, and the transfers between its stages so far.

    `own` holds the losses of the base and of each finished leg by its name, `alone` those of the control by stage.
    None for a plan that does not ask. UserError where the detector is not installed and has not run before.
    """
    if not plan.languages:
        return None
    names = [name for name in inputs.stores if not name.startswith(SELF_CORPUS)]
    found = {name: _profile(inputs.stores[name], inputs.tokenizer, run) for name in names}
    expected = {} if isinstance(plan.languages, bool) else plan.languages
    spoken = {name: expected.get(name) or found[name].main() for name in names}
    return Languages(
        corpora=[described(name, found[name], expected.get(name)) for name in names],
        distances=[[distance(found[row], found[column]) for column in names] for row in names],
        transfers=list(_transfers(plan, path_of(planned), own, alone, _Texts(found, spoken))),
        detector=detector_name(),
        sample=LINES,
    )


def _profile(store: Store, tokenizer: TextTokenizer, run: RunDirectory) -> Profile:
    """What a corpus holds; its detected lines are kept with the prepared corpora, where other runs find them."""
    said = [_FORMAT, store.hash, TOKENS, LINES, detector_name(), tokenizer.hash]
    file = run.prepared / f"languages-{hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]}.json"
    kept: dict[str, str] = {}
    with suppress(OSError, ValueError):
        kept = json.loads(file.read_text(encoding="utf-8"))
    detect, asked = detector(), dict[str, str]()

    def remembered(line: str) -> str:
        key = hashlib.sha256(line.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        asked[key] = kept.get(key) or detect(line)
        return asked[key]

    found = profile(_texts(store, tokenizer), remembered)
    if asked != kept:
        with suppress(OSError, StorageError):  # a folder that cannot be written costs the count each time
            write_json(file, asked)
    return found


def _texts(store: Store, tokenizer: TextTokenizer) -> Iterator[str]:
    for document in spread(store, TOKENS):
        yield tokenizer.decode(store.ids(document, 0, DOCUMENT_TOKENS).tolist())


@dataclass(frozen=True, slots=True)
class _Texts:
    """The profile of each corpus, and the language it is in."""

    profiles: Mapping[str, Profile]
    spoken: Mapping[str, str | None]

    def beside(self, learned: Iterable[str], corpus: str) -> dict[str, float | None]:
        """How much of some corpora's lines is in the language of another, and their distance from it."""
        text, language = reduce(add, (self.profiles[name] for name in learned)), self.spoken[corpus]
        return {
            "share": None if language is None else text.share(language),
            "distance": distance(text, self.profiles[corpus]),
        }


def _transfers(
    plan: Plan, path: Sequence[LegPlan], own: Mapping[str, Losses], alone: Mapping[str, Losses], texts: _Texts
) -> Iterator[Transfer]:
    """Of each finished stage on the way to the last: forward on what it learned, backward on all else that is old to
    it. The first stage starts from the base, as its control would."""
    learned = {stage.name: [portion.corpus for portion in stage.data] for stage in plan.stages}
    later = {corpus for leg in path for corpus in learned[leg.stage]}
    for before, leg in itertools.pairwise([None, *path]):
        assert leg is not None  # only the first of all is
        here, there = own.get(leg.name, {}), own.get(BASE if before is None else before.name, {})
        later -= set(learned[leg.stage])
        for corpus, losses in here.items():
            fresh = alone.get(leg.stage, {}).get(corpus)
            if corpus in learned[leg.stage] and fresh is not None:
                yield _transfer("forward", leg.stage, corpus, (fresh, losses), {})
            elif corpus not in learned[leg.stage] and corpus not in later and corpus in there:
                beside = texts.beside(learned[leg.stage], corpus)
                yield _transfer("backward", leg.stage, corpus, (there[corpus], losses), beside)


def _transfer(
    kind: str, stage: str, corpus: str, losses: tuple[DocumentLosses, DocumentLosses], beside: dict[str, float | None]
) -> Transfer:
    change = paired_delta(*losses)
    return Transfer(
        kind=kind, stage=stage, corpus=corpus, value=-change.delta, low=-change.high, high=-change.low,
        verdict=change.verdict, **beside,
    )  # fmt: skip
