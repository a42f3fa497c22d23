"""Everything a run reads, made ready: tokenizer, prepared corpora, held-out documents, the streams to train on."""

from __future__ import annotations

import shutil
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarm.corpora import Corpus
from rewarm.corpora.preferences import PAIRS
from rewarm.engines import Engine
from rewarm.evaluation.languages import check_detector
from rewarm.plan import Plan, Scratch, TrainTokenizer
from rewarm.probes import Probe
from rewarm.river import cleaning, heads, tiny_text
from rewarm.river.chat import encoders
from rewarm.river.directory import BEGUN, RunDirectory
from rewarm.river.probe_sets import changed_sets, keep_sets, kept_sets, load_sets, missing_files
from rewarm.river.stale_documents import LeftOut
from rewarm.river.suite_sets import missing_suites
from rewarm.tokens import order
from rewarm.tokens import tokenizer as tokenizers
from rewarm.tokens.order import DocumentStream, Indices, held_out, is_held_out, training_documents, watch_documents
from rewarm.tokens.pairs import watch_pairs
from rewarm.tokens.prepare import file_sizes, group_key, prepare
from rewarm.tokens.shards import Store
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import BadRows, Tell, UserError, silent

FEW_DOCUMENTS = 20


@dataclass(slots=True)
class Inputs:
    """Prepared corpora and what of each is trained on, watched, or dropped. Shapes: D documents, N chosen ones.

    `watch_pairs` holds the watched documents of corpora that hold pairs, whole pairs only.
    """

    plan: Plan
    tokenizer: TextTokenizer
    stores: dict[str, Store] = field(default_factory=dict)
    train_documents: dict[str, Indices] = field(default_factory=dict)
    watch_documents: dict[str, Indices] = field(default_factory=dict)
    watch_pairs: dict[str, Indices] = field(default_factory=dict)
    watched_hashes: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    held_out: dict[str, int] = field(default_factory=dict)
    copies: dict[str, int] = field(default_factory=dict)
    unclean: dict[str, dict[str, int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    probes: dict[str, list[Probe]] = field(default_factory=dict)
    probe_records: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: dict[tuple[str, str], LeftOut] = field(default_factory=dict)
    selected: dict[tuple[str, str], Indices] = field(default_factory=dict)

    def trainable_tokens(self, corpus: str) -> int:
        """Tokens of a corpus that may be trained on."""
        return self.stores[corpus].tokens_of(self.train_documents[corpus])

    def documents(self, corpus: str, stage: str) -> Indices:
        """The documents of a corpus that a stage may read (N,): its training documents, what is not out of date of
        them, or what the stage has selected."""
        if (selected := self.selected.get((stage, corpus))) is not None:
            return selected
        out = self.left_out.get((stage, corpus))
        return self.train_documents[corpus] if out is None else out.documents

    def stream(self, corpus: str, stage: str) -> DocumentStream:
        """These documents as an endless shuffled stream."""
        return DocumentStream(self.stores[corpus], self.documents(corpus, stage), self.plan.seed, corpus)

    def add(self, corpus: str, store: Store) -> None:
        """Takes in one more corpus to train on (the model's own samples), minus what is watched."""
        self.stores[corpus] = store
        nothing = np.zeros(store.documents, bool)
        self.train_documents[corpus], self.copies[corpus] = training_documents(store, nothing, self.watched_hashes)
        self.held_out[corpus] = 0


def make_tokenizer(plan: Plan, run: RunDirectory, tell: Tell = silent) -> TextTokenizer:
    """The run's tokenizer: the base's own, a given one, or one trained on the first stage's text."""
    if not (run.tokenizer / "tokenizer.json").is_file():
        run.root.mkdir(parents=True, exist_ok=True)
        if isinstance(plan.base, Scratch) and isinstance(plan.base.tokenizer, TrainTokenizer):
            tell("train the tokenizer", 0, None, "")
            partial = run.tokenizer.with_name("tokenizer.partial")
            shutil.rmtree(partial, ignore_errors=True)
            sample, size = _sample(plan, plan.base.tokenizer), plan.base.tokenizer.vocab_size
            tokenizers.train(sample, size, partial, plan.head)
            partial.replace(run.tokenizer)
        else:
            from rewarm.models.load import save_tokenizer

            name = plan.base.tokenizer if isinstance(plan.base, Scratch) else plan.base
            assert isinstance(name, str)
            save_tokenizer(name, run.tokenizer, plan.revision)
    return heads.checked(plan, TextTokenizer(run.tokenizer))


def _sample(plan: Plan, options: TrainTokenizer) -> Iterator[str]:
    """Text of the first stage to train a tokenizer on; held-out text is no part of it."""
    portions = plan.stages[0].data
    for portion in portions:
        left = options.sample_bytes // len(portions)
        corpus = _corpus(plan, portion.corpus)
        share = corpus.holdout if plan.watched(portion.corpus) else 0.0
        for document in corpus.read(BadRows()):
            if is_held_out(group_key(document, corpus.holdout_by), share):
                continue
            yield document.text
            left -= len(document.text)
            if left <= 0:
                break


def _corpus(plan: Plan, name: str) -> Corpus:
    corpus = plan.corpora[name]
    assert isinstance(corpus, Corpus)  # the plan built it from the corpora folder
    return corpus


def check_files(plan: Plan, prepared: Container[str] = (), kept_probes: Container[str] = ()) -> None:
    """UserError, with every missing file of every corpus in use but those `prepared` and of every set of probes but
    those kept with the run, before any work."""
    problems = missing_files(plan, kept_probes) + missing_suites(plan)
    for name in (name for name in plan.used_corpora() if name not in prepared):
        try:
            _corpus(plan, name).files()
        except UserError as error:
            problems.append(f"corpora.{name}: {error}")
    for base in [plan.base.tokenizer if isinstance(plan.base, Scratch) else plan.base]:
        looks_local = isinstance(base, str) and (base.startswith((".", "/", "~")) or base.count("/") > 1)
        if isinstance(base, str) and looks_local and not Path(base).is_dir():
            problems.append(
                f"base: '{base}' is no folder. Give a folder with config.json, or a hub name such as org/name"
            )
    if problems:
        raise UserError("\n".join(problems))
    if plan.languages:
        check_detector()


def make_inputs(plan: Plan, run: RunDirectory, tell: Tell = silent, engine: Engine | None = None) -> Inputs:
    """Tokenises what is not yet tokenised, on an engine, and splits every corpus.

    UserError when something cannot be used, or when a run that has begun would go on with other text: its stages and
    scores so far would not belong to those to come, and none of them would notice.
    """
    check_files(plan)
    begun = run.recorded(BEGUN)
    if begun is not None:
        _refuse(run, [name for name in plan.used_corpora() if _resized(plan, name, begun["corpora"].get(name, {}))])
    probes, records = load_sets(plan)
    if begun is not None:
        _refuse(run, changed_sets(records, begun))
    inputs = Inputs(plan, make_tokenizer(plan, run, tell), probes=probes, probe_records=records)
    encoders(plan, plan.used_corpora(), inputs.tokenizer)
    for name in plan.used_corpora():
        corpus = _corpus(plan, name)
        inputs.stores[name] = prepare(name, corpus, inputs.tokenizer, run.prepared, plan.bad_rows, tell, engine)
    if begun is not None:
        _refuse(run, _changed(inputs, begun))
    _split(inputs, run.prepared, tell, engine)
    return inputs


def record_inputs(inputs: Inputs, run: RunDirectory) -> None:
    """Notes which text and tokenizer the run begins with; later on, only which corpora came to it."""
    begun = run.recorded(BEGUN)
    before = begun["corpora"] if begun is not None else {}
    corpora = {
        name: {
            "hash": store.hash,
            "store": store.folder.name,
            "sizes": file_sizes(_corpus(inputs.plan, name)),
        }
        for name, store in inputs.stores.items()
        if name not in before
    }
    asked = probes_begun_with(begun)
    came = [name for name in inputs.probes if name not in asked]
    keep_sets(inputs.probes, came, run)
    if begun is None or corpora or came:
        records = {**inputs.probe_records, **asked}
        run.record(BEGUN, tokenizer=inputs.tokenizer.hash, corpora={**before, **corpora}, probes=records)


def probes_begun_with(begun: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """What the ledger keeps of each set of probes that the run began with."""
    return {} if begun is None else begun.get("probes", {})


def stores_begun_with(run: RunDirectory) -> dict[str, Path]:
    """The folder of each corpus that the run began with; UserError when it has not begun."""
    begun = run.recorded(BEGUN)
    if begun is None:
        raise UserError(f"'{run.root}' has not begun: no corpus is prepared yet. Start it with: rewarm run PLAN")
    return {name: run.prepared / known["store"] for name, known in begun["corpora"].items()}


def prepared_stores(run: RunDirectory) -> dict[str, Path]:
    """Those of the folders that are there."""
    return {name: folder for name, folder in stores_begun_with(run).items() if (folder / "manifest.json").is_file()}


def read_inputs(plan: Plan, run: RunDirectory) -> Inputs:
    """The inputs a run began with, from what it holds: the corpora's own files are not looked at.

    UserError when the run has not begun, or its prepared corpora are gone.
    """
    there = prepared_stores(run)
    if gone := [str(folder) for name, folder in stores_begun_with(run).items() if name not in there]:
        raise UserError(f"'{gone[0]}' is gone: the run's own plan makes it again from the corpus, if you run it")
    return add_inputs(plan, run)


def add_inputs(plan: Plan, run: RunDirectory, tell: Tell = silent) -> Inputs:
    """The inputs of a run whose plan may have more corpora than it began with, which are prepared now.

    Files of corpora that are prepared already are not looked at. UserError when something cannot be used.
    """
    there = prepared_stores(run)
    kept = probes_begun_with(run.recorded(BEGUN))
    probes, records = load_sets(plan, kept)
    inputs = Inputs(plan, TextTokenizer(run.tokenizer), probes={**kept_sets(run, kept), **probes})
    inputs.probe_records = {**kept, **records}
    for name in plan.used_corpora():
        if name in there:
            inputs.stores[name] = Store(there[name])
        else:
            corpus = _corpus(plan, name)
            inputs.stores[name] = prepare(name, corpus, inputs.tokenizer, run.prepared, plan.bad_rows, tell)
    begun = run.recorded(BEGUN)
    assert begun is not None  # `prepared_stores` has asked for it
    known = stores_begun_with(run)
    _refuse(run, [name for name in _changed(inputs, begun) if name in known or name not in inputs.stores])
    _split(inputs, run.prepared, tell)
    return inputs


def _resized(plan: Plan, name: str, known: Mapping[str, Any]) -> bool:
    """Whether a corpus's files have other sizes than when the run began, which is seen before any tokenising."""
    return file_sizes(_corpus(plan, name)) != known.get("sizes")


def _changed(inputs: Inputs, begun: Mapping[str, Any]) -> list[str]:
    other = [name for name, store in inputs.stores.items() if store.hash != begun["corpora"].get(name, {}).get("hash")]
    return [*other, *(["the tokenizer"] if inputs.tokenizer.hash != begun["tokenizer"] else [])]


def _refuse(run: RunDirectory, changed: list[str]) -> None:
    if changed:
        raise UserError(
            f"{', '.join(changed)}: the text is not what '{run.root}' began with, so earlier stages and scores would "
            "not belong to later ones. Restore the files, or give another output_dir"
        )


def _split(inputs: Inputs, prepared: Path, tell: Tell, engine: Engine | None = None) -> None:
    """Chooses held-out documents; then takes every text that is held out anywhere out of everything trained on."""
    plan = inputs.plan
    masks: dict[str, NDArray[np.bool_]] = {}
    for name, store in inputs.stores.items():
        share = 0.0 if not plan.watched(name) else _corpus(plan, name).holdout if plan.trained(name) else 1.0
        masks[name] = held_out(store, share)
        inputs.held_out[name] = int(masks[name].sum())
    hashes = [np.asarray(store.hashes)[masks[name]] for name, store in inputs.stores.items()]
    inputs.watched_hashes = np.unique(np.concatenate(hashes)) if hashes else inputs.watched_hashes
    for watch in plan.watch:
        store = inputs.stores[watch.corpus]
        scored = order.held_out_part(store, masks[watch.corpus], watch.part)
        if not scored.any():
            where = "" if watch.part == "all" else f" in its part '{watch.part}'"
            raise UserError(
                f"watch '{watch.corpus}': no document is held out{where} (holdout "
                f"{_corpus(plan, watch.corpus).holdout:g} of {store.documents} documents). Raise the corpus's holdout"
            )
        most, pairs = watch.tokens or plan.eval_tokens, _corpus(plan, watch.corpus).holds == PAIRS
        chosen = (watch_pairs if pairs else watch_documents)(store, scored, most)
        (inputs.watch_pairs if pairs else inputs.watch_documents)[watch.corpus] = chosen
        if len(chosen) < FEW_DOCUMENTS * (1 + pairs):
            what = f"{len(chosen) // 2} pairs" if pairs else f"{len(chosen)} documents"
            inputs.notes.append(
                f"watch '{watch.corpus}' scores only {what}: its intervals will be wide. Raise its holdout or "
                "eval_tokens"
            )
    for name, store in inputs.stores.items():
        inputs.train_documents[name], inputs.copies[name] = training_documents(
            store, masks[name], inputs.watched_hashes
        )
        if plan.trained(name) and not len(inputs.train_documents[name]):
            raise UserError(
                f"corpus '{name}' has nothing left to train on: all {store.documents} documents are watched"
            )
    cleaning.clean(inputs, prepared, tell, engine)
    inputs.notes += tiny_text.notes(plan, inputs.trainable_tokens)
