"""One answer going out, and the client that may go away meanwhile."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, assert_never

from agy_actors.testing._model_plan import Finish, Gate, Keep, Pause, Reset, Send, Start

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from starlette.types import Receive, Scope
    from starlette.types import Send as AsgiSend

    from agy_actors.testing._model_plan import Action

__all__ = ["Playback"]

GATE_INTERVAL = 0.005
"""Seconds between two looks at a gate: short against what a test waits for. A
`threading.Event` cannot be awaited, and a thread that waits on it cannot be
interrupted, so that closing the server would have to set the user's event."""


class Playback:
    """Carries out a plan, as an ASGI application.

    Args:
        actions: the plan.
        on_gone: called if the client goes away before its end.
    """

    def __init__(self, actions: tuple[Action, ...], on_gone: Callable[[], None]) -> None:
        self._actions = actions
        self._on_gone = on_gone

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
        else:
            player.result()

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
                case Finish():
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                case Reset():
                    _reset(scope)
                case Keep():
                    await asyncio.Event().wait()
                case _:
                    assert_never(action)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _opened(gate: threading.Event) -> None:
    while not gate.is_set():  # noqa: ASYNC110 # it is no asyncio.Event, see GATE_INTERVAL
        await asyncio.sleep(GATE_INTERVAL)


def _reset(scope: Scope) -> None:
    """Reset the connection: the client sees no end of the stream, but an error."""
    transport: asyncio.Transport = scope["state"]["transport"]
    sock = transport.get_extra_info("socket")
    # Without it, the connection would be closed in good order (FIN instead of RST).
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
