"""From a row to the turns of a conversation, in any of the usual shapes, or to what is wrong with it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rewarm.corpora import faults

Message = dict[str, str]
"""A turn: its `role` (system, user, assistant, tool) and its `content`."""
Role = Literal["system", "user", "assistant", "tool"]
Column = Literal["messages", "role", "content", "system", "prompt", "input", "response"]

NAMES: Mapping[Column, tuple[str, ...]] = {
    "messages": ("messages", "conversations", "conversation"),
    "role": ("role", "from"),
    "content": ("content", "value"),
    "system": ("system",),
    "prompt": ("instruction", "prompt", "question"),
    "input": ("input", "context"),
    "response": ("output", "response", "completion", "answer"),
}
"""The usual names of the fields, of which a row's first is taken."""
ROLES: Mapping[str, Role] = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "model": "assistant",
    "tool": "tool", "function": "tool", "observation": "tool",
}  # fmt: skip
"""What roles are called in the wild."""


class Fault(ValueError):
    """A row is no conversation to learn from; the message is the reason it is counted under."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How rows name their fields and roles: `columns` and `roles` go before the usual names."""

    columns: Mapping[Column, str] = field(default_factory=dict)
    roles: Mapping[str, Role] = field(default_factory=dict)

    def fields(self) -> list[str]:
        """Every field a conversation may be read from."""
        return [name for column in NAMES if column not in ("role", "content") for name in self._names(column)]

    def messages(self, row: Mapping[str, Any]) -> list[Message]:
        """The turns of a row; Fault when it has none that can be learned from.

        An empty system turn is none. Instruction and input become one turn, with a blank line between them.
        """
        found = self._all(row)
        system = self._value(row, "system")
        if isinstance(system, str) and system.strip() and not (found and found[0]["role"] == "system"):
            found = [{"role": "system", "content": system}, *found]
        check(found)
        return found

    def turns(self, value: Any) -> list[Message]:
        """A list of turns as a row holds it; Fault when it is none. Whether they make sense together is not asked."""
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            raise Fault(faults.NOT_TURNS)
        return [turn for item in value for turn in self._turn(item)]

    def _all(self, row: Mapping[str, Any]) -> list[Message]:
        listed = self._value(row, "messages")
        if listed is not None:
            return self.turns(listed)
        prompt, more, answer = (self._value(row, column) for column in ("prompt", "input", "response"))
        prompt, more = (more, None) if prompt is None else (prompt, more)
        if prompt is None or answer is None:
            raise Fault(faults.NO_CONVERSATION)
        if not isinstance(prompt, str):
            return [*self.turns(prompt), *(self.turns([_answer(answer)] if isinstance(answer, str) else answer))]
        if not isinstance(answer, str) or not isinstance(more, str | None):
            raise Fault(faults.CONTENT_NOT_TEXT)
        question = "\n\n".join(part for part in (prompt, more) if part and part.strip())
        return [{"role": "user", "content": question}, _answer(answer)]

    def _turn(self, item: Any) -> Iterator[Message]:
        if not isinstance(item, Mapping):
            raise Fault(faults.NOT_TURNS)
        role, content = self._value(item, "role"), _text(self._value(item, "content"))
        known = self.roles.get(role, ROLES.get(role.lower())) if isinstance(role, str) else None
        if known is None:
            raise Fault(faults.UNKNOWN_ROLE)
        if content.strip() or known != "system":
            yield {"role": known, "content": content}

    def _names(self, column: Column) -> tuple[str, ...]:
        return (self.columns[column],) if column in self.columns else NAMES[column]

    def _value(self, row: Mapping[str, Any], column: Column) -> Any:
        return next((row[name] for name in self._names(column) if row.get(name) is not None), None)


def _answer(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _text(content: Any) -> str:
    """The text of a turn, which may be given in parts; Fault for anything else, such as an image."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence) and all(isinstance(part, Mapping) and "text" in part for part in content):
        texts = [part["text"] for part in content]
        if all(isinstance(text, str) for text in texts):
            return "".join(texts)
    raise Fault(faults.CONTENT_NOT_TEXT)


def check(messages: Sequence[Message]) -> None:
    """Fault unless the turns make a conversation that ends with an answer: what every chat template can write."""
    if not messages or messages[-1]["role"] != "assistant":
        raise Fault(faults.NO_ANSWER_LAST)
    before = ""
    for place, message in enumerate(messages):
        role, content = message["role"], message["content"]
        if not content.strip():
            raise Fault(faults.EMPTY_ANSWER if role == "assistant" else faults.EMPTY_TURN)
        if role == "system" and place > 0:
            raise Fault(faults.SYSTEM_LATER)
        if role != "tool" and role == before:
            raise Fault(faults.SPEAKS_TWICE)
        if role in ("assistant", "tool") and before in ("", "system"):
            raise Fault(faults.NO_QUESTION)
        before = role


def readable(messages: Sequence[Message]) -> str:
    """A conversation as plain text, whatever a model's template is: for hashes, and for whoever looks at it."""
    return "\n\n".join(f"{message['role'].capitalize()}: {message['content']}" for message in messages)
