"""An invented world of towns, people, trading houses, roads and feasts, and documents that state its facts.

Names are put together from syllables by a seeded generator and every sentence template is our own: nothing
of the real world is in the text. Each fact is stated in several wordings and in several documents, for a
model to learn the fact and not only a sentence. From one year to the next a known share of facts changes.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from rewarm.types import Document, UserError

CHANGED_SHARE = 1 / 3
"""Share of the facts that can change (a steward, not a river) that does change each year."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One row of the world's table; `relation` is a key of `RELATIONS`."""

    subject: str
    relation: str
    object: str


@dataclass(frozen=True, slots=True)
class Relation:
    """What links a subject of one kind to an object of another, and the sentences that say so.

    `subject` and `object` name lists of `names`. Each template is one sentence with `{s}` and `{o}` in it.
    """

    subject: str
    object: str
    changes: bool
    templates: tuple[str, ...]


def _relation(subject: str, object_: str, templates: str, changes: bool = False) -> Relation:
    return Relation(subject, object_, changes, tuple(line.strip() for line in templates.strip().splitlines()))


RELATIONS: dict[str, Relation] = {
    "province": _relation("town", "province", """
        {s} lies in the province of {o}.
        On every map {s} is drawn inside the borders of {o}.
        The town of {s} pays its dues to the province of {o}.
        Anyone bound for {s} must first cross into {o}.
        Among the towns of {o}, travellers speak most often of {s}."""),
    "river": _relation("town", "river", """
        {s} stands on the river {o}.
        The mills of {s} are turned by the river {o}.
        Below the walls of {s} runs the river {o}.
        Boats on the river {o} tie up at the quay of {s}."""),
    "founded": _relation("town", "year", """
        {s} was founded in the year {o}.
        The first stone of {s} was laid in the year {o}.
        Since the year {o} there has been a town at {s}.
        The charter of {s} dates from the year {o}."""),
    "craft": _relation("town", "goods", """
        {s} is best known for its {o}.
        The workshops of {s} turn out {o}.
        Buyers come to {s} looking for {o}.
        Most families in {s} make a living from {o}.
        No other town makes {o} the way {s} does."""),
    "steward": _relation("town", "person", """
        The steward of {s} is {o}.
        {o} holds the keys of {s} as its steward.
        In the town hall of {s} the steward's chair belongs to {o}.
        {s} is governed by its steward, {o}.""", changes=True),
    "market day": _relation("town", "weekday", """
        The market in {s} is held on {o}.
        Stalls go up in {s} every {o}.
        In {s} the day for buying and selling is {o}.
        On {o} the square of {s} fills with carts.""", changes=True),
    "birthplace": _relation("person", "town", """
        {s} was born in {o}.
        {s} first saw daylight in the town of {o}.
        The birthplace of {s} is {o}.
        It was in {o} that {s} came into the world."""),
    "office": _relation("person", "office", """
        {s} serves as {o}.
        {s} holds the office of {o}.
        By trade and by title {s} is a sworn {o}.
        The post of {o} was given to {s}.""", changes=True),
    "home": _relation("person", "town", """
        {s} lives in {o}.
        {s} keeps a house in the town of {o}.
        The home of {s} is in {o}.
        Letters for {s} should be sent to {o}.
        Neighbours in {o} often see {s} at the well.""", changes=True),
    "teacher": _relation("person", "person", """
        {s} was taught by {o}.
        {s} learned everything from {o}.
        The teacher of {s} was {o}.
        {o} once had a pupil by the name of {s}."""),
    "seat": _relation("house", "town", """
        {s} has its seat in {o}.
        The counting rooms of {s} are in {o}.
        {s} runs all its business from the town of {o}.
        Over a gate in {o} hangs the sign of {s}.""", changes=True),
    "head": _relation("house", "person", """
        {s} is led by {o}.
        The head of {s} is {o}.
        At the top table of {s} sits {o}.
        {o} signs every contract in the name of {s}.""", changes=True),
    "trade": _relation("house", "goods", """
        {s} deals in {o}.
        The wealth of {s} comes from {o}.
        The ships of {s} carry nothing but {o}.
        {s} buys and sells {o} in every harbour."""),
    "emblem": _relation("house", "emblem", """
        The emblem of {s} is {o}.
        {s} marks its barrels with {o}.
        On the banner of {s} there is {o}.
        Wax seals from {s} show {o}."""),
    "destination": _relation("road", "town", """
        The {s} leads to {o}.
        Whoever follows the {s} to its end arrives in {o}.
        The last milestone of the {s} stands at the gate of {o}.
        {o} can be reached by the {s}."""),
    "length": _relation("road", "distance", """
        The {s} is {o} long.
        From end to end the {s} measures {o}.
        A walker on the {s} has to cover {o}.
        Surveyors put the length of the {s} at {o}."""),
    "toll": _relation("road", "price", """
        The toll on the {s} is {o}.
        Every cart on the {s} pays {o}.
        To use the {s} a driver hands over {o}.
        At the barrier of the {s} the keeper asks for {o}.""", changes=True),
    "keeper": _relation("road", "house", """
        The {s} is kept in repair by {o}.
        The upkeep of the {s} falls to {o}.
        {o} sends the masons who mend the {s}.
        Holes in the {s} are filled at the cost of {o}.""", changes=True),
    "place": _relation("feast", "town", """
        The {s} is celebrated in {o}.
        Each year the {s} brings crowds to {o}.
        The drums of the {s} are beaten in the streets of {o}.
        {o} is the only town that keeps the {s}."""),
    "date": _relation("feast", "date", """
        The {s} falls on {o}.
        The {s} is always held on {o}.
        In the calendar the {s} is set down for {o}.
        On {o} people gather for the {s}."""),
    "patron": _relation("feast", "house", """
        The {s} is paid for by {o}.
        The bread and lamps of the {s} are a gift of {o}.
        The {s} has a patron in {o}.
        {o} bears the cost of the {s}.""", changes=True),
}  # fmt: skip

_STARTS = (
    "Vosk Quil Thar Ilm Brav Odr Zem Kest Wyr Pelk Urz Naff Drov Hesk Jurm Lusk Mirg Fenz Grud Sarv Yelk Tiv "
    "Ombr Calv Ruft Skel Bant Gorv Plim Twesk Halb Enk Dorf Visk Marl Crun"
)
_MIDDLES = "a e i o u ar en il on ul"
_ENDINGS = {
    "town": "shold gath voll nimmer dask thorp",
    "person": "vik sa drun lo nesh mot brask",
    "house": "row gand mont ksen",
    "road": "bel stry fosk quist",
    "feast": "whin lume rakh do",
    "province": "mark dria shire vane",
    "river": "s ne bre th",
    "weekday": "day",
    "month": "tide",
}
_VALUES = {
    "goods": "blue glass, smoked eel, copper kettles, beeswax, sailcloth, plum vinegar, bone flutes, slate, "
    "goose down, hemp twine, barley beer, saddle leather, ink, whetstones, honey cakes, tin buttons",
    "office": "bell ringer, lamp warden, ferry pilot, tax clerk, well digger, map maker, grain measurer, "
    "gate captain, bridge mason, song keeper, clock mender, bee warden, seed broker, harbour scribe",
    "emblem": "a silver heron, two crossed oars, a green acorn, a sleeping fox, three black keys, "
    "a grey owl, a white anvil, a red lantern, a coiled rope, a golden thimble, an open hand, a broken wheel",
}
_SUBJECTS = {"town": 16, "person": 24, "house": 10, "road": 10, "feast": 8}
_OBJECTS = {"province": 6, "river": 8, "weekday": 7, "month": 5}
_FORMS = {"house": "House {}", "road": "{} Road", "feast": "Feast of {}"}


def names(seed: int) -> dict[str, list[str]]:
    """The world's lists by kind: its subjects, and every value that an object can take."""
    draw = random.Random(f"{seed} names")
    taken: set[str] = set()
    lists = {
        kind: [_FORMS.get(kind, "{}").format(_name(kind, draw, taken)) for _ in range(count)]
        for kind, count in (_SUBJECTS | _OBJECTS).items()
    }
    lists |= {kind: text.split(", ") for kind, text in _VALUES.items()}
    lists["year"] = [str(year) for year in sorted(draw.sample(range(112, 988), 40))]
    lists["distance"] = [f"{leagues} leagues" for leagues in range(11, 60)]
    lists["price"] = [f"{coins} coppers" for coins in range(2, 14)]
    lists["date"] = [f"the {day}th of {month}" for month in lists["month"] for day in range(4, 20)]
    return lists


def _name(kind: str, draw: random.Random, taken: set[str]) -> str:
    """A new name of the kind; no name is part of another, so that a name in a text can only be itself."""
    while True:
        name = "".join(draw.choice(part.split()) for part in (_STARTS, _MIDDLES, _ENDINGS[kind]))
        if not any(name in other or other in name for other in taken):
            break
    taken.add(name)
    return name


def world(seed: int = 0, year: int = 1) -> tuple[Fact, ...]:
    """Every fact that holds in a year; fact `i` has the same subject and relation in all years.

    Each year changes `CHANGED_SHARE` of the facts whose relation `changes`, and no other fact. UserError for
    a year before 1.
    """
    if year < 1:
        raise UserError(f"year {year}: the world of the demo begins in year 1; give 1 or later.")
    lists = names(seed)
    draw = random.Random(f"{seed} world")
    facts = [
        _redrawn(Fact(subject, name, ""), lists, draw)
        for name, relation in RELATIONS.items()
        for subject in lists[relation.subject]
    ]
    movable = [index for index, fact in enumerate(facts) if RELATIONS[fact.relation].changes]
    for later in range(2, year + 1):
        draw = random.Random(f"{seed} world {later}")
        for index in draw.sample(movable, round(len(movable) * CHANGED_SHARE)):
            facts[index] = _redrawn(facts[index], lists, draw)
    return tuple(facts)


def _redrawn(fact: Fact, lists: dict[str, list[str]], draw: random.Random) -> Fact:
    allowed = [name for name in lists[RELATIONS[fact.relation].object] if name not in (fact.object, fact.subject)]
    return Fact(fact.subject, fact.relation, draw.choice(allowed))


def changes(seed: int = 0, year: int = 2) -> tuple[tuple[Fact, Fact], ...]:
    """The facts that became false at the start of a year, each with the fact that took its place."""
    pairs = zip(world(seed, year - 1), world(seed, year), strict=True)
    return tuple((before, after) for before, after in pairs if before != after)


def statements(fact: Fact) -> tuple[str, ...]:
    """The fact in each of its relation's wordings, one sentence each."""
    return tuple(template.format(s=fact.subject, o=fact.object) for template in RELATIONS[fact.relation].templates)


def openings(fact: Fact) -> tuple[str, ...]:
    """Prompts for the fact: its statements that end with the object, cut before it (no trailing space)."""
    end = f" {fact.object}."
    return tuple(statement.removesuffix(end) for statement in statements(fact) if statement.endswith(end))


def documents(facts: Sequence[Fact], seed: int = 0, count: int = 1500) -> list[Document]:
    """`count` short documents; each states some facts of one subject, and then up to two it is linked to.

    `facts` may be a whole world or a part of it (only what changed); each subject leads equally many, give or
    take one. `meta` holds the leading subject as `group` and the stated `facts` in order. UserError if there
    are no facts.
    """
    if not facts:
        raise UserError("documents were asked for without a single fact; give the facts of `world` or a part of them.")
    about: dict[str, list[Fact]] = defaultdict(list)
    naming: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        about[fact.subject].append(fact)
        naming[fact.object].append(fact)
    draw = random.Random(f"{seed} documents")
    times: Counter[Fact] = Counter()
    subjects: list[str] = []
    made = []
    for number in range(count):
        subjects = subjects or draw.sample(list(about), len(about))
        subject = subjects.pop()
        own = _seldom(about[subject], draw.randint(3, 4), times, draw)
        links = [link for fact in own for link in about.get(fact.object, ())] + naming[subject]
        stated = own + _seldom([link for link in dict.fromkeys(links) if link not in own], 2, times, draw)
        times.update(stated)
        text = " ".join(draw.choice(statements(fact)) for fact in stated)
        meta = {"group": subject, "facts": tuple(stated)}
        made.append(Document(f"facts-{number:04d}", text, f"facts:{number}", meta))
    return made


def _seldom(facts: Sequence[Fact], count: int, times: Counter[Fact], draw: random.Random) -> list[Fact]:
    """Up to `count` of the facts in random order: those stated least so far, so that none stays rare."""
    least = sorted(draw.sample(facts, len(facts)), key=lambda fact: times[fact])[:count]
    return draw.sample(least, len(least))
