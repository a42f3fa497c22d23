"""What conversations among the corpora ask of a run: one chat template, models that know when to stop, and a look at
what is learned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel

from rewarm.corpora import Corpus
from rewarm.objectives import Rows
from rewarm.plan import Plan
from rewarm.river.directory import RunDirectory
from rewarm.river.legs import BASE, LegPlan
from rewarm.tokens.chat import ChatEncoder, encoder_of
from rewarm.tokens.loader import StageRows, learned_tokens
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import BadRows, UserError

SHOWN_CHARACTERS = 400
"""Of a longer piece of an example the beginning and the end are shown."""


@dataclass(frozen=True, slots=True)
class Example:
    """The first conversation of a corpus as its `template` writes it: pieces of text, each with whether it is learned.

    An answer ends with one of the tokens `ends`.
    """

    corpus: str
    template: str
    ends: list[str]
    pieces: list[tuple[str, bool]]


def encoders(plan: Plan, names: Iterable[str], tokenizer: TextTokenizer) -> dict[str, ChatEncoder]:
    """How each of the named corpora that holds conversations becomes tokens.

    UserError for a template that cannot be used, or when two corpora have different ones: a model answers by one.
    """
    found: dict[str, ChatEncoder] = {}
    for name in names:
        corpus = plan.corpora.get(name)
        if not isinstance(corpus, Corpus):  # the model's own samples
            continue
        try:
            encoder = encoder_of(corpus, tokenizer)
        except UserError as error:
            raise UserError(f"corpora.{name}: {error}") from None
        if encoder is not None:
            found[name] = encoder
    by_digest = {encoder.template.digest: name for name, encoder in found.items()}
    if len(by_digest) > 1:
        raise UserError(
            f"corpora {' and '.join(sorted(by_digest.values()))} have different chat templates, and a model answers by "
            "one. Give them the same 'template'"
        )
    return found


def examples(plan: Plan, names: Iterable[str], tokenizer: TextTokenizer) -> list[Example]:
    """An example of each of the named corpora that holds conversations."""
    found = []
    for name, encoder in encoders(plan, names, tokenizer).items():
        corpus = plan.corpora[name]
        assert isinstance(corpus, Corpus)  # the plan built it from the corpora folder
        document = next(iter(corpus.read(BadRows())), None)
        if document is not None:
            pieces = encoder.pieces(document)
            ends = [tokenizer.name_of(number) for number in encoder.ends]
            found.append(Example(name, encoder.template.name, ends, pieces))
    return found


def shown(example: Example) -> str:
    """An example as text, with ⟦ and ⟧ around what is learned."""
    parts = []
    for text, is_learned in example.pieces:
        if len(text) > SHOWN_CHARACTERS:
            half = SHOWN_CHARACTERS // 2
            text = f"{text[:half]} [...] {text[-half:]}"
        parts.append(f"⟦{text}⟧" if is_learned else text)
    return "".join(parts)


def taught(plan: Plan, run: RunDirectory, leg: LegPlan, tokenizer: TextTokenizer) -> ChatEncoder | None:
    """How conversations were written for a leg's model, by the leg itself or one before it on its path; None when it
    has read none."""
    finished = run.finished()
    names, start = list(leg.shares), leg.start
    while start != BASE:
        names += finished[start]["rows"]
        start = finished[start]["start"]
    return next(iter(encoders(plan, dict.fromkeys(names), tokenizer).values()), None)


def make_ready(model: PreTrainedModel, encoder: ChatEncoder) -> str | None:
    """Lets generation stop at the tokens that end an answer; the template to be saved with the model, when it is not
    the tokenizer's own."""
    generation = model.generation_config
    if generation is not None:
        given: int | Sequence[int] | None = generation.eos_token_id
        known = [] if given is None else [given] if isinstance(given, int) else list(given)
        ends = list(dict.fromkeys([*known, encoder.tokenizer.eos_id, *encoder.ends]))
        generation.eos_token_id = ends[0] if len(ends) == 1 else ends
    return None if encoder.template.name == "tokenizer" else encoder.template.source


def learned(rows: Rows) -> dict[str, int]:
    """Tokens that were targets, of each corpus of a finished leg of which only the answers are learned."""
    if not isinstance(rows, StageRows):  # pairs: a part of their answers' tokens stands in every prompt
        return {}
    counts = rows.counts_before(rows.steps)
    return {
        source.name: learned_tokens(source, int(count), rows.seq_len)
        for source, count in zip(rows.sources, counts, strict=True)
        if source.stream.store.masked
    }
