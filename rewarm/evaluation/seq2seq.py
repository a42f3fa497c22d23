"""Facts asked of encoder-decoder models: the encoder reads the text around the blank, the decoder writes the answer.

T5 and its kin are asked as they were trained: `prompt <extra_id_0> suffix`, answered by
`<extra_id_0> answer <extra_id_1>`. A model whose tokenizer has no such sentinels reads the prompt alone and writes the
answer. Only the answer's own tokens are scored, and nothing tells the model how long the right answer is.

Shapes: N spans, E texts the encoder reads, B decoder rows, S positions of the encoder, T of the decoder, V vocabulary.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.modeling_outputs import BaseModelOutput

from rewarm.evaluation.generation import budget, continued, plainly, rows_at_once, until
from rewarm.evaluation.likelihood import LOGIT_BYTES
from rewarm.evaluation.passes import batch_tokens
from rewarm.evaluation.spans import Blank, Done, Span, SpanScorer, SpanScores, positions, refuse_empty, tokenizer_key
from rewarm.objectives.probing import probing
from rewarm.types import UserError

MAX_LENGTH = 512
OPENS, CLOSES = "<extra_id_0>", "<extra_id_1>"


class Seq2seqSpans(SpanScorer):
    """An encoder-decoder model. UserError when its configuration does not say what its decoder starts from."""

    reads = "encoder-decoder language model"

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__(model)
        self.tokenizer = tokenizer
        self.has_sentinels = {OPENS, CLOSES} <= tokenizer.get_vocab().keys()
        start = model.config.decoder_start_token_id
        if start is None:
            raise UserError(
                f"the configuration of this {type(model).__name__} names no decoder_start_token_id, so nobody knows "
                "what its decoder starts from: set it in config.json (T5 starts from its padding token)"
            )
        self.opening = [int(start)]
        self.ends = [int(tokenizer.eos_token_id)] if tokenizer.eos_token_id is not None else []
        if self.has_sentinels:
            self.opening.append(self._id(OPENS))
            self.ends.append(self._id(CLOSES))
        self.max_length = positions(model, MAX_LENGTH)

    def _id(self, token: str) -> int:
        found = self.tokenizer.convert_tokens_to_ids(token)
        assert isinstance(found, int)  # one token was asked for
        return found

    @property
    def settings(self) -> tuple[str, ...]:
        """The tokenizer and how much is read."""
        return (tokenizer_key(self.tokenizer), str(self.max_length))

    def score(self, spans: Sequence[Span], done: Done = lambda spans: None) -> SpanScores:
        """Log-probability of each answer's tokens, given the text around it; that text is encoded once."""
        answers = self._answers([span.answer for span in spans])
        refuse_empty(spans, [len(answer) for answer in answers])
        sources = self._sources([Blank(span.prompt, span.suffix, 0) for span in spans])
        alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for number, (ids, _) in enumerate(sources):
            alike[tuple(ids)].append(number)
        logprob_N = np.zeros(len(spans))
        with probing(self.model):
            for chosen in self._batches(alike, answers):
                self._pass(chosen, answers, logprob_N)
                done(sum(map(len, chosen.values())))
        tokens_N = np.array([len(answer) for answer in answers], np.int64)
        return SpanScores(logprob_N, tokens_N, sum(was_cut for _, was_cut in sources))

    def count(self, answers: Sequence[str]) -> list[int]:
        """Tokens of each answer."""
        return [len(answer) for answer in self._answers(answers)]

    def generate(self, blanks: Sequence[Blank], done: Done = lambda blanks: None) -> list[str]:
        """What the decoder writes greedily, up to the next sentinel or the end."""
        sources = self._sources(blanks)
        alike: dict[int, list[int]] = defaultdict(list)
        for number, blank in enumerate(blanks):
            alike[budget(blank.longest)].append(number)
        texts = [""] * len(blanks)
        with plainly(self.model):
            for new, numbers in sorted(alike.items()):
                ordered = sorted(numbers, key=lambda number: len(sources[number][0]))
                rows = rows_at_once(self.model, len(sources[ordered[-1]][0]) + new)
                for start in range(0, len(ordered), rows):
                    chosen = ordered[start : start + rows]
                    inputs = self._padded([sources[number][0] for number in chosen])
                    inputs["decoder_input_ids"] = torch.tensor([self.opening] * len(chosen), device=self.model.device)
                    made = continued(self.model, inputs, new, self.ends)
                    for number, row in zip(chosen, made[:, len(self.opening) :].tolist(), strict=True):
                        text = self.tokenizer.decode(until(row, self.ends), skip_special_tokens=True)
                        texts[number] = str(text).strip()
                    done(len(chosen))
        return texts

    def _answers(self, answers: Sequence[str]) -> list[list[int]]:
        if not answers:
            return []
        found: list[list[int]] = self.tokenizer(list(answers), add_special_tokens=False)["input_ids"]
        return found

    def _sources(self, blanks: Sequence[Blank]) -> list[tuple[list[int], bool]]:
        """What the encoder reads of each blank, and whether its beginning had to be cut off."""
        texts = [
            f"{blank.prompt.rstrip()} {OPENS}{blank.suffix}".strip() if self.has_sentinels else blank.prompt.rstrip()
            for blank in blanks
        ]
        encoded: list[list[int]] = self.tokenizer(texts)["input_ids"] if texts else []
        return [(ids[-self.max_length :], len(ids) > self.max_length) for ids in encoded]

    def _batches(
        self, alike: dict[tuple[int, ...], list[int]], answers: Sequence[Sequence[int]]
    ) -> list[dict[tuple[int, ...], list[int]]]:
        """Spans by the text around them, as many as a pass holds; similar lengths together."""
        vocabulary = int(self.model.get_output_embeddings().weight.shape[0])
        most = max(1, min(batch_tokens(self.model), LOGIT_BYTES // (4 * vocabulary)))
        pieces: list[dict[tuple[int, ...], list[int]]] = []
        room = 0
        for source in sorted(alike, key=len):
            for number in sorted(alike[source], key=lambda number: len(answers[number])):
                # Its answer, and the encoder's keys and values, which every decoder row attends to.
                cost = len(self.opening) + len(answers[number]) + len(source) // 4
                if cost > room or not pieces:
                    pieces.append({})
                    room = most
                room -= cost
                pieces[-1].setdefault(source, []).append(number)
        return pieces

    def _pass(
        self, chosen: dict[tuple[int, ...], list[int]], answers: Sequence[Sequence[int]], logprob_N: NDArray[np.float64]
    ) -> None:
        numbers = [number for held in chosen.values() for number in held]
        device = self.model.device
        inputs = self._padded([list(source) for source in chosen])
        encoded_ESD = self.model.get_encoder()(**inputs).last_hidden_state
        source_B = torch.tensor([place for place, held in enumerate(chosen.values()) for _ in held], device=device)
        width = max(len(answers[number]) for number in numbers)
        before = len(self.opening)
        decoder_BT = torch.full((len(numbers), before + width), self.opening[0])
        for row, number in enumerate(numbers):
            ids = [*self.opening, *answers[number]]
            decoder_BT[row, : len(ids)] = torch.tensor(ids)
        decoder_BT = decoder_BT.to(device)
        logits_BTV = self.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded_ESD[source_B]),
            attention_mask=inputs["attention_mask"][source_B], decoder_input_ids=decoder_BT[:, :-1], use_cache=False,
        ).logits[:, before - 1 :]  # fmt: skip
        logprob_BT = logits_BTV.float().log_softmax(-1).gather(2, decoder_BT[:, before:, None])[:, :, 0].double().cpu()
        for row, number in enumerate(numbers):
            logprob_N[number] = float(logprob_BT[row, : len(answers[number])].sum())

    def _padded(self, sources: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        width = max(map(len, sources))
        ids_ES = torch.full((len(sources), width), int(self.tokenizer.pad_token_id or 0))
        seen_ES = torch.zeros_like(ids_ES)
        for row, ids in enumerate(sources):
            ids_ES[row, : len(ids)] = torch.tensor(ids)
            seen_ES[row, : len(ids)] = 1
        return {"input_ids": ids_ES.to(self.model.device), "attention_mask": seen_ES.to(self.model.device)}
