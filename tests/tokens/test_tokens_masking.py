"""Hidden tokens: the shares asked for, never special ones, the same ones again and other ones in another epoch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rewarm.hashing import fraction, seed_of
from rewarm.tokens.loader import Source, StageRows
from rewarm.tokens.masking import MaskedRows, Masking
from rewarm.tokens.order import DocumentStream
from rewarm.tokens.packing import NO_TARGET
from rewarm.tokens.shards import Store, StoreWriter
from rewarm.tokens.tokenizer import TextTokenizer, train
from rewarm.types import UserError

LENGTH, STEPS, ROWS = 16, 24, 4


@pytest.fixture
def masking(masked_tokenizer_folder: Path) -> Masking:
    return Masking.of(TextTokenizer(masked_tokenizer_folder))


@pytest.fixture
def plain(tmp_path: Path) -> StageRows:
    """Rows of ten documents `<bos> ... <eos>`, gone through several times."""
    source = np.random.default_rng(0)
    with StoreWriter(tmp_path / "store", np.dtype(np.uint16)) as writer:
        for number in range(10):
            ids = np.array([0, *source.integers(4, 400, source.integers(5, 30)), 1], np.uint16)
            writer.add([ids], [len(ids)], [number + 1], [number + 1])
    store = Store(tmp_path / "store")
    stream = DocumentStream(store, np.arange(store.documents), 0, "text")
    return StageRows([Source("text", stream)], np.zeros((STEPS, ROWS), np.uint8), LENGTH, ROWS)


def masked(plain: StageRows, masking: Masking, seed: int = 3, **changes: Any) -> MaskedRows:
    values: dict[str, Any] = {
        "sources": plain.sources,
        "source_SR": plain.source_SR,
        "seq_len": LENGTH,
        "micro_rows": ROWS,
    } | changes
    return MaskedRows(**values, masking=masking, seed=seed)


# One row


def test_counts_are_those_of_the_hashes(masking: Masking) -> None:
    ids_T = np.tile(np.arange(10, 60), 40)
    read_T, targets_T = masking.masked(ids_T, 7)
    hidden_T = fraction(np.arange(2000, dtype=np.uint64), seed_of(7, "hidden")) < 0.15
    way_T = fraction(np.arange(2000, dtype=np.uint64), seed_of(7, "way"))
    assert (targets_T != NO_TARGET).tolist() == hidden_T.tolist()
    assert targets_T[hidden_T].tolist() == ids_T[hidden_T].tolist()
    assert ((read_T == masking.mask_id) == (hidden_T & (way_T < 0.8))).all()
    assert (read_T[hidden_T & (way_T >= 0.9)] == ids_T[hidden_T & (way_T >= 0.9)]).all()
    assert (read_T[~hidden_T] == ids_T[~hidden_T]).all()
    # 300 of 2,000 are expected, with a standard deviation of 16; of these 240, 30 and 30.
    assert 250 < hidden_T.sum() < 350
    swapped = (read_T != ids_T) & (read_T != masking.mask_id)
    assert 10 < swapped.sum() < 50
    assert not masking.is_special_V[read_T[swapped]].any()


def test_special_tokens_are_never_hidden(masking: Masking) -> None:
    everything = Masking(masking.mask_id, masking.is_special_V, probability=0.999999)
    ids_T = np.array([0, 50, 51, 1, 2, 2, 3, 52])
    _, targets_T = everything.masked(ids_T, 0)
    assert targets_T.tolist() == [NO_TARGET, 50, 51, NO_TARGET, NO_TARGET, NO_TARGET, NO_TARGET, 52]
    assert np.flatnonzero(masking.is_special_V).tolist() == [0, 1, 2, 3]


def test_the_shares_are_options(masking: Masking) -> None:
    ids_T = np.tile(np.arange(10, 60), 40)
    always = Masking(masking.mask_id, masking.is_special_V, 0.5, replace=1.0, random=0.0)
    read_T, targets_T = always.masked(ids_T, 1)
    assert ((read_T == masking.mask_id) == (targets_T != NO_TARGET)).all()
    kept = Masking(masking.mask_id, masking.is_special_V, 0.5, replace=0.0, random=0.0)
    assert kept.masked(ids_T, 1)[0].tolist() == ids_T.tolist()
    assert kept.masked(ids_T, 1)[1].tolist() == targets_T.tolist()


def test_a_tokenizer_without_a_mask_is_refused(tiny_tokenizer_folder: Path) -> None:
    with pytest.raises(UserError, match=r"names none.*mask_token in tokenizer_config\.json"):
        Masking.of(TextTokenizer(tiny_tokenizer_folder))


# Rows of a stage


def test_masks_do_not_depend_on_micro_batches_and_are_found_again(plain: StageRows, masking: Masking) -> None:
    whole, cut = masked(plain, masking), masked(plain, masking, micro_rows=1)
    for step, batches in enumerate(whole.iterate(0)):
        again, parts = whole.batches(step), cut.batches(step)
        assert len(batches) == 1
        assert len(parts) == ROWS
        for name in ("tokens_BT", "targets_BT", "positions_BT"):
            assert torch.equal(getattr(batches[0], name), getattr(again[0], name))
            assert torch.equal(getattr(batches[0], name), torch.cat([getattr(part, name) for part in parts]))
        assert batches[0].num_targets == int((batches[0].targets_BT != NO_TARGET).sum())
        assert batches[0].num_targets == sum(part.num_targets for part in parts)
    later = masked(plain, masking, sources=[Source("text", plain.sources[0].stream, 3 * ROWS)])
    assert torch.equal(later.batches(2)[0].tokens_BT, whole.batches(5)[0].tokens_BT)


def test_only_what_is_hidden_is_changed(plain: StageRows, masking: Masking) -> None:
    rows = masked(plain, masking)
    for step in range(STEPS):
        before, after = plain.batches(step)[0], rows.batches(step)[0]
        hidden_BT = after.targets_BT != NO_TARGET
        assert torch.equal(before.tokens_BT[~hidden_BT], after.tokens_BT[~hidden_BT])
        assert torch.equal(before.tokens_BT[hidden_BT], after.targets_BT[hidden_BT])
        assert torch.equal(before.positions_BT, after.positions_BT)


def test_another_epoch_and_another_seed_hide_others(plain: StageRows, masking: Masking) -> None:
    masking = replace(masking, probability=0.5)
    once = [masked(plain, masking).batches(step)[0].targets_BT for step in range(STEPS)]
    other = [masked(plain, masking, seed=4).batches(step)[0].targets_BT for step in range(STEPS)]
    assert sum(torch.equal(*pair) for pair in zip(once, other, strict=True)) == 0
    patterns = {tuple((row_T != NO_TARGET).tolist()) for targets_BT in once for row_T in targets_BT}
    assert len(patterns) > 0.9 * STEPS * ROWS


# Tokenizers of masked models


def test_a_tokenizer_trained_for_a_masked_model(masked_tokenizer_folder: Path) -> None:
    from transformers import AutoTokenizer

    own, used = TextTokenizer(masked_tokenizer_folder), AutoTokenizer.from_pretrained(masked_tokenizer_folder)
    assert used.mask_token_id == own.mask_id == 3
    assert own.pad_id == 2
    assert used("ba kelo")["input_ids"] == own.encode(["ba kelo"])[0].tolist()
    assert own.mask_id not in own.encode(["a <|mask|> b"])[0].tolist()


def test_bert_names_no_end_and_closes_texts_itself(tmp_path: Path) -> None:
    from transformers.models.bert.tokenization_bert import BertTokenizer

    letters = [*"abcdefghijkl", *(f"##{letter}" for letter in "abcdefghijkl")]
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]))
    BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "bert")
    found = TextTokenizer(tmp_path / "bert")
    assert (found.prefix, found.eos_id, found.mask_id, found.pad_id) == ((2,), 3, 4, 0)
    assert found.special_ids == (0, 1, 2, 3, 4)
    assert found.encode(["ab [MASK]"])[0][[0, -1]].tolist() == [2, 3]


def test_a_decoders_tokenizer_is_what_it_was(tmp_path: Path, words: Any) -> None:
    train([words(0, 200)], 300, tmp_path / "plain")
    found = TextTokenizer(tmp_path / "plain")
    assert (found.prefix, found.eos_id, found.mask_id, found.special_ids) == ((0,), 1, None, (0, 1, 2))
