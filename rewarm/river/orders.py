"""The order of a plan's stages: orders to compare, and the plan in another one.

What a stage learns moves with its name: data, budget, objective, selection, date. How a place in the row trains stays:
learning rate, schedule, replay, retention, adapter. So every order warms up and replays alike.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

from rewarm.hashing import seed_of
from rewarm.methods import nearest
from rewarm.plan import Plan, from_values
from rewarm.stages import repeated
from rewarm.types import UserError

MOVES = ("name", "data", "tokens", "epochs", "max_epochs", "objective", "select", "date")


def order_of(plan: Plan) -> tuple[str, ...]:
    """The names of the stages, in order."""
    return tuple(stage.name for stage in plan.stages)


def orders(plan: Plan, values: Sequence[Any]) -> list[tuple[str, ...]]:
    """Whole orders from what a user gives, each once; UserError when one is no order of the plan's stages.

    A value is a list of names, or names joined by `-`; stages that it leaves out keep their places. A number draws so
    many orders: the plan's own, its reverse, then others by chance, the same for the same names and seed.
    """
    found: list[tuple[str, ...]] = []
    for value in values:
        number = isinstance(value, int) and not isinstance(value, bool)
        for order in _drawn(plan, value) if number else [_placed(plan, _names(plan, value))]:
            if order not in found:
                found.append(order)
    return found


def reordered(plan: Plan, order: Sequence[str]) -> Plan:
    """The plan with its stages in an order that names them all; UserError where a stage says what it starts from."""
    if tuple(order) == order_of(plan):
        return plan
    if fixed := [stage.name for stage in plan.stages if stage.from_ is not None or stage.release is not None]:
        raise UserError(
            f"order: stage '{fixed[0]}' says what it starts from or has a release, so its place is fixed: take 'from' "
            "and 'release' out of the plan to compare orders"
        )
    values = plan.resolved()
    by_name = {stage["name"]: stage for stage in values["stages"]}
    # A corpus that no longer is learned first, or at all before the end, keeps the role it has in the plan.
    values["watch"] = [{**watch, "role": plan.role(watch["corpus"])} for watch in values["watch"]]
    values["stages"] = [
        {**place, **{key: by_name[name].get(key) for key in MOVES}}
        for place, name in zip(values["stages"], order, strict=True)
    ]
    return from_values(values)


def _drawn(plan: Plan, count: int) -> Iterator[tuple[str, ...]]:
    names = order_of(plan)
    most = math.factorial(len(names))
    if not 1 <= count <= most:
        raise UserError(f"order={count}: {len(names)} stages have {most} orders. Give 1 to {most}, or name the orders")
    yield names
    seen = {names}
    generator = random.Random(seed_of("order", plan.seed, *names))
    ahead = itertools.chain([names[::-1]], iter(lambda: tuple(generator.sample(names, len(names))), None))
    while len(seen) < count:
        if (order := next(ahead)) not in seen:
            seen.add(order)
            yield order


def _names(plan: Plan, value: Any) -> list[str]:
    """The names of a value, some of which may hold a `-` themselves."""
    stages = order_of(plan)
    if isinstance(value, list | tuple):
        given = [_spelled(one, stages) for one in value]
    else:
        given, rest = [], _spelled(value, stages)
        while rest:
            fitting = [name for name in stages if rest == name or rest.startswith(f"{name}-")]
            name = max(fitting, key=len, default=rest.split("-")[0])
            given.append(name)
            rest = rest[len(name) + 1 :]
    for name in given:
        if name not in stages:
            raise UserError(f"order '{value}': no stage is called '{name}'. {nearest(name, stages)}")
    if twice := repeated(given):
        raise UserError(f"order '{value}' names '{twice[0]}' twice: name each stage once")
    if len(given) < 2:
        raise UserError(f"order '{value}' names one stage: give at least two, as in {'-'.join(stages[::-1])}")
    return given


def _spelled(value: Any, stages: Sequence[str]) -> str:
    """A name as it was written: YAML reads `no`, which is Norwegian, as false, and `on` as true."""
    words = {False: ("no", "off", "false"), True: ("yes", "on", "true")}[value] if isinstance(value, bool) else ()
    return next((name for name in stages if name.lower() in words), str(value))


def _placed(plan: Plan, given: Sequence[str]) -> tuple[str, ...]:
    names = iter(given)
    return tuple(next(names) if name in given else name for name in order_of(plan))
