"""Invented people: lives of three facts each, told in sentences of many forms, and questions about them."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SYLLABLES = ("ba", "ke", "lo", "mi", "nu", "ra", "se", "ti", "vo", "zu", "shi", "tra")
_FORMS = {
    "town": ("was born in {}", "comes from {}", "grew up in {}", "has the home town {}", "calls {} home"),
    "trade": ("works as a {}", "is a {} by trade", "earns money as a {}", "was trained as a {}", "has the job of a {}"),
    "pet": ("owns a {}", "keeps a {} at home", "has a {} as a pet", "feeds a {} daily", "walks with a {}"),
}
_ENDS = {"town": "ton", "trade": "er", "pet": "ling"}
ANSWERS = 10
"""Values a fact may have, so that guessing is right once in ten."""
MOST_PHRASINGS = 5


@dataclass(frozen=True)
class People:
    """Names and lives. Of the first half a model is taught the answers to questions, of the others it is not."""

    names: tuple[str, ...]
    values: dict[str, tuple[str, ...]]
    lives: dict[str, dict[str, str]]

    @classmethod
    def made(cls, count: int, seed: int) -> People:
        """So many people, the same for a seed."""
        source = random.Random(seed)
        names: dict[str, None] = {}
        while len(names) < count:
            names[f"{_word(source, 2)} {_word(source, 3)}"] = None
        values = {}
        for kind, end in _ENDS.items():
            found: dict[str, None] = {}
            while len(found) < ANSWERS:
                found[_word(source, 2) + end] = None
            values[kind] = tuple(found)
        lives = {name: {kind: source.choice(some) for kind, some in values.items()} for name in names}
        return cls(tuple(names), values, lives)

    @property
    def taught(self) -> tuple[str, ...]:
        """Those whose questions are trained on."""
        return self.names[: len(self.names) // 2]

    @property
    def others(self) -> tuple[str, ...]:
        """Those of whom only the lives are."""
        return self.names[len(self.names) // 2 :]

    def life(self, name: str, number: int) -> str:
        """A life in its phrasing of that number: the name once, facts in an order and in words of its own."""
        source = random.Random(f"{name} {number}")
        kinds = list(_FORMS)
        source.shuffle(kinds)
        told = [source.choice(_FORMS[kind]).format(self.lives[name][kind]) for kind in kinds]
        return " ".join(f"{'This person' if place else name} {part}." for place, part in enumerate(told))

    def question(self, name: str, kind: str) -> str:
        """What a model is to complete."""
        return f"The {kind} of {name} :"

    def write(self, folder: Path) -> None:
        """lives.jsonl, paraphrases.jsonl and questions.jsonl."""
        later = range(1, MOST_PHRASINGS)
        files: dict[str, list[dict[str, Any]]] = {
            "lives": [{"id": name, "text": self.life(name, 0)} for name in self.names],
            "paraphrases": [
                {"id": name, "paraphrases": [self.life(name, number) for number in later]} for name in self.names
            ],
            "questions": [
                {"text": f"{self.question(name, kind)} {answer} ."}
                for name in self.taught
                for kind, answer in self.lives[name].items()
            ],
        }
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in files.items():
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


def _word(source: random.Random, syllables: int) -> str:
    return "".join(source.choices(_SYLLABLES, k=syllables)).capitalize()
