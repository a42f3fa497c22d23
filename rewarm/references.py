"""Whether the parts of a plan name each other rightly: corpora, stages, probe sets and words for text."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from rewarm.methods import Method, nearest
from rewarm.stages import EARLIER, NEW, OLD, REPLAYED, SELF, Stage, repeated

CAUSAL, SEQ2SEQ = "causal", "seq2seq"
TEXT = "text"
"""What corpora hold and objectives read, unless they say otherwise."""


class OfAStage(Protocol):
    """What may belong to a stage."""

    @property
    def stage(self) -> str | None:
        """Its name, or None."""


def unknown_names(
    stages: Sequence[Stage],
    corpora: Collection[str],
    watched: Sequence[str],
    old_corpus: str | None,
    probes: Mapping[str, OfAStage],
) -> list[str]:
    """A sentence for every name that nothing has, is taken twice or is reserved."""
    return [
        *_unknown_corpora(stages, corpora, watched, old_corpus),
        *(problem for stage in stages for problem in _unknown_texts(stage, corpora, old_corpus)),
        *_unknown_stages(stages),
        *_unknown_probes(stages, probes),
    ]


def retained(stage: Stage) -> list[str]:
    """The texts that the stage's retention methods read: names of corpora, or words of `rewarm.stages`."""
    found: list[str] = []
    for method in stage.retention:
        found += method.texts()
    return found


def _unknown_texts(stage: Stage, corpora: Collection[str], old_corpus: str | None) -> list[str]:
    """Texts of retention methods that are neither corpora nor words, and `old` where nothing is."""
    problems = []
    replays = stage.replay is not None and stage.replay.sources != (SELF,)
    for text in retained(stage):
        if text == OLD and old_corpus is None and not replays:
            problems.append(
                f"stage '{stage.name}' retention reads old text, and the plan names none: set old_corpus to a "
                "corpus that stands for what the model knows, or give the stage a replay"
            )
        elif text == REPLAYED and stage.replay is None:
            problems.append(
                f"stage '{stage.name}' retention acts on replayed rows, and the stage replays nothing: give it a "
                "replay (from: a corpus, or self), or choose options that act on new text"
            )
        elif text not in (OLD, NEW, SELF, REPLAYED, *corpora):
            problems.append(
                f"stage '{stage.name}' retention reads '{text}', which is not in corpora. "
                f"{nearest(text, [OLD, NEW, SELF, *corpora])}"
            )
    return problems


def unfit(stages: Sequence[Stage], corpora: Mapping[str, Method], old_corpus: str | None, compiled: bool) -> list[str]:
    """A sentence for everything that a stage's objective cannot be had with; `compiled` is whether compiling is a must.

    What a corpus holds (`Corpus.holds`) must be what the objective reads: in training, a rejected answer is no text.
    """
    problems = []
    held = {name: str(getattr(corpus, "holds", TEXT)) for name, corpus in corpora.items()}
    reads = [(f"stage '{stage.name}' data", portion.corpus, stage) for stage in stages for portion in stage.data]
    for number, stage in enumerate(stages):
        sources = () if stage.replay is None else stage.replay.sources
        named = [name for name in sources if name not in (EARLIER, SELF)]
        if EARLIER in sources:
            named += [portion.corpus for earlier in stages[:number] for portion in earlier.data]
        reads += [(f"stage '{stage.name}' replay", name, stage) for name in dict.fromkeys(named)]
        if SELF in sources and _read_by(stage) != TEXT:
            problems.append(f"{_of(stage)} reads {_read_by(stage)}, and replay from self is text: leave it out")
    for where, name, stage in reads:
        if held.get(name, _read_by(stage)) != _read_by(stage):
            problems.append(f"{where} '{name}' holds {held[name]}, and {_remedy(stage, held[name])}")
    texts = [(f"stage '{stage.name}' retention", text) for stage in stages for text in retained(stage)]
    for where, name in [*texts, *([] if old_corpus is None else [("old_corpus", old_corpus)])]:
        if held.get(name, TEXT) != TEXT:
            problems.append(f"{where} '{name}' holds {held[name]}, and has to be text: name another corpus")
    for stage in stages:
        problems += _of_decoders(stage)
        methods = [method.method_name() for method in stage.retention if getattr(method, "of_text", False)]
        if methods and _head_of(stage) == CAUSAL and not getattr(stage.objective, "terms_act", True):
            problems.append(
                f"{_of(stage)} cannot be had with retention {', '.join(methods)}, which reads the stage's own rows as "
                "text. Choose one that acts on weights, such as l2-sp, or leave it out"
            )
        if getattr(stage, "select", None) is not None and _read_by(stage) != TEXT:
            problems.append(f"{_of(stage)} reads {_read_by(stage)}, and select chooses text: leave select out")
        if compiled and not getattr(stage.objective, "compiles", True):
            problems.append(f"{_of(stage)} is never compiled, and the plan has compile: true. Set compile to auto")
    return problems + _several_heads(stages)


def _of_decoders(stage: Stage) -> list[str]:
    """What reads text from left to right, in a stage of a model that does not."""
    if _head_of(stage) == CAUSAL:
        return []
    problems = []
    reading = [one.method_name() for one in stage.retention if getattr(one, "of_text", False) or one.texts()]
    if reading:
        problems.append(
            f"{_of(stage)} cannot be had with retention {', '.join(reading)}, which reads text as a decoder does. "
            "Choose one that acts on weights or the learning rate, such as l2-sp, recadam, reptile or ema"
        )
    if stage.adapter is not None and getattr(stage.adapter, "of_decoders", True):
        problems.append(
            f"{_of(stage)} cannot be had with adapter {stage.adapter.method_name()}, which is made for decoders. "
            "Choose lora, or none"
        )
    if stage.replay is not None and SELF in stage.replay.sources:
        problems.append(f"{_of(stage)} cannot be had with replay from self: only decoders write text. Name a corpus")
    return problems + _unread(stage)


def _unread(stage: Stage) -> list[str]:
    """What a selection reads that the stage's model does not give."""
    if stage.select is None:
        return []
    name = stage.select.method.method_name()
    reads: frozenset[str] = getattr(stage.select.method, "reads", frozenset)()
    if "losses" in reads:
        return [
            f"{_of(stage)} cannot be had with select {name}, which reads losses as a decoder gives them. Choose one "
            "that compares states or text, such as similarity"
        ]
    if "states" in reads and _head_of(stage) == SEQ2SEQ:
        return [
            f"{_of(stage)} cannot be had with select {name}, which reads a model's states, of which an encoder and a "
            "decoder have two. Choose one that compares text, such as similarity with a folder, or ngram-importance"
        ]
    return []


def _head_of(stage: Stage) -> str:
    return str(getattr(stage.objective, "head", CAUSAL))


def _several_heads(stages: Sequence[Stage]) -> list[str]:
    heads = {_head_of(stage): stage.objective.method_name() for stage in stages}
    if len(heads) < 2:
        return []
    named = " and ".join(f"{method} ({head})" for head, method in heads.items())
    return [f"the objectives of the stages train models of different kinds: {named}. Make them runs of their own"]


def _read_by(stage: Stage) -> str:
    return str(getattr(stage.objective, "holds", TEXT))


def _of(stage: Stage) -> str:
    return f"stage '{stage.name}' objective {stage.objective.method_name()}"


def _remedy(stage: Stage, held: str) -> str:
    if _read_by(stage) == TEXT:
        return f"objective {stage.objective.method_name()} reads text: give the stage 'objective: preference'"
    return f"objective {stage.objective.method_name()} reads {_read_by(stage)}: name a corpus of type preferences"


def _unknown_corpora(
    stages: Sequence[Stage], corpora: Collection[str], watched: Sequence[str], old_corpus: str | None
) -> list[str]:
    named = [(f"watch '{corpus}'", corpus) for corpus in watched]
    if old_corpus is not None:
        named.append((f"old_corpus '{old_corpus}'", old_corpus))
    for stage in stages:
        named += [(f"stage '{stage.name}' data '{portion.corpus}'", portion.corpus) for portion in stage.data]
        if stage.select is not None and stage.select.task is not None:
            named.append((f"stage '{stage.name}' select task '{stage.select.task}'", stage.select.task))
        if stage.replay is not None:
            named += [(f"stage '{stage.name}' replay from '{name}'", name) for name in stage.replay.named]
    problems = [f"{where} is not in corpora. {nearest(name, corpora)}" for where, name in named if name not in corpora]
    problems += [f"watch names corpus '{name}' twice" for name in repeated(watched)]
    meanings = {SELF: "the model's own samples", EARLIER: "what earlier stages learned"}
    problems += [
        f"'{word}' is a reserved word (replay from {meaning}): give the corpus another name"
        for word, meaning in meanings.items()
        if word in corpora
    ]
    return problems


def _unknown_stages(stages: Sequence[Stage]) -> list[str]:
    taken = [name for stage in stages for name in _leg_names(stage)]
    problems = [
        f"stage name '{name}' is used twice (or is the reserved 'base', or the release of another stage)"
        for name in repeated(["base", *taken])
    ]
    earlier: list[str] = ["base"]
    for stage in stages:
        if stage.from_ is not None and stage.from_ not in earlier:
            problems.append(
                f"stage '{stage.name}' starts from '{stage.from_}', which is no earlier stage. "
                f"{nearest(stage.from_, earlier)}"
            )
        earlier += _leg_names(stage)
    return problems


def _leg_names(stage: Stage) -> list[str]:
    return [stage.name] if stage.release is None else [stage.name, f"{stage.name}-release"]


def _unknown_probes(stages: Sequence[Stage], probes: Mapping[str, OfAStage]) -> list[str]:
    names = [stage.name for stage in stages]
    problems = [
        f"probes '{name}' belong to stage '{held.stage}', which the plan does not have. {nearest(held.stage, names)}"
        for name, held in probes.items()
        if held.stage is not None and held.stage not in names
    ]
    for stage in stages:
        stale = stage.replay.stale if stage.replay is not None else False
        if stale is True and not probes:
            problems.append(
                f"stage '{stage.name}' replay leaves out stale text, and the plan has no probes that say what changed: "
                "name a file of them under probes (rewarm corpus probes makes one)"
            )
        problems += [
            f"stage '{stage.name}' replay names stale '{name}', which is not in probes. {nearest(name, probes)}"
            for name in (() if isinstance(stale, bool) else stale)
            if name not in probes
        ]
    return problems
