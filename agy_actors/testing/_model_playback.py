"""One answer going out, and the client that may go away meanwhile."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from typing import TYPE_CHECKING, assert_never

from agy_actors.testing._model_plan import Finish, Gate, Keep, Pause, Reset, Send, Start

if sys.platform == "linux":
    import fcntl

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from starlette.types import Receive, Scope
    from starlette.types import Send as AsgiSend

    from agy_actors.testing._model_plan import Action

__all__ = ["Playback"]

_INTERVAL = 0.005
"""Seconds between two looks at what cannot be awaited: short against what a test waits
for. A `threading.Event` is such (and a thread that waits on it cannot be interrupted, so
that closing the server would have to set the user's event), the kernel's queue another."""

_SIOCOUTQNSD = 0x894B  # linux/sockios.h; Python has no name for it.


class Playback:
    """Carries out a plan, as an ASGI application.

    Args:
        actions: the plan.
        on_gone: called if the client goes away before its end.
        on_failed: told what cannot be sent as planned; the connection is reset then.
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
        """Play, until the plan ends or the client goes away."""
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
            # Such as a Content-Length of the script's own that is not the body's.
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
                    await asyncio.sleep(0)  # To notice a client that goes away.
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
    while not gate.is_set():  # noqa: ASYNC110 # it is no asyncio.Event, see _INTERVAL
        await asyncio.sleep(_INTERVAL)


async def _reset(transport: asyncio.Transport) -> None:
    """Reset the connection: the client sees no end of the stream, but an error."""
    sock: socket.socket = transport.get_extra_info("socket")
    # A reset discards what is still queued, here and in the kernel; the text before it
    # was promised. So a client that does not read is not reset.
    while transport.get_write_buffer_size() or _unsent(sock):  # noqa: ASYNC110 # see _INTERVAL
        await asyncio.sleep(_INTERVAL)
    if not transport.is_closing():
        # Without it, the connection would be closed in good order (FIN instead of RST).
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


def _unsent(sock: socket.socket) -> int:
    """Return how many bytes the kernel has not sent; 0 where it does not tell."""
    if sys.platform != "linux" or sock.fileno() < 0:
        return 0
    [count] = struct.unpack("i", fcntl.ioctl(sock.fileno(), _SIOCOUTQNSD, bytes(4)))
    return int(count)
