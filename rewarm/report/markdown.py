"""Result -> Markdown: the page's facts as tables, for a repository or a message."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import yaml

from rewarm.quantities import clock, short
from rewarm.report import facts, foretold, languages, meanings, months, pairs, suites, vocabulary, wording
from rewarm.report.forecast_parts import Forecasted
from rewarm.report.language_parts import Languages
from rewarm.report.result import Months, Result, Row
from rewarm.report.suite_parts import Suites
from rewarm.report.vocabulary_parts import Vocabulary


def markdown(result: Result) -> str:
    """The report as GitHub-flavoured Markdown. Names from outside cannot break a table or become HTML."""
    parts = [
        (f"{plain(wording.title(result))}: what the update changed", _head(result)),
        ("Every model on every watched corpus", _matrix(result)),
        *([("Forecast and outcome", _forecast(result.forecast))] if result.forecast is not None else []),
        *([("Month by month", _months(result, result.months))] if result.months is not None else []),
        *([("Facts", _facts(result))] if result.facts is not None else []),
        *([("Preferences", _pairs(result))] if pairs.is_told(result) else []),
        *([("Abilities", _suites(result.suites))] if result.suites is not None else []),
        ("Old text against new text", _trade(result)),
        ("While it trained", _curves(result)),
        ("What the model was fed", _shares(result)),
        ("Corpora", _corpora(result)),
        *([("Vocabulary", _vocabulary(result.vocabulary))] if result.vocabulary is not None else []),
        *([("Languages", _languages(result.languages))] if result.languages is not None else []),
        ("Cost", _cost(result)),
        ("Stream metrics", _metrics(result)),
        ("Stamp", _stamp(result)),
        ("What this does not show", _bullets(meanings.limits(result))),
        ("Notes", _bullets(result.notes)),
    ]
    sections = [f"{'#' if number == 0 else '##'} {title}\n\n{body}" for number, (title, body) in enumerate(parts)]
    return "\n\n".join(sections) + "\n"


def plain(text: str) -> str:
    """`text` on one line with the characters escaped that Markdown or HTML would act on."""
    one_line = re.sub(r"\s+", " ", text)
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", one_line).replace("&", "&amp;").replace("<", "&lt;")


def _table(head: Sequence[str], lines: Iterable[Sequence[str]], numbers: int = 0) -> str:
    """A table; the last `numbers` columns are aligned right. `none` when it has no line."""
    rows = [f"| {' | '.join(line)} |" for line in lines]
    if not rows:
        return "none"
    rule = ["---"] * (len(head) - numbers) + ["--:"] * numbers
    return "\n".join([f"| {' | '.join(head)} |", f"| {' | '.join(rule)} |", *rows])


def _bullets(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {plain(sentence)}" for sentence in sentences) or "None."


def _forecast(told: Forecasted) -> str:
    said = " ".join(plain(sentence) for sentence in foretold.sentences(told))
    rows = [[plain(cell) for cell in line] for line in foretold.lines(told)]
    return f"{plain(foretold.MEANING)}\n\n{said}\n\n{_table(foretold.HEADS, rows)}"


def _head(result: Result) -> str:
    return (
        f"{plain(wording.verdict_sentence(result))}\n\n"
        "Percentages are changes of held-out loss per byte against the untouched base on the same documents; below 0 "
        "is better. Brackets hold the 95% interval (paired bootstrap over documents).\n\n"
        f"Base {plain(result.base)}, {short(result.parameters)} parameters, rewarm {plain(result.rewarm)}, "
        f"{plain(result.created)}."
    )


def _matrix(result: Result) -> str:
    columns = wording.columns(result)
    head = [
        "Model",
        "Tokens",
        *(f"{plain(one.name)} ({one.words})" for one in columns),
    ]
    rows = [*wording.own_rows(result), *wording.control_rows(result)]
    lines = [
        [_model(result, row), short(row.tokens), *(_cell(result, row, column.name) for column in columns)]
        for row in rows
    ]
    legend = "▼ better, ▲ worse, ≈ not distinguishable from noise; after the interval, the loss in nats per byte."
    return f"{_table(head, lines)}\n\n{legend}"


def _model(result: Result, row: Row) -> str:
    facts = ["" if row.kind in ("base", "stage") else row.kind, wording.methods(result, row)]
    said = ", ".join(filter(None, facts))
    return f"{plain(row.name)} ({said})" if said else plain(row.name)


def _cell(result: Result, row: Row, column: str) -> str:
    cell = row.cells.get(column)
    if cell is None:
        return "not scored"
    if cell.verdict == "base":
        return wording.nats(cell.loss)
    change = wording.percent_with_interval(wording.change(result, row, column))
    return f"{wording.SYMBOLS[cell.verdict]} {change}, {wording.nats(cell.loss)}"


def _months(result: Result, held: Months) -> str:
    lines = [
        [plain(name), *map(months.cell, cells)]
        for name, cells in zip(held.names, months.changes(result, held), strict=True)
    ]
    about = "Change of loss against the base in percent; rows are models, columns the held-out text of each stage."
    means = [f"- {name}: {value} ({meaning})" for name, value, meaning in months.summary(held)]
    table = _table(["Model after", *map(plain, held.names)], lines, numbers=len(held.names))
    return "\n\n".join([about, table, "\n".join(means)])


def _vocabulary(held: Vocabulary) -> str:
    lines = [[plain(line[0]), *line[1:]] for line in vocabulary.lines(held)]
    return f"{plain(vocabulary.about(held))}\n\n{_table(vocabulary.HEADS, lines, numbers=len(vocabulary.HEADS) - 1)}"


def _languages(held: Languages) -> str:
    parts = [plain(languages.about(held))]
    for title, meaning, table in languages.parts(held):
        parts += [f"### {title}", plain(meaning), _entries(table)]
    return "\n\n".join(parts)


def _facts(result: Result) -> str:
    assert result.facts is not None  # otherwise there is no such section
    parts = [*meanings.FACTS, meanings.FACT_METRICS]
    for one in result.facts.sets:
        parts += [f"### {plain(one.name)}", plain(facts.about(one)), _entries(facts.known(one))]
        for kind in one.rows[0].cells:
            parts += [f"{kind.capitalize()} facts, with changes against the base:", _entries(facts.measured(one, kind))]
        parts += ["Without what measures nothing:", _entries(facts.apart(one))]
        parts += [_bullets(facts.notes(one))] if facts.notes(one) else []
    ratios = facts.ratios(result.facts)
    parts += ["### Forgotten for what was learned", meanings.FUAR, _entries(ratios)] if ratios.lines else []
    return "\n\n".join(parts)


def _pairs(result: Result) -> str:
    parts = [plain(pairs.MEANING)]
    for one in result.pairs:
        parts += [f"### {plain(one.name)}", plain(pairs.about(one)), _entries(pairs.measured(one))]
    learned = pairs.trained(result)
    parts += ["### While it learned from pairs", plain(pairs.TRAINED), _entries(learned)] if learned.lines else []
    return "\n\n".join(parts)


def _suites(held: Suites) -> str:
    means = suites.abilities(held)
    parts = [plain(suites.MEANING), *([_entries(means)] if means.lines else []), plain(suites.apart_note(held))]
    for one in held.sets:
        parts += [f"### {plain(one.name)}", plain(suites.about(one)), _entries(suites.measured(one))]
        parts += [_bullets(suites.notes(one))] if suites.notes(one) else []
    return "\n\n".join(filter(None, parts))


def _entries(table: facts.Table) -> str:
    return _table([plain(word) for word in table.head], [[plain(str(entry)) for entry in line] for line in table.lines])


def _trade(result: Result) -> str:
    rows = [row for row in (result.final(), *wording.control_rows(result)) if row.kind != "base"]
    lines = [
        [
            _model(result, row),
            wording.percent_with_interval(wording.mean_change(result, row, "old")),
            wording.percent_with_interval(wording.mean_change(result, row, "new")),
        ]
        for row in rows
    ]
    return _table(["Final model", "Old text, mean", "New text, mean"], lines)


def _curves(result: Result) -> str:
    head = ["Run", "Leg", "Steps kept", "First loss, nats/token", "Last loss", "Highest rate", "Last rate"]
    lines = [
        [plain(one.run or "this run"), plain(one.leg), str(len(one.loss)), f"{one.loss[0]:.4f}", f"{one.loss[-1]:.4f}",
         f"{max(one.rate):.3g}", f"{one.rate[-1]:.3g}"]
        for one in result.curves
        if one.loss and one.rate
    ]  # fmt: skip
    last = {(probe.run, probe.leg): probe for probe in result.probes}
    corpora = [column.name for column in wording.columns(result)]
    probed = [
        [plain(probe.run or "this run"), plain(probe.leg), short(probe.tokens),
         *(wording.nats(probe.losses[name]) if name in probe.losses else "not scored" for name in corpora)]
        for probe in last.values()
    ]  # fmt: skip
    probe_head = ["Run", "Leg", "Last probe, tokens", *(f"{plain(name)}, nats/byte" for name in corpora)]
    return f"{_table(head, lines, numbers=5)}\n\n{_table(probe_head, probed, numbers=len(corpora) + 1)}"


def _shares(result: Result) -> str:
    head = ["Run", "Stage", "Corpus", "Replay", "Planned", "Realised", "Tokens", "Passes"]
    lines = [
        [plain(one.run or "this run"), plain(one.stage), plain(one.corpus), "replay" if one.replay else "",
         wording.share(one.planned), wording.share(one.realised), short(one.tokens) + wording.learned(one),
         wording.passes(one.passes)]
        for one in result.shares
    ]  # fmt: skip
    return _table(head, lines, numbers=4)


def _corpora(result: Result) -> str:
    head = [
        "Corpus",
        "Dropped from training",
        "Documents",
        "Tokens",
        "Bytes",
        "Held out",
        "Rows read",
        "Bad rows",
    ]
    lines = [
        [plain(f"{one.name} ({one.label})" if one.label else one.name),
         "; ".join(f"{count}: {plain(reason)}" for reason, count in one.dropped.items()) or "none",
         str(one.documents), short(one.tokens), short(one.bytes), str(one.held_out), str(one.rows),
         str(sum(one.bad_rows.values()))]
        for one in result.corpora
    ]  # fmt: skip
    return "\n\n".join(filter(None, [_table(head, lines, numbers=6), "\n".join(_bad_rows(result))]))


def _bad_rows(result: Result) -> Iterator[str]:
    for one in result.corpora:
        for reason, count in one.bad_rows.items():
            places = ", ".join(plain(place) for place in one.bad_examples.get(reason, [])) or "not kept"
            yield f"- {plain(one.name)}, {wording.counted(count, 'bad row')}: {plain(reason)}. First: {places}"


def _cost(result: Result) -> str:
    head = ["Run", "Leg", "Tokens", "Steps", "Time", "Tokens/s", "FLOPs", "Of matmul limit"]
    lines = [
        [plain(one.run or "this run"), plain(one.leg), short(one.tokens), str(one.steps), clock(one.seconds),
         short(one.tokens_per_second), f"{one.flops:.2e}",
         "not measured" if one.matmul_share is None else wording.share(one.matmul_share)]
        for one in result.costs
    ]  # fmt: skip
    return _table(head, lines, numbers=6)


def _metrics(result: Result) -> str:
    lines = [[line.name, plain(line.value), line.meaning] for line in meanings.metric_lines(result.metrics)]
    return _table(["Metric", "Value", "Meaning"], lines)


def _stamp(result: Result) -> str:
    stamps = {
        **{f"hash of {name}": value for name, value in wording.hashes(result).items()},
        **result.machine,
    }
    plan = yaml.safe_dump(result.plan, sort_keys=False, allow_unicode=True, width=100)
    listed = "\n".join(f"- {plain(name)}: {plain(value)}" for name, value in stamps.items())
    return "\n\n".join(
        [
            "This command repeats the run:",
            _fenced(result.command),
            "Plan, as resolved:",
            _fenced(plan, "yaml"),
            listed,
        ]
    )


def _fenced(text: str, language: str = "") -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
