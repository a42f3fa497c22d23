"""The way of text to a batch: tokenising, memory and start of a billion tokens, and what the loader takes of a step.

    python benchmarks/data.py [--parts tokenise,billion,loader] [--rounds 5] [--megabytes 8] [--out FILE]

`tokenise`: bytes of text a second of `prepare` (a .jsonl.zst on disk to a finished store) over those of the bare
`tokenizers` library (`encode_batch_fast`) on the same batches already in memory, taking turns, on every core of this
process. Text is the source of Python's standard library, the tokenizer is the demo's. `serial_share` is what Python
does on one core, over the processor time of the bare library; its inverse is the number of cores it can keep busy.
`processor_ratio` is the ratio in processor time, which other work on the machine disturbs less.
`billion`: a store of 1e9 tokens, whose shards are sparse files, in documents of 500 and of 100 tokens, 2 % of them
copies. Memory is the growth of the anonymous memory of a fresh process over what it had after its imports, watched
from outside every 2 ms, from opening the store to batches of the first epoch and of the second; mapped files are given
apart, since the system drops their pages when it wants to. `resume` is the time from opening the store to the first
batch at the start, the middle and the end of three epochs, its columns in the page cache.
`loader`: the training loop on the demo's model, 16 rows of 256 tokens, documents of 50 tokens: the time the loop waits
for its rows, and the loader's own processor time, over the time of a step.
Medians of the rounds are quoted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from turns import bar_of, machine, tell

DEMO = Path(__file__).parent.parent / "rewarm" / "recipes" / "demo_base"
LENGTHS = (300, 3_000, 100_000)
TOKENS = 1_000_000_000
MEANS = (500, 100)
ROWS, LENGTH, EPOCHS = 16, 256, 3
POSITIONS = {"start": 0.0, "middle": 0.5, "end": 1.0}


def corpus_text(characters: int) -> str:
    """Real text that every installation has."""
    found: list[str] = []
    size = 0
    for file in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        if "site-packages" not in file.parts and size < characters:
            found.append(file.read_text(encoding="utf-8", errors="replace").replace("\0", ""))
            size += len(found[-1])
    text = "".join(found)
    return (text * -(-characters // len(text)))[:characters]


def tokenise(length: int, rounds: int, megabytes: float) -> dict[str, Any]:
    """Both sides on documents of `length` characters, and what `prepare` does on one core only."""
    import zstandard
    from tokenizers import Tokenizer

    from rewarm.corpora.jsonl import Jsonl
    from rewarm.tokens.prepare import BLOCK_CHARACTERS, prepare
    from rewarm.tokens.tokenizer import TextTokenizer

    text = corpus_text(int(megabytes * 1e6))
    documents = [text[at : at + length] for at in range(0, len(text), length) if not text[at : at + length].isspace()]
    size = sum(len(document.encode()) for document in documents)
    per_batch = max(1, BLOCK_CHARACTERS // length)
    batches = [documents[at : at + per_batch] for at in range(0, len(documents), per_batch)]
    bare, tokenizer = Tokenizer.from_file(str(DEMO / "tokenizer.json")), TextTokenizer(DEMO)
    sides: dict[str, list[float]] = {"ours": [], "bare": []}
    processor: dict[str, list[float]] = {"ours": [], "bare": [], "serial": []}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "text.jsonl.zst"
        lines = b"".join(json.dumps({"text": document}).encode() + b"\n" for document in documents)
        file.write_bytes(zstandard.compress(lines))
        corpus = Jsonl(path=str(file))
        bare.encode_batch_fast(batches[0], add_special_tokens=False)
        for number in range(rounds):
            for side in ("ours", "bare") if number % 2 else ("bare", "ours"):
                start, used = time.perf_counter(), time.process_time()
                if side == "ours":
                    made = prepare("text", corpus, tokenizer, Path(folder) / str(number), 0.0)
                    assert made.documents == len(documents)
                else:
                    for batch in batches:
                        bare.encode_batch_fast(batch, add_special_tokens=False)
                processor[side].append(time.process_time() - used)
                sides[side].append(time.perf_counter() - start)
            processor["serial"].append(serial_seconds(corpus, tokenizer, per_batch))
    serial = statistics.median(processor["serial"]) / statistics.median(processor["bare"])
    return {
        "characters": length,
        "documents": len(documents),
        "ratio": statistics.median(theirs / own for own, theirs in zip(sides["ours"], sides["bare"], strict=True)),
        "processor_ratio": statistics.median(processor["bare"]) / statistics.median(processor["ours"]),
        **{
            f"{side}_megabytes_per_second": [round(size / 1e6 / one, 3) for one in seconds]
            for side, seconds in sides.items()
        },
        "serial_share": round(serial, 4),
        "cores_kept_busy": round(1 / serial, 1),
    }


def serial_seconds(corpus: Any, tokenizer: Any, per_batch: int) -> float:
    """Processor time of a thread that reads, hashes and tokenises; what the library's own threads do is not in it."""
    from rewarm.hashing import text_hashes
    from rewarm.types import BadRows

    start = time.thread_time()
    documents = corpus.read(BadRows())
    while texts := [document.text for document in islice(documents, per_batch)]:
        text_hashes(texts)
        tokenizer.encode_flat(texts)
    return time.thread_time() - start


def make_billion(folder: Path, mean: int) -> None:
    """A store of `TOKENS` tokens in documents of `mean` tokens on average, of which only the columns take room."""
    import numpy as np

    from rewarm.tokens.shards import FORMAT, SHARD_TOKENS, write_repeated

    folder.mkdir(parents=True)
    random = np.random.default_rng(mean)
    count = TOKENS // mean
    lengths = random.integers(mean // 2, mean + mean // 2 + 1, count)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.uint64)
    hashes = random.integers(0, 2**64, count, dtype=np.uint64)
    hashes[random.integers(0, count, count // 50)] = hashes[random.integers(0, count, count // 50)]
    columns = {"offsets": offsets, "hashes": hashes, "groups": hashes, "bytes": (4 * lengths).astype(np.uint32)}
    for name, column in columns.items():
        column.tofile(folder / f"{name}.bin")
    shards: list[dict[str, Any]] = []
    start = 0
    while start < offsets[-1]:
        end = int(offsets[np.searchsorted(offsets, start + SHARD_TOKENS, side="right") - 1])
        shards.append({"file": f"tokens-{len(shards):05d}.bin", "tokens": end - start, "blake2b": ""})
        with (folder / shards[-1]["file"]).open("wb") as file:
            file.truncate(2 * (end - start))
        start = end
    manifest = {"format": FORMAT, "dtype": "uint16", "documents": count, "tokens": int(offsets[-1]), "shards": shards}
    manifest |= {"bytes": int(4 * lengths.sum()), "repeated": write_repeated(folder)}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def first_batch(folder: Path, at: float) -> Iterator[Any]:
    """All that stands between a run's start and its first batch: the store, the split, the stream, the draw."""
    import numpy as np

    from rewarm.mixtures.draw import draw
    from rewarm.mixtures.fixed import Fixed
    from rewarm.tokens.loader import Source, StageRows
    from rewarm.tokens.order import DocumentStream, held_out, training_documents, watch_documents
    from rewarm.tokens.shards import Store

    store = Store(folder)
    mask = held_out(store, 0.02)
    watch_documents(store, mask, 200_000)
    documents, _ = training_documents(store, mask, np.unique(store.hashes[mask]))
    del mask
    stream = DocumentStream(store, documents, 0, "new")
    replayed = DocumentStream(store, documents[::20].copy(), 0, "old")
    steps = EPOCHS * stream.tokens // (ROWS * LENGTH)
    drawn = draw(Fixed(), {"new": 0.95, "old": 0.05}, steps, ROWS, 0)
    rows = StageRows([Source("new", stream), Source("old", replayed)], drawn, LENGTH, ROWS)
    return rows.iterate(min(steps - 1, int(at * steps)))


def worker_memory(folder: Path) -> None:
    """The watched process: says when its imports are done, waits, and reads from two epochs."""
    import torch  # noqa: F401

    import rewarm.mixtures.draw
    import rewarm.mixtures.fixed
    import rewarm.tokens.loader  # noqa: F401

    print("ready", flush=True)
    sys.stdin.readline()
    batches = first_batch(folder, 0.0)
    for _ in range(20):
        next(batches)
    del batches
    second_epoch = first_batch(folder, 1 / 0.95 / EPOCHS - 1e-5)
    for _ in range(20):
        next(second_epoch)


def memory(folder: Path) -> dict[str, float]:
    """Peaks (MB over the state after the imports) of the anonymous and of the mapped memory of a fresh process."""
    command = [sys.executable, __file__, "--worker", "memory", "--folder", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        before = resident(process.pid)
        peak = dict(before)
        process.stdin.write("\n")
        process.stdin.flush()
        while process.poll() is None:
            peak = {name: max(peak[name], size) for name, size in resident(process.pid).items()} or peak
            time.sleep(0.002)
    assert process.returncode == 0
    return {name: round((peak[name] - before[name]) / 1e6, 1) for name in peak}


def resident(process: int) -> dict[str, int]:
    """Resident bytes of a process, of its own and of mapped files; nothing once it is ending."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return {name: int(found[name].split()[0]) * 1024 for name in ("RssAnon", "RssFile") if name in found}


def worker_resume(folder: Path, rounds: int) -> None:
    """Seconds to the first batch at each position, the positions taking turns; prints one JSON line."""
    seconds: dict[str, list[float]] = {name: [] for name in POSITIONS}
    next(first_batch(folder, 0.0))
    for _ in range(rounds):
        for name, at in POSITIONS.items():
            start = time.perf_counter()
            batches = first_batch(folder, at)
            next(batches)
            seconds[name].append(round(time.perf_counter() - start, 3))
            batches.close()  # type: ignore[attr-defined]
    print(json.dumps(seconds))


def billion(mean: int, rounds: int) -> dict[str, Any]:
    """Memory and time to the first batch of one store."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        make_billion(store, mean)
        peaks = memory(store)
        command = [sys.executable, __file__, "--worker", "resume", "--folder", str(store), "--rounds", str(rounds)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {"mean_tokens": mean, "documents": TOKENS // mean, "peak_megabytes": peaks, "seconds": json.loads(said)}


def loader(rounds: int, steps: int) -> dict[str, Any]:
    """Shares of the time of a step: waiting for the rows, and the processor time of making them."""
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM

    from rewarm.schedules.constant import Constant
    from rewarm.tokens.loader import Source, StageRows
    from rewarm.tokens.order import DocumentStream
    from rewarm.tokens.shards import Store, StoreWriter
    from rewarm.training.leg import Leg
    from rewarm.training.loop import train
    from rewarm.training.optimizer import AdamWOptions, Optimizer
    from rewarm.types import Batch, StreamState

    waits: list[float] = []
    made: list[float] = []
    ends: list[float] = []

    class TimedRows(StageRows):
        def batches(self, step: int, counts: Any = None) -> list[Batch]:
            start = time.thread_time()
            found = StageRows.batches(self, step, counts)
            made.append(time.thread_time() - start)
            return found

        def iterate(self, start: int) -> Iterator[list[Batch]]:
            inner = StageRows.iterate(self, start)
            while True:
                asked = time.perf_counter()
                found = next(inner, None)
                waits.append(time.perf_counter() - asked)
                if found is None:
                    return
                yield found

    readings: dict[str, list[float]] = {"step_seconds": [], "wait_share": [], "processor_share": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            ids = np.random.default_rng(0).integers(4, 4096, (20_000, 50)).astype(np.uint16)
            with StoreWriter(folder / "store", np.dtype("uint16")) as writer:
                writer.add(list(ids), [200] * len(ids), list(range(len(ids))), list(range(len(ids))))
            stream = DocumentStream(Store(folder / "store"), np.arange(len(ids)), 0, "short")
            rows = TimedRows([Source("short", stream)], np.zeros((steps, ROWS), np.uint8), LENGTH, ROWS)
            model = AutoModelForCausalLM.from_pretrained(DEMO, dtype=torch.float32)
            model.config.use_cache = False
            leg = Leg(
                name="loader", folder=folder / "leg", rows=rows, schedule=Constant(), peak=1e-4, past=StreamState(),
                key="loader", precision=torch.float32, log_every=1,
            )  # fmt: skip
            waits, made, ends = [], [], []
            optimizer = Optimizer(model, AdamWOptions(0.1, (0.9, 0.95), 1e-8, 1.0))
            train(model, optimizer, leg, [], lambda: False, lambda step, entry: ends.append(time.perf_counter()))  # noqa: B023
        step = statistics.median(after - before for before, after in pairwise(ends))
        readings["step_seconds"].append(round(step, 4))
        readings["wait_share"].append(statistics.mean(waits[1:]) / step)
        readings["processor_share"].append(statistics.mean(made[1:]) / step)
    return readings


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Every part asked for, with its bars."""
    parts = options.parts.split(",")
    found: dict[str, Any] = {"bars": []}
    bars = found["bars"]
    if "tokenise" in parts:
        found["tokenise"] = [tokenise(length, options.rounds, options.megabytes) for length in LENGTHS]
        for row in found["tokenise"]:
            name = f"tokenising from jsonl.zst / bare tokenizer, documents of {row['characters']:,} characters"
            bars.append(bar_of(name, row["ratio"], 0.90, "higher"))
    if "billion" in parts:
        found["billion"] = [billion(mean, options.rounds) for mean in MEANS]
        for row in found["billion"]:
            name = f"1e9 tokens in {row['documents']:,} documents"
            bars.append(bar_of(f"{name}: memory, MB", row["peak_megabytes"]["RssAnon"], 200.0, "lower"))
            for at, seconds in row["seconds"].items():
                first = statistics.median(seconds)
                bars.append(bar_of(f"{name}: first batch at the {at}, s", first, 1.0, "lower"))
    if "loader" in parts:
        found["loader"] = loader(options.rounds, 8)
        for share in ("wait_share", "processor_share"):
            name = f"loader, documents of 50 tokens: {share.replace('_', ' ')} of a step"
            bars.append(bar_of(name, statistics.median(found["loader"][share]), 0.02, "lower"))
    return found


def main() -> None:
    """Measures, prints JSON, and writes it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="tokenise,billion,loader")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=float, default=8.0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", choices=["memory", "resume"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker == "memory":
        worker_memory(options.folder)
    elif options.worker == "resume":
        worker_resume(options.folder, options.rounds)
    else:
        tell({"machine": machine(), **measure(options)}, options.out)


if __name__ == "__main__":
    main()
