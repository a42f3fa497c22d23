"""What tests of several folders share: generated text, a tiny tokenizer, and tiny models of every common family."""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Tiny products are made ten times faster by one thread, and results do not depend on the machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# What is measured about the machine is measured once for all tests, and not left in the user's folder.
os.environ.setdefault("REWARM_CACHE", str(Path(tempfile.gettempdir()) / f"rewarm-tests-{os.getuid()}"))
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")

Words = Callable[[int, int], str]
WriteJsonl = Callable[..., Path]

VOCABULARY = 400
_SYLLABLES = ("ba", "ke", "lo", "mi", "nu", "ra", "se", "ti", "vo", "zu", "shi", "tra")

# Two layers, width 32, at most 128 positions; the vocabulary is left to the tokenizer. GQA where the family has it.
_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
}
_CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", **_SIZES, "num_key_value_heads": 2, "tie_word_embeddings": False},
    "llama-tied": {"model_type": "llama", **_SIZES, "tie_word_embeddings": True},
    "qwen2": {"model_type": "qwen2", **_SIZES, "num_key_value_heads": 2, "tie_word_embeddings": True},
    "qwen3": {
        "model_type": "qwen3", **_SIZES, "num_key_value_heads": 2, "head_dim": 8, "tie_word_embeddings": False,
    },
    "gpt-neox": {"model_type": "gpt_neox", **_SIZES, "tie_word_embeddings": False},
    "gpt2": {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
    "mistral": {"model_type": "mistral", **_SIZES, "num_key_value_heads": 2, "sliding_window": 8},
    "gemma2": {"model_type": "gemma2", **_SIZES, "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 8},
    "olmo": {"model_type": "olmo", **_SIZES, "tie_word_embeddings": False},
    "olmo2": {"model_type": "olmo2", **_SIZES, "num_key_value_heads": 2, "tie_word_embeddings": False},
}  # fmt: skip


def _words(seed: int, count: int) -> str:
    """`count` invented words as sentences; the same for the same seed."""
    source = random.Random(seed)
    made = ["".join(source.choices(_SYLLABLES, k=source.randint(1, 4))) for _ in range(count)]
    for place in range(7, count, 8):
        made[place] += "."
    return " ".join(made)


@pytest.fixture(scope="session")
def words() -> Words:
    """A function: seed, count -> that many invented words as one text, always the same for a seed."""
    return _words


@pytest.fixture(scope="session")
def write_jsonl() -> WriteJsonl:
    """A function: path, texts, **fields -> the path of a JSONL file with one row per text.

    A field that is a list gives each row its own value; any other value is given to every row.
    """

    def write(path: Path, texts: Iterable[str], **fields: Any) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as file:
            for number, text in enumerate(texts):
                own = {key: value[number] if isinstance(value, list) else value for key, value in fields.items()}
                file.write(json.dumps({"text": text, **own}, ensure_ascii=False) + "\n")
        return path

    return write


@pytest.fixture(scope="session")
def tiny_tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder with a byte-level BPE tokenizer of 400 ids, trained on invented words. Read only."""
    from rewarm.tokens.tokenizer import train

    folder = tmp_path_factory.mktemp("tokenizer") / "tiny"
    train((_words(seed, 200) for seed in range(50)), VOCABULARY, folder)
    return folder


@pytest.fixture
def tiny_configs() -> dict[str, dict[str, Any]]:
    """Name -> a configuration as a plan's `base.config`, two layers of width 32, for every family that is tested."""
    return copy.deepcopy(_CONFIGS)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `family` runs once for each name of `tiny_configs`."""
    if "family" in metafunc.fixturenames:
        metafunc.parametrize("family", list(_CONFIGS))


@pytest.fixture
def make_tiny(tiny_tokenizer_folder: Path, tiny_configs: dict[str, dict[str, Any]]) -> Callable[..., Any]:
    """A function: name of `tiny_configs`, seed=0 -> a freshly initialised model in fp32 and evaluation mode."""
    from rewarm.models.load import make_model
    from rewarm.tokens.tokenizer import TextTokenizer

    def make(name: str, seed: int = 0) -> Any:
        return make_model(tiny_configs[name], TextTokenizer(tiny_tokenizer_folder), seed).eval()

    return make


@pytest.fixture
def stage_rows(tmp_path: Path) -> Callable[..., Any]:
    """A function: steps, rows a step, rows a pass, documents -> a stage's rows of 16 tokens, on random documents."""
    import numpy as np

    from rewarm.tokens.loader import Source, StageRows
    from rewarm.tokens.order import DocumentStream
    from rewarm.tokens.shards import Store, StoreWriter

    def make(steps: int, rows: int, micro_rows: int, documents: int = 60) -> StageRows:
        draw, counted = np.random.default_rng(0), range(documents)
        ids: list[Any] = [draw.integers(3, 400, one).astype(np.uint16) for one in draw.integers(5, 40, documents)]
        with StoreWriter(tmp_path / "store", np.dtype(np.uint16)) as writer:
            writer.add(ids, [len(document) for document in ids], counted, counted)
        stream = DocumentStream(Store(tmp_path / "store"), np.arange(documents), 0, "corpus")
        return StageRows([Source("corpus", stream)], np.zeros((steps, rows), np.uint8), 16, micro_rows)

    return make


@pytest.fixture(scope="session")
def masked_tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `tiny_tokenizer_folder`, of a masked model: with a mask token. Read only."""
    from rewarm.tokens.tokenizer import train

    folder = tmp_path_factory.mktemp("tokenizer") / "masked"
    train((_words(seed, 200) for seed in range(50)), VOCABULARY, folder, "masked")
    return folder


@pytest.fixture(scope="session")
def middle_tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `tiny_tokenizer_folder`, of a model of code: three tokens mark prefix, suffix and middle. Read only."""
    from tokenizers import Tokenizer

    from rewarm.tokens.middles import KNOWN
    from rewarm.tokens.tokenizer import train

    folder = tmp_path_factory.mktemp("tokenizer") / "middle"
    train((_words(seed, 200) for seed in range(50)), VOCABULARY - 3, folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_special_tokens(list(KNOWN[0]))
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def make_masked(masked_tokenizer_folder: Path) -> Callable[..., Any]:
    """A function: a model type such as bert, seed=0, **further keys -> a fresh tiny masked model, as `make_tiny`."""
    from rewarm.models.load import make_model
    from rewarm.tokens.tokenizer import TextTokenizer

    def make(name: str, seed: int = 0, **more: Any) -> Any:
        config = {"model_type": name, **_SIZES, **more}
        return make_model(config, TextTokenizer(masked_tokenizer_folder), seed, "masked").eval()

    return make


@pytest.fixture(scope="session")
def sentinel_tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `tiny_tokenizer_folder`, of an encoder-decoder model: with a hundred sentinels, and 500 ids. Read only."""
    from rewarm.tokens.tokenizer import train

    folder = tmp_path_factory.mktemp("tokenizer") / "sentinels"
    train((_words(seed, 200) for seed in range(50)), VOCABULARY + 100, folder, "seq2seq")
    return folder


@pytest.fixture
def make_seq2seq(sentinel_tokenizer_folder: Path) -> Callable[..., Any]:
    """A function: a model type such as t5, seed=0, **further keys -> a fresh tiny encoder-decoder, as `make_tiny`."""
    from rewarm.models.load import make_model
    from rewarm.tokens.tokenizer import TextTokenizer

    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "dropout_rate": 0.0}

    def make(name: str, seed: int = 0, **more: Any) -> Any:
        config = {"model_type": name, **(sizes if name.endswith("t5") else {}), **more}
        return make_model(config, TextTokenizer(sentinel_tokenizer_folder), seed, "seq2seq").eval()

    return make


@pytest.fixture
def scratch_plan(
    tmp_path: Path, write_jsonl: WriteJsonl, tiny_configs: dict[str, Any]
) -> Callable[..., dict[str, Any]]:
    """A function: **changes -> the values of a small whole plan from scratch, its two corpora written to `tmp_path`."""

    def values(**changes: Any) -> dict[str, Any]:
        for place, name in enumerate(("old", "new")):
            texts = [_words(1000 * (place + 1) + number, 40) for number in range(120)]
            write_jsonl(tmp_path / f"{name}.jsonl", texts)
        plan: dict[str, Any] = {
            "base": {"from": "scratch", "config": tiny_configs["llama"], "tokenizer": {"vocab_size": VOCABULARY}},
            "output_dir": str(tmp_path / "run"),
            "corpora": {
                name: {"path": str(tmp_path / f"{name}.jsonl"), "holdout": "10%"} for name in ("old", "new")
            },
            "stages": [
                {"name": "update", "data": "new", "tokens": 2048, "learning_rate": "1e-3",
                 "replay": {"from": "old", "share": "25%"}},
            ],
            "watch": ["old", "new"],
            "seq_len": 64,
            "batch_tokens": 256,
            "eval_tokens": 1000,
            "precision": "fp32",
        }  # fmt: skip
        return plan | changes

    return values


@pytest.fixture
def mount_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A function: MiB -> the folder of a file system of that size. Skips where none may be mounted (root may)."""
    folder = tmp_path / "small"
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("a small file system needs the right to mount one")

    def make(mebibytes: int) -> Path:
        folder.mkdir()
        command = [mount, "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("a small file system needs the right to mount one")
        return folder

    yield make
    if os.path.ismount(folder):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # memory maps of the run may still be open
