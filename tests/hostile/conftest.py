"""A cache of the hub that is offline, with one model in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rewarm.models.load import make_model, save_model, weights_hash
from rewarm.tokens.tokenizer import TextTokenizer


@pytest.fixture
def hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_tokenizer_folder: Path, tiny_configs: Any
) -> Callable[..., str]:
    """A function: seed -> that model as the newest commit of `owner/tiny` in a cache of the hub, which is offline."""
    from huggingface_hub import constants
    from transformers.utils import hub as transformers_hub

    cache = tmp_path / "hub"
    for module, name in ((constants, "HF_HUB_CACHE"), (transformers_hub, "TRANSFORMERS_CACHE")):
        if hasattr(module, name):
            monkeypatch.setattr(module, name, str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repository = cache / "models--owner--tiny"
    (repository / "refs").mkdir(parents=True)

    def upload(seed: int) -> str:
        commit = f"{seed:x}" * 40
        model = make_model(tiny_configs["llama"], TextTokenizer(tiny_tokenizer_folder), seed)
        save_model(model, tiny_tokenizer_folder, repository / "snapshots" / commit)
        (repository / "refs" / "main").write_text(commit)
        return weights_hash(model)

    return upload
