"""What a plan would do, before it does it: tokens, steps, disk, memory, time. Nothing is written.

Corpora that are prepared are counted exactly; of others a first part is read and tokenised, and the rest estimated from
the size of their files. Memory: 16 bytes per parameter (weight, gradient, two moments), activations of one micro-batch at
about 4 bytes * tokens * layers * (16 * width + 4 * inner width), and the chunk of logits. Disk: stores, 12 bytes per
parameter for each checkpoint kept and one being written, 4 bytes per parameter for each finished model.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from rewarm.corpora import Corpus
from rewarm.corpora.faults import check_budget
from rewarm.models.load import check_length, check_vocabulary, save_tokenizer
from rewarm.plan import Plan, Scratch, TrainTokenizer
from rewarm.quantities import size
from rewarm.river.controls import control_plan
from rewarm.river.directory import RunDirectory
from rewarm.river.inputs import check_files, used_corpora
from rewarm.river.legs import LegPlan, last_rates, legs, past
from rewarm.tokens.prepare import store_folder
from rewarm.tokens.shards import Store
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.training.machine import flops_per_token, matmul_rate, micro_batch_tokens
from rewarm.training.objective import CHUNK_BYTES, Objective
from rewarm.types import BadRows, Batch, UserError

SAMPLE_CHARACTERS = 2_000_000
TIMED_PARAMETERS = 300_000_000
ASSUMED_BYTES_PER_TOKEN = 3.5
ASSUMED_MATMUL_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class CorpusForecast:
    """A corpus: its tokens and bytes (`exact` when counted, not estimated), and bad rows among the rows sampled."""

    name: str
    tokens: int
    bytes: int
    exact: bool
    rows: int
    bad_rows: int


@dataclass(frozen=True, slots=True)
class LegForecast:
    """A leg: `rates` are the learning rates of its first step, its highest, and its last."""

    run: str
    name: str
    steps: int
    tokens: int
    shares: dict[str, float]
    rates: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a plan would cost. `seconds` is None when it was not asked for; `how` says where it comes from."""

    corpora: list[CorpusForecast]
    legs: list[LegForecast]
    parameters: int
    disk_bytes: int
    disk_free: int
    memory_bytes: int
    memory_available: int
    seconds: float | None
    how: str
    warnings: list[str]

    def described(self) -> dict[str, Any]:
        """The forecast as plain values."""
        return dataclasses.asdict(self)

    def refuse(self) -> None:
        """UserError when the disk or the memory cannot hold the run."""
        if self.disk_bytes > self.disk_free:
            raise UserError(
                f"the run would need {size(self.disk_bytes)} of disk and {size(self.disk_free)} are free. Make room, "
                "lower save_total_limit, leave out controls, or put output_dir elsewhere"
            )
        if self.memory_bytes > self.memory_available:
            raise UserError(
                f"the run would need about {size(self.memory_bytes)} of memory and {size(self.memory_available)} are "
                "available. Lower micro_batch_tokens, or take a smaller base"
            )


def forecast(plan: Plan, timed: bool = False) -> Forecast:
    """The forecast of a plan; UserError for whatever is already known to be wrong (files, rows, tokenizer, budgets)."""
    check_files(plan)
    run = RunDirectory(plan.directory, Path(plan.prepared_dir) if plan.prepared_dir else None)
    warnings: list[str] = []
    tokenizer = _tokenizer(plan, run)
    model = _shape(plan, tokenizer)
    if tokenizer is None:
        warnings.append(f"the tokenizer is yet to be trained: {ASSUMED_BYTES_PER_TOKEN} bytes per token are assumed")
    else:
        check_vocabulary(model, tokenizer)
    check_length(model, plan.seq_len)
    corpora = [_corpus(plan, name, tokenizer, run) for name in used_corpora(plan)]
    held = {corpus.name: corpus.tokens for corpus in corpora}
    planned = _legs(plan, held)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    disk = _disk(plan, corpora, planned, parameters)
    seconds, how = _seconds(plan, model, parameters, planned) if timed else (None, "")
    return Forecast(
        corpora=corpora,
        legs=[_leg(plan, word, leg, rates) for word, found in planned for leg, rates in _rates(found)],
        parameters=parameters,
        disk_bytes=disk,
        disk_free=shutil.disk_usage(_existing(run.root)).free,
        memory_bytes=_memory(plan, model, parameters),
        memory_available=psutil.virtual_memory().available,
        seconds=seconds,
        how=how,
        warnings=warnings,
    )


def _tokenizer(plan: Plan, run: RunDirectory) -> TextTokenizer | None:
    if (run.tokenizer / "tokenizer.json").is_file():
        return TextTokenizer(run.tokenizer)
    name = plan.base.tokenizer if isinstance(plan.base, Scratch) else plan.base
    if isinstance(name, TrainTokenizer):
        return None
    if (Path(name) / "tokenizer.json").is_file():
        return TextTokenizer(Path(name))
    with tempfile.TemporaryDirectory() as folder:
        save_tokenizer(name, Path(folder) / "tokenizer", plan.revision)
        return TextTokenizer(Path(folder) / "tokenizer")


def _shape(plan: Plan, tokenizer: TextTokenizer | None) -> PreTrainedModel:
    """The model without its weights (on the meta device)."""
    try:
        if isinstance(plan.base, Scratch):
            fields = {key: value for key, value in plan.base.config.items() if key != "model_type"}
            vocabulary = tokenizer.vocab_size if tokenizer is not None else 0
            if isinstance(plan.base.tokenizer, TrainTokenizer):
                vocabulary = plan.base.tokenizer.vocab_size
            fields.setdefault("vocab_size", vocabulary)
            config = AutoConfig.for_model(plan.base.config["model_type"], **fields)
        else:
            config = AutoConfig.from_pretrained(plan.base, revision=plan.revision, trust_remote_code=False)
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"base: {error}") from error
    return model


def _corpus(plan: Plan, name: str, tokenizer: TextTokenizer | None, run: RunDirectory) -> CorpusForecast:
    corpus = plan.corpora[name]
    assert isinstance(corpus, Corpus)  # the plan built it from the corpora folder
    if tokenizer is not None:
        folder = store_folder(name, corpus, tokenizer, run.prepared)
        if (folder / "manifest.json").is_file():
            store = Store(folder)
            return CorpusForecast(name, store.tokens, int(store.manifest["bytes"]), True, 0, 0)
    bad = BadRows()
    texts: list[str] = []
    characters, ended = 0, True
    for document in corpus.read(bad):
        texts.append(document.text)
        characters += len(document.text)
        if characters >= SAMPLE_CHARACTERS:
            ended = False
            break
    if ended:
        check_budget(name, bad, plan.bad_rows)
    if not texts:
        raise UserError(f"corpus '{name}' is empty: {bad.rows} rows read, no document among them")
    sampled = sum(len(text.encode()) for text in texts)
    tokens = sum(map(len, tokenizer.encode(texts))) if tokenizer is not None else sampled / ASSUMED_BYTES_PER_TOKEN
    total = sampled if ended else max(sampled, _unpacked_bytes(corpus))
    exact = ended and tokenizer is not None
    return CorpusForecast(name, round(tokens * total / sampled), total, exact, bad.rows, bad.total)


def _unpacked_bytes(corpus: Corpus) -> int:
    """Bytes of a corpus's files, unpacked: the expansion of compressed ones is measured on the largest one's beginning."""
    files = corpus.files()
    packed = [file for file in files if file.suffix in (".gz", ".zst")]
    plain = sum(file.stat().st_size for file in files if file not in packed)
    if not packed:
        return plain
    largest = max(packed, key=lambda file: file.stat().st_size)
    return plain + round(sum(file.stat().st_size for file in packed) * _expansion(largest))


def _expansion(file: Path) -> float:
    import gzip

    import zstandard

    beginning = file.open("rb")
    with beginning:
        reader: Any = (
            gzip.GzipFile(fileobj=beginning)
            if file.suffix == ".gz"
            else zstandard.ZstdDecompressor().stream_reader(beginning)
        )
        unpacked = len(reader.read(8 << 20))
        return unpacked / max(1, beginning.tell())


def _legs(plan: Plan, held: dict[str, int]) -> list[tuple[str, list[LegPlan]]]:
    def trainable(corpus: str) -> int:
        options = plan.corpora[corpus]
        assert isinstance(options, Corpus)
        return round(held[corpus] * (1 - options.holdout)) if plan.watched(corpus) else held[corpus]

    planned = [("", legs(plan, trainable))]
    for word in plan.controls:
        other = control_plan(plan, word)
        if other is not None:
            planned.append((word, legs(other, trainable)))
    return planned


def _rates(planned: list[LegPlan]) -> list[tuple[LegPlan, tuple[float, float, float]]]:
    before = last_rates(planned)
    found = []
    for leg in planned:
        schedule: Any = leg.schedule
        state = past(leg, before[leg.start])
        steps = range(0, leg.steps, max(1, leg.steps // 200))
        rates = [schedule.rate(step, leg.steps, leg.peak, state) for step in [*steps, leg.steps - 1]]
        found.append((leg, (rates[0], max(rates), rates[-1])))
    return found


def _leg(plan: Plan, word: str, leg: LegPlan, rates: tuple[float, float, float]) -> LegForecast:
    return LegForecast(word, leg.name, leg.steps, leg.tokens(plan.batch_tokens), dict(leg.shares), rates)


def _disk(plan: Plan, corpora: list[CorpusForecast], planned: list[tuple[str, list[LegPlan]]], parameters: int) -> int:
    stores = sum(0 if corpus.exact and not corpus.rows else 4 * corpus.tokens for corpus in corpora)
    models = 4 * parameters * sum(len(found) for _, found in planned)
    return stores + models + 12 * parameters * (plan.save_total_limit + 1)


def _memory(plan: Plan, model: PreTrainedModel, parameters: int) -> int:
    config = model.config
    width = int(getattr(config, "hidden_size", 0))
    inner = int(getattr(config, "intermediate_size", None) or 4 * width)
    layers = int(getattr(config, "num_hidden_layers", 0))
    activations = 4 * micro_batch_tokens(plan) * layers * (16 * width + 4 * inner)
    return 16 * parameters + activations + 3 * CHUNK_BYTES


def _seconds(
    plan: Plan, model: PreTrainedModel, parameters: int, planned: list[tuple[str, list[LegPlan]]]
) -> tuple[float, str]:
    tokens = sum(leg.tokens(plan.batch_tokens) for _, found in planned for leg in found)
    if parameters <= TIMED_PARAMETERS:
        made = AutoModelForCausalLM.from_config(model.config, dtype=torch.float32)
        return tokens / _measured_rate(plan, made), "one micro-batch timed on this machine; scoring comes on top"
    limit = matmul_rate(micro_batch_tokens(plan), int(model.config.hidden_size), torch.float32)
    seconds = tokens * flops_per_token(model, plan.seq_len) / (limit * ASSUMED_MATMUL_SHARE)
    return seconds, f"from FLOPs, at an assumed {ASSUMED_MATMUL_SHARE:.0%} of this machine's matrix-product rate"


def _measured_rate(plan: Plan, model: PreTrainedModel) -> float:
    rows = micro_batch_tokens(plan) // plan.seq_len
    vocabulary = int(model.get_input_embeddings().weight.shape[0])  # type: ignore[index]
    tokens_BT = torch.arange(rows * plan.seq_len).view(rows, plan.seq_len) % vocabulary
    positions_BT = torch.arange(plan.seq_len).repeat(rows, 1)
    batch = Batch(tokens_BT, tokens_BT, positions_BT, rows * plan.seq_len)
    objective = Objective(model)
    model.train()
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        objective.loss_sum(batch).backward()  # type: ignore[no-untyped-call]
        best = min(best, time.perf_counter() - start)
    return rows * plan.seq_len / best


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent if path.parent != path else Path()
    return path
