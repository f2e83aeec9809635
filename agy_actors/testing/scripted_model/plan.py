"""Decides what to send in reply to a request, before the first byte is sent.

So an error in a script (a function that raises, arguments that are not JSON) can still become an
HTTP error.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from agy_actors.testing.scripted_model.reply import Ending, Usage

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence

    from agy_actors.testing.scripted_model.reply import HttpError, Reply, ToolCall
    from agy_actors.testing.scripted_model.request import ModelRequest

__all__ = ["Action", "Finish", "Gate", "Keep", "Pause", "Reset", "Send", "Start", "Writer", "plan"]


class Writer(Protocol):
    """Encodes one reply in a protocol."""

    streams: bool

    def text(self, piece: str) -> bytes:
        """Encode a piece of text."""
        ...

    def thought(self, piece: str) -> bytes:
        """Encode a piece of thought."""
        ...

    def calls(self, calls: Sequence[ToolCall]) -> bytes:
        """Encode tool calls."""
        ...

    def end(self, usage: Usage, *, called: bool) -> bytes:
        """Encode the end of a stream."""
        ...

    def whole(
        self, text: str, thought: str | None, calls: Sequence[ToolCall], usage: Usage
    ) -> bytes:
        """Encode a whole reply that is not streamed."""
        ...

    def error(self, error: HttpError) -> dict[str, object]:
        """Return the body of an error."""
        ...


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait some seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Gate:
    """Wait until the event is set."""

    event: threading.Event


@dataclass(frozen=True, slots=True)
class Start:
    """Send the status and the headers."""

    status: int
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Send:
    """Send a part of the body."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Finish:
    """End the body."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Reset the connection."""


@dataclass(frozen=True, slots=True)
class Keep:
    """Send nothing more, and keep the connection open."""


Action = Pause | Gate | Start | Send | Finish | Reset | Keep

_STREAM = (("content-type", "text/event-stream"), ("cache-control", "no-cache"))
_JSON = ("content-type", "application/json")


def plan(request: ModelRequest, reply: Reply, writer: Writer) -> tuple[Action, ...]:
    """Return the actions that send a reply.

    Raises:
        Exception: the text function of the reply failed, or its arguments are not JSON.
    """
    return tuple(_actions(request, reply, writer))


def _actions(request: ModelRequest, reply: Reply, writer: Writer) -> Iterator[Action]:
    if reply.first_delay:
        yield Pause(reply.first_delay)
    if reply.gate is not None and reply.gate_after == 0:
        yield Gate(reply.gate)
    if reply.error is not None:
        yield from _error(reply.error, writer)
        return
    pieces = reply.pieces(request)
    usage = reply.usage or _count(request, reply, pieces)
    if reply.ending is Ending.DROP and not pieces:
        yield Reset()
    elif writer.streams:
        yield Start(HTTPStatus.OK, _STREAM)
        yield from _streamed(reply, pieces, usage, writer)
    else:
        yield from _whole(reply, pieces, usage, writer)


def _streamed(
    reply: Reply, pieces: Sequence[str], usage: Usage, writer: Writer
) -> Iterator[Action]:
    if reply.thought is not None:
        yield Send(writer.thought(reply.thought))
    for index, piece in enumerate(pieces):
        if index and reply.delay:
            yield Pause(reply.delay)
        if index and index == reply.gate_after:
            yield from _gate(reply)
        yield Send(writer.text(piece))
    if len(pieces) <= reply.gate_after:
        yield from _gate(reply)
    if reply.tool_calls:
        yield Send(writer.calls(reply.tool_calls))
    end = reply.garbage
    if end is None:
        end = writer.end(usage, called=bool(reply.tool_calls))
    yield from _end(reply, end)


def _whole(reply: Reply, pieces: Sequence[str], usage: Usage, writer: Writer) -> Iterator[Action]:
    if reply.delay and len(pieces) > 1:
        yield Pause(reply.delay * (len(pieces) - 1))
    if reply.gate_after:
        yield from _gate(reply)
    body = reply.garbage
    if body is None:
        body = writer.whole("".join(pieces), reply.thought, reply.tool_calls, usage)
    if reply.ending is Ending.FINISH:
        yield Start(HTTPStatus.OK, (_JSON, ("content-length", str(len(body)))))
    yield from _end(reply, body)


def _end(reply: Reply, last: bytes) -> Iterator[Action]:
    if reply.ending is Ending.DROP:
        yield Reset()
    elif reply.ending is Ending.SILENCE:
        yield Keep()
    else:
        yield Send(last)
        yield Finish()


def _gate(reply: Reply) -> Iterator[Action]:
    if reply.gate is not None:
        yield Gate(reply.gate)


def _error(error: HttpError, writer: Writer) -> Iterator[Action]:
    body = error.body
    if not isinstance(body, bytes):
        body = json.dumps(writer.error(error) if body is None else body).encode()
    headers = {name.lower(): value for name, value in error.headers}
    standard = dict([_JSON, ("content-length", str(len(body)))])
    yield Start(error.status, tuple((standard | headers).items()))
    yield Send(body)
    yield Finish()


def _count(request: ModelRequest, reply: Reply, pieces: Sequence[str]) -> Usage:
    """Count words as tokens, so that the counts are positive and the same in each run."""
    read = [request.system, *(text for _, text in request.messages)]
    return Usage(
        prompt=sum(len(text.split()) for text in read),
        completion=len("".join(pieces).split()) + len(reply.tool_calls),
        thoughts=len((reply.thought or "").split()),
    )
