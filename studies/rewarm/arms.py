"""What the study trains: its sizes, its texts, the bases, and the arms of every claim, as plans of rewarm.

An arm is one run: a start (a base of this study, or scratch), stages, and what is watched. Claims share arms. Every
seed has a base of its own (another init and another order of the books), and its arms read their text in that seed's
order; the tokenizer and the held-out documents are the same for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rewarm.plan import Plan, from_values

PEAK, FLOOR = 3e-3, 0.1
"""The base's own peak rate, and the share of it at which its cosine ends."""
SEQ_LEN, BATCH_TOKENS = 128, 512
CONFIG = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 2, "tie_word_embeddings": True, "max_position_embeddings": 256,
}  # fmt: skip
TEXTS: dict[str, dict[str, Any]] = {
    "books": {"path": "base/classic_books_en.jsonl.zst", "holdout": 0.05, "holdout_by": "group"},
    "biology": {"path": "domains/biology_openstax.jsonl.zst", "holdout": 0.1},
    "german": {"path": "languages/de_eltec_novels.jsonl.zst", "holdout": 0.1, "holdout_by": "group"},
    "code": {"path": "code/python_pandas_numpy_src.jsonl.zst", "holdout": 0.1},
    "statutes": {"path": "domains/legal_us_code.jsonl.zst", "holdout": 0.1},
}
SHIFTS = ("biology", "german")
"""The weak shift (English textbooks after English novels) and the strong one."""
STREAM = ("biology", "statutes", "german", "code")
WARMUPS = (0.0, 0.005, 0.01, 0.02)
PEAKS = {"half": 0.5, "clamped": 1.0, "double": 2.0}
REPLAYS = (0.005, 0.01, 0.05, 0.1, 0.25, 0.5)
POLICIES = ("keep", "keep-second-moment")


@dataclass(frozen=True, slots=True)
class Size:
    """How much is trained: tokens of a base and of an update, scored tokens of each text and points of a curve,
    documents read of each text, and the texts of single updates."""

    base: int = 512_000
    update: int = 153_600
    scored: int = 12_000
    points: int = 6
    limit: int | None = None
    seeds: int = 3
    texts: tuple[str, ...] = (*SHIFTS, "code")

    @property
    def chunk(self) -> int:
        """Tokens of one of the four updates of a stream."""
        return self.update // 4


SMALL = Size(base=24_576, update=8_192, scored=2_000, points=2, limit=150, seeds=1, texts=("german",))


@dataclass(frozen=True, slots=True)
class Arm:
    """One run. `start` is base, half-base, constant-base, scratch, or branch (a later stage of the base's own run).

    `early` runs stop after 4 % of their steps and are scored every other step until then.
    """

    name: str
    start: str
    stages: tuple[Mapping[str, Any], ...]
    watch: tuple[str, ...]
    early: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


def rewarmed(warmup: float = 0.01, form: str = "clamped") -> dict[str, Any]:
    """The paper's schedule: from 0 to the peak, then a cosine to a tenth of it."""
    return {"type": "rewarm", "start": "zero", "warmup": warmup, "form": form, "floor": FLOOR}


def update(text: str, tokens: int, **keys: Any) -> dict[str, Any]:
    """One stage on one text, by default re-warmed to the base's own peak; its name is the same in all arms, so that
    all of a seed read the same rows."""
    stage = {"name": "update", "data": text, "tokens": tokens, "learning_rate": PEAK, "schedule": rewarmed()}
    return {**stage, **keys}


def one(name: str, size: Size, start: str = "base", early: bool = False, **keys: Any) -> Arm:
    """An arm of a single update on the text that its name begins with."""
    text = name.split("/")[0]
    watch = tuple(dict.fromkeys(("books", text)))
    return Arm(name, start, (update(text, size.update, **keys),), watch, early)


def replay(share: float, *sources: str) -> dict[str, Any]:
    """Substitutive replay: `share` of the stage's tokens is old text."""
    return {"from": list(sources) or ["books"], "share": share}


def claims(size: Size) -> dict[str, list[Arm]]:
    """The arms of every claim, in the order in which claims are run; an arm that several name is run once."""
    found: dict[str, list[Arm]] = {name: [] for name in ("T1", "T2", "T3", "T4", "T5", "T6", "T7", "T11")}
    for text in size.texts:
        for claim, arms in of_shift(text, size).items():
            found[claim] += arms
    for name, factor in PEAKS.items():
        found["T4"].append(one(f"books/{name}", size, learning_rate=factor * PEAK))
    found["T4"].append(constant("books", size))
    single = [text for text in SHIFTS if text in size.texts]
    found["cosines"] = [one(f"{text}/rescaled", size, schedule=rewarmed(form="rescaled")) for text in single]
    found["cosines"] += [one(f"{text}/clamped", size) for text in single]
    found["optimizer"] = [
        Arm(f"german/{name}", "branch", (stage,), ("books", "german")) for name, stage in branches(size).items()
    ]
    found["optimizer"] += [one("german/warmup-0", size, schedule=rewarmed(0.0)), one("german/clamped", size)]
    return found | streams(size) | {"T12": found["T6"]}


def of_shift(text: str, size: Size) -> dict[str, list[Arm]]:
    """The arms of one shift; code has those of T2, T3, T5 and three shares of replay."""
    peaks = [one(f"{text}/{name}", size, learning_rate=factor * PEAK) for name, factor in PEAKS.items()]
    plain, scratch = peaks[1], one(f"{text}/scratch", size, start="scratch")
    rescaled = rewarmed(form="rescaled")
    shares = REPLAYS if text in SHIFTS else (0.01, 0.05, 0.25)
    replays = [one(f"{text}/rescaled", size, schedule=rescaled)]
    replays += [one(f"{text}/replay-{share:g}", size, schedule=rescaled, replay=replay(share)) for share in shares]
    found = {"T2": peaks, "T3": [constant(text, size), plain], "T5": [plain, constant(text, size), scratch]}
    found["T6"] = replays
    if text not in SHIFTS:
        return found
    warmups = [share for share in WARMUPS if share != 0.01]
    found["T1"] = [one(f"{text}/warmup-{share:g}", size, schedule=rewarmed(share)) for share in warmups]
    found["T1"] += [plain]
    found["T1"] += [one(f"{text}/early-{share:g}", size, early=True, schedule=rewarmed(share)) for share in WARMUPS]
    found["T7"] = [*replays, *unions(text, size)]
    found["T11"] = [plain, *(one(f"{text}/from-{name}", size, start=name) for name in ("half-base", "constant-base"))]
    return found


def constant(text: str, size: Size) -> Arm:
    """No re-warming: the rate at which the base ended."""
    return one(f"{text}/constant", size, schedule="constant", learning_rate=FLOOR * PEAK)


def unions(text: str, size: Size) -> list[Arm]:
    """Old and new text together from scratch: at the compute of base and update, and at that of the update alone."""
    whole = {"books": size.base, text: size.update}
    sizes = {"union": whole, "union-equal": {"books": size.update // 2, text: size.update // 2}}
    found = []
    for name, tokens in sizes.items():
        data = [{"corpus": corpus, "weight": count} for corpus, count in tokens.items()]
        stage = update(text, sum(tokens.values()), data=data, schedule=rewarmed(form="rescaled"))
        found.append(Arm(f"{text}/{name}", "scratch", (stage,), ("books", text)))
    return found


def branches(size: Size) -> dict[str, dict[str, Any]]:
    """German updates in the base's own run, where there is an optimizer state to take over."""
    return {
        f"{policy}-{share:g}": update(
            "german", size.update, name=f"{policy}-{share:g}".replace(".", ""), schedule=rewarmed(share),
            optimizer_state=policy, **{"from": "books"},
        )
        for policy in POLICIES
        for share in (0.0, 0.01)
    }  # fmt: skip


def streams(size: Size) -> dict[str, list[Arm]]:
    """Four updates after the base: of one text (no shift between them), and of four texts."""
    cyclic = {"schedule": rewarmed(form="rescaled")}
    last = {"tokens": size.chunk - 2 * size.chunk // 5, "release": {"tokens": 2 * size.chunk // 5, "floor": FLOOR}}
    kinds: dict[str, dict[str, Any]] = {
        "cyclic": cyclic,
        "infinite": {"schedule": {"type": "infinite", "warmup": 0.01}, "last": last},
        "wsd": {"schedule": {"type": "constant", "warmup": 0.01}, "last": last},
        "wsd-s": {"schedule": {"type": "wsd-s", "decay": 0.2, "floor": FLOOR}},
    }
    found: dict[str, list[Arm]] = {"T8": [], "T9": [], "T10": []}
    for texts, name in ((("biology",) * 4, "same"), (STREAM, "shift")):
        found["T8"] += [stream(f"{name}/{kind}", texts, size, **keys) for kind, keys in kinds.items()]
    whole = update("biology", 4 * size.chunk, schedule=rewarmed(form="rescaled"))
    found["T8"].append(Arm("same/single", "base", (whole,), ("books", "biology")))
    peaks = {"schedule": {"type": "autoregressive", "warmup": 0.01, "floor": FLOOR}}
    half, quarter = ({"replay": replay(share, "books", "earlier")} for share in (0.5, 0.25))
    found["T9"] = [stream("shift/cyclic", STREAM, size, **cyclic), stream("shift/peaks", STREAM, size, **peaks)]
    found["T9"] += [stream("shift/cyclic-replay-0.5", STREAM, size, **cyclic, **half)]
    found["T9"] += [stream("shift/peaks-replay-0.5", STREAM, size, **peaks, **half)]
    found["T10"] = [stream("shift/cyclic-replay-0.25", STREAM, size, **cyclic, **quarter)]
    for name, epsilon in (("reptile-0.1", 0.1), ("reptile-0.5", 0.5)):
        held = {"retention": {"type": "reptile", "every": "10%", "epsilon": epsilon}}
        found["T10"].append(stream(f"shift/{name}", STREAM, size, **cyclic, **quarter, **held))
    return found


def stream(name: str, texts: tuple[str, ...], size: Size, **keys: Any) -> Arm:
    """Four stages, one for each text. The optimizer's state goes on from stage to stage where nothing is re-warmed.

    `last` replaces keys of the last stage. The first stage replays the books alone: nothing lies before it.
    """
    last = keys.pop("last", {})
    state = {"optimizer_state": "keep"} if last else {}
    stages = []
    for place, text in enumerate(texts):
        own = {**keys, **state, "name": f"{text}-{place + 1}", **(last if place == len(texts) - 1 else {})}
        if place == 0 and "replay" in keys:
            own["replay"] = replay(keys["replay"]["share"], "books")
        if place and keys["schedule"]["type"] == "constant":
            own["schedule"] = "constant"
        stages.append(update(text, own.pop("tokens", size.chunk), **own))
    return Arm(name, "base", tuple(stages), tuple(dict.fromkeys(("books", *texts))))


def base_stage(size: Size, schedule: Any) -> dict[str, Any]:
    """The books, which every base learns."""
    return {"name": "books", "data": "books", "tokens": size.base, "learning_rate": PEAK, "schedule": schedule}


def plan(data: Path, output: Path, size: Size, seed: int, arm: Arm, base: str | Mapping[str, Any]) -> Plan:
    """The plan of an arm under a seed, from the given base. Where a stream has
    five texts to score, its stages have half the points."""
    stream_of, early = len(arm.stages) > 1 and arm.start != "branch", arm.early
    every = size.update // size.points
    if stream_of:
        every = size.chunk // (size.points if len(arm.watch) == 2 else max(2, size.points // 2))
    if arm.start == "branch" or arm.name == "constant-base":
        every = size.base // size.points
    if early:
        every = 2 * BATCH_TOKENS
    used = {*arm.watch, "books", *(text for text in TEXTS if text == arm.name.split("/")[0])}
    texts = {name: {**TEXTS[name], "path": str(data / TEXTS[name]["path"])} for name in TEXTS if name in used}
    if size.limit is not None:  # too few documents to hold out whole books
        few = {"type": "jsonl", "limit": size.limit, "holdout": 0.1}
        texts = {name: {"path": held["path"], **few} for name, held in texts.items()}
    return from_values(
        {
            "base": base,
            "output_dir": str(output / "arms" / str(seed) / arm.name.replace("/", "-")),
            "prepared_dir": str(output / "prepared"),
            "seed": seed,
            "seq_len": SEQ_LEN,
            "batch_tokens": BATCH_TOKENS,
            "precision": "fp32",
            "compile": False,
            "corpora": texts,
            # Where no stage reads the books, this keeps the same ones held out.
            "old_corpus": "books",
            "stages": list(arm.stages),
            "watch": [{"corpus": name, "role": "old" if name == "books" else "new"} for name in arm.watch],
            "eval_tokens": size.scored if not stream_of else size.scored // 2,
            "eval_every": every,
            "save_steps": 1_000_000,
            **arm.options,
        }
    )


def base_arm(size: Size) -> Arm:
    """The decayed base, and behind it, in the same run, the branches that take over its optimizer state."""
    stages = (base_stage(size, {"type": "cosine", "floor": FLOOR}), *branches(size).values())
    return Arm("base", "branch", stages, ("books", "german"))


def constant_base(size: Size) -> Arm:
    """A base of as many tokens that was never annealed."""
    return Arm("constant-base", "scratch", (base_stage(size, {"type": "constant", "warmup": 0.01}),), ("books",))
