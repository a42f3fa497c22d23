"""A Hugging Face tokenizer folder as a plain function: texts -> token ids, each document closed by EOS.

Documents start with BOS when the tokenizer itself puts it there, so that training and use agree.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rewarm.types import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

MAX_CHARACTERS = 500_000
"""Longer texts are tokenised in pieces cut at white space: the encoder's cost and memory grow faster than linearly.
A tokenizer that puts a blank of its own before every piece (SentencePiece does) takes them whole."""
FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
"""What is read of a tokenizer's folder."""
SENTINELS = "<extra_id_{}>"
"""What T5 and its kin call the tokens, numbered from 0, that stand for spans taken out of a text."""


@dataclass(frozen=True, slots=True)
class ChatNames:
    """What a tokenizer's folder says of conversations: its chat template, if it has one, the tokens that templates may
    name (`eos_token`: its text), and every special token's id by its text."""

    template: str | None
    named: dict[str, str]
    special: dict[str, int]

    @classmethod
    def read(cls, folder: Path, tokenizer: Tokenizer) -> ChatNames:
        """From the folder's files. Of several templates it is the default one."""
        config = folder / "tokenizer_config.json"
        values: dict[str, Any] = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
        file = folder / "chat_template.jinja"
        template = file.read_text(encoding="utf-8") if file.is_file() else values.get("chat_template")
        if isinstance(template, list):
            template = next((one["template"] for one in template if one.get("name") == "default"), None)
        named = {}
        for key in ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"):
            token = values.get(key)
            name = token.get("content") if isinstance(token, dict) else token
            if isinstance(name, str):
                named[key] = name
        added = tokenizer.get_added_tokens_decoder()
        return cls(template, named, {token.content: number for number, token in added.items() if token.special})


class TextTokenizer:
    """Texts to ids by the fast tokenizer in `folder` (its `tokenizer.json`), with the folder's EOS and BOS.

    The name of a special token inside a text, such as "<|endoftext|>", is text: it is spelled out in ordinary tokens.
    Otherwise a corpus could end documents, or hold control tokens, that are not there.
    `vocab_size` counts every id the tokenizer can give; `dtype` is the smallest unsigned type that holds them.
    """

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        file = folder / "tokenizer.json"
        if not file.is_file():
            raise UserError(f"'{folder}' holds no tokenizer.json: rewarm needs a fast (tokenizers library) tokenizer")
        self._tokenizer: Tokenizer = Tokenizer.from_file(str(file))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True
        self.folder = folder
        self.eos_id = self._end_of_text(folder)
        self.prefix = self._beginning()
        self._longest = MAX_CHARACTERS if self._ids("a b") == [*self._ids("a"), *self._ids(" b")] else None
        self.vocab_size = max(self._tokenizer.get_vocab(with_added_tokens=True).values()) + 1
        self.dtype = np.dtype(np.uint16 if self.vocab_size <= 2**16 else np.uint32)
        self.hash = hashlib.sha256(file.read_bytes() + str((self.eos_id, self.prefix)).encode()).hexdigest()
        self.chat = ChatNames.read(folder, self._tokenizer)
        self._control: Tokenizer | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """How it goes to another process, which may not see its folder: as the bytes of the folder's files."""
        files = {name: (self.folder / name).read_bytes() for name in FILES if (self.folder / name).is_file()}
        return _made_again, (files,)

    def _end_of_text(self, folder: Path) -> int:
        config = folder / "tokenizer_config.json"
        values: dict[str, Any] = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
        token = values.get("eos_token")
        name = token.get("content") if isinstance(token, dict) else token
        found = self._tokenizer.token_to_id(name) if isinstance(name, str) else self._closing()
        if found is None:
            raise UserError(
                f"the tokenizer in '{folder}' names no end-of-text token (eos_token: {token!r}): documents could not "
                "be closed. Set eos_token in its tokenizer_config.json"
            )
        return int(found)

    def _closing(self) -> int | None:
        """The token that the tokenizer itself puts behind a text, such as BERT's [SEP]."""
        bare = self._ids("a")
        behind = self._tokenizer.encode("a", add_special_tokens=True).ids[-1:]
        return behind[0] if behind != bare[-1:] else None

    def _beginning(self) -> tuple[int, ...]:
        """Ids the tokenizer itself puts before a text: () or (BOS,)."""
        bare = self._ids("a")
        full = self._tokenizer.encode("a", add_special_tokens=True).ids
        start = full[: len(full) - len(bare)] if full[-len(bare) :] == bare else full[: full.index(bare[0])]
        return tuple(start)

    def _named(self, name: str) -> int | None:
        return self._tokenizer.token_to_id(self.chat.named[name]) if name in self.chat.named else None

    def id_of(self, token: str) -> int | None:
        """The id of a token of the vocabulary by its name; None for one that it does not have."""
        found = self._tokenizer.token_to_id(token)
        return None if found is None else int(found)

    @property
    def mask_id(self) -> int | None:
        """The token that stands for a hidden one; None for a tokenizer that has none."""
        return self._named("mask_token")

    @property
    def pad_id(self) -> int | None:
        """The token that fills up rows, if it has one."""
        return self._named("pad_token")

    @property
    def special_ids(self) -> tuple[int, ...]:
        """Every token that is no text: what opens and closes documents, and what the tokenizer calls special."""
        return tuple(sorted({self.eos_id, *self.prefix, *self.chat.special.values()}))

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.unsignedinteger[Any]]]:
        """One id array per text: the prefix, the text, EOS. Uses every core."""
        ids, lengths = self.encode_flat(texts)
        return np.split(ids, np.cumsum(lengths)[:-1]) if len(texts) else []

    def encode_flat(self, texts: Sequence[str]) -> tuple[NDArray[np.unsignedinteger[Any]], NDArray[np.int64]]:
        """The ids of all texts end to end (N,) and the number of each text's ids (D,), as `encode` gives them.

        The lists of numbers that the library gives out are copied one after the other into one buffer: this is the
        part of tokenising that runs on one core, and an array per text would take twice as long.
        """
        pieces: list[str] = []
        last_pieces: set[int] = set()
        for text in texts:
            pieces += _cut(text, self._longest) if self._longest and len(text) > self._longest else (text,)
            last_pieces.add(len(pieces) - 1)
        encodings = self._tokenizer.encode_batch_fast(pieces, add_special_tokens=False)
        typecode = self.dtype.char
        prefix = array(typecode, self.prefix)
        ids = array(typecode)
        ends = []
        begins = True
        for index, encoding in enumerate(encodings):
            if begins:
                ids.extend(prefix)
            ids.fromlist(encoding.ids)
            begins = index in last_pieces
            if begins:
                ids.append(self.eos_id)
                ends.append(len(ids))
        return np.frombuffer(ids, self.dtype), np.diff(ends, prepend=0)

    def encode_rendered(self, texts: Sequence[str]) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """The ids of texts that a chat template wrote, and which characters each stands for; nothing is added.

        Here the names of special tokens are those tokens.
        """
        if self._control is None:
            from tokenizers import Tokenizer

            made = Tokenizer.from_str(self._tokenizer.to_str())
            made.encode_special_tokens = False
            # It adds tokens, and takes blanks out of the places of tokens.
            made.post_processor = None
            self._control = made
        return [(one.ids, one.offsets) for one in self._control.encode_batch(list(texts), add_special_tokens=False)]

    def encode_spelled(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """As `encode_rendered` of one text in which names of special tokens are spelled out."""
        found = self._tokenizer.encode(text, add_special_tokens=False)
        return found.ids, found.offsets

    def name_of(self, number: int) -> str:
        """How the tokenizer writes one id."""
        return self._tokenizer.id_to_token(number) or str(number)

    def as_transformers(self) -> PreTrainedTokenizerFast:
        """The tokenizer as transformers has it, for libraries that ask for one: names of special tokens inside a text
        are those tokens."""
        from tokenizers import Tokenizer
        from transformers import PreTrainedTokenizerFast

        made = Tokenizer.from_str(self._tokenizer.to_str())
        made.encode_special_tokens = False
        named: dict[str, Any] = dict(self.chat.named)
        return PreTrainedTokenizerFast(tokenizer_object=made, chat_template=self.chat.template, **named)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids, special tokens left out."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))


def _made_again(files: dict[str, bytes]) -> TextTokenizer:
    """In another process: the tokenizer whose folder holds these files."""
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            (Path(folder) / name).write_bytes(data)
        return TextTokenizer(Path(folder))


def _cut(text: str, longest: int) -> Iterable[str]:
    start = 0
    while start < len(text):
        end = start + longest
        if end < len(text):
            blank = max(text.rfind("\n", start + 1, end), text.rfind(" ", start + longest // 2, end))
            end = blank if blank > start else end
        yield text[start:end]
        start = end


def train(texts: Iterable[str], vocab_size: int, folder: Path, head: str = "causal") -> None:
    """Trains a byte-level BPE tokenizer with BOS, EOS and padding tokens and saves it as a Hugging Face folder.

    That of a model with head `masked` has a mask token too, and closes texts with EOS by itself; so does that of one
    with head `seq2seq`, which has a hundred sentinels, and opens texts with nothing, as T5's.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|bos|>", "<|eos|>", "<|pad|>"]
    special += {"masked": ["<|mask|>"], "seq2seq": [SENTINELS.format(place) for place in range(100)]}.get(head, [])
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer=trainer)
    around = {"masked": "<|bos|> $A <|eos|>", "seq2seq": "$A <|eos|>"}.get(head, "<|bos|> $A")
    named = [(token, number) for number, token in enumerate(special[:2]) if token in around]
    tokenizer.post_processor = processors.TemplateProcessing(single=around, special_tokens=named)
    more = {"cls_token": special[0], "sep_token": special[1], "mask_token": special[3]} if head == "masked" else {}
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=special[0], eos_token=special[1], pad_token=special[2], **more
    ).save_pretrained(folder)
