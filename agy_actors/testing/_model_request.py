"""What the model was asked: one request, the same for every protocol."""

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
    """The headers of a request, whatever their case; what is secret is not shown."""

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
    """What a tool gave, as the model is told."""

    name: str
    """The tool, or "" where the request does not say."""

    output: str
    """The output: text as it is, anything else as JSON."""

    id: str = ""
    """The call that it answers."""


@dataclass(frozen=True, slots=True, eq=False)
class ModelRequest:
    """One request to generate, as it came in. Compared by identity: it is an event."""

    protocol: Protocol
    """Which protocol it was made in."""

    path: str
    """The path of the address, without its query (a key may be there)."""

    headers: Headers = field(repr=False)
    """The headers; an API key is among them, but not in their `repr`."""

    body: dict[str, Any] = field(repr=False)
    """The body, as it came."""

    model: str
    """The name of the model that was asked for."""

    prompt: str
    """The last thing the user asked, without the harness's tags; "" if nothing. What the
    harness says in the user's name (of an answer that it could not use) is none of it."""

    messages: tuple[tuple[str, str], ...]
    """The conversation as (role, text), oldest first. The role is "user", "assistant"
    or "tool" in both protocols; a user's text comes without the harness's tags."""

    system: str = field(repr=False)
    """The system instructions, without the harness's tags."""

    tools: tuple[str, ...]
    """The names of the tools that the model may call."""

    tool_results: tuple[ToolResult, ...]
    """What tools gave, over the whole conversation, oldest first."""

    received_at: float
    """When it came in, on the monotonic clock."""


def unwrap(text: str) -> str:
    """Take a text out of the tags that the harness puts around it.

    Args:
        text: a user's message, or the system instructions, as they travel.

    Returns:
        What was said, without the tags and the metadata (such as the local time) after
        them; all of the text where it is not wrapped in this way.
    """
    found = _WRAPPED.fullmatch(text)
    if found is None:
        return text
    system, user = found["system"], found["user"]
    return str(user if system is None else system)


def last_prompt(texts: Sequence[str]) -> str:
    """Find what the user asked last, among what was said in the user's name.

    Args:
        texts: the texts of the user's messages as they travel, oldest first.

    Returns:
        The last one that the harness put into tags, without them; where there is no such,
        from a client that is no harness, the last one.
    """
    asked = [text for text in texts if unwrap(text) != text] or texts
    return unwrap(asked[-1]) if asked else ""
