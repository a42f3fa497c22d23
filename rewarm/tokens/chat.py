"""Conversations -> token ids, and which of them are learned: the answers, each with the token that ends its turn.

The ids are those that a tokenizer's `apply_chat_template` gives. A token is learned when any of its characters is.

Shapes: N tokens, D documents.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarm.corpora import Corpus
from rewarm.corpora.chat import Chat
from rewarm.corpora.conversations import Message
from rewarm.tokens.shards import Learned
from rewarm.tokens.templates import Rendered, Template, choose
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import Document


@dataclass(frozen=True, slots=True)
class Turns:
    """A conversation's ids and which of them are learned, of one length."""

    ids: list[int]
    learned: NDArray[np.bool_]


class ChatEncoder:
    """Makes tokens of conversations. `ends` are the ids that end an answer, and with it a model's turn."""

    def __init__(self, template: Template, learn: str = "answers") -> None:
        self.template, self.tokenizer, self.learn = template, template.tokenizer, learn

    @property
    def key(self) -> list[str]:
        """What decides about the tokens besides the corpus's options and the tokenizer."""
        return ["chat", self.template.digest]

    @property
    def ends(self) -> tuple[int, ...]:
        """The ids that end an answer, in the middle of a conversation or at its end, ascending."""
        question, answer = {"role": "user", "content": "question"}, {"role": "assistant", "content": "answer"}
        found = set()
        for messages in ([question, answer], [question, answer, question, answer]):
            try:
                turns = self.encode([messages])[0]
            except ValueError:  # a template for single questions
                continue
            after = np.append(turns.learned[1:], False)
            found |= {turns.ids[at] for at in np.flatnonzero(turns.learned & ~after)}
        return tuple(sorted(found))

    def encode(self, conversations: Sequence[Sequence[Message]], places: Sequence[str] = ()) -> list[Turns]:
        """The tokens of conversations that end with an answer; UserError, with its place, for one that cannot be."""
        named = places or [""] * len(conversations)
        rendered = [self.template.render(one, place) for one, place in zip(conversations, named, strict=True)]
        plain = iter(self.tokenizer.encode_rendered([one.text for one in rendered if not one.mark]))
        return [self._turns(one, *(self._spelled(one) if one.mark else next(plain))) for one in rendered]

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """The ids a model is given to answer a conversation that ends with a question."""
        return self.tokenizer.encode_rendered([self.template.prompt(messages)])[0][0]

    def pieces(self, document: Document) -> list[tuple[str, bool]]:
        """A document's text as the model reads it, in pieces that are learned or not."""
        rendered = self.template.render(document.meta["messages"], document.place)
        pieces, at = [], 0
        for first, end in rendered.spans:
            pieces += [(rendered.text[at:first], False), (rendered.text[first:end], True)]
            at = end
        pieces.append((rendered.text[at:], False))
        if rendered.unclosed:
            pieces.append((self.tokenizer.name_of(self.tokenizer.eos_id), True))
        everything = self.learn == "all"
        return [(text.replace(rendered.mark, ""), everything or learned) for text, learned in pieces if text]

    def encode_flat(
        self, documents: Sequence[Document]
    ) -> tuple[NDArray[np.unsignedinteger[Any]], NDArray[np.int64], Learned | None]:
        """The ids of documents of a chat corpus end to end (N,), the number of each one's ids (D,), and which are
        learned; None when all are."""
        found = self.encode([one.meta["messages"] for one in documents], [one.place for one in documents])
        ids = array(self.tokenizer.dtype.char)
        for turns in found:
            ids.fromlist(turns.ids)
        lengths = np.array([len(turns.ids) for turns in found], np.int64)
        flat = np.frombuffer(ids, self.tokenizer.dtype)
        if self.learn == "all":
            return flat, lengths, None
        sizes = np.array([_answered(one.meta["messages"]) for one in documents], np.int64)
        return flat, lengths, (np.concatenate([turns.learned for turns in found]), sizes)

    def _turns(self, rendered: Rendered, ids: list[int], offsets: list[tuple[int, int]]) -> Turns:
        starts_N, ends_N = np.array(offsets, np.int64).reshape(-1, 2).T
        learned_N = np.zeros(len(ids), bool)
        for first, end in rendered.spans:
            learned_N |= (starts_N < end) & (ends_N > first)
        if rendered.unclosed:
            return Turns([*ids, self.tokenizer.eos_id], np.append(learned_N, True))
        return Turns(list(ids), learned_N)

    def _spelled(self, rendered: Rendered) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids of a conversation in which people wrote names of special tokens, and their places in the marked text."""
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        for first, piece, special in self._pieces(rendered.text):
            if special is not None:
                ids.append(special)
                offsets.append((first, first + len(piece)))
                continue
            kept = [first + place for place, character in enumerate(piece) if character != rendered.mark]
            own, places = self.tokenizer.encode_spelled(piece.replace(rendered.mark, ""))
            ids += own
            offsets += [(kept[start], kept[end - 1] + 1) if end > start else (first, first) for start, end in places]
        return ids, offsets

    def _pieces(self, text: str) -> Iterator[tuple[int, str, int | None]]:
        """The text cut at special tokens: where each piece begins, and the id of one that is such a token."""
        at = 0
        for found in self.template.special.finditer(text):
            if found.start() > at:
                yield at, text[at : found.start()], None
            yield found.start(), found.group(), self.tokenizer.chat.special[found.group()]
            at = found.end()
        if at < len(text):
            yield at, text[at:], None


def _answered(messages: Sequence[Message]) -> int:
    """UTF-8 bytes of the answers."""
    return sum(len(one["content"].encode()) for one in messages if one["role"] == "assistant")


def encoder_of(corpus: Corpus, tokenizer: TextTokenizer) -> ChatEncoder | None:
    """How a corpus of conversations becomes tokens; None for any other corpus. UserError for a template that fails."""
    return ChatEncoder(choose(corpus.template, tokenizer), corpus.learn) if isinstance(corpus, Chat) else None
