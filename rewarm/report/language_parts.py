"""Which languages a run's text is in, how alike its corpora are, and what its stages did to each other's languages."""

from __future__ import annotations

from rewarm.report.part import Part, Verdict


class CorpusLanguages(Part):
    """One corpus. `shares` are of its `detected` lines, by ISO 639-1 code, the largest first; `expected` is what the
    plan says it is in, `language` that or else the language of most lines. `short` lines were not asked about."""

    name: str
    expected: str | None
    language: str | None
    detected: int
    lines: int
    short: int
    shares: dict[str, float]


class TransferFigure(Part):
    """A transfer of a `kind`, forward or backward, in nats per byte: above 0 is a gain; with its 95 % interval."""

    kind: str
    stage: str
    corpus: str
    value: float
    low: float
    high: float
    verdict: Verdict


class Transfer(TransferFigure):
    """What a stage gained (above 0) or lost on a corpus, in nats per byte, with its 95 % interval over documents.

    `kind` is forward: the loss of a model that learned the stage's text from the base alone, less that of the run's
    model; or backward: the loss before the stage less that after it, on text that is not its own. `share` is that of
    the stage's lines in the language of the corpus, `distance` that of the two texts' trigrams.
    """

    share: float | None = None
    distance: float | None = None


class Languages(Part):
    """The corpora of a run; `distances` has a row and a column for each in their order. `detector` is what detected,
    `sample` how many lines of each corpus at most."""

    corpora: list[CorpusLanguages]
    distances: list[list[float | None]]
    transfers: list[Transfer]
    detector: str
    sample: int
