"""The plan: base, corpora, stages, watch-list, controls. YAML or Python, the same objects; validated whole.

Importing this file loads no model library. Methods (corpora, mixtures, schedules) are looked up by name in their
folders when a plan is built.

From Python, give `from_values` the mappings YAML would hold; any of them may be an object instead (`Stage(...)`,
`Replay(from_="old")`, a corpus, a schedule). Both give the same plan. `Plan(...)` may be called directly too; only
`from_values` turns what is wrong into a UserError that names each key, its remedy and the nearest allowed word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from rewarm.expected import Foretold
from rewarm.kinds import corpus_options
from rewarm.languages import Code, unknown_languages
from rewarm.methods import Faults, Method, Options, build, checked
from rewarm.plan_file import read_yaml
from rewarm.quantities import Count, PositiveCount, Share
from rewarm.references import retained, unfit, unknown_names
from rewarm.stages import SELF, Name, Portion, Release, Replay, Spikes, Stage, by_corpus, parse_name
from rewarm.stream import expanded

Control = Literal["base", "new-only", "joint", "same-data", "alone"]


class TrainTokenizer(Options):
    """A byte-level BPE tokenizer trained on the corpora of the first stage."""

    vocab_size: Annotated[int, Field(ge=260)] = 8192
    sample_bytes: PositiveCount = 50_000_000


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


class Facts(Options):
    """A set of probes. `stage` is the stage that brings the answers they call new; None: the stages as a whole."""

    probes: SerializeAsAny[Method]
    stage: Name | None = None


class Watch(Options):
    """A corpus whose held-out documents are scored before, during and after training; `tokens` caps the cost.

    `part` scores one half of them only, `pilot` or `final`: what a plan was chosen by is not what it is judged by.
    """

    corpus: Name
    role: Literal["old", "new"] | None = None
    tokens: PositiveCount | None = None
    part: Literal["all", "pilot", "final"] = "all"


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _unless_false(value: Any) -> Any:
    return None if value is False else value


def _spikes(value: Any) -> Any:
    return (
        {"skip": {}, True: {}, "stop": None, False: None}.get(value, value) if isinstance(value, str | bool) else value
    )


class Clean(Options):
    """What is left out of the text that stages learn: documents that nearly repeat another of their corpus (from a
    Jaccard similarity of `near_duplicates` on) or of `against`, and those that share `ngram` words in a row with what
    is watched or asked. `false` turns either off."""

    near_duplicates: Annotated[Annotated[float, Field(ge=0.5, le=1)] | None, BeforeValidator(_unless_false)] = 0.8
    ngram: Annotated[Annotated[int, Field(ge=5, le=100)] | None, BeforeValidator(_unless_false)] = 13
    against: Annotated[tuple[Literal["watch", "probes", "replay"], ...], BeforeValidator(_listed)] = (
        "watch", "probes", "replay",
    )  # fmt: skip


def _named(make: Callable[[str, Any], Any], what: str) -> BeforeValidator:
    """A mapping from the user's names to what `make` builds of a name and its value; Faults with every fault."""

    def build_each(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ValueError(f"give a mapping from a name of yours to {what}")
        found: dict[str, Any] = {}
        faults: list[tuple[str, str]] = []
        for key, item in value.items():
            try:
                found[parse_name(key)] = make(str(key), item)
            except Faults as error:
                faults += error.faults
            except ValueError as error:
                faults.append((str(key), str(error)))
        if faults:
            raise Faults(faults)
        return found

    return BeforeValidator(build_each)


def _corpus(name: str, value: Any) -> Method:
    return build("corpora", corpus_options(value), name)


def _facts(name: str, value: Any) -> Facts:
    """From a path, or the options of a probe set and the `stage` it belongs to."""
    if isinstance(value, Facts | Method):
        return value if isinstance(value, Facts) else Facts(probes=value)
    options = dict(value) if isinstance(value, Mapping) else {"path": value}
    stage = options.pop("stage", None)
    return Facts(probes=build("probes", {"type": "jsonl", **options}, name), stage=stage)


def _suite(name: str, value: Any) -> Method:
    return build("suites", value, name)


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
        "activation_checkpointing": "gradient_checkpointing", "use_gradient_checkpointing": "gradient_checkpointing",
        "enable_activation_checkpointing": "gradient_checkpointing", "recompute": "gradient_checkpointing",
        "fsdp": "sharding", "num_processes": "processes", "nproc_per_node": "processes", "world_size": "processes",
        "old": "old_corpus", "old_text": "old_corpus", "proxy": "old_corpus",
    }  # fmt: skip

    base: Annotated[str, Field(min_length=1)] | Scratch
    revision: str | None = None
    output_dir: Annotated[str, Field(min_length=1)]
    prepared_dir: str | None = None
    old_corpus: Name | None = None
    corpora: Annotated[
        dict[str, SerializeAsAny[Method]], _named(_corpus, "a path or to a corpus's options"), Field(min_length=1)
    ]
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    watch: Annotated[tuple[Watch, ...], BeforeValidator(by_corpus)] = ()
    probes: Annotated[dict[str, Facts], _named(_facts, "a file of probes or to its options")] = Field(
        default_factory=dict
    )
    suites: Annotated[dict[str, SerializeAsAny[Method]], _named(_suite, "a suite's options, with its 'type'")] = Field(
        default_factory=dict
    )
    clean: Clean | None = None
    languages: Annotated[bool | dict[Name, Code], Field(union_mode="left_to_right")] = False
    controls: Annotated[tuple[Control, ...], BeforeValidator(_listed)] = ()

    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    seq_len: Annotated[int, Field(ge=8)] = 512
    batch_tokens: PositiveCount = 16_384
    micro_batch_tokens: PositiveCount | None = None
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: Annotated[bool | Literal["auto"], Field(union_mode="left_to_right")] = "auto"
    gradient_checkpointing: Annotated[bool | Literal["auto"], Field(union_mode="left_to_right")] = "auto"
    workers: Annotated[int, Field(ge=1)] | None = None
    sharding: Literal["auto", "none", "full"] = "auto"
    processes: Annotated[int, Field(ge=1)] | None = None

    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    adam_betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.95)
    adam_epsilon: Annotated[float, Field(gt=0)] = 1e-8
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    spikes: Annotated[Spikes | None, BeforeValidator(_spikes)] = None

    eval_tokens: PositiveCount = 100_000
    eval_every: Count | None = None
    save_steps: Annotated[int, Field(ge=1)] | None = None
    save_total_limit: Annotated[int, Field(ge=2)] = 2
    bad_rows: Share = 0.001
    forecast: Foretold | None = None

    @model_validator(mode="before")
    @classmethod
    def _streams_become_stages(cls, values: Any) -> Any:
        return expanded(values) if isinstance(values, Mapping) else values

    @model_validator(mode="after")
    def _names_agree(self) -> Plan:
        watched = [watch.corpus for watch in self.watch]
        problems = unknown_names(self.stages, tuple(self.corpora), watched, self.old_corpus, self.probes)
        problems += unfit(self.stages, self.corpora, self.old_corpus, self.compile is True)
        problems += unknown_languages(self.languages, self.corpora)
        unwatched = [name for name in (self.forecast.changes if self.forecast else ()) if name not in watched]
        problems += [
            f"forecast.changes: '{name}' is not watched, so nothing would be held against it" for name in unwatched
        ]
        if self.batch_tokens % self.seq_len:
            nearest_batch = max(1, round(self.batch_tokens / self.seq_len)) * self.seq_len
            problems.append(
                f"batch_tokens {self.batch_tokens} is not a multiple of seq_len {self.seq_len}: give {nearest_batch}"
            )
        if self.micro_batch_tokens is not None and (
            self.micro_batch_tokens % self.seq_len or self.batch_tokens % self.micro_batch_tokens
        ):
            problems.append(
                f"micro_batch_tokens {self.micro_batch_tokens} must be a multiple of seq_len {self.seq_len} "
                f"that divides batch_tokens {self.batch_tokens}"
            )
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def head(self) -> str:
        """The kind of model that every stage trains: causal, masked or seq2seq."""
        return str(getattr(self.stages[0].objective, "head", "causal"))

    @property
    def directory(self) -> Path:
        """The run directory."""
        return Path(self.output_dir)

    def resolved(self) -> dict[str, Any]:
        """The plan as plain values: every default filled in, every method with its type and options."""
        values = self.model_dump(mode="json", by_alias=True)
        values["corpora"] = {name: corpus.described() for name, corpus in self.corpora.items()}
        values["probes"] = {
            name: {**facts.probes.described(), "stage": facts.stage} for name, facts in self.probes.items()
        }
        values["suites"] = {name: suite.described() for name, suite in self.suites.items()}
        for stage, dumped in zip(self.stages, values["stages"], strict=True):
            dumped["mixture"] = stage.mixture.described()
            if stage.replay is not None:
                for key in getattr(stage.mixture, "replaces", ()):
                    del dumped["replay"][key]
            dumped["schedule"] = stage.schedule.described()
            dumped["objective"] = stage.objective.described()
            dumped["select"] = None if stage.select is None else stage.select.described()
            dumped["retention"] = [method.described() for method in stage.retention]
            dumped["adapter"] = None if stage.adapter is None else stage.adapter.described()
        return values

    def role(self, corpus: str) -> Literal["old", "new"]:
        """What a watched corpus is: `new` if a stage learns it, otherwise `old`; the plan may say otherwise."""
        for watch in self.watch:
            if watch.corpus == corpus and watch.role is not None:
                return watch.role
        return "new" if any(portion.corpus == corpus for stage in self.stages for portion in stage.data) else "old"

    def watched(self, corpus: str) -> bool:
        """Whether the corpus is on the watch-list."""
        return any(watch.corpus == corpus for watch in self.watch)

    def used_corpora(self) -> list[str]:
        """Corpora that some stage or the watch-list needs, in the plan's order."""
        return [name for name in self.corpora if self.watched(name) or self.trained(name)]

    def trained(self, corpus: str) -> bool:
        """Whether any stage reads the corpus: as data, as replay, or to hold what the model knows of it."""
        return corpus == self.old_corpus or any(
            corpus in {portion.corpus for portion in stage.data}
            or (stage.replay and corpus in stage.replay.sources)
            or corpus in retained(stage)
            or (stage.select and corpus == stage.select.task)
            for stage in self.stages
        )


def load(path: str | Path) -> Plan:
    """The plan in a YAML file; UserError with every fault when it is wrong."""
    return from_values(read_yaml(path, "Write one with: rewarm init --base MODEL --new TEXT --old TEXT"))


def from_values(values: Mapping[str, Any]) -> Plan:
    """The plan behind plain values, as YAML or JSON gives them; UserError with every fault when they are wrong."""
    return checked(Plan, values)


__all__ = ["SELF", "Plan", "Portion", "Release", "Replay", "Scratch", "Stage", "Watch", "from_values", "load"]
