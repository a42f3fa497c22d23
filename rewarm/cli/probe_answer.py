"""What `rewarm probe` answers: tables for people, everything for --json, and a row for each probe."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rewarm.cli.verb import Answer, table

if TYPE_CHECKING:
    from rich.table import Table

    from rewarm.evaluation.contamination import Contamination
    from rewarm.evaluation.fact_scores import FactScores
    from rewarm.evaluation.fact_summary import Change, Figure
    from rewarm.evaluation.fuar import Fuar
    from rewarm.facts import Tally
    from rewarm.probes import Probe

_STYLES = {
    "nats_per_byte": ("nats/byte", "{:.3f}"),
    "perplexity": ("perplexity", "{:,.1f}"),
    "rank": ("rank", "{:.1f}"),
    "reciprocal_rank": ("MRR", "{:.3f}"),
    "rank_1": ("rank 1", "{:.1%}"),
    "chosen": ("choices", "{:.1%}"),
    "exact": ("exact", "{:.1%}"),
    "f1": ("F1", "{:.3f}"),
    "prefers_new": ("new", "{:.1%}"),
    "stale": ("stale", "{:.1%}"),
    "old_nats_per_byte": ("old/byte", "{:.3f}"),
}
"""Head and number format of each metric that is shown."""
_COLUMNS = (
    ("nats_per_byte", "perplexity"), ("rank", "reciprocal_rank"), ("rank_1", "chosen"), ("exact", "f1"),
    ("prefers_new", "stale"), ("old_nats_per_byte",),
)  # fmt: skip
"""Metrics one above the other in a cell: a terminal has 80 columns."""
_COMPARED = (
    "nats_per_byte",
    "reciprocal_rank",
    "rank_1",
    "exact",
    "prefers_new",
    "stale",
    "chosen",
    "old_nats_per_byte",
)
_LEGEND = """\
nats/byte, perplexity: of the answer.  rank: among answers of the same relation.  MRR: mean of 1/rank.
exact: the model writes an accepted answer.  F1: its words in common with one.  choices: answered right by likelihood.
new: the new answer is likelier than the old.  stale: the model writes the old.  old/byte: nats of the old answer."""


class Models(NamedTuple):
    """Who was asked, and against whom; `seed` is that of the intervals."""

    model: str
    against: str | None
    seed: int


def told(
    models: Models,
    asked: Mapping[str, Sequence[Probe]],
    scores: Mapping[str, FactScores],
    before: Mapping[str, FactScores] | None,
    tallies: Mapping[str, Tally],
    files: list[str],
) -> Answer:
    """The answer of the verb for one model, or for two."""
    from rewarm.evaluation.contamination import contamination
    from rewarm.evaluation.fact_scores import pooled
    from rewarm.evaluation.fact_summary import by_kind
    from rewarm.probes.asking import is_last

    sets = {name: by_kind(held) for name, held in scores.items()}
    base = scores if before is None else before
    found = contamination(pooled(list(base.values())))
    going_on = {name: sum(not is_last(one.suffix) for one in probes) for name, probes in asked.items()}
    values: dict[str, Any] = {
        "model": models.model,
        "sets": {
            name: _set(scores[name], tallies[name], kinds) | {"answer_not_last": going_on[name]}
            for name, kinds in sets.items()
        },
        "known": found,
        "files": files,
    }
    lines: list[Any] = [
        *(_shown(name, scores[name], kinds) for name, kinds in sets.items()),
        _LEGEND,
        _known_line(models.against or models.model, found),
    ]
    if before is not None:
        more, shown = _against(models, scores, before)
        values |= more
        lines += shown
    lines += [
        f"{name}: {count:,} probes go on after the answer; a causal model is asked by what stands before it alone"
        for name, count in going_on.items()
        if count
    ]
    lines += [line for name, tally in tallies.items() for line in _counted(name, tally)]
    return Answer(values, [*lines, *(f"Written: {file}" for file in files)])


def _set(scores: FactScores, tally: Tally, kinds: Mapping[str, Mapping[str, Figure]]) -> dict[str, Any]:
    """Everything about one set for --json."""
    from rewarm.evaluation.fact_summary import by_relation

    return {
        "kinds": _figures(kinds),
        "relations": _figures(by_relation(scores)),
        "truncated": scores.truncated,
        "rows": tally.rows,
        "left_out": dict(tally.left_out),
        "bad_rows": dict(tally.counts),
        "bad_examples": tally.examples,
    }


def _counted(name: str, tally: Tally) -> Iterator[str]:
    """What of a set's rows became no probe."""
    for what, counts in (("bad", tally.counts), ("left out", tally.left_out)):
        if counts:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in counts.most_common())
            yield f"{name}: {counts.total():,} of {tally.rows:,} rows {what} ({reasons})"


def _figures(parts: Mapping[str, Mapping[str, Figure]]) -> dict[str, Any]:
    return {part: {name: figure._asdict() for name, figure in held.items()} for part, held in parts.items()}


def _shown(title: str, scores: FactScores, kinds: Mapping[str, Mapping[str, Figure]]) -> Table:
    from rewarm.evaluation.fact_summary import ALL

    used = [[name for name in column if any(name in held for held in kinds.values())] for column in _COLUMNS]
    used = [column for column in used if column]
    heads = ["\n".join(_STYLES[name][0] for name in column) for column in used]
    shown = table("kind", "probes", *heads, title=title)
    for kind, held in kinds.items():
        count = len(scores.ids) if kind == ALL else scores.kinds.count(kind)
        cells = [
            "\n".join(_STYLES[name][1].format(held[name].value) if name in held else "-" for name in column)
            for column in used
        ]
        shown.add_row(kind, f"{count:,}", *cells)
    return shown


def _known_line(model: str, found: Contamination) -> str:
    parts = [f"{found.known[kind]:,} of {found.asked[kind]:,} {kind}" for kind in found.asked]
    return f"'{model}' knows {', '.join(parts) if parts else 'nothing that can be asked for'}."


def _against(
    models: Models, scores: Mapping[str, FactScores], before: Mapping[str, FactScores]
) -> tuple[dict[str, Any], list[Any]]:
    """Values and parts of a comparison with an earlier model."""
    from rewarm.evaluation.contamination import known
    from rewarm.evaluation.fact_scores import pooled
    from rewarm.evaluation.fact_summary import ALL, by_kind, changes
    from rewarm.evaluation.fuar import phase_fuar

    base, together = (pooled(list(held.values())) for held in (before, scores))
    changed = {
        name: {
            kind: changes(before[name], held, None if kind == ALL else held.of_kind(kind), seed=models.seed)
            for kind in by_kind(held)
        }
        for name, held in scores.items()
    }
    ratios = {metric: phase_fuar(base, together, metric) for metric in ("exact", "rank_1")}
    kept = changes(base, together, known(base) & base.of_kind("unchanged"), seed=models.seed)
    values = {
        "against": models.against,
        "before": {name: _figures(by_kind(held)) for name, held in before.items()},
        "changes": changed,
        "fuar": {metric: {**_plain(ratio), "words": ratio.words} for metric, ratio in ratios.items()},
        "unchanged_known_before": kept,
    }
    shown = [_compared(name, kinds) for name, kinds in changed.items()]
    lines = [f"FUAR by {metric.replace('_', ' ')}: {_fuar_line(ratio)}" for metric, ratio in ratios.items()]
    if "exact" in kept:
        lines.append(
            f"Of {kept['exact'].count:,} unchanged facts known before, {kept['exact'].after:.1%} are now generated "
            f"({kept['exact'].before:.1%} before)."
        )
    return values, [*shown, *lines]


def _plain(ratio: Fuar) -> dict[str, Any]:
    return {
        "value": ratio.value,
        "vacuous": ratio.vacuous,
        "lost": ratio.lost,
        "gained": ratio.gained,
        **{
            name: [gap and gap._asdict() for gap in gaps]
            for name, gaps in (("invariant", ratio.invariant), ("updated", ratio.updated), ("new", ratio.new))
        },
    }


def _fuar_line(ratio: Fuar) -> str:
    parts = []
    for name, (gap,) in (("IL", ratio.invariant), ("UL", ratio.updated), ("NL", ratio.new)):
        parts.append(f"{name} {gap.before:.1%} -> {gap.after:.1%}" if gap else f"{name} not asked")
    return f"{ratio.words}; {', '.join(parts)}"


def _compared(title: str, kinds: Mapping[str, Mapping[str, Change]]) -> Table:
    shown = table("kind", "metric", "probes", "before\nafter", "change\n95% interval", "verdict", title=title)
    for kind, held in kinds.items():
        for metric in filter(held.__contains__, _COMPARED):
            change, (head, style) = held[metric], _STYLES[metric]
            found, signed = change.interval, style.replace("{:", "{:+")
            ends = f"{style.format(change.before)}\n{style.format(change.after)}"
            bounds = f"[{signed.format(found.low)}, {signed.format(found.high)}]"
            moved = f"{signed.format(found.delta)}\n{bounds if math.isfinite(found.low) else 'no interval'}"
            shown.add_row(kind, head, f"{change.count:,}", ends, moved, found.verdict)
    return shown


def rows(name: str, probes: Sequence[Probe], scores: FactScores, before: FactScores | None) -> Iterator[dict[str, Any]]:
    """A row for each probe of a set: what was asked, and every figure; with `before`, its figures too."""
    from rewarm.evaluation.contamination import known

    known_N = known(scores)
    for place, one in enumerate(probes):
        row: dict[str, Any] = {
            "set": name,
            "id": one.id,
            "kind": one.kind,
            "relation": one.relation,
            "subject": one.subject,
        }
        row |= {"prompt": one.prompt, "answers": one.answers, "old_answers": one.old_answers}
        row |= _numbers(scores, place) | {"known": bool(known_N[place])}
        yield row | ({} if before is None else {"before": _numbers(before, place)})


def _numbers(scores: FactScores, place: int) -> dict[str, Any]:
    """The figures of one probe; those that it has not are left out."""
    found: dict[str, Any] = {"generated": scores.generated[place]}
    for name, column in scores.columns().items():
        value = float(column[place])
        if value == value:  # not NaN
            found[name] = value
    return found
