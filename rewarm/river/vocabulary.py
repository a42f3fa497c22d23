"""What the text of each stage asks of the vocabulary, from the prepared corpora: how much of it nothing before it used.

Old text is every prepared corpus that no stage learns. Counts are over whole corpora, held-out documents included;
words are looked at in samples of equal size, since their number grows with the text.

Shapes: V vocabulary, D documents.
"""

from __future__ import annotations

import hashlib
import json
import string
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarm.plan import Plan
from rewarm.report.vocabulary_parts import StageVocabulary, Vocabulary
from rewarm.river.directory import RunDirectory
from rewarm.river.inputs import Inputs
from rewarm.river.replaying import SELF_CORPUS
from rewarm.storage import write_json
from rewarm.tokens.shards import Store
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import StorageError

SAMPLE_TOKENS = 200_000
DOCUMENT_TOKENS = 2_000
"""Read of one document at most, so that a few long ones are no sample."""
_AT_ONCE = 1 << 20
_FORMAT = 1
_ENDS = string.punctuation + "“”‘’„‚«»‹›…–—·•"


@dataclass(slots=True)
class _Seen:
    """What the text so far has used."""

    pieces_V: NDArray[np.bool_]
    words: set[str] = field(default_factory=set)
    anything: bool = False


def vocabulary(plan: Plan, inputs: Inputs, run: RunDirectory) -> Vocabulary:
    """The vocabulary of every stage's text, in the order of the plan.

    Counted once for the same text and kept with the prepared corpora, where other runs find it.
    """
    file = run.prepared / f"vocabulary-{_key(plan, inputs)}.json"
    with suppress(OSError, ValueError):
        return Vocabulary.model_validate_json(file.read_text(encoding="utf-8"))
    found = _counted(plan, inputs)
    with suppress(OSError, StorageError):  # a folder that cannot be written costs the count each time, nothing else
        write_json(file, found.model_dump(mode="json"))
    return found


def _old(plan: Plan, inputs: Inputs) -> list[str]:
    learned = {portion.corpus for stage in plan.stages for portion in stage.data}
    return [name for name in inputs.stores if name not in learned and not name.startswith(SELF_CORPUS)]


def _key(plan: Plan, inputs: Inputs) -> str:
    names = [_old(plan, inputs), *([portion.corpus for portion in stage.data] for stage in plan.stages)]
    texts = [[inputs.stores[name].hash for name in some] for some in names]
    said = [_FORMAT, SAMPLE_TOKENS, inputs.tokenizer.hash, names[0], [stage.name for stage in plan.stages], texts]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]


def _counted(plan: Plan, inputs: Inputs) -> Vocabulary:
    tokenizer, old = inputs.tokenizer, _old(plan, inputs)
    seen = _Seen(np.zeros(tokenizer.vocab_size, bool), anything=bool(old))
    for name in old:
        seen.pieces_V |= piece_counts(inputs.stores[name], tokenizer.vocab_size) > 0
        seen.words.update(sample_words(inputs.stores[name], tokenizer))
    stages = []
    for stage in plan.stages:
        stores = [inputs.stores[portion.corpus] for portion in stage.data]
        stages.append(_stage(stage.name, stores, tokenizer, seen))
    return Vocabulary(stages=stages, against=old, size=tokenizer.vocab_size, sample=SAMPLE_TOKENS)


def _stage(name: str, stores: list[Store], tokenizer: TextTokenizer, seen: _Seen) -> StageVocabulary:
    """One stage's text; what it uses has been seen from then on."""
    counts_V: NDArray[np.int64] = np.sum([piece_counts(store, tokenizer.vocab_size) for store in stores], axis=0)
    words = [word for store in stores for word in sample_words(store, tokenizer)]
    new_V = (counts_V > 0) & ~seen.pieces_V
    around = sum(store.documents for store in stores) * (1 + len(tokenizer.prefix))
    tokens, text_bytes = sum(store.tokens for store in stores), sum(int(one.manifest["bytes"]) for one in stores)
    told = seen.anything and words
    found = StageVocabulary(
        stage=name,
        tokens_per_byte=(tokens - around) / max(1, text_bytes),
        pieces=int((counts_V > 0).sum()),
        new_pieces=int(new_V.sum()) if seen.anything else None,
        new_share=float(counts_V[new_V].sum() / max(1, counts_V.sum())) if seen.anything else None,
        words=len(words),
        new_words=1000 * sum(word not in seen.words for word in words) / len(words) if told else None,
    )
    seen.pieces_V |= counts_V > 0
    seen.words.update(words)
    seen.anything = True
    return found


def piece_counts(store: Store, size: int) -> NDArray[np.int64]:
    """How often each piece of the vocabulary occurs in a corpus (V,), what opens and closes documents included."""
    counts_V = np.zeros(size, np.int64)
    waiting: list[NDArray[Any]] = []
    held = 0
    for document in range(store.documents):
        waiting.append(store.ids(document))
        held += len(waiting[-1])
        if held >= _AT_ONCE or document + 1 == store.documents:
            counts_V += np.bincount(np.concatenate(waiting), minlength=size)
            waiting, held = [], 0
    return counts_V


def sample_words(store: Store, tokenizer: TextTokenizer, tokens: int = SAMPLE_TOKENS) -> list[str]:
    """The running words of documents spread evenly over a corpus, about `tokens` of them in all; the same every time.

    Words are what stands between white space, lower case, without the punctuation around it.
    """
    found: list[str] = []
    for document in spread(store, tokens):
        text = tokenizer.decode(store.ids(document, 0, DOCUMENT_TOKENS).tolist())
        found += [word for raw in text.split() if (word := raw.strip(_ENDS).casefold())]
    return found


def spread(store: Store, tokens: int) -> Iterator[int]:
    """Numbers of documents, evenly apart, whose readable beginnings hold about so many tokens together."""
    lengths_D = np.minimum(store.lengths, DOCUMENT_TOKENS)
    total = int(lengths_D.sum())
    wanted = max(1, min(store.documents, round(store.documents * tokens / max(1, total))))
    yield from np.unique(np.linspace(0, store.documents - 1, wanted).round().astype(int)).tolist()
