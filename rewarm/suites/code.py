"""Programs: does what the model writes pass the problem's tests? pass@k, run in a sandbox."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, field_validator, model_validator

from rewarm.corpora.sources import Name
from rewarm.quantities import PositiveCount
from rewarm.sandbox import ENDS, Limits, Outcome, permission
from rewarm.suites import Ability, Answers, Asked, Measure
from rewarm.suites.problems import Problem, cut, pass_at, problem_of
from rewarm.suites.rows import Chosen, FileSuite
from rewarm.types import UserError, counted

INVALID = "its own answer fails here: {fault}"


class Code(FileSuite[Problem]):
    """Rows of HumanEval and PandasEval (`prompt`, `test`, `entry_point`, `canonical_solution`) or MBPP (`text`, `code`,
    `test_list`). The model writes `samples` answers (greedily at temperature 0), each up to `new_tokens` and to the
    first text of `stop` (None: those of the benchmark); they are run with the tests, `seconds` and `memory` each, and
    `pass@k` is told for every `k`. A problem that its own answer does not pass in this environment is left out.
    `sketcher` is the folder of a model of sketches: it drafts, and the model that is asked writes from that (CERT).

    Programs are run only if `rewarm run` is told --execute. docs/code.md says what contains them.
    """

    paper: ClassVar[str] = "Chen et al. 2021 (arXiv 2107.03374); CERT (arXiv 2206.06888) for PandasEval and NumpyEval"
    asks_causal_models: ClassVar[bool] = True
    executes: ClassVar[bool] = True

    ability: Ability = "domain"
    samples: Annotated[PositiveCount, Field(ge=1)] = 1
    temperature: Annotated[float, Field(ge=0)] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    k: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (1,)
    stop: tuple[Name, ...] | None = None
    new_tokens: Annotated[PositiveCount, Field(ge=1)] = 256
    seconds: Annotated[float, Field(gt=0, le=600)] = 5.0
    memory: Annotated[PositiveCount, Field(ge=64_000_000)] = 2_000_000_000
    sketcher: Path | None = None
    limit: Annotated[PositiveCount, Field(ge=1)] | None = 200

    @field_validator("k", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int) else value

    @model_validator(mode="after")
    def _samples_fit(self) -> Code:
        if max(self.k) > self.samples:
            raise ValueError(f"k {max(self.k)} of {self.samples} samples cannot be told: raise samples, or lower k")
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(f"{self.samples} samples at temperature 0 are all the same: set a temperature, as in 0.8")
        return self

    def item(self, row: Mapping[str, Any]) -> Problem:
        """The problem of a row; BadRow when it is of no known form."""
        return problem_of(row)

    def fingerprint(self) -> str:
        """As of every suite in files, and of the environment, which decides which problems can be passed."""
        from rewarm.suites.valid import environment

        parts = [super().fingerprint(), json.dumps(environment())]
        if self.sketcher is not None:
            from rewarm.suites.in_two_steps import sketcher_key

            parts.append(sketcher_key(self.sketcher.expanduser()))
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()

    def check(self, name: str, bad_limit: float) -> None:
        """As of every suite in files; also UserError for a sketcher that is no model."""
        super().check(name, bad_limit)
        if self.sketcher is not None:
            from rewarm.suites.in_two_steps import check_sketcher

            check_sketcher(self.sketcher.expanduser())

    def cost(self, bytes_per_token: float) -> float:
        """What is read and written, by a sketcher too; running the programs is not counted."""
        items = self.choose(0).items
        read = sum(len(item.prompt.encode()) for item in items) / bytes_per_token
        return (1 if self.sketcher is None else 2) * self.samples * (read + 2 * self.new_tokens * len(items))

    def answer(self, asked: Asked) -> Answers:
        """`pass@k` of every valid problem; how programs ended, and what contained them, in `extra`."""
        from rewarm.sandbox.run import protections
        from rewarm.suites.valid import environment, fault_of

        permission.require("a suite of type code")
        all_chosen = self.choose(asked.seed)
        chosen = self.valid(all_chosen, counted(asked.tell, "run own answers", len(all_chosen.items), "programs"))
        texts, by = self._texts(asked, chosen.items)
        done = counted(asked.tell, "run programs", len(texts) * self.samples, "programs")
        outcomes = [self._run(item, several, done) for item, several in zip(chosen.items, texts, strict=True)]
        passed = [sum(one.end == "passed" for one in several) for several in outcomes]
        measures = {
            f"pass@{k}": Measure(np.array([pass_at(self.samples, count, k) for count in passed], np.float64))
            for k in self.k
        }
        ends = Counter(one.end for several in outcomes for one in several)
        faults = Counter(fault_of(one) for several in outcomes for one in several if one.end != "passed")
        return chosen.answers(
            measures,
            [several[0] for several in texts],
            valid=len(chosen.items),
            of=len(all_chosen.items),
            ends={end: ends[end] for end in ENDS},
            faults=dict(faults.most_common(20)),
            passed=passed,
            samples=self.samples,
            **({"written_by": by} if by else {}),
            environment=environment(),
            protections=protections(),
        )

    def valid(self, chosen: Chosen[Problem], done: Any = lambda count: None) -> Chosen[Problem]:
        """The problems whose own answers pass here; the others are counted as left out, by how they fail.

        UserError when none is left.
        """
        from rewarm.suites.valid import own_faults

        permission.require("a suite of type code")
        faults = own_faults(chosen.items, self.limits, done)
        invalid = Counter(INVALID.format(fault=fault) for fault in faults if fault)
        kept = [place for place, fault in enumerate(faults) if not fault]
        tally = dataclasses.replace(chosen.tally, left_out=chosen.tally.left_out + invalid)
        if not kept:
            raise UserError(
                f"none of {len(faults):,} problems passes with its own answer here: {Counter(faults).most_common(3)}. "
                "Install what they import, or raise seconds and memory"
            )
        return Chosen(tuple(chosen.ids[place] for place in kept), tuple(chosen.items[place] for place in kept), tally)

    @property
    def limits(self) -> Limits:
        """What each program may use."""
        return Limits(seconds=self.seconds, memory=self.memory)

    def _texts(self, asked: Asked, items: Sequence[Problem]) -> tuple[list[list[str]], dict[str, int]]:
        """The answers to each problem, and in two steps by which model how many problems were answered."""
        from rewarm.evaluation.sampled import Drawing
        from rewarm.suites.writing import plain, write, write_several

        stops = [item.stops if self.stop is None else self.stop for item in items]
        drawing = Drawing(self.samples, self.temperature, self.top_p, asked.seed)
        if self.sketcher is not None:
            from rewarm.suites.in_two_steps import in_two_steps

            return in_two_steps(asked, self.sketcher.expanduser(), items, stops, self.new_tokens, drawing)
        prompts = plain(asked, [item.prompt for item in items])
        if self.temperature == 0:
            said = [[one] for one in write(asked, prompts, self.new_tokens)]
        else:
            said = write_several(asked, prompts, self.new_tokens, drawing)
        return [[cut(one.text, stop) for one in several] for several, stop in zip(said, stops, strict=True)], {}

    def _run(self, item: Problem, texts: Sequence[str], done: Any) -> list[Outcome]:
        """The outcome of each text; the same text is run once."""
        from rewarm.sandbox.run import run_program

        known = {text: run_program(item.written(text), self.limits) for text in dict.fromkeys(texts)}
        done(len(texts))
        return [known[text] for text in texts]
