"""A model with more tokens than before: pieces found in new text, rows made of old ones, and what that is worth."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from rewarm.corpora import Corpus
from rewarm.corpora.faults import check_budget
from rewarm.hashing import text_hash
from rewarm.hub import fetched
from rewarm.models.load import load_model, save_model, save_tokenizer
from rewarm.models.merging import vocabulary_rows
from rewarm.models.new_rows import Init, add_rows
from rewarm.river.shapes import base_shape
from rewarm.storage import full_disk_told
from rewarm.tokens.extension import Extension, count_words, extend
from rewarm.tokens.order import is_held_out
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import BadRows, Tell, UserError, silent

HELD_OUT = 0.05
"""Share of the documents from which no piece is learned, and on which the gain is measured."""
SAMPLE = 100_000_000
MEASURED = 5_000_000
"""Characters of text that pieces are learned from, and that the gain is measured on."""
_TOLD_EVERY = 256


@dataclass(frozen=True, slots=True)
class Extend:
    """A job: `model` gets up to `count` tokens more, learned from `text`, and goes to the folder `out`."""

    model: str
    text: Corpus
    count: int
    ways: tuple[Init, Init]
    out: Path
    seed: int = 0
    revision: str | None = None
    bad_rows: float = 0.001

    def run(self, tell: Tell = silent, dry: bool = False) -> dict[str, Any]:
        """Learns, measures and, unless `dry`, writes the model; what came out, also in its `extension.json`.

        UserError for a model, a tokenizer or text that will not do; StorageError when the disk is full.
        """
        if self.out.exists() and any(self.out.iterdir()):
            raise UserError(f"--out {self.out} is there already and is not empty: give another folder")
        place = fetched(self.model, self.revision)
        return replace(self, model=place.folder, revision=place.commit)._run(tell, dry)

    def _run(self, tell: Tell, dry: bool) -> dict[str, Any]:
        base_shape(self.model, self.revision)  # a base that cannot grow is refused before the text is read
        with tempfile.TemporaryDirectory() as work:
            folder = Path(work) / "tokenizer"
            save_tokenizer(self.model, folder, self.revision)
            old = TextTokenizer(folder)
            texts = self._texts(tell)
            plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
            plain.encode_special_tokens = True
            extension = extend(plain, count_words(plain, texts[0]), self.count)
            if not extension.pieces:
                raise UserError("no pair of pieces occurs twice in the text: there is nothing to add. Give more text")
            held_out = texts[1] or texts[0]
            before = _tokens(old, held_out)
            _rewrite(folder, extension)
            after = _tokens(TextTokenizer(folder), held_out)
            found = self._found(extension, before, after, _bytes(held_out)) | {
                "measured_on": "held-out documents" if texts[1] else "the text that pieces were learned from"
            }
            return found | self._grow(extension, folder, found, dry)

    def _texts(self, tell: Tell) -> tuple[list[str], list[str]]:
        """Text to learn from and to measure on; UserError for a corpus without any, or with too many bad rows."""
        bad = BadRows()
        kinds: tuple[list[str], list[str]] = ([], [])
        sizes, most = [0, 0], (SAMPLE, MEASURED)
        for number, document in enumerate(self.text.read(bad)):
            kind = int(is_held_out(text_hash(document.text), HELD_OUT))
            if sizes[kind] < most[kind]:
                kinds[kind].append(document.text)
                sizes[kind] += len(document.text)
            if number % _TOLD_EVERY == 0:
                tell("read", sizes[0], SAMPLE, "characters")
            if sizes[0] >= SAMPLE:
                break
        check_budget("TEXT", bad, self.bad_rows)
        if not any(kinds[0]):
            raise UserError(f"TEXT holds nothing to learn from ({bad.rows:,} rows read): give another file")
        return kinds

    def _found(self, extension: Extension, before: int, after: int, size: int) -> dict[str, Any]:
        return {
            "revision": self.revision, "asked": self.count, "added": len(extension.pieces),
            "first_id": extension.first_id,
            "examples": list(extension.names[:10]), "bytes_per_token": {"before": size / before, "after": size / after},
            "tokens_saved": 1 - after / before, "init": self.ways[0], "init_head": self.ways[1],
        }  # fmt: skip

    def _grow(self, extension: Extension, folder: Path, found: dict[str, Any], dry: bool) -> dict[str, Any]:
        """Grows the model and writes it; how many rows, and what a byte of the text costs in passes, before = 1."""
        model = load_model(self.model, self.revision)
        own = sum(parameter.numel() for parameter in model.parameters())
        width = int(model.config.get_text_config().hidden_size)
        embedding = vocabulary_rows(model) * width
        rows = add_rows(model, extension.first_id, extension.pieces, self.ways, self.seed)
        grown = sum(parameter.numel() for parameter in model.parameters())
        # Of the embedding nothing is multiplied; the head is, and has the same size.
        products = (own - embedding) if rows["head"] else own
        more = len(extension.pieces) * width / products
        result = {
            "rows": rows, "parameters": {"before": own, "after": grown},
            "cost_per_byte": (1 - found["tokens_saved"]) * (1 + more),
        }  # fmt: skip
        if not dry:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            with full_disk_told(self.out.parent, "nothing was written"):
                (folder / "extension.json").write_text(json.dumps(found | result, indent=1), encoding="utf-8")
                save_model(model, folder, self.out)
        return result


def _rewrite(folder: Path, extension: Extension) -> None:
    file = folder / "tokenizer.json"
    file.write_text(json.dumps(extension.tokenizer, ensure_ascii=False), encoding="utf-8")


def _tokens(tokenizer: TextTokenizer, texts: Sequence[str]) -> int:
    """Tokens of text, without what opens and closes each."""
    return int(tokenizer.encode_flat(texts)[1].sum()) - len(texts) * (len(tokenizer.prefix) + 1)


def _bytes(texts: Sequence[str]) -> int:
    return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
