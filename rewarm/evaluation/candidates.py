"""Which wrong answers an answer is ranked against: the objects of the same relation in the same set of probes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from rewarm.evaluation.normalisation import normalised
from rewarm.hashing import seed_of
from rewarm.probes import Probe


def right_answer(probe: Probe) -> str | None:
    """The answer that is ranked: the first, or the first of those offered by a question with choices; None if none."""
    offered = (answer for answer in probe.answers if answer in probe.choices)
    return next(offered, probe.answers[0] if probe.answers else None)


def wrong_answers(probes: Sequence[Probe], most: int, seed: int) -> list[list[str]]:
    """For each probe the candidates other than the right answer.

    A question with choices has its other choices. Any other probe has its own old answers, always, and the answers and
    old answers of all probes of its relation, `most` candidates in all with the right one; which of them is a function
    of `seed`, the relation and the object alone, so that another probe more or less changes as little as possible.
    What equals an accepted answer is left out. A probe without an answer, or whose relation is unknown and which has
    no choices, has none.
    """
    pools = _pools(probes, seed)
    found: list[list[str]] = []
    for probe in probes:
        accepted = {normalised(answer) for answer in probe.answers}
        if not probe.answers or not (probe.choices or probe.relation):
            found.append([])
            continue
        own = probe.choices or probe.old_answers
        wrong = [answer for answer in dict.fromkeys(own) if normalised(answer) not in accepted]
        if not probe.choices:
            _fill(wrong, pools[probe.relation], accepted, most - 1)
        found.append(wrong)
    return found


def _pools(probes: Sequence[Probe], seed: int) -> dict[str, list[str]]:
    objects: dict[str, dict[str, None]] = defaultdict(dict)
    for probe in probes:
        if probe.relation and not probe.choices:
            objects[probe.relation].update(dict.fromkeys([*probe.answers, *probe.old_answers]))
    return {
        relation: sorted(held, key=lambda answer: seed_of(seed, relation, answer)) for relation, held in objects.items()
    }


def _fill(wrong: list[str], pool: Sequence[str], accepted: set[str], most: int) -> None:
    """Adds candidates of the pool until there are `most`."""
    taken = {normalised(answer) for answer in wrong} | accepted
    for answer in pool:
        if len(wrong) >= most:
            return
        key = normalised(answer)
        if key not in taken:
            taken.add(key)
            wrong.append(answer)
