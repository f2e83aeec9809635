"""Connects a conversation to its `localharness` process.

As the SDK does, but for what costs and brings nothing between two processes of one
machine: looking up "localhost" in a thread, pings in every idle agent every 20 seconds
(which fail, too, where an agent is held up for long), proxies.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from typing import TYPE_CHECKING, Any

import websockets

from agy_actors._kernel import forks

if TYPE_CHECKING:
    from agy_actors._harness._boot import Address

__all__ = ["answers", "connect", "drop", "has_parted", "sever"]

_HOSTS = ("127.0.0.1", "localhost")
_ATTEMPTS = 5  # As the SDK.
_FIRST_PAUSE = 0.1  # Seconds; twice as long after each attempt, as the SDK.
_OPEN_TIMEOUT = 5.0
"""Seconds for a process to take a connection. It takes milliseconds; a process that was
stopped lets one wait for ever. Arbitrary."""

_PROBE = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_NORMAL = 1000  # RFC 6455: the close code of a connection that both sides have closed.


async def connect(address: Address) -> Any:
    """Open a WebSocket to a process.

    Raises:
        ConnectionError: it could not be opened.
    """
    error: Exception | None = None
    for attempt in range(_ATTEMPTS):
        if attempt:
            await asyncio.sleep(_FIRST_PAUSE * 2 ** (attempt - 1))
        for host in _HOSTS:
            try:
                return _keep_from_children(await _connect(host, address))
            except TimeoutError as failure:
                raise ConnectionError("localharness takes no connection") from failure
            except (OSError, websockets.WebSocketException) as failure:
                error = failure
    raise ConnectionError(
        f"localharness took no connection in {_ATTEMPTS} attempts: {error}"
    ) from error


async def _connect(host: str, address: Address) -> Any:
    return await websockets.connect(
        f"ws://{host}:{address.port}/",
        additional_headers={"x-goog-api-key": address.api_key},
        max_size=None,
        compression=None,
        ping_interval=None,
        proxy=None,
        open_timeout=_OPEN_TIMEOUT,
    )


_own: weakref.WeakKeyDictionary[Any, forks.OwnDescriptor] = weakref.WeakKeyDictionary()
"""What keeps the sockets of open connections from forked children."""


def _keep_from_children(ws: Any) -> Any:
    socket = ws.transport.get_extra_info("socket")
    if socket is not None:
        with contextlib.suppress(OSError):  # It broke just now.
            _own[ws] = forks.OwnDescriptor(socket.fileno())
    return ws


def sever(ws: Any) -> None:
    """Break a connection off at once, for both sides. Callable from any thread."""
    socket = ws.transport.get_extra_info("socket")
    if socket is not None:
        with contextlib.suppress(OSError, ValueError):  # It is closed already.
            socket.shutdown(2)  # Both ways; the loop finds its end, if it turns.


def drop(ws: Any) -> None:
    """Leave nothing of a connection behind that nobody closed. On its loop."""
    if ws is not None and not ws.transport.is_closing():
        # First for all who have the socket: a child that was forked while it was opened would
        # keep the conversation open.
        sever(ws)
        ws.transport.abort()


def has_parted(ws: Any) -> bool:
    """Tell whether the other side agreed to the end of a connection."""
    return bool(ws.close_code == _NORMAL)


async def answers(address: Address, seconds: float) -> bool:
    """Tell whether a process is there and answers.

    It refuses the request, which has no key. One that was stopped takes the connection and
    says nothing; one that is about to end takes none.

    Raises:
        TimeoutError: it is there, and says nothing within some seconds.
    """
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(_HOSTS[0], address.port)
            try:
                writer.write(_PROBE)
                return bool(await reader.read(1))
            finally:
                writer.close()
    except TimeoutError:  # An OSError, too.
        raise
    except OSError:
        return False
