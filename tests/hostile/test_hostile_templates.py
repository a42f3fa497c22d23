"""Chat templates come with models, and are programs: they reach nothing, and they end."""

from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path

import pytest

from rewarm.tokens import templates
from rewarm.tokens.bounded import Unbounded, bounded_memory, bounded_time
from rewarm.tokens.templates import choose
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import UserError

ESCAPES = {
    "subclasses": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals": "{{ cycler.__init__.__globals__.os.popen('touch ran') }}",
    "attr": "{{ messages|attr('__class__') }}",
    "format": "{{ '{0.__class__.__init__.__globals__}'.format(messages) }}",
    "format_map": "{{ '{a.__class__}'.format_map({'a': messages}) }}",
    "mutates": "{{ messages.append({}) }}",
    "namespace": "{% set n = namespace(__class__=1) %}{{ n }}",
    "include": "{% include '/etc/passwd' %}",
    "import": "{% import 'os' as os %}{{ os }}",
    "raises": "{{ raise_exception('no') }}",
    "range": "{% for a in range(10**9) %}{% endfor %}",
    "division": "{{ 1 / 0 }}",
    "overflow": "{{ 2.0 ** 100000 }}",
    "syntax": "{% if %}",
    "nested blocks": "{% for a in [1] %}" * 30 + "{% endfor %}" * 30,
    "recursion": "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
    "half a pair": "{{ '\\ud800' }}",
}
LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
GROWING = {
    "product": "{{ 'x' * 10**11 }}",
    "doubling": "{% set n = namespace(x='xxxxxxxx') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "width": "{{ '%999999999999d' | format(1) }}",
}


@pytest.mark.parametrize("name", ESCAPES)
def test_a_template_that_reaches_out_is_refused(
    name: str, tiny_tokenizer_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="the chat template 'given'"):
        choose(ESCAPES[name], TextTokenizer(tiny_tokenizer_folder))
    assert list(tmp_path.iterdir()) == []


def test_a_template_that_never_ends_is_ended(tiny_tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in a thread, where corpora are tokenised."""
    monkeypatch.setattr(templates, "bounded_time", lambda: bounded_time(0.2))
    tokenizer, found = TextTokenizer(tiny_tokenizer_folder), []

    def attempt() -> None:
        with pytest.raises(UserError, match="does not come to an end"):
            choose(LOOP, tokenizer)
        found.append("ended")

    attempt()
    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join(20)
    assert found == ["ended", "ended"]
    assert choose("plain", tokenizer).name == "plain"


@pytest.mark.parametrize("name", GROWING)
def test_a_template_that_grows_is_ended(
    name: str, tiny_tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(templates, "bounded_memory", lambda: bounded_memory(200_000_000))
    with pytest.raises(UserError, match="does not come to an end"):
        choose(GROWING[name], TextTokenizer(tiny_tokenizer_folder))
    assert len(bytearray(400_000_000)) == 400_000_000  # the limit is gone again


def test_the_clock_stops_with_the_work() -> None:
    with bounded_time(0.3):
        pass
    end = time.monotonic() + 0.8
    while time.monotonic() < end:
        pass
    with pytest.raises(Unbounded), bounded_time(0.1):
        sum(number for number in itertools.count() if number < 0)
