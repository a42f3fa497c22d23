"""Hugging Face Trainer's common recipe for more pre-training, as `run_clm` examples show it: a worker of peers.py.

    python benchmarks/peers_trainer.py JOB.json

Documents are tokenised, closed by EOS, put one behind the other and cut into rows; rows are shuffled.
"""

from __future__ import annotations

import json
import sys
from itertools import chain
from pathlib import Path
from typing import Any


def rows_of(file: Path, tokenizer: Any, length: int) -> list[dict[str, Any]]:
    """The file's text as rows of `length` tokens; the rest is left out, as the examples do."""
    import torch

    texts = [json.loads(line)["text"] for line in file.read_text(encoding="utf-8").splitlines()]
    documents = tokenizer(texts, add_special_tokens=False)["input_ids"]
    ids = list(chain.from_iterable([*document, tokenizer.eos_token_id] for document in documents))
    whole = torch.tensor(ids[: len(ids) // length * length]).view(-1, length)
    return [{"input_ids": row, "labels": row} for row in whole]


def main() -> None:
    """Trains, with an evaluation of two sets before and after, and saves the model."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(job["base"])
    length = job["seq_len"]
    trainer = Trainer(
        model=AutoModelForCausalLM.from_pretrained(job["base"], dtype="float32"),
        args=TrainingArguments(output_dir=job["output"], seed=job["seed"], **job["arguments"]),
        train_dataset=rows_of(Path(job["new"]), tokenizer, length),
        eval_dataset={name: rows_of(Path(file), tokenizer, length) for name, file in job["eval"].items()},
    )
    trainer.train(resume_from_checkpoint=job["resume"] or None)
    trainer.save_model()
    tokenizer.save_pretrained(job["output"])


if __name__ == "__main__":
    main()
