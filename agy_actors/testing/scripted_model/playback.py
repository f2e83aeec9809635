"""Sends one reply, and notices when the client disconnects."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from typing import TYPE_CHECKING, assert_never

from agy_actors.testing.scripted_model.plan import Finish, Gate, Keep, Pause, Reset, Send, Start

if sys.platform == "linux":
    import fcntl

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from starlette.types import Receive, Scope
    from starlette.types import Send as AsgiSend

    from agy_actors.testing.scripted_model.plan import Action

__all__ = ["Playback"]

_INTERVAL = 0.005
"""Seconds between two checks of what cannot be awaited: a `threading.Event` and the kernel's send
queue. Short compared with what a test waits for. A thread that waits for the event is no
alternative: it cannot be interrupted, so closing the server would have to set the user's event."""

_SIOCOUTQNSD = 0x894B  # linux/sockios.h; Python has no name for it.


class Playback:
    """An ASGI application that carries out a list of actions.

    Args:
        actions: the actions.
        on_gone: called if the client disconnects before the last action.
        on_failed: called with the error if an action fails. The connection is reset then.
    """

    def __init__(
        self,
        actions: tuple[Action, ...],
        on_gone: Callable[[], None],
        on_failed: Callable[[BaseException], None],
    ) -> None:
        self._actions = actions
        self._on_gone = on_gone
        self._on_failed = on_failed

    async def __call__(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        """Run until the last action, or until the client disconnects."""
        player = asyncio.create_task(self._play(scope, send))
        gone = asyncio.create_task(_disconnected(receive))
        await asyncio.wait({player, gone}, return_when=asyncio.FIRST_COMPLETED)
        left_early = not player.done()
        player.cancel()
        gone.cancel()
        await asyncio.wait({player, gone})
        if left_early:
            self._on_gone()
        elif error := player.exception():
            # Such as a Content-Length of the script that does not match the body.
            self._on_failed(error)
            scope["state"]["transport"].abort()

    async def _play(self, scope: Scope, send: AsgiSend) -> None:
        for action in self._actions:
            match action:
                case Pause(seconds):
                    await asyncio.sleep(seconds)
                case Gate(event):
                    await _opened(event)
                case Start(status, headers):
                    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
                    await send({"type": "http.response.start", "status": status, "headers": raw})
                case Send(data):
                    await send({"type": "http.response.body", "body": data, "more_body": True})
                    await asyncio.sleep(0)  # To notice a client that disconnects.
                case Finish():
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                case Reset():
                    await _reset(scope["state"]["transport"])
                case Keep():
                    await asyncio.Event().wait()
                case _:
                    assert_never(action)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _opened(gate: threading.Event) -> None:
    while not gate.is_set():  # noqa: ASYNC110 # not an asyncio.Event, see _INTERVAL
        await asyncio.sleep(_INTERVAL)


async def _reset(transport: asyncio.Transport) -> None:
    """Reset the connection, so that the client sees an error and not the end of the stream."""
    sock: socket.socket = transport.get_extra_info("socket")
    # A reset discards the data in the queues here and in the kernel, and the script promises the
    # text before the reset. So this waits until the client has read it.
    while transport.get_write_buffer_size() or _unsent(sock):  # noqa: ASYNC110 # see _INTERVAL
        await asyncio.sleep(_INTERVAL)
    if not transport.is_closing():
        # Without this option the connection would be closed normally (FIN instead of RST).
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


def _unsent(sock: socket.socket) -> int:
    """Return how many bytes the kernel has not sent; 0 on systems that do not report it."""
    if sys.platform != "linux" or sock.fileno() < 0:
        return 0
    [count] = struct.unpack("i", fcntl.ioctl(sock.fileno(), _SIOCOUTQNSD, bytes(4)))
    return int(count)
