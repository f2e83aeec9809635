"""`ModelRequest`: one request to the model, in the same form for both protocols."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Headers", "ModelRequest", "Protocol", "ToolResult", "last_prompt", "unwrap"]

Protocol = Literal["openai", "gemini"]

_SECRET = frozenset(
    {"authorization", "proxy-authorization", "api-key", "x-api-key", "x-goog-api-key", "cookie"}
)
_WRAPPED = re.compile(
    r"""
      <System>\n (?P<system>.*) \n</System>
    | <USER_REQUEST>\n (?P<user>.*) \n</USER_REQUEST>
      (?: \n <ADDITIONAL_METADATA>\n .* \n</ADDITIONAL_METADATA> )*
    """,
    re.DOTALL | re.VERBOSE,
)


class Headers(Mapping[str, str]):
    """The headers of a request. Names are case-insensitive, and `repr` hides secrets."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = {name.lower(): value for name, value in values.items()}

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        shown = {n: "<redacted>" if n in _SECRET else v for n, v in self._values.items()}
        return f"Headers({shown!r})"


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of a tool call, as the model gets it."""

    name: str
    """The name of the tool; "" if the request does not have it."""

    output: str
    """The output: a text as it is, any other value as JSON."""

    id: str = ""
    """The id of the call."""


@dataclass(frozen=True, slots=True, eq=False)
class ModelRequest:
    """One request to generate a reply. Two requests are equal only if they are the same object."""

    protocol: Protocol
    """The protocol of the request."""

    path: str
    """The path of the URL, without the query, which may contain a key."""

    headers: Headers = field(repr=False)
    """The headers. They contain the API key; their `repr` hides it."""

    body: dict[str, Any] = field(repr=False)
    """The body."""

    model: str
    """The name of the requested model."""

    prompt: str
    """The user's last prompt, without the tags that the harness adds; "" if there is none. Messages
    that the harness itself adds as the user (about a reply that it could not use) do not count."""

    messages: tuple[tuple[str, str], ...]
    """The conversation as (role, text), oldest first. The role is "user", "assistant"
    or "tool" in both protocols. A user's text is without the harness's tags."""

    system: str = field(repr=False)
    """The system instructions, without the harness's tags."""

    tools: tuple[str, ...]
    """The names of the tools that the model may call."""

    tool_results: tuple[ToolResult, ...]
    """The results of all tool calls in the conversation, oldest first."""

    received_at: float
    """When the request arrived: `time.monotonic()`, in seconds."""


def unwrap(text: str) -> str:
    """Remove the tags that the harness puts around a text (SDK 0.1.22).

    Args:
        text: a user's message or the system instructions, as in the request.

    Returns:
        The text without the tags and the metadata (such as the local time) after them; the
        unchanged text if it has no such tags.
    """
    found = _WRAPPED.fullmatch(text)
    if found is None:
        return text
    system, user = found["system"], found["user"]
    return str(user if system is None else system)


def last_prompt(texts: Sequence[str]) -> str:
    """Return the user's last prompt.

    Args:
        texts: the texts of the user's messages as in the request, oldest first.

    Returns:
        The last text in the harness's tags, without the tags. If no text has such tags, because
        the client is not the harness, the last text.
    """
    asked = [text for text in texts if unwrap(text) != text] or texts
    return unwrap(asked[-1]) if asked else ""
