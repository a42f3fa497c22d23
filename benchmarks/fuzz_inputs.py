"""What readers are fuzzed with: seeds with a few edits, and plans with values that nobody would write."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Sequence
from typing import Any

import yaml
from fuzz_targets import LEARN, PLAN
from hypothesis import strategies as st

PIECES = (
    b"\n", b"\r\n", b"\r", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\\ud800", b"\xed\xa0\x80", b"\xe2\x80\xa8",
    b"{", b"}", b"[", b"]", b'"', b"'", b",", b":", b"null", b"NaN", b"1e999", b"9" * 400, b"<", b">", b"&", b"]]>",
    b"<!DOCTYPE a>", b"&x;", b"{{", b"}}", b"[[", b"]]", b"{|", b"<ref>", b"- ", b"? ", b"&a ", b"*a", b"!!int ",
    b"!!python/name:os.system ", b"<<: ", b"2021-99-99", b"---\n", b"|\n", b"%", b"\t", b"../", b"~",
)  # fmt: skip
"""Bytes that formats give a meaning."""
ATTACKS = (
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "';alert(1)//", "</style><b>",
    "</title><svg onload=1>",
    "&lt;script&gt;", "&#60;script&#62;", "{{ 7*7 }}", "{% raw %}", "<!--", "-->", "]]>", "\u2028",
    "\x00", "|", "`", "$x$",
    "javascript:alert(1)", "\ufeff", "\U0001f9e8", "\x1b[31m",
)  # fmt: skip
"""Texts that could end what they stand in."""


def edited(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """A seed with some bytes cut out, changed, doubled or put in; or any bytes."""

    @st.composite
    def draw_edited(draw: st.DrawFn) -> bytes:
        content = draw(st.sampled_from(list(seeds)))
        for _ in range(draw(st.integers(0, 6))):
            at = draw(st.integers(0, len(content)))
            end = at + draw(st.integers(0, 12))
            piece = draw(st.one_of(st.sampled_from(PIECES), st.binary(max_size=4), st.just(content[at:end] * 2)))
            content = content[:at] + piece + content[end:]
        return content

    return st.one_of(
        draw_edited(), st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join), st.binary(max_size=200)
    )


def attacks() -> st.SearchStrategy[bytes]:
    """Text for a page."""
    pieces = st.one_of(st.sampled_from(ATTACKS), st.text(max_size=8))
    return st.lists(pieces, min_size=1, max_size=6).map(lambda parts: "".join(parts).encode("utf-8", "replace"))


def _scalars() -> st.SearchStrategy[Any]:
    words = st.sampled_from(["", "old", "new", "june", "x", "5%", "1M", "1/0", "9" * 400 + "/1", "inf", "../x", "a/b"])
    numbers = st.one_of(st.integers(), st.floats(), st.sampled_from([10**400, -1, 0, 1e308]))
    dates = st.sampled_from([datetime.date(2021, 1, 3), datetime.datetime(2021, 1, 3, 1), b"x"])
    return st.one_of(st.none(), st.booleans(), words, numbers, dates, st.text(max_size=6))


def anything() -> st.SearchStrategy[Any]:
    """A value as YAML may give it: keys may be numbers, dates or null."""
    keys = st.one_of(
        st.sampled_from(["type", "path", "name", "from", "share", "data", "tokens", "corpus", "stage"]), _scalars()
    ).filter(lambda key: key == key)
    return st.recursive(
        _scalars(),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
        max_leaves=8,
    )


def plans() -> st.SearchStrategy[Any]:
    """A plan, of a run or of tasks, in which some values are anything; now and then anything alone."""

    @st.composite
    def draw_plan(draw: st.DrawFn) -> Any:
        values = copy.deepcopy(yaml.safe_load(draw(st.sampled_from([PLAN, LEARN]))))
        for _ in range(draw(st.integers(1, 3))):
            holder: Any = values
            while True:
                keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
                new = [draw(st.sampled_from(_KEYS))] if isinstance(holder, dict) else []
                key = draw(st.sampled_from([*keys, *new])) if keys or new else None
                if key is None:
                    break
                inner = holder[key] if key in keys else None
                if isinstance(inner, dict | list) and inner and draw(st.booleans()):
                    holder = inner
                    continue
                holder[key] = draw(anything())
                break
        return values

    return st.one_of(draw_plan(), st.dictionaries(st.sampled_from(_KEYS), anything(), max_size=6))


_KEYS = (
    "base", "output_dir", "corpora", "stages", "watch", "probes", "suites", "clean", "languages", "controls", "replay",
    "schedule", "objective", "retention", "adapter", "mixture", "select", "release", "streams", "stream", "tasks",
    "ways", "orders", "seeds", "classes", "tuning", "half_life", "precision", "seq_len", "tokens", "epochs", "from",
    "adam_betas", "compile", "old_corpus", "revision", "where", "template", "type", "path", "unlabelled",
)  # fmt: skip
