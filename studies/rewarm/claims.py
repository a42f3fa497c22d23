"""The statements of every claim: what is held against what. Their sentences and sources are in claims.yaml."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import arms
import yaml
from arms import SHIFTS, STREAM
from measures import (
    annealing_error,
    at_share,
    bump,
    early_fall,
    final,
    forgetting,
    highest,
    learned,
    less,
    replay_error,
    rise,
)
from verdicts import Kind, Runs, Statement

EVERY = (*SHIFTS, "code")
Found = list[Statement]


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim: its sentence, what the source reports and where, its statements, and the arms that its figure shows."""

    name: str
    says: str
    source: str
    statements: tuple[Statement, ...]
    shown: tuple[str, ...] = ()


def compared(what: str, one: str, other: str, kind: Kind, *texts: str, beside: bool = False) -> Statement:
    """The final loss of one arm less that of another, on the same texts."""
    sentence = f"{what}: `{one}` less `{other}`"
    return Statement(sentence, kind, less(final(one, *texts), final(other, *texts)), beside)


def both_texts(text: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """What the two texts of an update are called, and their names."""
    return (("new", text), ("old", "books"))


def t1() -> Found:
    """Warm-ups against 1 %, and the early spike."""
    found = []
    for text in SHIFTS:
        for warmup in (0, 0.005, 0.02):
            for where, scored in both_texts(text):
                what = f"{text}, {where} text, warm-up {warmup:.1%} against 1 %"
                found.append(compared(what, f"{text}/warmup-{warmup:g}", f"{text}/clamped", "equal", scored))
        none = f"{text}/early-0"
        for warmup in (0.005, 0.01, 0.02):
            sentence = f"{text}, early peak of the new loss above its start, no warm-up less {warmup:.1%}"
            value = less(highest(none, text), highest(f"{text}/early-{warmup:g}", text))
            found.append(Statement(sentence, "above", value))
        sentence = f"{text}, early spike of the old loss (highest point less last), no warm-up less 1 %"
        found.append(Statement(sentence, "above", less(early_fall(none), early_fall(f"{text}/early-0.01")), True))
    return found


def t2() -> Found:
    """Each peak against the one below it."""
    found = []
    for text in EVERY:
        for low, high in (("half", "clamped"), ("clamped", "double")):
            one, other = f"{text}/{high}", f"{text}/{low}"
            found.append(compared(f"{text}, new text, a higher peak", one, other, "below", text))
            found.append(compared(f"{text}, old text, a higher peak", one, other, "above", "books"))
    return found


def t3() -> Found:
    """The constant rate against the re-warmed one, early and at the end."""
    found = []
    for text in EVERY:
        one, other = f"{text}/constant", f"{text}/clamped"
        early = less(at_share(one, text, 1 / 6), at_share(other, text, 1 / 6))
        found.append(Statement(f"{text}, new text after a sixth: `{one}` less `{other}`", "below", early))
        found.append(compared(f"{text}, new text at the end", one, other, "above", text))
        found.append(compared(f"{text}, old text at the end", one, other, "below", "books", beside=text == "biology"))
    return found


def t4() -> Found:
    """The base's own text once more."""
    peak = "books/clamped"
    rises = {name: highest(f"books/{name}", "books") for name in arms.PEAKS}
    sixth = less(at_share(peak, "books", 1 / 6), lambda runs: runs[peak]["base"]["books"][0])
    to_constant = less(final(peak), final("books/constant"))
    return [
        Statement("highest rise of the loss, re-warmed to the base's peak", "above", rises["clamped"]),
        Statement("the rise at twice the peak less that at once", "above", less(rises["double"], rises["clamped"])),
        Statement("the rise at once the peak less that at half", "above", less(rises["clamped"], rises["half"])),
        Statement("above the base after a sixth of the update (the paper's 50B of 297B)", "above", sixth),
        Statement("above the base at the end", "above", rise(peak), True),
        Statement("at the end, re-warmed less constant at the final rate", "above", to_constant, True),
    ]


def t5() -> Found:
    """Warm start against scratch."""
    found = []
    for text in EVERY:
        scratch, constant = f"{text}/scratch", f"{text}/constant"
        found.append(compared(f"{text}, new text, warm start", f"{text}/clamped", scratch, "below"))
        found.append(compared(f"{text}, new text, constant rate", constant, scratch, "above", beside=True))
    return found


def t6() -> Found:
    """Shares of replay."""
    found = []
    for text in EVERY:
        none, one, five, quarter = (
            f"{text}/{name}" for name in ("rescaled", "replay-0.01", "replay-0.05", "replay-0.25")
        )
        found.append(compared(f"{text}, old text, 1 % replay against none", one, none, "below", "books"))
        found.append(compared(f"{text}, new text, 1 % replay against none", one, none, "at most"))
        sentence = f"{text}, forgetting with 1 % replay less half of that without"
        found.append(Statement(sentence, "below", less(rise(one), half_of(none))))
        found.append(compared(f"{text}, old text, 5 % against 1 %", five, one, "below", "books"))
        if text != "biology":
            found.append(compared(f"{text}, old text, 25 % against 5 %", quarter, five, "below", "books"))
        found.append(compared(f"{text}, new text, 25 % replay against none", quarter, none, "above", beside=True))
    return found


def half_of(arm: str) -> Callable[[Runs], float]:
    """Half of what an arm forgot."""
    return lambda runs: 0.5 * rise(arm)(runs)


def t7() -> Found:
    """Update with replay against training on both texts."""
    found = []
    for text, name in (("biology", "replay-0.05"), ("german", "replay-0.25")):
        arm, what, both = f"{text}/{name}", f"{text}, mean of both texts", ("books", text)
        whole, equal, half = (f"{text}/{other}" for other in ("union", "union-equal", "replay-0.5"))
        found.append(compared(f"{what}, against the union, all tokens from scratch", arm, whole, "at most", *both))
        found.append(compared(f"{what}, against the union at the update's compute", arm, equal, "below", *both))
        joint = f"{what}, against joint training from the base at equal compute"
        found.append(compared(joint, arm, half, "at most", *both, beside=True))
    return found


def t8() -> Found:
    """Infinite, WSD and cyclic schedules over four updates."""
    found, everything = [], ("books", *STREAM)
    for kind in ("infinite", "wsd"):
        same, shift = f"same/{kind}", f"shift/{kind}"
        found.append(Statement(f"no shift, bump at the boundaries, {kind}", "at most", bump(same, "biology")))
        found.append(compared("no shift, new text, annealed branch", same, "same/single", "at most", "biology"))
        old = less(bump(shift, "books"), bump("shift/cyclic", "books"))
        found.append(Statement(f"shift, bump of the old text at the boundaries, {kind} less cyclic", "below", old))
        found.append(compared("shift, mean of all texts, annealed", shift, "shift/cyclic", "at most", *everything))
    cyclic = bump("same/cyclic", "biology")
    found.append(Statement("no shift, bump at the boundaries, cyclic", "above", cyclic, True))
    for one, other, texts in (
        ("same/wsd-s", "same/single", ("biology",)),
        ("shift/wsd-s", "shift/cyclic", everything),
    ):
        found.append(compared("mean of the texts learned, wsd-s", one, other, "at most", *texts, beside=True))
    return found


def t9() -> Found:
    """Falling peaks against equal ones."""
    peaks, cyclic, both, other = (
        f"shift/{name}" for name in ("peaks", "cyclic", "peaks-replay-0.5", "cyclic-replay-0.5")
    )
    learning = less(learned(peaks), learned(cyclic))
    return [
        compared("earlier texts at the end, falling against equal peaks", peaks, cyclic, "below", *STREAM[:-1]),
        Statement("each text right after its stage, falling less equal peaks", "above", learning),
        compared("all four texts, half replay, falling against equal peaks", both, other, "below", *STREAM),
        compared("all four texts, falling peaks, half replay against none", both, peaks, "below", *STREAM),
    ]


def t10() -> Found:
    """Reptile and replay against replay."""
    plain, found = "shift/cyclic-replay-0.25", []
    for name in ("reptile-0.1", "reptile-0.5"):
        arm = f"shift/{name}"
        kept, cost = less(forgetting(arm), forgetting(plain)), less(learned(arm), learned(plain))
        found.append(Statement(f"forgetting, `{arm}` less replay alone", "below", kept, name != "reptile-0.1"))
        found.append(Statement(f"each text right after its stage, `{arm}` less replay alone", "above", cost, True))
        found.append(compared("all texts at the end", arm, plain, "below", "books", *STREAM, beside=True))
    return found


def t11() -> Found:
    """An earlier base, and one that was not annealed."""
    found = []
    for text in SHIFTS:
        plain, early, hot = (f"{text}/{name}" for name in ("clamped", "from-half-base", "from-constant-base"))
        for where, scored in both_texts(text):
            what = f"{text}, {where} text, from half of the base's tokens"
            found.append(compared(what, early, plain, "above", scored))
        found.append(compared(f"{text}, new text, from a base that was not annealed", hot, plain, "below"))
        what = f"{text}, old text, from a base that was not annealed"
        found.append(compared(what, hot, plain, "below", "books", beside=True))
    return found


def t12(runs: Mapping[int, Runs]) -> Found:
    """Errors of the two laws less three standard deviations over seeds of what they predict."""
    found = []
    for text in SHIFTS:
        for where, scored in both_texts(text):
            what = f"{text}, {where} text at 5 % replay from six other shares: error less 3 SD of seeds"
            found.append(Statement(what, "below", replay_error(runs, text, scored)))
        what = f"{text}, new text along the update at the base's peak, from three other rates: mean error less 3 SD"
        found.append(Statement(what, "below", annealing_error(runs, text)))
    return found


def cosines() -> Found:
    """The two forms of the cosine."""
    return [
        compared(f"{text}, {where} text", f"{text}/clamped", f"{text}/rescaled", "equal", scored)
        for text in SHIFTS
        for where, scored in both_texts(text)
    ]


def optimizer() -> Found:
    """Policies of the optimizer's state against a reset, with and without a warm-up."""
    found = []
    for policy in arms.POLICIES:
        for share, reset in ((0.0, "german/warmup-0"), (0.01, "german/clamped")):
            for where, scored in both_texts("german"):
                what = f"{where} text, warm-up {share:.0%}, {policy.replace('-', ' ')} against reset"
                found.append(compared(what, f"german/{policy}-{share:g}", reset, "equal", scored))
    return found


def all_claims(runs: Mapping[int, Runs]) -> list[Claim]:
    """Every claim, in the order of the pages; that of the laws needs the rows of all seeds."""
    told = yaml.safe_load((Path(__file__).parent / "claims.yaml").read_text(encoding="utf-8"))
    makers: dict[str, Callable[[], Found]] = {
        "T1": t1, "T2": t2, "T3": t3, "T4": t4, "T5": t5, "T6": t6, "T7": t7, "T8": t8, "T9": t9, "T10": t10,
        "T11": t11, "T12": lambda: t12(runs), "cosines": cosines, "optimizer": optimizer,
    }  # fmt: skip
    return [
        Claim(name, one["says"], one["source"], tuple(makers[name]()), tuple(one.get("shown", ())))
        for name, one in told.items()
    ]
