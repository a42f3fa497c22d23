"""A first plan for a base and some text: what `rewarm init` writes. Every default says why it is what it is."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from rewarm.corpora import Corpus
from rewarm.methods import build
from rewarm.plan import corpus_options, from_values
from rewarm.quantities import short
from rewarm.types import BadRows, UserError

SAMPLE_ROWS = 50
MOST_TOKENS = 50_000_000
USUAL_PEAKS = ((2e8, 1e-3), (1e9, 3e-4), (8e9, 3e-4), (1e11, 1.5e-4))
"""Parameters up to which a usual pre-training peak holds."""


def first_plan(base: str, new: Sequence[str], old: Sequence[str], output_dir: str) -> str:
    """The YAML text of a plan that loads; UserError when the base or some text cannot be used."""
    config = _config(base)
    corpora: dict[str, Any] = {}
    names = [_add(corpora, path) for path in new]
    kept = [_add(corpora, path) for path in old]
    seq_len = min(1024, _positions(config))
    passes = {name: _one_pass(corpora[name]) for name in names}
    batch = _batch_tokens(seq_len, min(passes.values()), _parameters(config))
    peak = _peak(_parameters(config))
    budgets = {name: max(batch, min(MOST_TOKENS, tokens) // batch * batch) for name, tokens in passes.items()}
    replay = {"from": kept[0], "share": 0.05} if kept else {"from": "self", "share": 0.05}
    values = {
        "base": base,
        "output_dir": output_dir,
        "seq_len": seq_len,
        "batch_tokens": batch,
        "corpora": corpora,
        "stages": [
            {
                "name": name,
                "data": name,
                "tokens": budgets[name],
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
    return _written(values, bool(kept))


def _config(base: str) -> dict[str, Any]:
    from transformers import AutoConfig

    try:
        found: dict[str, Any] = AutoConfig.from_pretrained(base, trust_remote_code=False).to_dict()
    except (OSError, ValueError) as error:
        raise UserError(f"base '{base}' has no configuration that could be read: {error}") from error
    return found


def _positions(config: dict[str, Any]) -> int:
    most = config.get("max_position_embeddings") or config.get("n_positions") or 1024
    return int(most)


def _parameters(config: dict[str, Any]) -> float:
    width = config.get("hidden_size") or config.get("n_embd") or 0
    layers = config.get("num_hidden_layers") or config.get("n_layer") or 0
    return float(12 * layers * width**2 + config.get("vocab_size", 0) * width)


def _peak(parameters: float) -> float:
    usual = next((peak for most, peak in USUAL_PEAKS if parameters <= most), USUAL_PEAKS[-1][1])
    return float(f"{usual / 3:.1g}")


def _add(corpora: dict[str, Any], path: str) -> str:
    """Adds a corpus under a name made from its path; its first rows say where the text is."""
    stem = re.sub(r"[^A-Za-z0-9-]+", "-", Path(path.rstrip("/*")).name.split(".")[0]).strip("-") or "corpus"
    name, number = stem, 2
    while name in corpora or name in ("self", "base"):
        name, number = f"{stem}-{number}", number + 1
    options = dict(corpus_options(path))
    corpus = build("corpora", options, f"corpora.{name}")
    assert isinstance(corpus, Corpus)
    bad = BadRows()
    if not list(islice(corpus.read(bad), SAMPLE_ROWS)):
        field = _text_field(corpus.files()[0]) if options["type"] == "jsonl" else None
        if field is None:
            raise UserError(f"'{path}': none of its first {bad.rows} rows holds text ({dict(bad.counts)})")
        options["text_field"] = field
    corpora[name] = options if len(options) > 2 or options["type"] == "code" else options["path"]
    return name


def _text_field(file: Path) -> str | None:
    """The field with the longest strings in the first rows of a JSON-lines file."""
    from rewarm.corpora.streams import blocks

    lines = next(iter(blocks(file)), b"").split(b"\n")[:SAMPLE_ROWS]
    lengths: dict[str, int] = {}
    for line in lines[:-1] or lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            for key, value in row.items():
                if isinstance(value, str):
                    lengths[key] = lengths.get(key, 0) + len(value)
    return max(lengths, key=lambda key: lengths[key]) if lengths else None


def _batch_tokens(seq_len: int, smallest: int, parameters: float) -> int:
    """32 k tokens a step (256 k from a billion parameters on), less where that would leave under 100 steps."""
    usual = 262_144 if parameters >= 1e9 else 32_768
    return seq_len * max(4, min(usual, smallest // 100) // seq_len)


def _one_pass(options: Any) -> int:
    """Tokens of about one pass over a corpus, nine tenths of it at an assumed 4 bytes per token."""
    corpus = build("corpora", corpus_options(options))
    assert isinstance(corpus, Corpus)
    packed = {".zst": 3.5, ".gz": 3.5, ".parquet": 2.5}
    size = sum(file.stat().st_size * packed.get(file.suffix, 1.0) for file in corpus.files())
    return round(size / 4 * 0.9)


def _written(values: dict[str, Any], has_old: bool) -> str:
    comments = {
        "stages": (
            "# learning_rate: a third of a usual pre-training peak for this size, a rule of thumb to be swept. Published\n"
            "# updates used between 1/60 and 1x of the original peak: higher learns more and forgets more.\n"
            f"# tokens: about one pass (estimated), at most {short(MOST_TOKENS)}."
        ),
        "watch": "# held-out documents of these corpora are scored and never trained on",
        "controls": "# the same run without replay, to show what replay does; also: joint, same-data, alone",
        "corpora": "# options of each: rewarm methods corpora"
        + (
            ""
            if has_old
            else "\n# no old text was given: the model's own samples are replayed, and forgetting is not measured"
        ),
    }
    lines = ["# Written by rewarm init. `rewarm check` validates it, `rewarm run` runs it."]
    for key, value in values.items():
        if key in comments:
            lines.append(comments[key])
        # Through JSON: values used twice would be written as YAML anchors.
        plain = json.loads(json.dumps({key: value}))
        lines.append(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120).rstrip())
    return "\n".join(lines) + "\n"
