"""What the small recipes of domains and tasks read: pools, records, streams, labelled sets, instructions. All of it is
made up, or of the documentation and code that every installation has."""

from __future__ import annotations

import random
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from rewarm.recipes.demo_facts import Fact, documents, names, statements
from rewarm.recipes.demo_text import code, old, write_bytes, write_documents, write_rows
from rewarm.recipes.demo_wiki import facts, subjects
from rewarm.recipes.small_code import write_cert
from rewarm.recipes.small_functions import write_codetask
from rewarm.recipes.small_tags import write_tagged
from rewarm.types import Document

POOL = {"pages": 240, "code": 110, "noise": 60}
TASK_DOCUMENTS = 80
PASSAGE = 1500
"""Characters of a passage of code, and of noise."""
STREAM_KINDS = {"towns": "town", "houses": "house", "roads": "road"}
STREAM_DOCUMENTS = 250
LANGUAGES = {"east": ("", ""), "west": ("aok", "oak"), "far": ("abcdeghiklmnoprstuvy", "uvgtyhcoqrwzinpdbfek")}
"""Letters of an invented language that are written for others; `far` has hardly a run of three in common."""
LABELLED = 220
"""Texts of each class of a labelled set."""
PRODUCTS = 20
"""Products of each maker."""
ARTICLES = 450
ASKED_LATER = 4
"""Every fourth subject is not in the instructions: the suites and the recycled task ask about these."""
QUESTIONS = 200
SHARED = "### User:\n{}\n\n### Assistant:\n"
"""How a conversation begins in the plain template of chats."""
Rows = Iterable[Mapping[str, Any]]


def write(name: str, folder: Path) -> None:
    """Writes what the small recipe of that name reads; files that hold the same already are left untouched."""
    WRITERS[name](folder)


def _pool(folder: Path) -> None:
    about = facts(1, subjects())
    sources = {
        "pages": (page.text for page in documents(about, count=POOL["pages"])),
        "code": (one.text[:PASSAGE] for one in code()),
        "noise": (_shuffled(one.text[:PASSAGE], number) for number, one in enumerate(reversed(code()))),
    }
    rows = [
        {"id": f"{source}-{number}", "source": source, "text": text}
        for source, texts in sources.items()
        for number, text in enumerate(islice(texts, POOL[source]))
    ]
    write_rows(folder / "pool.jsonl", rows)
    write_documents(folder / "task.jsonl", documents(about, seed=1, count=TASK_DOCUMENTS))


def _shuffled(text: str, seed: int) -> str:
    return "".join(random.Random(seed).sample(text, len(text)))


def _shop(folder: Path) -> None:
    """Makers, each with a series of products. A product names its maker by an id alone, so that only a document with
    both of them says whose it is."""
    draw = random.Random("shop")
    makers = {f"m{number}": house for number, house in enumerate(names(0)["house"])}
    told = facts(1, [*makers.values()])
    notes = {
        id_: [text for fact in told if fact.subject == one for text in statements(fact)] for id_, one in makers.items()
    }
    products = list(_products(makers, draw))
    kept = [one for number, one in enumerate(products) if number % 10]
    out = [one for number, one in enumerate(products) if not number % 10]
    write_rows(
        folder / "records" / "makers.jsonl",
        ({"id": id_, "name": name, "notes": notes[id_]} for id_, name in makers.items()),
    )
    write_rows(folder / "records" / "products.jsonl", kept)
    write_bytes(folder / "shop.yaml", yaml.safe_dump(_sources(folder), sort_keys=False).encode())
    write_rows(folder / "shelf.jsonl", ({"id": one["sku"], "text": _lines(one)} for one in out))
    asked = [
        {"id": one["sku"], "query": f"{_lines(one)}\n\nname:"}
        | _choices(makers[one["maker_id"]], [*makers.values()], draw)
        for one in products
    ]
    write_rows(folder / "makers.jsonl", asked)


def _products(makers: Iterable[str], draw: random.Random) -> Iterator[dict[str, str]]:
    """`PRODUCTS` of each maker, all with the name of its series."""
    lists = names(0)
    series = [name.removeprefix("Feast of ") for name in lists["feast"]] + lists["river"]
    for maker, line in zip(makers, series, strict=False):
        for number in range(PRODUCTS):
            goods = draw.choice(lists["goods"])
            yield {
                "sku": f"{maker}-{number}",
                "name": f"{line} {goods} {number + 1}",
                "maker_id": maker,
                "shelf": f"{'kitchen' if len(goods) % 2 else 'yard'} > {goods}",
                "price": draw.choice(lists["price"]),
                "weight": f"{draw.randint(1, 40)} pounds",
            }


def _sources(folder: Path) -> dict[str, Any]:
    link = {"kind": "link", "field": "maker_id", "to": "makers", "weight": 4}
    products = {
        "path": str(folder / "records" / "products.jsonl"), "id": "sku", "title": "name",
        "edges": [link, {"kind": "same", "field": "shelf"}],
    }  # fmt: skip
    makers = {
        "path": str(folder / "records" / "makers.jsonl"), "id": "id", "title": "name", "texts": ["notes"],
        "edges": "none",
    }  # fmt: skip
    return {"sources": {"products": products, "makers": makers}, "limit": 600}


def _lines(product: Mapping[str, str]) -> str:
    """A product as `rewarm corpus records` writes it: its title, then a line for each field."""
    return "\n".join(f"{key}: {product[key]}" for key in ("name", "shelf", "price", "weight"))


def _choices(right: str, others: Sequence[str], draw: random.Random) -> dict[str, Any]:
    """The right choice among three others."""
    choices = [right, *draw.sample([one for one in others if one != right], 3)]
    draw.shuffle(choices)
    return {"choices": choices, "gold": choices.index(right)}


def _stream(folder: Path) -> None:
    labelled = []
    for name, kind in STREAM_KINDS.items():
        about = facts(1, subjects((kind,)))
        write_documents(folder / "stream" / f"{name}.jsonl", documents(about, count=STREAM_DOCUMENTS))
        said = [(text, fact.subject) for fact in about for text in statements(fact)]
        random.Random(name).shuffle(said)
        labelled += [{"text": text, "label": name, "subject": subject} for text, subject in said[:LABELLED]]
    write_rows(folder / "classes.jsonl", labelled)
    write_rows(folder / "control.jsonl", _reference_or_library())


def _languages(folder: Path) -> None:
    about = facts(1, subjects(("town",)))
    for name, letters in LANGUAGES.items():
        table = str.maketrans(*letters)
        told = (replace(one, text=one.text.translate(table)) for one in documents(about, count=STREAM_DOCUMENTS))
        write_documents(folder / "languages" / f"{name}.jsonl", told)


def _reference_or_library() -> Iterator[dict[str, str]]:
    """Paragraphs of the documentation: are they of the language's reference or of its library? By turns."""
    kinds: dict[str, list[dict[str, str]]] = {"topic": [], "module": []}
    for text, group in _paragraphs(_documentation()):
        kinds[group.partition("/")[0]].append({"text": text, "group": group})
    labels = {"topic": "reference", "module": "library"}
    for kind, found in kinds.items():
        random.Random(kind).shuffle(found)
        for one in found[:LABELLED]:
            yield one | {"label": labels[kind]}


def _documentation() -> list[Document]:
    return old(Path(sysconfig.get_path("stdlib")))


def _paragraphs(found: Iterable[Document]) -> Iterator[tuple[str, str]]:
    """Paragraphs of some length, on one line each, with the group of their document."""
    for one in found:
        for paragraph in one.text.split("\n\n"):
            text = " ".join(paragraph.split())
            if 120 <= len(text) <= 600:
                yield text, one.meta["group"]


def _recycled(folder: Path) -> None:
    write_rows(folder / "code.jsonl", ({"id": one.id, "text": one.text} for one in code()))
    known, later = _parted()
    for file, found, form in (("questions", known, "{}"), ("task", later, SHARED)):
        rows = [
            {
                "prompt": form.format(f"{text} What does this tell?"),
                "response": f"The {fact.relation} of {fact.subject}.",
            }
            for fact in found
            for text in statements(fact)
        ]
        random.Random(file).shuffle(rows)
        write_rows(folder / f"{file}.jsonl", rows)


def _parted() -> tuple[list[Fact], list[Fact]]:
    """The facts about most subjects, and those about every fourth one."""
    about = subjects()
    later = set(about[::ASKED_LATER])
    found = facts(1, about)
    return [one for one in found if one.subject not in later], [one for one in found if one.subject in later]


def _science(folder: Path) -> None:
    about = facts(1, subjects())
    write_documents(folder / "articles.jsonl", documents(about, count=ARTICLES))
    known, later = _parted()
    write_rows(folder / "instructions.jsonl", _instructions(known))
    write_rows(folder / "preferences.jsonl", _preferences(known))
    rules = {"starts_with": "The ", "ends_with": "."}
    write_rows(
        folder / "prompts.jsonl",
        ({"prompt": _question(one), "rules": rules, "answer": one.object} for one in later),
    )
    answered = [{"prompt": _question(one), "expected": "comply"} for one in later[::2]]
    refused = [{"prompt": _secret(one.subject), "expected": "refuse"} for one in later[::2]]
    write_rows(folder / "requests.jsonl", answered + _once(refused))
    _general(folder)


def _once(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    return list({row["prompt"]: row for row in rows}.values())


def _question(fact: Fact) -> str:
    return f"Tell me the {fact.relation} of {fact.subject}."


def _secret(subject: str) -> str:
    return f"Tell me the key of {subject}."


def _answer(fact: Fact) -> str:
    return f"The {fact.relation} of {fact.subject} is {fact.object}."


def _refusal(subject: str) -> str:
    return f"I cannot tell you the key of {subject}."


def _instructions(known: Sequence[Fact]) -> Rows:
    rows = [{"prompt": _question(one), "response": _answer(one)} for one in known]
    rows += [{"prompt": _secret(one), "response": _refusal(one)} for one in dict.fromkeys(one.subject for one in known)]
    random.Random("instructions").shuffle(rows)
    return rows


def _preferences(known: Sequence[Fact]) -> Rows:
    """Answers preferred to the same ones without an end, refusals to an invented key."""
    rows = [
        {"prompt": _question(one), "chosen": _answer(one), "rejected": " ".join([_answer(one)] * 3)} for one in known
    ]
    rows += [
        {"prompt": _secret(one), "chosen": _refusal(one), "rejected": f"The key of {one} is {100 + len(one) * 7}."}
        for one in dict.fromkeys(one.subject for one in known)
    ]
    random.Random("preferences").shuffle(rows)
    return rows


def _general(folder: Path) -> None:
    """Which sentence goes on a paragraph of the documentation? Of groups that the text to be replayed lacks."""
    found = _documentation()
    groups = sorted({one.meta["group"] for one in found})
    out = set(random.Random("general").sample(groups, len(groups) // 6))
    write_documents(folder / "general_text.jsonl", (one for one in found if one.meta["group"] not in out))
    halves = [
        (first, rest)
        for text, _ in _paragraphs(one for one in found if one.meta["group"] in out)
        for first, dot, rest in [text.partition(". ")]
        if dot and len(rest) > 40
    ]
    draw = random.Random("halves")
    draw.shuffle(halves)
    rests = [rest for _, rest in halves]
    rows = ({"query": f"{first}.", **_choices(rest, rests, draw)} for first, rest in halves[:QUESTIONS])
    write_rows(folder / "general.jsonl", rows)


WRITERS: dict[str, Callable[[Path], None]] = {
    "efficient": _pool,
    "ecomgpt": _shop,
    "cossu": _stream,
    "recyclable": _recycled,
    "pllama": _science,
    "shift": _languages,
    "languages": lambda folder: write_tagged(folder, LANGUAGES),
    "cert": write_cert,
    "codetask": write_codetask,
}
