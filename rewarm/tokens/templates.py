"""Chat templates: conversations -> the text a model is given, and which characters of it are the assistant's.

Only tokens that the template itself writes are special: in what people say, the name of a special token is text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rewarm.corpora.conversations import Message
from rewarm.tokens.bounded import Unbounded, bounded_memory, bounded_time
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import UserError

PLAIN = (
    "{%- for message in messages -%}"
    "{{- '### ' + message['role'] | capitalize + ':\\n' + message['content'] | trim -}}"
    "{%- if message['role'] == 'assistant' -%}{{- eos_token -}}{%- endif -%}"
    "{%- if not loop.last or add_generation_prompt -%}{{- '\\n\\n' -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '### Assistant:\\n' -}}{%- endif -%}"
)
"""For tokenizers without a template: no new tokens, and every answer ends with the tokenizer's end of text."""
_WITH_BOS = "{{- bos_token -}}"
_BLOCKS = re.compile(r"\{%-?\s*generation\s*-?%\}")
_MARKS = [chr(code) for code in range(0xE000, 0xF8FF)]
_DATE = "26 Jul 2024"
"""Llama 3's templates write today's date unless they are told another: tokens must not depend on the day."""
_REMEDY = "Set the corpus's template to plain, or to a Jinja template of your own with {% generation %} around answers"


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation as a model reads it. `spans` are the characters (first, end) of the answers, each with the token
    that ends its turn; `unclosed` when the last answer has none, so that an end of text must follow. `mark` stands
    inside names of special tokens that people wrote, and is no part of the text; "" when there are none."""

    text: str
    spans: tuple[tuple[int, int], ...]
    unclosed: bool
    mark: str


@dataclass(frozen=True)
class Template:
    """A Jinja template with what it may name. `name` is what a plan calls it."""

    name: str
    source: str
    tokenizer: TextTokenizer

    def __reduce__(self) -> tuple[Any, ...]:
        """How it goes to another process: without what was compiled."""
        return Template, (self.name, self.source, self.tokenizer)

    @property
    def digest(self) -> str:
        """Of everything that decides about its text."""
        parts = (self.source, sorted(self.tokenizer.chat.named.items()), _DATE)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def render(self, messages: Sequence[Message], place: str = "") -> Rendered:
        """A conversation that ends with an answer.

        UserError when the template refuses it, or when it cannot be told which part of its text is the answer.
        """
        mark, marked = self._marked(messages)
        try:
            text, blocks = self._text(marked, blocks=True)
            spans = self._from_blocks(marked, text, blocks) if self._has_blocks else self._by_prefixes(marked, text)
            ends, closing = [], 0
            for number, (first, end) in enumerate(spans):
                closing = self._end_of_turn(text, end, last=number == len(spans) - 1)
                ends.append((first, closing or len(text)))
        except _Unfit as error:
            where = f"{place}: " if place else ""
            raise UserError(f"{where}the chat template '{self.name}' {error}. {_REMEDY}") from None
        return Rendered(text, tuple(ends), not closing, mark)

    def prompt(self, messages: Sequence[Message]) -> str:
        """What a model is given to answer a conversation that ends with a question."""
        try:
            return self._text(messages, prompt=True)[0]
        except _Unfit as error:
            raise UserError(f"the chat template '{self.name}' {error}. {_REMEDY}") from None

    @cached_property
    def _has_blocks(self) -> bool:
        return _BLOCKS.search(self.source) is not None

    @cached_property
    def special(self) -> re.Pattern[str]:
        """Finds the names of special tokens in a text."""
        names = sorted(self.tokenizer.chat.special, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, names)) or r"(?!)")

    def _marked(self, messages: Sequence[Message]) -> tuple[str, Sequence[Message]]:
        """The conversation with names of special tokens broken by a mark that nobody wrote."""
        contents = [message["content"] for message in messages]
        if not any(self.special.search(content) for content in contents):
            return "", messages
        mark = next(mark for mark in _MARKS if not any(mark in content for content in contents))

        def broken(found: re.Match[str]) -> str:
            return found.group()[0] + mark + found.group()[1:]

        return mark, [{**message, "content": self.special.sub(broken, message["content"])} for message in messages]

    def _text(
        self, messages: Sequence[Message], prompt: bool = False, blocks: bool = False
    ) -> tuple[str, list[tuple[int, int]]]:
        from jinja2.exceptions import TemplateError
        from transformers.utils.chat_template_utils import render_jinja_template

        variables: Mapping[str, Any] = {"date_string": _DATE, **self.tokenizer.chat.named}
        try:
            with bounded_time():
                rendered: Any = render_jinja_template(
                    [list(messages)],
                    chat_template=self.source,
                    add_generation_prompt=prompt,
                    return_assistant_tokens_mask=blocks and self._has_blocks,
                    **variables,
                )
        except (Unbounded, MemoryError, RecursionError):
            raise _Unfit("does not come to an end: it takes too much time, memory or depth") from None
        except (
            TemplateError,
            TypeError,
            ValueError,
            LookupError,
            AttributeError,
            ArithmeticError,
            SyntaxError,
        ) as error:
            raise _Unfit(f"refuses this conversation: {error}") from None
        texts, found = rendered  # its annotation names the texts alone
        return texts[0], found[0] if found else []

    def _from_blocks(
        self, messages: Sequence[Message], text: str, blocks: Sequence[tuple[int, int]]
    ) -> list[tuple[int, int]]:
        """What the template itself calls generated."""
        answers = sum(message["role"] == "assistant" for message in messages)
        if len(blocks) != answers:
            raise _Unfit(f"marks {len(blocks)} parts as generated in a conversation with {answers} answers")
        return [(first, first + len(text[first:end].rstrip())) for first, end in blocks]

    def _by_prefixes(self, messages: Sequence[Message], text: str) -> list[tuple[int, int]]:
        """An answer begins where the prompt for it ends, which must be how the whole begins."""
        found: list[tuple[int, int]] = []
        for number, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            prompt, _ = self._text(messages[:number], prompt=True)
            if not text.startswith(prompt) or (found and found[-1][1] > len(prompt)):
                raise _Unfit("writes a conversation in another way once it goes on, so that answers cannot be found")
            content = message["content"].strip()
            at = text.find(content, len(prompt))
            if at < 0:
                raise _Unfit(f"does not write the answer as it is: {content[:40]!r}")
            found.append((len(prompt), at + len(content)))
        return found

    def _end_of_turn(self, text: str, end: int, last: bool) -> int:
        """Where the token ends that ends an answer; 0 where none is and the text ends, too."""
        # A template that marks what is generated may have counted the token in.
        before = next((one for one in self.special.finditer(text, max(0, end - 80), end) if one.end() == end), None)
        if before is not None:
            return end
        rest = text[end:]
        follows = self.special.match(rest.lstrip())
        if follows is not None:
            return end + len(rest) - len(rest.lstrip()) + follows.end()
        if last and not rest.strip():
            return 0
        raise _Unfit("writes no special token after an answer, so that a model could not learn to stop")


class _Unfit(ValueError):
    """What is wrong with a template, as the rest of a sentence."""


def plain(tokenizer: TextTokenizer) -> str:
    """The plain template for a tokenizer: with the token that begins texts, if the tokenizer itself puts it there."""
    return _WITH_BOS + PLAIN if tokenizer.prefix and "bos_token" in tokenizer.chat.named else PLAIN


def choose(given: str, tokenizer: TextTokenizer) -> Template:
    """The template that a plan names. UserError when the tokenizer has none, or for one that no answer comes out of."""
    own = tokenizer.chat.template
    if given == "tokenizer" and own is None:
        raise UserError("the tokenizer has no chat template (template: tokenizer). Set template to plain, or give one")
    if given in ("auto", "tokenizer") and own is not None:
        found = Template("tokenizer", own, tokenizer)
    elif given in ("auto", "plain"):
        found = Template("plain", plain(tokenizer), tokenizer)
    elif "{{" in given or "{%" in given:
        found = Template("given", given, tokenizer)
    else:
        found = Template(given, _read(given), tokenizer)
    with bounded_memory():
        found.render([{"role": "user", "content": "question"}, {"role": "assistant", "content": "answer"}])
    return found


def _read(name: str) -> str:
    from pathlib import Path

    file = Path(name).expanduser()
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"template '{name}' cannot be read: {error}. Allowed: auto, tokenizer, plain, a file, or a Jinja template"
        ) from None
