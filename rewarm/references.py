"""Whether the parts of a plan name each other rightly: corpora, stages, probe sets and words for text."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from rewarm.methods import nearest
from rewarm.stages import EARLIER, NEW, OLD, REPLAYED, SELF, Stage, repeated


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


def _unknown_corpora(
    stages: Sequence[Stage], corpora: Collection[str], watched: Sequence[str], old_corpus: str | None
) -> list[str]:
    named = [(f"watch '{corpus}'", corpus) for corpus in watched]
    if old_corpus is not None:
        named.append((f"old_corpus '{old_corpus}'", old_corpus))
    for stage in stages:
        named += [(f"stage '{stage.name}' data '{portion.corpus}'", portion.corpus) for portion in stage.data]
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
