"""Connects a conversation to its `localharness` process.

It works as the SDK's code, without the steps that are useless between two processes of one machine:
the lookup of "localhost" in a thread, a ping every 20 seconds for each idle agent (which also fails
while an agent's loop is blocked), and proxies.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from typing import TYPE_CHECKING, Any

import websockets

from agy_actors._actors import forks

if TYPE_CHECKING:
    from agy_actors._sdk.process.spawn import Address

__all__ = ["connect", "drop", "is_cleanly_closed", "is_responsive", "sever"]

_HOSTS = ("127.0.0.1", "localhost")
_ATTEMPTS = 5  # As the SDK.
_FIRST_PAUSE = 0.1  # Seconds; twice as long after each attempt, as the SDK.
_OPEN_TIMEOUT = 5.0
"""Seconds for a process to accept a connection. It takes milliseconds; a suspended process never
does. Arbitrary."""

_PROBE = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_NORMAL = 1000  # RFC 6455: the close code of a normal closure, which both sides confirm.


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
                raise ConnectionError("localharness accepts no connection") from failure
            except (OSError, websockets.WebSocketException) as failure:
                error = failure
    raise ConnectionError(
        f"localharness accepted no connection in {_ATTEMPTS} attempts: {error}"
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
"""Closes the sockets of open connections in forked children."""


def _keep_from_children(ws: Any) -> Any:
    socket = ws.transport.get_extra_info("socket")
    if socket is not None:
        with contextlib.suppress(OSError):  # It has just been closed.
            _own[ws] = forks.OwnDescriptor(socket.fileno())
    return ws


def sever(ws: Any) -> None:
    """Cut off a connection at once, for both sides. Thread-safe."""
    socket = ws.transport.get_extra_info("socket")
    if socket is not None:
        with contextlib.suppress(OSError, ValueError):  # It is closed already.
            socket.shutdown(2)  # Both directions. The loop notices, unless it hangs.


def drop(ws: Any) -> None:
    """Cut off a connection that is still open, and release it. Call it on its loop."""
    if ws is not None and not ws.transport.is_closing():
        # First `sever`, which works for all processes with this socket: a child that was forked
        # while the socket was opened would keep the conversation open.
        sever(ws)
        ws.transport.abort()


def is_cleanly_closed(ws: Any) -> bool:
    """Return whether the other side confirmed the end of a connection."""
    return bool(ws.close_code == _NORMAL)


async def is_responsive(address: Address, seconds: float) -> bool:
    """Return whether a process runs and responds.

    It refuses the request, which has no key. A suspended process accepts the connection and does
    not respond. A process that is about to end accepts no connection.

    Raises:
        TimeoutError: it runs, and does not respond within `seconds`.
    """
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(_HOSTS[0], address.port)
            try:
                writer.write(_PROBE)
                return bool(await reader.read(1))
            finally:
                writer.close()
    except TimeoutError:  # It is a subclass of OSError.
        raise
    except OSError:
        return False
