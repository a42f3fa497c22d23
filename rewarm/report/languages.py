"""The part of the report on languages, as tables that page, Markdown and terminal lay out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rewarm.evaluation.languages import Profile
from rewarm.report.facts import Entry, Table
from rewarm.report.language_parts import CorpusLanguages, Languages, Transfer
from rewarm.report.wording import NOISE, SYMBOLS, share, signed

MOST_LANGUAGES = 8
OFTEN = 0.01
"""A language has a column of its own from this share of some corpus on."""
SHARES = (
    "Share of the detected lines of each corpus that are in a language. Nothing is left out for it. A detector errs on "
    "close relatives and old spelling, so look at the distances too."
)
DISTANCES = (
    "Jensen-Shannon distance of character trigrams: 0 is the same text, 1 shares nothing. Texts of one language differ "
    "by what they are about, too."
)
TRANSFERS = (
    "In nats per byte, above 0 is good. Forward: what the stage gained by starting from the stages before it, against "
    "the control alone, which learns its text from the base (from scratch, where the base is). Backward: what the "
    "stage gave to (+) or took from (−) a text that it did not learn. Beside each, how much of the stage's text is in "
    "that language, and the distance of the two."
)


def about(held: Languages) -> str:
    """What was looked at, and by what."""
    return f"Detected by {held.detector} in at most {held.sample:,} lines of each corpus, chosen by hash."


def described(name: str, one: Profile, expected: str | None = None) -> CorpusLanguages:
    """What was read of a corpus as a part of a result."""
    total, ordered = one.languages.total(), sorted(one.languages.items(), key=lambda item: (-item[1], item[0]))
    return CorpusLanguages(
        name=name,
        expected=expected,
        language=expected or one.main(),
        detected=total,
        lines=one.lines,
        short=one.short,
        shares={key: count / total for key, count in ordered},
    )


def contamination(corpora: Sequence[CorpusLanguages]) -> Table:
    """A line for each corpus, a column for each language that one of them is in, and then the most frequent others."""
    expected = list(dict.fromkeys(one.language for one in corpora if one.language))
    most = {name: max(one.shares.get(name, 0.0) for one in corpora) for one in corpora for name in one.shares}
    often = {name for name, part in most.items() if part >= OFTEN}
    others = sorted(often - set(expected), key=lambda name: (-most[name], name))
    shown = [*expected, *others[: max(0, MOST_LANGUAGES - len(expected))]]
    lines = []
    for one in corpora:
        cells = [Entry(share(one.shares.get(name, 0.0)) if one.detected else "–") for name in shown]
        rest = sum(part for name, part in one.shares.items() if name not in shown)
        note = f"expected {one.expected}" if one.expected else ""
        left = f"{one.short:,} more are short" if one.short else ""
        lines.append([Entry(one.name, note), *cells, Entry(share(rest)), Entry(f"{one.detected:,}", left)])
    return Table(["Corpus", *shown, "other", "lines"], lines)


def similarity(names: Sequence[str], distances: Sequence[Sequence[float | None]]) -> Table:
    """The distance of each pair of corpora."""
    lines = [
        [Entry(name), *(Entry("–" if one is None else f"{one:.3f}") for one in row)]
        for name, row in zip(names, distances, strict=True)
    ]
    return Table(["Corpus", *names], lines)


def transfers(held: Languages) -> Table:
    """A line for each forward and backward transfer, in the order of the stages."""
    heads = ["Stage", "On", "Transfer", "nats per byte", "Of its lines", "Distance"]
    return Table(heads, [_transfer(one) for one in held.transfers])


def _transfer(one: Transfer) -> list[Entry]:
    bounds = f"[{signed(one.low, 4)}, {signed(one.high, 4)}]" if math.isfinite(one.low) else ""
    tone = "" if one.verdict == NOISE else one.verdict
    value = signed(one.value, 4)
    return [
        Entry(one.stage),
        Entry(one.corpus),
        Entry(one.kind),
        Entry(value if tone else f"{value} {SYMBOLS[one.verdict]}", bounds, tone),
        Entry("–" if one.share is None else share(one.share)),
        Entry("–" if one.distance is None else f"{one.distance:.3f}"),
    ]


def parts(held: Languages) -> list[tuple[str, str, Table]]:
    """Title, meaning and table of each part that has something to show."""
    found = [
        ("Languages of each corpus", SHARES, contamination(held.corpora)),
        ("How alike the corpora are", DISTANCES, similarity([one.name for one in held.corpora], held.distances)),
        ("Transfer between stages", TRANSFERS, transfers(held)),
    ]
    return [one for one in found if one[2].lines]
