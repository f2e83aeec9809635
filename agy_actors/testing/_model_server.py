"""A uvicorn server in a thread of its own, on the loopback interface.

Guarantees:

*   The address is known, and connections are taken, as soon as `start` returns: the
    socket is bound by the caller.
*   `close` waits for nobody's good will: connections are reset, so an answer that is
    slow, silent or held at a gate ends at once, and its task with it.
*   Nothing is left: the thread is joined, and by then the loop has seen every
    connection closed and every task end. It assumes that the application keeps to its
    loop and, once its client is gone, ends.
*   Nothing is logged, unless somebody listens to the logger below; headers never are.

Of uvicorn's server, `serve` is not used: it looks every 0.1 s whether to stop, then
waits for another 0.1 s and for the clients, and it logs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from typing import TYPE_CHECKING, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["LoopbackServer"]

_HOST = "127.0.0.1"
_KEEP_ALIVE = 3600
"""Seconds that an idle connection is kept: longer than any test. One that is closed by
the server just when the client uses it again is a failure that no script asked for."""

_BACKLOG = 2048  # As uvicorn has it.

_logger = logging.getLogger(__name__)
_logger.addHandler(logging.NullHandler())


class _Protocol(H11Protocol):
    """Shows the application its transport, which it may reset; keeps to our logger."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        self.app_state = {**self.app_state, "transport": transport}
        self.logger = _logger
        # Switched off here, and not in the configuration, which would switch it off for
        # every other uvicorn server in the process.
        self.access_log = False
        super().connection_made(transport)


class LoopbackServer:
    """Serves an ASGI application until it is closed.

    Args:
        app: the application. It is given the connection's transport, as the state
            ``transport`` of the scope.
        port: the port, or 0 for a free one.
    """

    def __init__(self, app: ASGIApp, port: int = 0) -> None:
        self._app = app
        self._port = port
        self._started = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._closing = False
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event

    @property
    def closing(self) -> bool:
        """Whether it was told to close: what is cut off from then on is its own doing."""
        return self._closing

    @property
    def port(self) -> int:
        """The port, once it is bound."""
        return self._port

    def start(self) -> None:
        """Bind the port and serve.

        Raises:
            OSError: the port is taken.
        """
        sock = socket.create_server((_HOST, self._port), backlog=_BACKLOG)
        self._port = sock.getsockname()[1]
        self._thread = threading.Thread(
            target=self._run, args=(sock,), name=f"ScriptedModel-{self._port}", daemon=True
        )
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            self._thread.join()
            self._thread = None
            raise self._failure

    def close(self) -> None:
        """Stop serving, and reset what is open. A second call does nothing.

        Raises:
            RuntimeError: the application itself called it.
        """
        thread = self._thread
        if thread is None:
            return
        if thread is threading.current_thread():
            raise RuntimeError("a model cannot be closed by its own script")
        self._thread = None
        self._closing = True
        with contextlib.suppress(RuntimeError):  # The loop is closed: it broke before.
            self._loop.call_soon_threadsafe(self._stop.set)
        thread.join()

    def _run(self, sock: socket.socket) -> None:
        try:
            with sock:
                asyncio.run(self._serve(sock))
        except BaseException as error:  # noqa: BLE001 # told by whoever waits for the start
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self, sock: socket.socket) -> None:
        config = uvicorn.Config(
            self._app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE,
        )
        config.load()
        config.loaded_app = self._app  # Without what may have been wrapped around it: a trace.
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await server.startup(sockets=[sock])
        self._started.set()
        await self._stop.wait()
        await _shut_down(server)


async def _shut_down(server: uvicorn.Server) -> None:
    state = server.server_state
    for listener in server.servers:
        listener.close()
    # A connection that was accepted just now gets its transport in the next rounds of
    # the loop. (asyncio sets it up in two; the third is for what that starts.)
    for _ in range(3):
        await asyncio.sleep(0)
    while state.connections or state.tasks:
        for connection in state.connections:
            # Every one of them is a _Protocol; uvicorn's type says less.
            cast("_Protocol", connection).transport.abort()
        await asyncio.sleep(0)
    for listener in server.servers:
        await listener.wait_closed()
