"""Rows that ask for an answer: their messages, patterns in answers, and the chat template they are put in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from rewarm.suites.rows import NO_FIELD, BadRow, filled, text_of

BAD_MESSAGES = "messages that are no list of role and content"
NO_TEMPLATE = "none"
ChatTemplate = Annotated[str, BeforeValidator(lambda value: NO_TEMPLATE if value in (None, False) else value)]
"""A chat template as a plan names one (rewarm/tokens/templates.py), or none."""


def _pattern(value: str | None) -> str | None:
    if value is not None:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"'{value}' is no regular expression: {error}") from None
    return value


Pattern = Annotated[str, AfterValidator(_pattern)]
Several = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]


def asked_of(row: Mapping[str, Any], template: str | None) -> tuple[tuple[str, str], ...]:
    """The messages that a row asks an answer to: everything up to its last message that is not the assistant's."""
    if template is not None:
        return (("user", filled(template, row)),)
    if "messages" in row:
        return _messages(row["messages"])
    if "prompt" in row or "instruction" not in row:
        return (("user", text_of(row, "prompt")),)
    more = row.get("input")
    parts = [text_of(row, "instruction"), *([more] if isinstance(more, str) and more.strip() else [])]
    return (("user", "\n".join(parts)),)


def _messages(given: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(given, list) or not all(
        isinstance(one, dict) and isinstance(one.get("role"), str) and isinstance(one.get("content"), str)
        for one in given
    ):
        raise BadRow(BAD_MESSAGES)
    found = [(one["role"], one["content"]) for one in given]
    while found and found[-1][0] == "assistant":
        found.pop()
    if not found or not found[-1][1].strip():
        raise BadRow(NO_FIELD.format(field="messages"))
    return tuple(found)
