"""Gives a Hugging Face model's attention documents instead of a mask over pairs of positions.

The bounds of documents (rewarm/objectives/documents.py) travel as the model's `attention_mask`: models hand a mask of
four dimensions on to attention as it is. Without them attention is torch's, so that sampling and caches work as before.

Shapes: B rows, T positions, H heads, K key heads, E width of a head.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from rewarm.objectives.documents import band, document_bounds, grouped, on_gpu, one_by_one
from rewarm.objectives.probing import probe_tokens, probing

NAME = "rewarm_documents"


def _repeated(value_BKTE: Tensor, heads: int) -> Tensor:
    """Every key head as often as query heads share it."""
    batch, kinds, length, width = value_BKTE.shape
    if kinds == heads:
        return value_BKTE
    if heads % kinds:
        raise ValueError(f"{heads} query heads cannot share {kinds} key heads evenly")
    return value_BKTE[:, :, None].expand(batch, kinds, heads // kinds, length, width).flatten(1, 2)


def _interface(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    **more: Any,
) -> tuple[Tensor, None]:
    """What models call: documents if `attention_mask` names them, otherwise torch's attention with its mask."""
    if attention_mask is None or attention_mask.dtype != torch.int32:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout=dropout, **more)
    for unknown in ("softcap", "s_aux", "position_bias"):
        if more.get(unknown) is not None:
            raise ValueError(f"document attention knows no {unknown}")
    scale = more.get("scaling")
    scale = query.shape[-1] ** -0.5 if scale is None else float(scale)
    window = more.get("sliding_window")
    window = None if window is None or window >= query.shape[2] else int(window)
    if not attention_mask.numel():
        seen = None if window is None else band(query.shape[2], window, query.device)
        return sdpa_attention_forward(module, query, key, value, seen, dropout=dropout, **more)
    if query.is_cuda and value.dtype != torch.float32 and not dropout:
        heads = (query.to(value.dtype), key.to(value.dtype), value)
        out = on_gpu(heads, attention_mask, scale, window)
    else:
        # On CPUs the kernel is slower in bf16 than in fp32.
        heads = (query.float(), _repeated(key, query.shape[1]).float(), _repeated(value, query.shape[1]).float())
        if dropout or window is not None or query.is_cuda:
            out = one_by_one(heads, attention_mask, scale, dropout, window)
        else:
            out = grouped(*heads, attention_mask, scale)[0]
    return out.transpose(1, 2).to(value.dtype), None


def rows_are_documents(device: torch.device) -> Tensor:
    """In place of bounds: every row is one document. The model makes no mask then, and looks at no value for it, which
    on a GPU would have to be waited for; padding behind a document is read by nothing in it."""
    return torch.empty(1, 1, 1, 0, dtype=torch.int32, device=device)


AttentionInterface.register(NAME, _interface)
AttentionMaskInterface.register(NAME, sdpa_mask)


@contextmanager
def _narrow_windows(model: PreTrainedModel) -> Iterator[None]:
    """Windows are of 2 positions meanwhile: a real one is wider than a probe, which would not see it ignored."""
    parts: list[Any] = [model.config.get_text_config(), *model.modules()]
    windowed = [(part, part.sliding_window) for part in parts if getattr(part, "sliding_window", None)]
    for part, _ in windowed:
        part.sliding_window = 2
    try:
        yield
    finally:
        for part, window in windowed:
            part.sliding_window = window


def can_name_documents(model: PreTrainedModel) -> bool:
    """Whether a model's attention can be given documents instead of a mask; from then on it is, if so.

    Not where attention is more than softmax inside a window (capped, with sinks, in chunks): the model keeps its own,
    as does one whose logits on two packed documents would be other than with its own attention.
    """
    config: Any = model.config
    if config._attn_implementation == NAME:
        return True
    if config._attn_implementation != "sdpa" or getattr(config.get_text_config(), "attention_chunk_size", None):
        return False
    positions_BT = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5, 6, 7]], device=model.device)
    inputs = {"input_ids": probe_tokens(model, 16).view(2, 8), "use_cache": False}
    try:
        with probing(model), _narrow_windows(model):
            wanted = model(**inputs, position_ids=positions_BT).logits
            model.set_attn_implementation(NAME)
            mask = document_bounds(positions_BT).to(model.device)
            found = model(**inputs, position_ids=positions_BT, attention_mask=mask).logits
        fits = config._attn_implementation == NAME and torch.allclose(found, wanted, rtol=1e-4, atol=1e-4)
        if fits and model.device.type == "cuda":  # half precision has a kernel of its own there, not for every head
            with probing(model), torch.enable_grad(), torch.autocast("cuda", torch.bfloat16):
                model(**inputs, position_ids=positions_BT, attention_mask=mask).logits.sum().backward()
            model.zero_grad(set_to_none=True)
    except (ValueError, TypeError, RuntimeError, IndexError, AttributeError):
        fits = False
    if not fits:
        model.set_attn_implementation("sdpa")
    return bool(fits)
