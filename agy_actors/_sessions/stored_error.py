"""Errors of turns as JSON text, for a database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from google.antigravity.types import ToolCall

from agy_actors._actors.errors import AgyActorsError
from agy_actors._sdk.errors import TurnError
from agy_actors._sessions.stored_chat import decode_tool_calls, encode_tool_calls, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["decode_error", "encode_error"]

_PLAIN = (str, int, float, bool, type(None))
_TOOL_CALLS = "tool_calls"


def encode_error(error: Exception) -> str:
    """Return an error as JSON text: the name of its type, its text and its plain attributes.

    Attributes that are not text, numbers, `None`, lists of these or tool calls are left out.
    """
    attributes = {name: value for name, value in vars(error).items() if _is_plain(value)}
    facts: dict[str, Any] = {
        "type": type(error).__name__,
        "text": str(error),
        "attributes": to_json(attributes),
    }
    calls = vars(error).get(_TOOL_CALLS, ())
    if isinstance(calls, tuple) and all(isinstance(call, ToolCall) for call in calls):
        facts[_TOOL_CALLS] = encode_tool_calls(calls)
    return json.dumps(facts)


def decode_error(text: str) -> Exception:
    """Return the error that `encode_error` returned a text for.

    An error of agy_actors has the same type, text and plain attributes. Any other one, and one of
    a type that this release does not have, is a `TurnError` with the original name in its text.

    Raises:
        ValueError: the text is not of an error.
    """
    facts = json.loads(text)
    try:
        error = _make(facts["type"], facts["text"])
        if type(error).__name__ == facts["type"]:
            vars(error).update(facts["attributes"])
        if _TOOL_CALLS in facts and isinstance(error, TurnError):
            error.tool_calls = decode_tool_calls(facts[_TOOL_CALLS])
    except (AttributeError, KeyError, TypeError) as cause:
        raise ValueError(f"not a saved error: {cause!r}") from cause
    return error


def _make(name: str, text: str) -> Exception:
    for kind in _kinds(AgyActorsError):
        if kind.__name__ == name:
            return kind(text)
    return TurnError(f"{name}: {text}" if text else name)


def _kinds(kind: type[AgyActorsError]) -> Iterator[type[AgyActorsError]]:
    """Iterate over the errors of this package, without those that users derive from them."""
    if kind.__module__.partition(".")[0] == "agy_actors":
        yield kind
        for derived in kind.__subclasses__():
            yield from _kinds(derived)


def _is_plain(value: object) -> bool:
    if isinstance(value, list):
        return all(isinstance(part, _PLAIN) for part in value)
    return isinstance(value, _PLAIN)
