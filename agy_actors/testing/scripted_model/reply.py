"""`Reply`: one reply of the model as a value, and the functions that create replies."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from agy_actors._actors.errors import InvalidArgument

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from agy_actors.testing.scripted_model.request import ModelRequest

__all__ = [
    "Ending",
    "HttpError",
    "Reply",
    "ToolCall",
    "Usage",
    "call_tool",
    "call_tools",
    "drop",
    "http_error",
    "malformed",
    "quota_error",
    "say",
    "silence",
]

_WORDS = re.compile(r"\S+\s*|\s+")
_HEADER = re.compile(
    r"""[-!#$%&'*+.^_`|~0-9A-Za-z]+ : ( [!-~\x80-\xff] ([ \t!-~\x80-\xff]* [!-~\x80-\xff])? )?""",
    re.VERBOSE,
)
"""A field name and a field value of RFC 9110, limited to Latin-1, which the server uses."""


class Ending(Enum):
    """How the stream of a reply ends."""

    FINISH = "finish"
    """As the protocol defines."""

    DROP = "drop"
    """The server resets the connection."""

    SILENCE = "silence"
    """It does not end. The client must disconnect."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The numbers of tokens that a reply reports."""

    prompt: int = 0
    """Tokens of the prompt."""
    completion: int = 0
    """Tokens of the text."""
    thoughts: int = 0
    """Tokens of the thoughts."""
    cached: int = 0
    """Tokens of the prompt that come from a cache."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call that the model requests."""

    name: str
    """The tool's name."""
    args: Mapping[str, Any] = field(default_factory=dict)
    """Its arguments, by name."""
    id: str | None = None
    """The id of the call; `None` for one that the server generates."""


@dataclass(frozen=True, slots=True)
class HttpError:
    """An HTTP error."""

    status: int
    message: str
    headers: tuple[tuple[str, str], ...] = ()
    body: Any = None
    """A JSON body, or bytes, to send instead of the usual body; `None` for the usual body."""

    retry_after: float | None = None
    """Seconds after which the client should retry; `None` if the reply does not say."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply to one request. Create it with `say`, `call_tool`, `http_error` and so on."""

    text: str | Callable[[ModelRequest], str] = ""
    """The text, or a function that takes the request and returns the text."""
    chunks: int | tuple[str, ...] | None = None
    """The size of the pieces in characters, or the pieces; `None` for one piece per word."""
    thought: str | None = None
    """The thought before the text; `None` for no thought."""
    tool_calls: tuple[ToolCall, ...] = ()
    """The requested tool calls."""
    usage: Usage | None = None
    """The reported tokens; `None` to count words."""
    first_delay: float = 0.0
    """Seconds before the first byte."""
    delay: float = 0.0
    """Seconds between the pieces."""
    gate: threading.Event | None = None
    """An event that must be set before the reply continues after `gate_after` pieces."""
    gate_after: int = 1
    """The number of pieces before the gate. See `gate`."""
    ending: Ending = Ending.FINISH
    """How the stream ends."""
    garbage: bytes | None = None
    """Bytes to send instead of the end that the protocol defines."""

    error: HttpError | None = None
    """An HTTP error to send instead of a stream."""

    def pieces(self, request: ModelRequest) -> tuple[str, ...]:
        """Return the pieces of the text, for a request."""
        if isinstance(self.chunks, tuple):
            return self.chunks
        text = self.text(request) if callable(self.text) else self.text
        if not isinstance(text, str):
            raise InvalidArgument(f"the text of a reply must be a str, its function gave {text!r}")
        if isinstance(self.chunks, int):
            size = self.chunks
            return tuple(text[i : i + size] for i in range(0, len(text), size))
        return tuple(_WORDS.findall(text))


def say(
    text: str | Callable[[ModelRequest], str],
    *,
    chunks: int | Sequence[str] | None = None,
    delay: float = 0.0,
    thought: str | None = None,
    first_delay: float = 0.0,
    usage: Usage | None = None,
    gate: threading.Event | None = None,
    gate_after: int = 1,
) -> Reply:
    """Reply with a text, streamed in pieces.

    Args:
        text: the text, or a function that takes the request and returns the text. The function
            runs on the server's loop and must not block.
        chunks: the pieces: `None` for one piece per word, a number of characters per piece, or
            the pieces themselves.
        delay: seconds between the pieces.
        thought: the model's thought before the text.
        first_delay: seconds before the first byte of the reply.
        usage: the tokens to report; by default words are counted.
        gate: an event that must be set before the stream continues after `gate_after` pieces, or
            before it ends if it has no more pieces.
        gate_after: the number of pieces before the gate. With 0 nothing is sent before it.

    Raises:
        InvalidArgument: the joined pieces differ from the text, `chunks` is less than 1, or
            `gate_after` is negative.
    """
    if gate_after < 0:
        raise InvalidArgument(f"gate_after must be an integer >= 0, got {gate_after}")
    if isinstance(chunks, int):
        if chunks < 1:
            raise InvalidArgument(f"chunks must be an integer >= 1, got {chunks}")
    elif chunks is not None:
        chunks = tuple(chunks)
        if callable(text) or "".join(chunks) != text:
            raise InvalidArgument("the joined chunks must be equal to the text")
    return Reply(
        text=text,
        chunks=chunks,
        thought=thought,
        usage=usage,
        first_delay=first_delay,
        delay=delay,
        gate=gate,
        gate_after=gate_after,
    )


def call_tool(
    name: str,
    args: Mapping[str, Any] | None = None,
    *,
    text: str = "",
    id: str | None = None,  # noqa: A002 # its name in both protocols
) -> Reply:
    """Reply with a tool call.

    Args:
        name: the name of the tool.
        args: its arguments.
        text: text before the call.
        id: the id of the call; by default the server generates one.
    """
    return call_tools([ToolCall(name, dict(args or {}), id)], text=text)


def call_tools(calls: Iterable[ToolCall], *, text: str = "") -> Reply:
    """Reply with several tool calls.

    Args:
        calls: the tool calls.
        text: the text before them.
    """
    return Reply(text=text, tool_calls=tuple(calls))


def http_error(
    status: int,
    message: str | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    body: Any = None,
) -> Reply:
    """Reply with an HTTP error, by default with the JSON body that the real services send.

    Args:
        status: the HTTP status, from 400 to 599.
        message: the error text; by default the standard phrase of the status.
        headers: additional headers.
        body: bytes or a JSON value to send instead of the usual body.

    Raises:
        InvalidArgument: the status is not that of an error, or a header is invalid.
    """
    if status not in range(400, 600):
        raise InvalidArgument(f"status must be from 400 to 599, got {status}")
    more = tuple((headers or {}).items())
    for name, value in more:
        if not _HEADER.fullmatch(f"{name}:{value}"):
            raise InvalidArgument(f"invalid HTTP header {name!r}: {value!r}")
    return Reply(error=HttpError(status, message or _phrase(status), more, body))


def quota_error(
    retry_after: float | None = 12.0,
    message: str | None = None,
) -> Reply:
    """Reply with HTTP status 429: the quota is exhausted.

    Args:
        retry_after: seconds after which the client should retry, sent as a ``Retry-After`` header
            (in whole seconds) and in the Gemini protocol also as ``RetryInfo``; `None` to send
            neither.
        message: the error text; `None` for the text of the real services, which ends with the
            seconds. The SDK shows only this text, not the header.
    """
    headers: tuple[tuple[str, str], ...] = ()
    if message is None:
        message = "You exceeded your current quota, please check your plan and billing details."
        if retry_after is not None:
            message += f" Please retry in {retry_after:g}s."
    if retry_after is not None:
        headers = (("Retry-After", str(math.ceil(retry_after))),)
    return Reply(error=HttpError(HTTPStatus.TOO_MANY_REQUESTS, message, headers, None, retry_after))


def drop(after: str = "") -> Reply:
    """Stream some text, then reset the connection.

    Args:
        after: the text. If it is empty, the connection is reset before any byte of the reply.
    """
    return Reply(text=after, ending=Ending.DROP)


def silence(after: str = "") -> Reply:
    """Stream some text, then send nothing until the client disconnects.

    Args:
        after: the text.
    """
    return Reply(text=after, ending=Ending.SILENCE)


def malformed(after: str = "", data: bytes = b"data: {not json\n\n") -> Reply:
    """Stream some text, then bytes that the protocol does not allow, and end.

    Args:
        after: the text.
        data: the bytes. If they are empty, the stream only ends too early.

    Raises:
        InvalidArgument: `data` is not of the type bytes.
    """
    if not isinstance(data, bytes):
        raise InvalidArgument(f"malformed data must be bytes, got {data!r}")
    return Reply(text=after, garbage=data)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"HTTP {status}"
