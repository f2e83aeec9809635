"""What the model answers: replies as values, and the functions that build them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from agy_actors.testing._model_request import ModelRequest

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
"""A field name and a field value of RFC 9110, as far as they fit the server's Latin-1."""


class Ending(Enum):
    """How the stream of a reply ends."""

    FINISH = "finish"
    """As the protocol has it."""

    DROP = "drop"
    """The connection is reset."""

    SILENCE = "silence"
    """It does not: the client has to go away."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens that a reply says it used."""

    prompt: int = 0
    completion: int = 0
    thoughts: int = 0
    cached: int = 0


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the model wants called."""

    name: str
    args: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None
    """The call's own id; `None` for one that the server makes up."""


@dataclass(frozen=True, slots=True)
class HttpError:
    """An error in place of a stream."""

    status: int
    message: str
    headers: tuple[tuple[str, str], ...] = ()
    body: Any = None
    """The JSON body, or the bytes, to send instead of what the service would send."""

    retry_after: float | None = None
    """Seconds after which the service would have the client try again."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer to one request. Build it with `say`, `call_tool`, `http_error`, ..."""

    text: str | Callable[[ModelRequest], str] = ""
    chunks: int | tuple[str, ...] | None = None
    thought: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage | None = None
    first_delay: float = 0.0
    delay: float = 0.0
    gate: threading.Event | None = None
    gate_after: int = 1
    ending: Ending = Ending.FINISH
    garbage: bytes | None = None
    """Bytes sent in place of a proper end."""

    error: HttpError | None = None

    def pieces(self, request: ModelRequest) -> tuple[str, ...]:
        """Split the text, as it answers a request, into what is streamed at once."""
        if isinstance(self.chunks, tuple):
            return self.chunks
        text = self.text(request) if callable(self.text) else self.text
        if not isinstance(text, str):
            raise TypeError(f"a reply's text must be a str, its function gave {text!r}")
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
    """Answer with text, streamed in pieces that put together are exactly the text.

    Args:
        text: what to say, or a function that makes it from the request. The function
            runs on the server's loop: it must not wait for anything.
        chunks: the pieces: `None` for words, a number for so many characters each, or
            the pieces themselves.
        delay: seconds between the pieces.
        thought: what the model thinks before it speaks.
        first_delay: seconds before the first byte of the answer.
        usage: the tokens it says it used; counted in words if left out.
        gate: an event that must be set before the stream goes on after `gate_after`
            pieces, or ends if it has no more.
        gate_after: how many pieces come before the gate; 0 holds back the first byte.

    Raises:
        ValueError: the pieces put together are not the text, or have no length.
    """
    if gate_after < 0:
        raise ValueError(f"a gate comes after 0 or more pieces, got {gate_after}")
    if isinstance(chunks, int):
        if chunks < 1:
            raise ValueError(f"a chunk needs at least one character, got {chunks}")
    elif chunks is not None:
        chunks = tuple(chunks)
        if callable(text) or "".join(chunks) != text:
            raise ValueError("the chunks put together must be the text")
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
    """Have the model call a tool.

    Args:
        name: the tool.
        args: its arguments.
        text: what the model says before.
        id: the call's id; made up if left out.
    """
    return call_tools([ToolCall(name, dict(args or {}), id)], text=text)


def call_tools(calls: Iterable[ToolCall], *, text: str = "") -> Reply:
    """Have the model call several tools at once."""
    return Reply(text=text, tool_calls=tuple(calls))


def http_error(
    status: int,
    message: str | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    body: Any = None,
) -> Reply:
    """Answer with an HTTP error, with the JSON body that the real services send.

    Args:
        status: the HTTP status.
        message: the error's text; that of the status if left out.
        headers: more headers.
        body: what to send instead of the usual body: bytes, or anything JSON can hold.

    Raises:
        ValueError: the status is not that of an error, or HTTP cannot hold a header.
    """
    if status not in range(400, 600):
        raise ValueError(f"the status of an error is from 400 to 599, got {status}")
    more = tuple((headers or {}).items())
    for name, value in more:
        if not _HEADER.fullmatch(f"{name}:{value}"):
            raise ValueError(f"HTTP cannot hold the header {name!r}: {value!r}")
    return Reply(error=HttpError(status, message or _phrase(status), more, body))


def quota_error(
    retry_after: float | None = 12.0,
    message: str | None = None,
) -> Reply:
    """Answer that the quota is used up (429), and when to come back.

    Args:
        retry_after: seconds until then, sent as a ``Retry-After`` header (in whole
            seconds) and on Gemini as a ``RetryInfo`` too; `None` to leave it open.
        message: the error's text; `None` for the services' own, which ends with the
            seconds too. An SDK that hides the header leaves nothing else to read.
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
        after: the text; with none, the connection is reset before any answer.
    """
    return Reply(text=after, ending=Ending.DROP)


def silence(after: str = "") -> Reply:
    """Stream some text, then nothing more until the client goes away.

    Args:
        after: the text.
    """
    return Reply(text=after, ending=Ending.SILENCE)


def malformed(after: str = "", data: bytes = b"data: {not json\n\n") -> Reply:
    """Stream some text, then bytes that are not in the protocol, and end.

    Args:
        after: the text.
        data: the bytes; none at all for a stream that just ends too early.

    Raises:
        TypeError: the data are no bytes.
    """
    if not isinstance(data, bytes):
        raise TypeError(f"malformed data must be bytes, got {data!r}")
    return Reply(text=after, garbage=data)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"HTTP {status}"
