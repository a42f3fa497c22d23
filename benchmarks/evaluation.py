"""Speed of scoring: rewarm against lm-eval's Hugging Face backend on identical requests.

    python benchmarks/evaluation.py [--shapes llama-192x6,pythia-70m] [--rounds 5] [--sweep] [--out FILE]

Three kinds of requests, of random words: `documents` (50 to 2,000 tokens, the loss of each: rewarm's matrix, lm-eval's
loglikelihood_rolling), `choices` (questions of about 100 tokens with four answers behind a prefix of five examples) and
`cloze` (one short answer after a dozen tokens), both lm-eval's loglikelihood. A folder with random weights and a
tokenizer is made once and loaded by both sides, so the token ids are the same. Each side is a process that lives
through the whole run and is fed in turn (A B C A B C ...) after a round that warms it up; medians of the rounds and of
the ratios within a round are quoted. lm-eval runs in fp32 with the batch size that was fastest for it for each kind
and shape (`peer_batch`; `--sweep` measures them again), as shipped and with rewarm's allocator setting. Probes are
timed from text on both sides; documents are prepared beforehand on rewarm's, which tokenises once (lm-eval's share for
it is printed). Loading is not timed, nor is rewarm's one look at what kind of model it has.
`products alone` is the time of nothing but the products that exact scores need, at their own shapes and in the same
round: each weight times the tokens that must be read, the head only where something is predicted, and the attention of
documents. `possible rate` is what a scorer would reach that does nothing else, with the kernels in use in that process.
The difference of the numbers is in nats per token for documents, and of each request's log-probability for probes.
With `--clock processor` the time of the processor is taken instead of the wall's, for machines that others use too.
Needs lm-eval for the peer's side: `pip install "rewarm[bench]"`. Without it only rewarm's own rates are measured, and
the result says so under `skipped`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from turns import Side, bar_of, machine, tell

LENGTH = 2048
SHAPES: dict[str, dict[str, Any]] = {
    "llama-192x6": {"config": {"model_type": "llama", "hidden_size": 192, "intermediate_size": 512,
                               "num_hidden_layers": 6, "num_attention_heads": 6, "num_key_value_heads": 6,
                               "vocab_size": 8192, "tie_word_embeddings": True},
                    "documents": 7, "questions": 4, "cloze": 192,
                    "peer_batch": {"documents": 1, "choices": 4, "cloze": 64}},
    "pythia-70m": {"config": {"model_type": "gpt_neox", "hidden_size": 512, "intermediate_size": 2048,
                              "num_hidden_layers": 6, "num_attention_heads": 8, "vocab_size": 50304,
                              "hidden_dropout": 0.0, "attention_dropout": 0.0},
                   "documents": 3, "questions": 2, "cloze": 64,
                   "peer_batch": {"documents": 1, "choices": 1, "cloze": 16}},
}  # fmt: skip
KINDS = ("documents", "choices", "cloze")
BAR = 3.0
LARGEST_DIFFERENCE = 1e-4
SKIPPED = 'lm-eval is not installed, so there is nothing to compare with: pip install "rewarm[bench]"'
SIDES = {"ours": ("ours", True), "lm-eval as shipped": ("peer", False), "lm-eval, same allocator": ("peer", True)}
ALONE = "products alone"
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


def make_folder(shape: dict[str, Any], folder: Path) -> None:
    """A Hugging Face folder of random weights and a tokenizer with one id for each word w3, w4, ..."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    fields = {key: value for key, value in shape["config"].items() if key != "model_type"}
    special = {"bos_token_id": 0, "eos_token_id": 1}
    config = AutoConfig.for_model(shape["config"]["model_type"], max_position_embeddings=LENGTH, **fields, **special)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    words = {"<s>": 0, "</s>": 1, "<unk>": 2, **{f"w{index}": index for index in range(3, fields["vocab_size"])}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>"
    ).save_pretrained(folder)


def make_requests(shape: dict[str, Any]) -> dict[str, Any]:
    """Texts of documents, and (context, continuation) pairs of both kinds of probes; always the same."""
    import numpy as np

    source = np.random.default_rng(0)

    def text(low: int, high: int) -> str:
        count = int(source.integers(low, high + 1))
        return " ".join(f"w{index}" for index in source.integers(3, shape["config"]["vocab_size"], count))

    lengths = np.geomspace(50, LENGTH - 48, shape["documents"]).astype(int).tolist()
    examples = " ".join(text(60, 60) for _ in range(5))
    contexts = [f"{examples} {text(80, 120)}" for _ in range(shape["questions"])]
    return {
        "documents": [text(length, length) for length in lengths],
        "choices": [(context, f" {text(3, 8)}") for context in contexts for _ in range(4)],
        "cloze": [(text(9, 14), f" {text(1, 4)}") for _ in range(shape["cloze"])],
    }


class Ours:
    """rewarm's side: kind -> one log-probability per request."""

    def __init__(self, folder: Path, requests: dict[str, Any], work: Path) -> None:
        import numpy as np
        from transformers import AutoTokenizer

        from rewarm.evaluation.likelihood import Scorer
        from rewarm.models.load import load_model
        from rewarm.tokens.shards import Store, StoreWriter

        self.requests = requests
        self.model = load_model(str(folder))
        self.scorer = Scorer(self.model, LENGTH)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        texts = requests["documents"]
        ids = [np.array([0, *document], np.uint16) for document in self.tokenizer(texts)["input_ids"]]
        with StoreWriter(work / "store", np.dtype(np.uint16)) as writer:
            writer.add(ids, [len(text) for text in texts], range(len(texts)), range(len(texts)))
        self.store = Store(work / "store")

    def score(self, kind: str) -> list[float]:
        """The log-probability of each request."""
        import numpy as np

        from rewarm.evaluation.likelihood import Request
        from rewarm.evaluation.loss import document_losses

        if kind == "documents":
            losses = document_losses(self.model, self.store, np.arange(self.store.documents), LENGTH)
            return [-float(nats) for nats in losses.nats_D]
        contexts = self.tokenizer([context for context, _ in self.requests[kind]])["input_ids"]
        continuations = self.tokenizer([continuation for _, continuation in self.requests[kind]])["input_ids"]
        asked = [Request(*pair) for pair in zip(contexts, continuations, strict=True)]
        return self.scorer.score(asked).logprob_N.tolist()  # type: ignore[no-any-return]

    def products(self, kind: str) -> None:
        """Makes the products that exact scores of a kind cannot do without, and nothing else."""
        import numpy as np
        import torch

        from rewarm.evaluation.prefixes import Query, plan

        if kind == "documents":
            asked = [([0], ids) for ids in self.tokenizer(self.requests[kind])["input_ids"]]
        else:
            asked = [self.tokenizer(list(pair))["input_ids"] for pair in self.requests[kind]]
        queries = [Query(np.array([*first, *second])[:-1], len(second)) for first, second in asked]
        groups, alone = plan(queries)
        read = sum(len(queries[number].ids_T) for number in alone)
        read += sum(len(group.prefix_P) + sum(len(row.ids_S) for row in group.rows) for group in groups)
        head = self.model.get_output_embeddings().weight
        embedding = self.model.get_input_embeddings().weight
        body = [weight for weight in self.model.parameters() if weight.ndim == 2 and weight is not embedding]
        with torch.no_grad():
            for weight in body:
                if weight is not head:
                    _multiply(weight, read)
            _multiply(head, sum(query.scored for query in queries))
            for query in queries if kind == "documents" else []:
                self._attend(len(query.ids_T))

    def _attend(self, length: int) -> None:
        import torch

        config = self.model.config
        heads = config.num_attention_heads
        query = torch.ones(1, heads, length, config.hidden_size // heads)
        for _ in range(config.num_hidden_layers):
            torch.nn.functional.scaled_dot_product_attention(query, query, query, is_causal=True)


def _multiply(weight: Any, count: int) -> None:
    import torch

    inputs = torch.ones(min(count, 1024), weight.shape[1])
    out = torch.empty(len(inputs), weight.shape[0])
    for start in range(0, count, len(inputs)):
        part = inputs[: count - start]
        torch.mm(part, weight.t(), out=out[: len(part)])


class Peer:
    """lm-eval's side, the same way."""

    def __init__(self, folder: Path, requests: dict[str, Any], batch: dict[str, int]) -> None:
        from lm_eval.models.huggingface import HFLM

        self.batch = batch
        self.model = HFLM(pretrained=str(folder), device="cpu", dtype="float32", max_length=LENGTH, batch_size=1)
        self.asked = {
            kind: [SimpleNamespace(args=(item,) if isinstance(item, str) else tuple(item)) for item in items]
            for kind, items in requests.items()
        }

    def score(self, kind: str) -> list[float]:
        """The log-probability of each request."""
        self.model.batch_size_per_gpu = self.batch[kind]
        if kind == "documents":
            return list(self.model.loglikelihood_rolling(self.asked[kind], disable_tqdm=True))
        return [value for value, _ in self.model.loglikelihood(self.asked[kind], disable_tqdm=True)]

    def tokenising(self) -> float:
        """Seconds to tokenise the documents."""
        start = time.perf_counter()
        for item in self.asked["documents"]:
            self.model.tok_encode(item.args[0])
        return time.perf_counter() - start


def work(side: str, folder: Path, shape: dict[str, Any], batch: int | None, clock: Callable[[], float]) -> None:
    """The measured process: reads a method and a kind of requests per line, answers with one JSON line."""
    requests = make_requests(shape)
    batches = dict.fromkeys(KINDS, batch) if batch else shape["peer_batch"]
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries print too
    with tempfile.TemporaryDirectory() as scratch:
        scorer: Any = Ours(folder, requests, Path(scratch)) if side == "ours" else Peer(folder, requests, batches)
        print(json.dumps({"tokenising": scorer.tokenising() if side == "peer" else 0.0}), file=answers, flush=True)
        for line in sys.stdin:
            action, kind = line.split()
            start = clock()
            values = getattr(scorer, action)(kind)
            print(json.dumps({"seconds": clock() - start, "values": values}), file=answers, flush=True)


def start(side: str, tuned: bool, arguments: list[str]) -> Side:
    """A side's process."""
    from rewarm.launch import tuned_environment

    environment = dict(os.environ, REWARM_TUNED="off", HF_HUB_OFFLINE="1") | (tuned_environment() if tuned else {})
    return Side(side, [sys.executable, __file__, "--worker", side, *arguments], environment)


def compare(name: str, rounds: int, clock: str, sides: dict[str, tuple[str, bool]]) -> dict[str, Any]:
    """All sides on one shape, interleaved; readings in seconds."""
    shape = SHAPES[name]
    with tempfile.TemporaryDirectory() as folder:
        make_folder(shape, Path(folder))
        arguments = ["--shapes", name, "--folder", folder, "--clock", clock]
        workers = {label: start(*side, arguments) for label, side in sides.items()}
        tokenising = max(worker.ready()["tokenising"] for worker in workers.values())
        found: dict[str, dict[str, list[float]]] = {kind: {label: [] for label in [*sides, ALONE]} for kind in KINDS}
        values: dict[str, dict[str, list[float]]] = {kind: {} for kind in KINDS}
        for turn in range(rounds + 1):
            for kind in KINDS:
                for label, worker in workers.items():
                    answer = worker.ask(f"score {kind}")
                    values[kind][label] = answer["values"]
                    if turn:
                        found[kind][label].append(answer["seconds"])
                found[kind][ALONE] += [workers["ours"].ask(f"products {kind}")["seconds"]] if turn else []
        for worker in workers.values():
            worker.close()
    row: dict[str, Any] = {"shape": name, "rounds": rounds, "readings": found, "kinds": {}}
    row["peer's tokenising of documents"] = tokenising
    requests = make_requests(shape)
    for kind in KINDS:
        row["kinds"][kind] = _summary(kind, found[kind], values[kind], requests[kind])
    return row


def _summary(
    kind: str, found: dict[str, list[float]], values: dict[str, list[float]], requests: list[Any]
) -> dict[str, Any]:
    summary: dict[str, Any] = {"requests": len(requests)}
    summary |= {f"{label}, seconds": round(statistics.median(times), 4) for label, times in found.items()}
    lengths = [len(item.split()) if kind == "documents" else 1 for item in requests]
    for label in found:
        if label not in ("ours", ALONE):
            pairs = [peer / own for own, peer in zip(found["ours"], found[label], strict=True)]
            gaps = [
                abs(own - peer) / length
                for own, peer, length in zip(values["ours"], values[label], lengths, strict=True)
            ]
            possible = [peer / least for least, peer in zip(found[ALONE], found[label], strict=True)]
            summary[f"rate / {label}"] = round(statistics.median(pairs), 3)
            summary[f"possible rate / {label}"] = round(statistics.median(possible), 3)
            summary["largest difference"] = max(*gaps, summary.get("largest difference", 0.0))
    return summary


def bars_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every ratio and every difference of numbers, with what it should be."""
    bars = []
    for row in rows:
        for kind, summary in row["kinds"].items():
            for label, value in summary.items():
                about = f"evaluation, {row['shape']}, {kind}"
                if label.startswith("rate / "):
                    bars.append(bar_of(f"{about}: {label}", value, BAR, "higher"))
                elif label == "largest difference":
                    bars.append(bar_of(f"{about}: {label}", value, LARGEST_DIFFERENCE, "lower"))
    return bars


def sweep(name: str, clock: str) -> dict[str, dict[str, float]]:
    """lm-eval's seconds for each kind at each batch size, the second of two runs: what `peer_batch` was chosen by."""
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        make_folder(SHAPES[name], Path(folder))
        for batch in ("1", "4", "16", "64"):
            worker = start("peer", True, ["--shapes", name, "--folder", folder, "--clock", clock, "--batch", batch])
            worker.ready()
            kinds = KINDS if int(batch) < 16 else ("cloze",)
            found[batch] = {kind: [worker.ask(f"score {kind}") for _ in range(2)][1]["seconds"] for kind in kinds}
            worker.close()
    return found


def main() -> None:
    """Measures, prints each shape's row, and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sweep", action="store_true", help="only measure lm-eval at several batch sizes")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", choices=["ours", "peer"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.shapes.split(",")
    if options.worker:
        work(options.worker, options.folder, SHAPES[names[0]], options.batch, CLOCKS[options.clock])
        return
    has_peer = importlib.util.find_spec("lm_eval") is not None
    if options.sweep:
        print(
            json.dumps(
                {name: sweep(name, options.clock) for name in names} if has_peer else {"skipped": SKIPPED}, indent=1
            )
        )
        return
    sides = SIDES if has_peer else {"ours": SIDES["ours"]}
    rows = [compare(name, options.rounds, options.clock, sides) for name in names]
    result = {
        "machine": machine(),
        "clock": options.clock,
        "rows": rows,
        "bars": bars_of(rows),
        **({} if has_peer else {"skipped": SKIPPED}),
    }
    tell(result, options.out)


if __name__ == "__main__":
    main()
