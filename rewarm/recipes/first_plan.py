"""A first plan for a base and some text: what `rewarm init` writes. Every default says why it is what it is."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rewarm.corpora import Corpus
from rewarm.kinds import corpus_options
from rewarm.methods import build
from rewarm.models.load import save_tokenizer
from rewarm.plan import from_values
from rewarm.quantities import short
from rewarm.recipes.text_fields import text_fields
from rewarm.river.sampling import look
from rewarm.river.shapes import base_shape
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import UserError

MOST_TOKENS = 1_000_000_000
LONGEST_ROWS = 1024
REPLAY = 0.05
OLD_PASSES = 3.0
"""The budget is kept so small that replay goes through the old text no more often than this."""
HELD_OUT_DOCUMENTS = 50
"""Wanted of every corpus that is watched; with fewer, intervals are wide."""
FEWEST_DOCUMENTS = 20
_MORE_THAN_REPLAY = (
    "retention and adapter: none, because replay comes first. What else there is: rewarm methods. Whether it helps",
    "here: rewarm compare with this file and --vary retention=none,ewc,l2-sp",
)
USUAL_PEAKS = ((2e8, 1e-3), (8e9, 3e-4), (1e11, 1.5e-4))
"""Parameters up to which a usual pre-training peak holds."""


@dataclass(frozen=True, slots=True)
class _Text:
    """A corpus of the plan: its options, the tokens that may be trained on, and remarks for the reader of the plan."""

    options: dict[str, Any]
    trainable: int
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Base:
    """What the base says of itself."""

    positions: int
    parameters: int
    tokenizer: TextTokenizer


def first_plan(base: str, new: Sequence[str], old: Sequence[str], output_dir: str) -> str:
    """The YAML text of a plan that loads; UserError when the base or some text cannot be used."""
    about = _look_at(base)
    texts: dict[str, _Text] = {}
    names = [_add(texts, path, about, trained=True) for path in new]
    kept = [_add(texts, path, about, trained=number == 0) for number, path in enumerate(old)]
    budgets = {name: _budget(texts[name], texts[kept[0]] if kept else None) for name in names}
    seq_len = _row_length(min(budgets.values()), about.positions)
    batch = _batch_tokens(seq_len, min(budgets.values()), about.parameters)
    replay = {"from": kept[0] if kept else "self", "share": REPLAY}
    peak = _peak(about.parameters)
    values = {
        "base": base,
        "output_dir": output_dir,
        "seq_len": seq_len,
        "batch_tokens": batch,
        "corpora": {name: text.options for name, text in texts.items()},
        "stages": [
            {
                "name": name,
                "data": name,
                "tokens": max(batch, budgets[name] // batch * batch),
                "learning_rate": peak,
                "schedule": "rewarm",
                "replay": replay,
            }
            for name in names
        ],
        "watch": [*kept, *names],
        "controls": ["new-only"],
    }
    from_values(values)
    return _written(values, texts, about, bool(kept))


def _look_at(base: str) -> _Base:
    model = base_shape(base)
    with tempfile.TemporaryDirectory() as folder:
        save_tokenizer(base, Path(folder) / "tokenizer")
        tokenizer = TextTokenizer(Path(folder) / "tokenizer")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return _Base(int(getattr(model.config, "max_position_embeddings", None) or LONGEST_ROWS), parameters, tokenizer)


def _add(texts: dict[str, _Text], path: str, base: _Base, trained: bool) -> str:
    """Looks at a corpus and adds it under a name made from its path, which it returns."""
    stem = re.sub(r"[^A-Za-z0-9-]+", "-", Path(path.rstrip("/*")).name.split(".")[0]).strip("-")[:40] or "corpus"
    name, number = stem, 2
    while name in texts or name in ("self", "base"):
        name, number = f"{stem}-{number}", number + 1
    texts[name] = _text(name, path, base, trained)
    return name


def _text(name: str, path: str, base: _Base, trained: bool) -> _Text:
    options = dict(corpus_options(path))
    remarks = []
    corpus = _corpus(name, options)
    fields = text_fields(options["type"], corpus.files()[0])
    if fields and "text" not in fields:
        options["text_field"], *others = fields
        corpus = _corpus(name, options)
        also = f"; also in its rows: {', '.join(others[:4])}" if others else ""
        remarks.append(f"text_field of {name}: the field with the longest texts{also}")
    share = corpus.holdout if trained else 1.0
    found = look(name, corpus, share, base.tokenizer, None, 0.001)
    if not trained:
        return _Text(options, found.tokens, remarks)
    if found.documents < FEWEST_DOCUMENTS:
        raise UserError(
            f"'{path}' holds {found.documents} documents: too few to hold some out and score them. Give at least "
            f"{FEWEST_DOCUMENTS}, for example by splitting the text into a file for each, or a row of JSON lines"
        )
    if found.documents * share < HELD_OUT_DOCUMENTS:
        share = min(0.2, HELD_OUT_DOCUMENTS / found.documents)
        options["holdout"] = f"{100 * share:.2g}%"
        remarks.append(f"holdout of {name}: more than the usual 2%, because it has few documents")
    return _Text(options, round(found.tokens * (1 - share)), remarks)


def _corpus(name: str, options: Mapping[str, Any]) -> Corpus:
    corpus = build("corpora", options, f"corpora.{name}")
    assert isinstance(corpus, Corpus)
    return corpus


def _budget(new: _Text, old: _Text | None) -> int:
    """One pass over the new text, but no more than replay has old text for."""
    one_pass = min(MOST_TOKENS, new.trainable)
    return one_pass if old is None else min(one_pass, round(OLD_PASSES * old.trainable / REPLAY))


def _row_length(smallest: int, positions: int) -> int:
    """A power of two that the base has positions for, and less where 100 steps of four rows would need more text."""
    most = min(LONGEST_ROWS, positions, max(32, smallest // 400))
    return int(2 ** (most.bit_length() - 1))


def _batch_tokens(seq_len: int, smallest: int, parameters: int) -> int:
    """32 k tokens a step (256 k from a billion parameters on), less where that would leave under 100 steps."""
    usual = 262_144 if parameters >= 1e9 else 32_768
    return seq_len * max(1, min(usual, smallest // 100) // seq_len)


def _peak(parameters: int) -> float:
    usual = next((peak for most, peak in USUAL_PEAKS if parameters <= most), USUAL_PEAKS[-1][1])
    return float(f"{usual / 3:.1g}")


def _written(values: Mapping[str, Any], texts: Mapping[str, _Text], base: _Base, has_old: bool) -> str:
    remarks = [remark for text in texts.values() for remark in text.remarks]
    comments = {
        "seq_len": [f"the base has {base.positions} positions and {short(base.parameters)} parameters"],
        "corpora": [
            "every option: rewarm methods corpora",
            *remarks,
            *(
                []
                if has_old
                else ["no --old was given: the model's own samples are replayed, forgetting is not measured"]
            ),
        ],
        "stages": [
            "learning_rate: a third of a usual pre-training peak for this size. It is a rule of thumb: sweep it.",
            "Published updates used from 1/60 to 1 times the original peak; higher learns more and forgets more.",
            f"tokens: about one pass over the new text, at most {short(MOST_TOKENS)}; {REPLAY:.0%} of them are replay",
            *(_MORE_THAN_REPLAY if has_old else ()),
        ],
        "watch": ["held-out documents of these are scored before, during and after, and never trained on"],
        "controls": ["the same run without replay and retention, to show what they do; also: joint, same-data, alone"],
    }
    lines = ["# Written by rewarm init. Next: rewarm check, then rewarm run."]
    for key, value in values.items():
        # A field name of the user's rows may hold a line break, which would end the comment.
        lines += [f"# {' '.join(comment.split())}" for comment in comments.get(key, [])]
        # Through JSON: values used twice would be written as YAML anchors.
        plain = json.loads(json.dumps({key: value}))
        lines.append(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120).rstrip())
    return "\n".join(lines) + "\n"
