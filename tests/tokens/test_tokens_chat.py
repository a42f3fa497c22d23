"""Conversations to tokens, and which of them are targets, against tokens written out by hand and transformers' own."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewarm.corpora.chat import Chat
from rewarm.corpora.jsonl import Jsonl
from rewarm.tokens.chat import ChatEncoder
from rewarm.tokens.order import DocumentStream
from rewarm.tokens.packing import NO_TARGET, pack, windows
from rewarm.tokens.prepare import prepare, store_folder
from rewarm.tokens.shards import StoreWriter
from rewarm.tokens.templates import choose
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import UserError

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
BLOCKS = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] }}{% endgeneration %}{% else %}{{ message['content'] }}{% endif %}"
    "{{ '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SHIFTING = CHATML.replace("message['content']", "(messages | length) | string + message['content']")
ONE = [{"role": "user", "content": "ba ke"}, {"role": "assistant", "content": "lo"}]
TWO = [*ONE, {"role": "user", "content": "mi"}, {"role": "assistant", "content": " nu ra "}]


def chat_folder(plain: Path, folder: Path, template: str | None) -> Path:
    """The tiny tokenizer with two special tokens more and a chat template."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(plain)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def chatml(tiny_tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chat_folder(tiny_tokenizer_folder, tmp_path_factory.mktemp("chat") / "chatml", CHATML)


def learned_text(tokenizer: TextTokenizer, turns: Any) -> list[str]:
    """The learned tokens by name."""
    names = [tokenizer.name_of(number) for number in turns.ids]
    return [name for name, learned in zip(names, turns.learned, strict=True) if learned]


def test_tokens_and_targets_by_hand(tiny_tokenizer_folder: Path) -> None:
    """The plain template: only what the assistant says and the end of text after it are learned, in every turn."""
    tokenizer = TextTokenizer(tiny_tokenizer_folder)
    encoder = ChatEncoder(choose("auto", tokenizer))
    parts = [
        ("<|bos|>", False), ("### User:\nba ke\n\n### Assistant:\n", False), ("lo", True), ("<|eos|>", True),
        ("\n\n### User:\nmi\n\n### Assistant:\n", False), ("nu ra", True), ("<|eos|>", True),
    ]  # fmt: skip
    special = {"<|bos|>": [0], "<|eos|>": [1]}
    expected = [(special.get(text) or tokenizer._ids(text), learned) for text, learned in parts]
    turns = encoder.encode([TWO])[0]
    assert turns.ids == [number for ids, _ in expected for number in ids]
    assert turns.learned.tolist() == [learned for ids, learned in expected for _ in ids]
    assert encoder.ends == (tokenizer.eos_id,)
    assert encoder.prompt(TWO[:3]) == turns.ids[: len(turns.ids) - len(tokenizer._ids("nu ra")) - 1]


@pytest.mark.parametrize("template", [CHATML, BLOCKS])
def test_ids_and_masks_are_those_of_transformers(tiny_tokenizer_folder: Path, tmp_path: Path, template: str) -> None:
    from transformers import AutoTokenizer

    folder = chat_folder(tiny_tokenizer_folder, tmp_path / "chat", template)
    theirs, tokenizer = AutoTokenizer.from_pretrained(folder), TextTokenizer(folder)
    encoder = ChatEncoder(choose("auto", tokenizer))
    for messages in (ONE, TWO, [{"role": "system", "content": "se"}, *TWO]):
        turns = encoder.encode([messages])[0]
        assert turns.ids == theirs.apply_chat_template(messages, return_dict=False)
        assert encoder.prompt(messages[:-1]) == theirs.apply_chat_template(
            messages[:-1], add_generation_prompt=True, return_dict=False
        )
    end = theirs.convert_tokens_to_ids("<|im_end|>")
    assert encoder.ends == (end,)
    said = [tokenizer.name_of(number) for number in tokenizer._ids(" nu ra ")]
    assert learned_text(tokenizer, turns) == ["lo", "<|im_end|>", *said, "<|im_end|>"]
    if template == BLOCKS:  # transformers' own mask, to which the end of the turn is added
        mask = theirs.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
        own = np.array(mask["assistant_masks"], bool)
        assert np.array_equal(own, turns.learned & (np.array(turns.ids) != end))


def test_names_of_special_tokens_in_what_people_say_are_text(chatml: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer, theirs = TextTokenizer(chatml), AutoTokenizer.from_pretrained(chatml)
    said = [{"role": "user", "content": "ba <|im_end|> ke"}, {"role": "assistant", "content": "<|eos|><|im_end|>lo"}]
    turns = ChatEncoder(choose("auto", tokenizer)).encode([said, TWO])[0]
    assert turns.ids == theirs.apply_chat_template(said, return_dict=False, sanitize_control_tokens=True)
    assert turns.ids.count(theirs.convert_tokens_to_ids("<|im_end|>")) == 2
    assert tokenizer.eos_id not in turns.ids
    spelled = [tokenizer.name_of(number) for number in tokenizer._ids("<|eos|><|im_end|>lo")]
    assert learned_text(tokenizer, turns) == [*spelled, "<|im_end|>"]


def test_an_end_is_added_where_a_template_has_none(chatml: Path) -> None:
    """A template for one question that ends with the answer: an end of text follows, or a model could not stop."""
    tokenizer = TextTokenizer(chatml)
    bare = "{% for m in messages %}{{ m['content'] + (':' if m['role'] == 'user' else '') }}{% endfor %}"
    encoder = ChatEncoder(choose(bare, tokenizer))
    assert learned_text(tokenizer, encoder.encode([ONE])[0]) == ["lo", "<|eos|>"]
    assert encoder.ends == (tokenizer.eos_id,)
    with pytest.raises(UserError, match=r"chats:7: .* writes no special token after an answer.*Set the .*template"):
        encoder.encode([TWO], ["chats:7"])


def test_templates_that_hide_the_answer_are_refused(chatml: Path) -> None:
    tokenizer = TextTokenizer(chatml)
    with pytest.raises(UserError, match="writes a conversation in another way once it goes on"):
        choose(SHIFTING, tokenizer)
    with pytest.raises(UserError, match="does not write the answer as it is"):
        choose(CHATML.replace("message['content']", "message['content'] | upper"), tokenizer)
    with pytest.raises(UserError, match=r"refuses this conversation: only one turn"):
        choose("{{ raise_exception('only one turn') }}", tokenizer)
    with pytest.raises(UserError, match="marks 0 parts as generated in a conversation with 1 answers"):
        choose(BLOCKS.replace("== 'assistant'", "== 'nobody'"), tokenizer)


def test_a_tokenizer_without_a_template(tiny_tokenizer_folder: Path, tmp_path: Path) -> None:
    tokenizer = TextTokenizer(tiny_tokenizer_folder)
    assert (choose("auto", tokenizer).name, choose("plain", tokenizer).name) == ("plain", "plain")
    with pytest.raises(UserError, match="has no chat template"):
        choose("tokenizer", tokenizer)
    (tmp_path / "own.jinja").write_text(choose("plain", tokenizer).source)
    own = choose(str(tmp_path / "own.jinja"), tokenizer)
    assert own.digest == choose("plain", tokenizer).digest
    with pytest.raises(UserError, match="cannot be read"):
        choose(str(tmp_path / "gone.jinja"), tokenizer)


def test_dates_do_not_depend_on_the_day(chatml: Path) -> None:
    template = "{% if date_string is defined %}{{ date_string }}{% endif %}" + CHATML
    assert "26 Jul 2024<|im_start|>" in choose(template, TextTokenizer(chatml)).render(ONE).text


def chats(file: Path, conversations: list[Any], **options: Any) -> Chat:
    file.write_text("".join(json.dumps({"messages": one}) + "\n" for one in conversations), encoding="utf-8")
    return Chat(path=str(file), **options)


def test_a_store_of_conversations(tmp_path: Path, chatml: Path) -> None:
    """Every token and its mask come back, windows and rows have targets in answers only, and bytes count answers."""
    tokenizer = TextTokenizer(chatml)
    corpus = chats(tmp_path / "a.jsonl", [ONE, TWO] * 20)
    store = prepare("a", corpus, tokenizer, tmp_path / "p", 0.0)
    expected = ChatEncoder(choose("auto", tokenizer)).encode([ONE, TWO])
    for number in range(40):
        assert store.ids(number).tolist() == expected[number % 2].ids
        assert store.learned(number).tolist() == expected[number % 2].learned.tolist()
    assert store.bytes[:2].tolist() == [len("lo"), len("lo" + " nu ra ")]
    assert store.manifest["learned"] == 20 * sum(int(turns.learned.sum()) for turns in expected)
    assert store.manifest["bytes"] > store.bytes.sum()
    pieces = windows(store, 1, 5)
    batch = pack([[piece] for piece in pieces], 5)
    targets = batch.targets_BT[batch.targets_BT != NO_TARGET].tolist()
    assert targets == [number for number, learned in zip(expected[1].ids, expected[1].learned, strict=True) if learned]
    assert batch.num_targets == len(targets)
    stream = DocumentStream(store, np.arange(40), 0, "a")
    counted = sum(pack([stream.row(row, 16)], 16).num_targets for row in range(stream.tokens // 16))
    assert 0 < counted <= store.manifest["learned"]


def test_targets_of_a_row_by_hand() -> None:
    from rewarm.tokens.order import Segment

    segment = Segment(np.array([5, 6, 7, 8, 1], np.uint16), 5, np.array([0, 0, 1, 0, 1], bool))
    cut = Segment(np.array([9, 6, 7], np.uint16), 2, np.array([1, 1, 1], bool))
    batch = pack([[segment, cut]], 7)
    assert batch.targets_BT.tolist() == [[-100, 7, -100, 1, -100, 6, 7]]
    assert (batch.num_targets, batch.positions_BT.tolist()) == (4, [[0, 1, 2, 3, 4, 0, 1]])


def test_learning_everything_is_a_store_like_any_other(tmp_path: Path, chatml: Path) -> None:
    tokenizer = TextTokenizer(chatml)
    answers = prepare("a", chats(tmp_path / "a.jsonl", [ONE, TWO]), tokenizer, tmp_path / "p", 0.0)
    everything = prepare("a", chats(tmp_path / "a.jsonl", [ONE, TWO], learn="all"), tokenizer, tmp_path / "p", 0.0)
    assert everything.ids(1).tolist() == answers.ids(1).tolist()
    assert everything.learned(1) is None
    assert not list(everything.folder.glob("learned-*"))
    assert everything.hash != answers.hash


def test_shards_cut_the_mask_as_they_cut_the_tokens(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "s", np.dtype(np.uint16), shard_tokens=4) as writer:
        for first in range(5):
            ids = np.arange(3, dtype=np.uint16) + first
            column = np.array([first + 1], np.uint64)
            learned = (np.array([False, first % 2 == 0, True]), np.array([2], np.int64))
            writer.add_flat(ids, np.array([3]), np.array([9]), column, column, learned)
    from rewarm.tokens.shards import Store

    store = Store(tmp_path / "s")
    assert len(store.manifest["shards"]) == 5
    masks = [store.learned(number) for number in range(5)]
    assert [mask.tolist() for mask in masks if mask is not None] == [[False, n % 2 == 0, True] for n in range(5)]
    assert (store.manifest["learned"], store.manifest["bytes"], store.bytes.tolist()) == (8, 45, [2] * 5)


def test_stores_of_plain_text_are_what_they_were(tmp_path: Path, tiny_tokenizer_folder: Path) -> None:
    """Names, files and hashes by the rules from before there were masks, so that users' prepared text stays valid."""
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "ba ke"}\n{"text": "lo"}\n')
    tokenizer, corpus = TextTokenizer(tiny_tokenizer_folder), Jsonl(path=str(file))
    store = prepare("a", corpus, tokenizer, tmp_path / "p", 0.0)
    options = {key: value for key, value in corpus.described().items() if key != "holdout"}
    stat = file.stat()
    inputs = [{"file": str(file), "size": stat.st_size, "changed_ns": stat.st_mtime_ns}]
    key = json.dumps([1, options, inputs, tokenizer.hash], sort_keys=True)
    assert store.folder.name == f"a-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    ids = np.concatenate([np.array([0, *tokenizer._ids(text), 1], np.uint16) for text in ("ba ke", "lo")])
    assert (store.folder / "tokens-00000.bin").read_bytes() == ids.tobytes()
    digest = hashlib.blake2b(ids.tobytes(), digest_size=16).hexdigest()
    assert store.manifest["shards"] == [{"file": "tokens-00000.bin", "tokens": len(ids), "blake2b": digest}]
    assert store.hash == hashlib.sha256(digest.encode()).hexdigest()
    assert sorted(path.name for path in store.folder.iterdir()) == [
        "bytes.bin", "groups.bin", "hashes.bin", "manifest.json", "offsets.bin", "repeated.bin", "tokens-00000.bin",
    ]  # fmt: skip
    assert "learned" not in store.manifest


def test_the_template_decides_about_the_folder(tmp_path: Path, chatml: Path, tiny_tokenizer_folder: Path) -> None:
    tokenizer = TextTokenizer(chatml)
    corpus = chats(tmp_path / "a.jsonl", [ONE])
    first = store_folder("a", corpus, tokenizer, tmp_path)
    (tmp_path / "own.jinja").write_text(CHATML)
    own = corpus.model_copy(update={"template": str(tmp_path / "own.jinja")})
    second = store_folder("a", own, tokenizer, tmp_path)
    (tmp_path / "own.jinja").write_text(CHATML + "{# other #}")
    assert len({first, second, store_folder("a", own, tokenizer, tmp_path)}) == 3
    other = chat_folder(tiny_tokenizer_folder, tmp_path / "other", CHATML + "{# other #}")
    assert TextTokenizer(other).hash == tokenizer.hash
    assert store_folder("a", corpus, TextTokenizer(other), tmp_path) != first
