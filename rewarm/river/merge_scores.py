"""Makes the models of a merge, scores them, and keeps what was scored.

Scores lie in the output folder by recipe and hashes of the merged models, and beside the prepared tokens by the hash of
the merged weights. The base and the run's own stages were scored by the run. What is kept needs no model again.
"""

from __future__ import annotations

import copy
import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from transformers import PreTrainedModel

from rewarm.evaluation.intervals import DocumentLosses
from rewarm.evaluation.loss import load
from rewarm.models.load import save_model, save_tokenizer, weights_hash
from rewarm.models.merging import Recipe, blend, vocabulary_rows
from rewarm.report.frontier import MergePoint, mean_changes
from rewarm.river import merge_parts
from rewarm.river.directory import RunDirectory
from rewarm.river.legs import BASE
from rewarm.river.merge_order import MergeWork
from rewarm.river.merge_parts import ModelPart
from rewarm.river.outcome import row
from rewarm.river.scores import score
from rewarm.river.train import Hooks
from rewarm.training.machine import on_device
from rewarm.types import UserError

_WEIGHTS = "weights.json"
FACTS = "rewarm.json"
"""What a saved model says of itself."""
Losses = dict[str, DocumentLosses]


class Scorer:
    """The points of one merge. `losses` holds, by the name of a point, its losses on every watch corpus.

    Models are loaded when they are first needed and stay in memory; one more is made, and overwritten for each point.
    """

    def __init__(self, work: MergeWork, hooks: Hooks) -> None:
        self.work = work
        self.hooks = hooks
        self.losses: dict[str, Losses] = {}
        self._models: dict[str, PreTrainedModel] = {}
        self._digests: dict[str, str] = {}
        self._recipes: dict[str, tuple[Recipe, Sequence[ModelPart]]] = {}
        self._made: PreTrainedModel | None = None

    def digest(self, part: ModelPart) -> str:
        """The hash of a model's weights; a model of no run is loaded for it."""
        if part.name not in self._digests:
            self._digests[part.name] = part.weights_sha256 or weights_hash(self._model(part))
        return self._digests[part.name]

    def check_distinct(self) -> None:
        """UserError when two models have the same weights."""
        seen: dict[str, str] = {}
        for part in self.work.parts:
            other = seen.setdefault(self.digest(part), part.name)
            if other != part.name:
                raise UserError(f"'{part.name}' and '{other}' have the same weights: give models that differ")

    def untouched(self, part: ModelPart, weight: float | None = None) -> MergePoint:
        """The point of a model as it is; the run's own are not scored again."""
        digest = self.digest(part)
        folder = self._folder(f"model-{digest[:16]}")
        losses = (self._read(part.scores) if part.scores else None) or self._read(folder)
        if losses is None:
            losses = self._score(self._blend(Recipe("soup"), [part]), folder, digest)
        self._recipes[part.name] = Recipe("soup"), [part]
        return self._point(part.name, weight, digest, losses)

    def merged(self, name: str, recipe: Recipe, parts: Sequence[ModelPart]) -> MergePoint:
        """The point of a merge, which is made only if it was not scored before."""
        key = json.dumps([asdict(recipe), [self.digest(part) for part in parts]], sort_keys=True)
        weight = None if recipe.method == "soup" else recipe.weight
        word = recipe.method if weight is None else f"{recipe.method}-{weight:g}"
        folder = self._folder(f"{word}-{hashlib.sha256(key.encode()).hexdigest()[:16]}")
        losses = self._read(folder)
        if losses is None:
            made = self._blend(recipe, parts)
            digest = weights_hash(made)
            RunDirectory(folder).write_json(_WEIGHTS, digest)
            losses = self._score(made, folder, digest)
        self._recipes[name] = recipe, parts
        return self._point(name, weight, _digest_in(folder), losses)

    def save(self, point: MergePoint) -> Path:
        """Writes a point's model as a Hugging Face folder, unless it lies there already; the folder."""
        folder = self.work.output / "model"
        facts = {"merge": self.work.order.method, "point": point.name, "weights_sha256": point.weights_sha256}
        if (folder / FACTS).is_file() and json.loads((folder / FACTS).read_text(encoding="utf-8")) == facts:
            return folder
        recipe, parts = self._recipes[point.name]
        model = self._model(parts[0]) if point.untouched else self._blend(recipe, parts)
        chat = self.work.order.chat
        with tempfile.TemporaryDirectory() as place:
            tokenizer = self.work.run.tokenizer
            if recipe.method == "chat-vector" and chat is not None:
                # What a chat model answers with ends by its own end token, which its generation settings name.
                model.generation_config = copy.deepcopy(self._model(parts[-1]).generation_config)
                revision = parts[-1].revision
                if merge_parts.covers(tokenizer, chat, revision):
                    tokenizer = Path(place) / "tokenizer"
                    save_tokenizer(chat, tokenizer, revision)
            save_model(model, tokenizer, folder, json.dumps(facts))
        return folder

    def _model(self, part: ModelPart) -> PreTrainedModel:
        if part.name not in self._models:
            self.hooks.tell_or_stop(f"load {part.name}", 0, None, "")
            self._models[part.name] = part.load()
        return self._models[part.name]

    def _blend(self, recipe: Recipe, parts: Sequence[ModelPart]) -> PreTrainedModel:
        if self._made is None:
            made = copy.deepcopy(self._model(self.work.stage))
            # Rows that only a chat model has are to be written, so what they begin as does not matter.
            rows = max(vocabulary_rows(self._model(part)) for part in parts)
            if rows > vocabulary_rows(made):
                made.resize_token_embeddings(rows, mean_resizing=False)
            self._made = on_device(made)
        blend(self._made, [merge_parts.tensors(self._model(part)) for part in parts], recipe)
        return self._made

    def _folder(self, name: str) -> Path:
        return self.work.output / "scores" / name

    def _read(self, folder: Path) -> Losses | None:
        files = {corpus: folder / f"{corpus}.npz" for corpus in self.work.inputs.watch_documents}
        return (
            {corpus: load(file) for corpus, file in files.items()} if all(map(Path.is_file, files.values())) else None
        )

    def _score(self, model: PreTrainedModel, folder: Path, digest: str) -> Losses:
        return score(model, self.work.inputs, folder, self.hooks.tell_or_stop, digest)

    def _point(self, name: str, weight: float | None, digest: str, losses: Losses) -> MergePoint:
        self.losses[name] = losses
        base = self.losses[BASE]  # every merge has the base as its first point
        cells = row(name, BASE if name == BASE else "stage", losses, base).cells
        old, new, mean = mean_changes(cells, self.work.columns)
        recipe, parts = self._recipes[name]
        return MergePoint(
            name=name,
            weight=weight,
            members=[part.name for part in parts],
            untouched=recipe == Recipe("soup") and len(parts) == 1,
            weights_sha256=digest,
            cells=cells,
            old=old,
            new=new,
            mean=mean,
        )


def _digest_in(folder: Path) -> str:
    found: str = json.loads((folder / _WEIGHTS).read_text(encoding="utf-8"))
    return found
