"""A plan and what is to vary -> the arms of a comparison: the plan with one thing changed, learning rates, controls.

Budgets stay as they are, so that arms differ in what they do with the same tokens.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from rewarm.methods import Method, Options, checked, nearest
from rewarm.plan import Plan, from_values
from rewarm.plan_file import yaml_value
from rewarm.river.orders import order_of, orders, reordered
from rewarm.types import UserError

KEYS = ("retention", "adapter", "schedule", "mixture", "replay", "learning_rate", "optimizer_state", "order")
BUDGETS = ("tokens", "epochs", "data")
REMOVABLE = ("retention", "adapter", "replay")
"""Keys a stage can do without: learning rates are swept without them."""
FACTORS = (0.25, 0.5, 1.0, 2.0)
_LONGEST_NAME = 80

Kind = Literal["sweep", "variant", "control"]


@dataclass(frozen=True, slots=True)
class Arm:
    """One plan of a comparison. `key` is what it varies ("" for the sweep of learning rates), `factor` what the plan's
    learning rates are multiplied by, `control_of` the arm whose random control it is."""

    name: str
    kind: Kind
    plan: Plan
    key: str = ""
    factor: float = 1.0
    control_of: str | None = None

    @property
    def folder(self) -> str:
        """The name as that of a folder, the same in every comparison."""
        text = re.sub(r"[^A-Za-z0-9._=+-]+", "-", self.name).strip("-.")
        if len(text) <= _LONGEST_NAME:
            return text
        # What is cut off may be all that tells two arms apart.
        return f"{text[:_LONGEST_NAME]}-{hashlib.sha256(self.name.encode()).hexdigest()[:6]}"

    def change(self) -> dict[str, Any]:
        """What it varies, as plain values: the key with its value in the first stage."""
        return {self.key: _plain(_value(self.plan, self.key))} if self.key else {}


def parse_vary(given: Sequence[str]) -> dict[str, list[Any]]:
    """Values by key from texts such as `retention=none,{type: ewc, strength: 100}`; UserError names what is wrong."""
    found: dict[str, list[Any]] = {}
    for text in given:
        key, equals, values = text.partition("=")
        key = key.strip().replace("-", "_")
        if key in BUDGETS:
            raise UserError(f"--vary {key}: budgets must be equal, so this cannot vary. Compare runs of their own")
        if key not in KEYS:
            raise UserError(f"--vary '{text}': no key that can vary is called '{key}'. {nearest(key, KEYS)}")
        if not equals:
            raise UserError(f"--vary '{text}': give values, as in --vary {key}=FIRST,SECOND")
        for value in split(values):
            try:
                found.setdefault(key, []).append(yaml_value(value))
            except UserError as error:
                raise UserError(f"--vary {key}: '{value}' cannot be read as YAML: {error}") from None
    return found


def split(text: str) -> list[str]:
    """The parts of a list between commas outside brackets and quotes; UserError when one is empty or does not end."""
    parts, open_brackets, quote = [""], 0, ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        else:
            open_brackets += (sign in "[{(") - (sign in "]})")
        if sign == "," and not open_brackets and not quote:
            parts.append("")
        else:
            parts[-1] += sign
    if open_brackets or quote:
        raise UserError(
            f"'{text}' has {'an open quote' if quote else 'brackets that do not match'}: close what it opens"
        )
    parts = [part.strip() for part in parts]
    if not all(parts):
        raise UserError(f"'{text}' has an empty value: give values between the commas, and 'none' for no value")
    return parts


def arms(plan: Plan, vary: Mapping[str, Sequence[Any]], factors: Sequence[float] = FACTORS) -> list[Arm]:
    """The sweep of learning rates, then one arm for each value of each key; their controls are `with_controls`'.

    The sweep is of the plan without what varies, and a variant is that with one value put in. The sweep's arm at the
    plan's own rates is called `none` where something was taken away for it, otherwise `plan`, and stands first. A value
    that repeats an earlier arm adds none. UserError, before any work, when a value is wrong or arms would not be scored
    on the same documents.
    """
    if not vary:
        raise UserError(f"nothing varies: give --vary KEY=VALUES, with one of the keys {', '.join(KEYS)}")
    if any(factor <= 0 for factor in factors):
        raise UserError(
            f"learning rates {', '.join(f'{factor:g}' for factor in factors)}: every factor must be above 0"
        )
    plain, taken = plan, False
    for key in REMOVABLE:
        if key in vary:
            plain, taken = _changed(plain, key, None), True
    found = [Arm("none" if taken else "plan", "sweep", plain)]
    others = sorted({*factors} - {1.0})
    found += [Arm(f"learning rate x{factor:g}", "sweep", _at_rate(plain, factor), factor=factor) for factor in others]
    for key, values in vary.items():
        for value in orders(plain, values) if key == "order" else values:
            other = _changed(plain, key, value)
            arm = Arm(_label(key, _value(other, key)), "variant", other, key)
            if all(arm.plan.resolved() != before.plan.resolved() for before in found):
                found.append(arm)
    return _scored_alike(_named_apart(found))


def with_controls(found: Sequence[Arm]) -> list[Arm]:
    """The arms, each method that has a random control followed by it.

    `control()` of a method gives the same method with its knowledge destroyed, or None; what an arm combines with it
    stays.
    """
    both = []
    for arm in found:
        both.append(arm)
        destroyed = [_control(method) for method in _methods(arm)]
        if arm.kind == "variant" and any(control is not None for control in destroyed):
            kept = [control or method for control, method in zip(destroyed, _methods(arm), strict=True)]
            plan = _changed(arm.plan, arm.key, kept if len(kept) > 1 else kept[0])
            both.append(Arm(f"{arm.name}, random control", "control", plan, arm.key, control_of=arm.name))
    return both


def tunings(arm: Arm) -> list[Arm]:
    """The arm with each value of the options that its methods' `sweep` names and its plan leaves open; none if none is.

    Several options are tried in every combination.
    """
    methods = _methods(arm)
    if arm.kind != "variant" or not methods:
        return []
    tried = []
    # What a caller put before the name stays there, or arms that differ in more than the key would share a name.
    before = arm.name.removesuffix(_label(arm.key, _value(arm.plan, arm.key)))
    for values in itertools.product(*(list(_options(method)) for method in methods)):
        pairs = zip(methods, values, strict=True)
        built = [checked(type(method), {**_given(method), **options}) for method, options in pairs]
        plan = _changed(arm.plan, arm.key, built if len(built) > 1 else built[0])
        label = _label(arm.key, _value(plan, arm.key))
        tried.append(replace(arm, name=f"{before}{label}", plan=plan))
    return tried if len(tried) > 1 else []


def _options(method: Method) -> Iterator[dict[str, Any]]:
    sweep: Mapping[str, Sequence[Any]] = getattr(type(method), "sweep", {})
    open_ones = {name: values for name, values in sweep.items() if name not in method.model_fields_set}
    for values in itertools.product(*open_ones.values()):
        yield dict(zip(open_ones, values, strict=True))


def _given(options: Options) -> dict[str, Any]:
    """What the plan says of a method itself, by the names a plan uses."""
    fields = type(options).model_fields
    return {fields[name].alias or name: getattr(options, name) for name in fields if name in options.model_fields_set}


def _control(method: Method) -> Method | None:
    make = getattr(method, "control", None)
    found = make() if callable(make) else None
    assert found is None or isinstance(found, Method)
    return found


def _methods(arm: Arm) -> list[Method]:
    value = _value(arm.plan, arm.key) if arm.key else ()
    return [method for method in (value if isinstance(value, tuple) else (value,)) if isinstance(method, Method)]


def _value(plan: Plan, key: str) -> Any:
    """The value of what varies: the first stage's, or the order of all stages."""
    return order_of(plan) if key == "order" else getattr(plan.stages[0], key)


def _changed(plan: Plan, key: str, value: Any) -> Plan:
    """The plan with one key of every stage changed; None and `none` take it away. `order` changes their order."""
    if key == "order":
        return reordered(plan, value)
    values = plan.resolved()
    for stage in values["stages"]:
        if value in (None, "none"):
            stage.pop(key, None)
        else:
            stage[key] = value
    return from_values(values)


def _at_rate(plan: Plan, factor: float) -> Plan:
    stages = tuple(stage.model_copy(update={"learning_rate": factor * stage.learning_rate}) for stage in plan.stages)
    return plan.model_copy(update={"stages": stages})


def _scored_alike(found: list[Arm]) -> list[Arm]:
    """The arms, all with the same held-out documents.

    A watched corpus that a plan does not read is scored whole, one that it reads by its held-out share. An arm that
    leaves out what another replays therefore names it as `old_corpus`, which only keeps its share held out.
    """
    watched = [watch.corpus for watch in found[0].plan.watch]
    read = [corpus for corpus in watched if any(arm.plan.trained(corpus) for arm in found)]
    return [replace(arm, plan=_reading(arm, read)) for arm in found]


def _reading(arm: Arm, read: Sequence[str]) -> Plan:
    missing = [corpus for corpus in read if not arm.plan.trained(corpus)]
    if not missing:
        return arm.plan
    if len(missing) > 1 or arm.plan.old_corpus is not None:
        raise UserError(
            f"'{arm.name}' does not read {', '.join(missing)}, which another variant reads and the plan watches, so "
            "the two would be scored on different documents. Let all variants read the same corpora"
        )
    return arm.plan.model_copy(update={"old_corpus": missing[0]})


def _named_apart(found: list[Arm]) -> list[Arm]:
    """Names of methods of two folders can be the same: then the key goes first."""
    names = [arm.name for arm in found]
    return [
        replace(arm, name=f"{arm.key.replace('_', ' ')} {arm.name}") if names.count(arm.name) > 1 and arm.key else arm
        for arm in found
    ]


def _label(key: str, value: Any) -> str:
    """A value as a name: methods by name with the options that were given, other values after their key."""
    parts = value if isinstance(value, tuple) else (value,)
    words = ("-" if key == "order" else " + ").join(map(_word, parts)) or "none"
    return words if parts and isinstance(parts[0], Method) else f"{key.replace('_', ' ')} {words}"


def _word(value: Any) -> str:
    if not isinstance(value, Options):
        return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)
    options = [f"{name}={_text(option)}" for name, option in _given(value).items()]
    return " ".join([*([value.method_name()] if isinstance(value, Method) else []), *options])


def _text(option: Any) -> str:
    plain = _plain(option)
    return f"{plain:g}" if isinstance(plain, float) else plain if isinstance(plain, str) else json.dumps(plain)


def _plain(value: Any) -> Any:
    if isinstance(value, Method):
        return value.described()
    if isinstance(value, Options):
        return value.model_dump(mode="json", by_alias=True)
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else value
