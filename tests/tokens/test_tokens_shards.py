"""The store on disk: what goes in comes out, wherever shards end; what is interrupted or damaged is never read."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewarm.tokens.shards import Store, StoreWriter, _repeated
from rewarm.types import StorageError, UserError


def read_all(store: Store) -> list[list[int]]:
    return [store.ids(document).tolist() for document in range(store.documents)]


def folder_bytes(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
@pytest.mark.parametrize("shard_tokens", [1, 7, 40, 1000])
def test_documents_come_back_across_shard_boundaries(
    make_store: Any, numbered: Any, dtype: str, shard_tokens: int
) -> None:
    documents = numbered(0, 30)
    store = make_store(documents, dtype, shard_tokens)
    assert read_all(store) == documents
    assert store.ids(0).dtype == np.dtype(dtype)
    assert store.documents == 30
    assert store.tokens == sum(map(len, documents)) == int(store.lengths.sum())
    assert store.lengths.tolist() == [len(document) for document in documents]
    assert store.bytes.tolist() == [3 * len(document) for document in documents]
    assert store.hashes.tolist() == store.groups.tolist() == list(range(1000, 1030))
    # A document never spans two shards, and a shard holds more than its limit only for a document that is longer.
    sizes = [shard["tokens"] for shard in store.manifest["shards"]]
    assert sum(sizes) == store.tokens
    longest = max(map(len, documents))
    assert all(0 < size <= max(shard_tokens, longest) for size in sizes)
    assert len(sizes) > 5 if shard_tokens <= 40 else len(sizes) == 1


def test_a_slice_of_a_document_stays_inside_it(make_store: Any, numbered: Any) -> None:
    documents = numbered(1, 20)
    store = make_store(documents, shard_tokens=25)
    for index, document in enumerate(documents):
        for start in range(len(document) + 1):
            assert store.ids(index, start, start + 3).tolist() == document[start : start + 3]
            assert store.ids(index, start).tolist() == document[start:]


def test_large_ids_need_uint32(make_store: Any) -> None:
    assert read_all(make_store([[0, 65_535]], "uint16")) == [[0, 65_535]]
    assert read_all(make_store([[65_536, 2**32 - 1]], "uint32")) == [[65_536, 2**32 - 1]]


def test_ids_are_written_in_the_type_of_the_store(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "s", np.dtype("uint16")) as writer:
        writer.add([np.array([1, 2, 3], np.int64)], [3], [1], [1])
    assert read_all(Store(tmp_path / "s")) == [[1, 2, 3]]


@pytest.mark.parametrize("shard_tokens", [2, 1000])
def test_empty_documents_are_documents(make_store: Any, shard_tokens: int) -> None:
    documents: list[list[int]] = [[], [1, 2, 3], [], [], [4, 5, 6], []]
    store = make_store(documents, shard_tokens=shard_tokens)
    assert read_all(store) == documents
    assert store.lengths.tolist() == [0, 3, 0, 0, 3, 0]
    assert read_all(make_store([[], []])) == [[], []]


def test_a_store_of_nothing(make_store: Any) -> None:
    store = make_store([])
    assert (store.documents, store.tokens, store.lengths.tolist()) == (0, 0, [])


def test_blocks_do_not_show(tmp_path: Path, numbered: Any) -> None:
    """Written one by one or at once, the same documents are the same bytes, and so on rewriting over an old store."""
    documents = [np.array(document, np.uint16) for document in numbered(2, 20)]
    for name, size in (("one", 1), ("all", 20), ("all", 7)):
        with StoreWriter(tmp_path / name, np.dtype("uint16"), 50) as writer:
            for at in range(0, 20, size):
                block = documents[at : at + size]
                writer.add(block, [1] * len(block), range(at, at + len(block)), [0] * len(block))
    assert folder_bytes(tmp_path / "one") == folder_bytes(tmp_path / "all")
    assert Store(tmp_path / "one").hash == Store(tmp_path / "all").hash


def test_the_hash_says_which_tokens_in_which_order(make_store: Any) -> None:
    hashes = {make_store(documents).hash for documents in ([[1, 2], [3]], [[3], [1, 2]], [[1, 2], [4]])}
    assert len(hashes) == 3
    assert make_store([[1, 2], [3]]).hash in hashes


def write_and_fail(folder: Path, token: int, failure: type[BaseException]) -> None:
    with StoreWriter(folder, np.dtype("uint16")) as writer:
        writer.add([np.array([token], np.uint16)], [1], [1], [1])
        raise failure("stop")


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, UserError])
def test_an_interrupted_write_leaves_nothing(tmp_path: Path, failure: type[BaseException]) -> None:
    with pytest.raises(failure):
        write_and_fail(tmp_path / "s", 1, failure)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_the_older_store_alone(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "s", np.dtype("uint16")) as writer:
        writer.add([np.array([1], np.uint16)], [1], [1], [1])
    with pytest.raises(RuntimeError):
        write_and_fail(tmp_path / "s", 2, RuntimeError)
    assert read_all(Store(tmp_path / "s")) == [[1]]


def test_leftovers_of_a_killed_process_are_written_over(tmp_path: Path) -> None:
    (tmp_path / "s.partial").mkdir()
    (tmp_path / "s.partial" / "tokens-00007.bin").write_bytes(b"old")
    with StoreWriter(tmp_path / "s", np.dtype("uint16")) as writer:
        writer.add([np.array([1], np.uint16)], [1], [1], [1])
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    assert not (tmp_path / "s" / "tokens-00007.bin").exists()


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(StorageError, match="could not write tokens to"),
        StoreWriter(tmp_path / "file" / "s", np.dtype("uint16")),
    ):
        pass


@pytest.mark.parametrize(("documents", "tokens"), [(300, 1), (1, 1_000_000)])
def test_a_full_disk_is_a_storage_error_and_leaves_no_store(tmp_path: Path, documents: int, tokens: int) -> None:
    """No file may pass 1000 bytes: many columns fail when they are flushed at the end, many tokens at once."""
    numbers = list(range(documents))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with (
            pytest.raises(StorageError, match=r"could not write tokens to .*File too large"),
            StoreWriter(tmp_path / "s", np.dtype("uint16")) as writer,
        ):
            writer.add([np.zeros(tokens, np.uint16)] * documents, numbers, numbers, numbers)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("file", ["tokens-00000.bin", "offsets.bin", "hashes.bin", "groups.bin", "bytes.bin"])
def test_a_damaged_store_is_refused(make_store: Any, numbered: Any, file: str) -> None:
    store = make_store(numbered(3, 5))
    damaged = store.folder / file
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(UserError, match=rf"{file}' holds .* is damaged\. Delete the folder"):
        Store(store.folder)
    damaged.unlink()
    with pytest.raises(UserError, match="holds 0 bytes"):
        Store(store.folder)


def test_reading_copies_nothing(make_store: Any, numbered: Any) -> None:
    store = make_store(numbered(4, 5))
    assert np.shares_memory(store.ids(2), store.ids(2, 1))
    assert not store.ids(2).flags.writeable


def test_repeated_texts_are_listed(make_store: Any) -> None:
    """By hand: 7 stands at 0, 3 and 5, and 9 at 2 and 4; an older store, without the list, finds them itself."""
    store = make_store([[1]] * 7, hashes=[7, 1, 9, 7, 9, 7, 2**63])
    assert store.repeated().tolist() == [0, 2, 3, 4, 5]
    del store.manifest["repeated"]
    assert store.repeated().tolist() == [0, 2, 3, 4, 5]
    assert make_store([[1]] * 3).repeated().tolist() == []
    assert make_store([]).repeated().tolist() == []


@pytest.mark.parametrize("at_once", [1, 100, 1 << 22])
def test_repeated_texts_are_found_in_any_number_of_passes(at_once: int) -> None:
    hashes = np.random.default_rng(0).integers(0, 2**64, 1000, dtype=np.uint64)
    hashes[[3, 500, 999, 44]] = hashes[[700, 700, 2, 700]]
    assert _repeated(hashes, at_once).tolist() == [2, 3, 44, 500, 700, 999]


def test_a_damaged_list_of_repeated_texts_is_refused(make_store: Any) -> None:
    store = make_store([[1]] * 4, hashes=[7, 7, 8, 9])
    (store.folder / "repeated.bin").write_bytes(b"")
    with pytest.raises(UserError, match=r"repeated\.bin' holds 0 bytes, and its manifest says 16"):
        store.repeated()


def test_tokens_and_lengths_of_some_documents(make_store: Any) -> None:
    store = make_store([[1, 2], [], [3], [4, 5, 6]])
    some = np.array([3, 0, 1], np.int32)
    assert store.lengths_of(some).tolist() == [3, 2, 0]
    assert store.tokens_of(some) == 5
