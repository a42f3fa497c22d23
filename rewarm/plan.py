"""The plan: base, corpora, stages, watch-list, controls. YAML or Python, the same objects; validated whole.

Importing this file loads no model library. Methods (corpora, mixtures, schedules) are looked up by name in their
folders when a plan is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from rewarm.methods import Method, Options, build, checked, nearest
from rewarm.quantities import Count, Share, parse_count, parse_share
from rewarm.types import UserError

Control = Literal["base", "new-only", "joint", "same-data", "alone"]
SELF = "self"


class TrainTokenizer(Options):
    """A byte-level BPE tokenizer trained on the corpora of the first stage."""

    vocab_size: Annotated[int, Field(ge=260)] = 8192
    sample_bytes: Count = 50_000_000


class Scratch(Options):
    """A base that does not exist yet: `config` is a Hugging Face configuration with its `model_type`."""

    from_: Literal["scratch"] = Field(alias="from")
    config: dict[str, Any]
    tokenizer: str | TrainTokenizer = TrainTokenizer()

    @model_validator(mode="after")
    def _names_a_model(self) -> Scratch:
        if "model_type" not in self.config:
            raise ValueError("config needs 'model_type', such as llama or gpt_neox")
        return self


class Portion(Options):
    """A corpus of a stage and its weight among the stage's corpora (weights count tokens, and are normalised)."""

    corpus: str
    weight: Annotated[float, Field(gt=0)] = 1.0


class Replay(Options):
    """Old text mixed into a stage.

    `from` names a corpus, or is `self`: then `tokens` of text are sampled from the stage's starting model. With
    mode `substitutive` replay takes `share` of the token budget; with `additive` it comes on top of the budget, as
    `share` of the new tokens. `proxy` says that the corpus stands in for pre-training data that could not be had.
    """

    from_: str = Field(alias="from")
    share: Annotated[Share, Field(gt=0, lt=1)] = 0.05
    mode: Literal["substitutive", "additive"] = "substitutive"
    proxy: bool = False
    tokens: Count = 200_000
    temperature: Annotated[float, Field(gt=0)] = 1.0


class Release(Options):
    """A branch annealed for release at the end of a stage, while the trunk goes on from before the anneal."""

    tokens: Count
    shape: Literal["exponential", "linear", "one-minus-sqrt"] = "exponential"
    floor: Share = 0.1


def _portions(value: Any) -> Any:
    items = value if isinstance(value, list | tuple) else [value]
    return [{"corpus": item} if isinstance(item, str) else item for item in items]


def _method(folder: str) -> BeforeValidator:
    return BeforeValidator(lambda value: build(folder, value))


class Stage(Options):
    """One update: which text, how much of it, at what learning rate, and what is replayed."""

    SYNONYMS: ClassVar[dict[str, str]] = {
        "lr": "learning_rate", "peak": "learning_rate", "peak_lr": "learning_rate", "max_lr": "learning_rate",
        "lr_scheduler": "schedule", "lr_scheduler_type": "schedule", "budget": "tokens", "num_train_epochs": "epochs",
        "datasets": "data", "dataset": "data", "corpus": "data", "corpora": "data", "mix": "mixture",
        "replay_ratio": "replay",
    }  # fmt: skip

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=60)]
    data: Annotated[tuple[Portion, ...], BeforeValidator(_portions), Field(min_length=1)]
    tokens: Count | None = None
    epochs: Annotated[float, Field(gt=0)] | None = None
    max_epochs: Annotated[float, Field(gt=0)] = 4.0
    replay: Replay | None = None
    mixture: Annotated[SerializeAsAny[Method], _method("mixtures")] = Field(
        default="fixed", validate_default=True
    )
    schedule: Annotated[SerializeAsAny[Method], _method("schedules")] = Field(
        default="rewarm", validate_default=True
    )
    learning_rate: Annotated[float, Field(gt=0)]
    optimizer_state: Literal["reset", "keep", "keep-second-moment"] = "reset"
    from_: str | None = Field(default=None, alias="from")
    release: Release | None = None

    @model_validator(mode="after")
    def _one_budget(self) -> Stage:
        if (self.tokens is None) == (self.epochs is None):
            raise ValueError("give the stage's budget as either 'tokens' or 'epochs'")
        if self.tokens == 0:
            raise ValueError("a budget of 0 tokens trains nothing")
        return self


class Watch(Options):
    """A corpus whose held-out documents are scored before, during and after training; `tokens` caps the cost."""

    corpus: str
    role: Literal["old", "new"] | None = None
    tokens: Count | None = None


def _watches(value: Any) -> Any:
    return [{"corpus": item} if isinstance(item, str) else item for item in value]


def _corpora(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError("give a mapping from a name of yours to a path or to a corpus's options")
    return {name: build("corpora", corpus_options(item), f"corpora.{name}") for name, item in value.items()}


class Plan(Options):
    """A whole run. Budgets, shares and schedules count tokens; steps are derived."""

    SYNONYMS: ClassVar[dict[str, str]] = {
        "model": "base", "model_name_or_path": "base", "base_model": "base", "output": "output_dir",
        "cutoff_len": "seq_len", "sequence_len": "seq_len", "max_length": "seq_len", "max_seq_length": "seq_len",
        "block_size": "seq_len", "global_batch_tokens": "batch_tokens", "batch_size": "batch_tokens",
        "bf16": "precision",
        "fp16": "precision", "datasets": "corpora", "data": "corpora", "eval_steps": "eval_every",
        "torch_compile": "compile", "clip": "max_grad_norm", "grad_clip": "max_grad_norm", "eval": "watch",
        "per_device_train_batch_size": "micro_batch_tokens", "dataset_num_proc": "workers", "dtype": "precision",
    }  # fmt: skip

    base: str | Scratch
    revision: str | None = None
    output_dir: str
    prepared_dir: str | None = None
    corpora: Annotated[dict[str, SerializeAsAny[Method]], BeforeValidator(_corpora)]
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    watch: Annotated[tuple[Watch, ...], BeforeValidator(_watches)] = ()
    controls: tuple[Control, ...] = ()

    seed: int = 0
    seq_len: Annotated[int, Field(ge=8)] = 512
    batch_tokens: Count = 16_384
    micro_batch_tokens: Count | None = None
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: bool = False
    workers: Annotated[int, Field(ge=1)] | None = None

    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    adam_betas: tuple[float, float] = (0.9, 0.95)
    adam_epsilon: Annotated[float, Field(gt=0)] = 1e-8
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0

    eval_tokens: Count = 100_000
    eval_every: Count | None = None
    save_steps: Annotated[int, Field(ge=1)] | None = None
    save_total_limit: Annotated[int, Field(ge=2)] = 2
    bad_rows: Share = 0.001

    @model_validator(mode="after")
    def _names_agree(self) -> Plan:
        problems = [*_unknown_corpora(self), *_unknown_stages(self)]
        if self.batch_tokens % self.seq_len:
            problems.append(f"batch_tokens {self.batch_tokens} is not a multiple of seq_len {self.seq_len}")
        if self.micro_batch_tokens is not None and (
            self.micro_batch_tokens % self.seq_len or self.batch_tokens % max(1, self.micro_batch_tokens)
        ):
            problems.append(
                f"micro_batch_tokens {self.micro_batch_tokens} must be a multiple of seq_len {self.seq_len} "
                f"that divides batch_tokens {self.batch_tokens}"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def directory(self) -> Path:
        """The run directory."""
        return Path(self.output_dir)

    def resolved(self) -> dict[str, Any]:
        """The plan as plain values: every default filled in, every method with its type and options."""
        values = self.model_dump(mode="json", by_alias=True)
        values["corpora"] = {name: corpus.described() for name, corpus in self.corpora.items()}
        for stage, dumped in zip(self.stages, values["stages"], strict=True):
            dumped["mixture"] = stage.mixture.described()
            dumped["schedule"] = stage.schedule.described()
        return values

    def role(self, corpus: str) -> Literal["old", "new"]:
        """What a watched corpus is: `new` if a stage learns it, otherwise `old`; the plan may say otherwise."""
        for watch in self.watch:
            if watch.corpus == corpus and watch.role is not None:
                return watch.role
        return (
            "new"
            if any(portion.corpus == corpus for stage in self.stages for portion in stage.data)
            else "old"
        )

    def watched(self, corpus: str) -> bool:
        """Whether the corpus is on the watch-list."""
        return any(watch.corpus == corpus for watch in self.watch)

    def trained(self, corpus: str) -> bool:
        """Whether any stage trains on the corpus, as data or as replay."""
        return any(
            corpus in {portion.corpus for portion in stage.data}
            or (stage.replay and stage.replay.from_ == corpus)
            for stage in self.stages
        )


def _unknown_corpora(plan: Plan) -> list[str]:
    named = [(f"watch '{watch.corpus}'", watch.corpus) for watch in plan.watch]
    for stage in plan.stages:
        named += [(f"stage '{stage.name}' data '{portion.corpus}'", portion.corpus) for portion in stage.data]
        if stage.replay is not None and stage.replay.from_ != SELF:
            named.append((f"stage '{stage.name}' replay from '{stage.replay.from_}'", stage.replay.from_))
    problems = [
        f"{where} is not in corpora. {nearest(name, plan.corpora)}"
        for where, name in named
        if name not in plan.corpora
    ]
    if SELF in plan.corpora:
        problems.append(
            "'self' is a reserved word (replay from the model's own samples): give the corpus another name"
        )
    return problems


def _unknown_stages(plan: Plan) -> list[str]:
    problems: list[str] = []
    earlier: list[str] = ["base"]
    for stage in plan.stages:
        if stage.name in earlier:
            problems.append(f"stage name '{stage.name}' is used twice (or is the reserved 'base')")
        if stage.from_ is not None and stage.from_ not in earlier:
            problems.append(
                f"stage '{stage.name}' starts from '{stage.from_}', which is no earlier stage: {earlier}"
            )
        earlier.append(stage.name)
        if stage.release is not None:
            earlier.append(f"{stage.name}-release")
    return problems


_SUFFIXES = {
    ".jsonl": "jsonl",
    ".json": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".txt": "text",
    ".md": "text",
}


def corpus_options(value: Any) -> Any:
    """A corpus's options with `type` filled in from its path; a bare path stands for all defaults."""
    options = {"path": value} if isinstance(value, str | list) else value
    if (
        isinstance(options, Method)
        or not isinstance(options, Mapping)
        or "type" in options
        or "path" not in options
    ):
        return options
    first = (
        options["path"][0] if isinstance(options["path"], list) and options["path"] else str(options["path"])
    )
    return {"type": _type_of_path(str(first)), **options}


def _type_of_path(path: str) -> str:
    suffixes = [suffix for suffix in Path(path).suffixes if suffix not in (".gz", ".zst")]
    if suffixes and suffixes[-1] in _SUFFIXES:
        return _SUFFIXES[suffixes[-1]]
    if Path(path).is_dir():
        inside = (file for file in sorted(Path(path).rglob("*")) if file.is_file())
        kinds = [_type_of_path(file.name) for _, file in zip(range(200), inside, strict=False)]
        return max(set(kinds), key=kinds.count) if kinds else "text"
    return "code" if suffixes else "text"


def load(path: str | Path) -> Plan:
    """The plan in a YAML file; UserError with every fault when it is wrong."""
    file = Path(path)
    if not file.is_file():
        raise UserError(
            f"plan '{path}' does not exist. Write one with: rewarm init --base MODEL --new TEXT --old TEXT"
        )
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"plan '{path}' is not YAML: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"plan '{path}' holds no mapping of keys; the first key of a plan is usually 'base'")
    return from_values(values)


def from_values(values: Mapping[str, Any]) -> Plan:
    """The plan behind plain values, as YAML or JSON gives them."""
    return checked(Plan, values)


__all__ = [
    "Plan",
    "Portion",
    "Release",
    "Replay",
    "Scratch",
    "Stage",
    "Watch",
    "from_values",
    "load",
    "parse_count",
    "parse_share",
]
