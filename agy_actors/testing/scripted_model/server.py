"""A uvicorn server in a thread of its own, on the loopback interface.

Guarantees:

*   When `start` returns, the address is known and connections are accepted: the caller's thread
    binds the socket.
*   `close` does not wait for replies: it resets connections, so a reply that is slow, silent or
    blocked at a gate ends at once.
*   `close` joins the thread. By then, every connection is closed and every task has ended. This
    assumes that the application uses only its own loop, and ends when its client disconnects.
*   Nothing is logged except to the logger below. Headers are never logged.

This does not use `uvicorn.Server.serve`, which checks for a stop every 0.1 s, then waits for
another 0.1 s and for the clients, and logs.
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

from agy_actors.testing.errors import MisuseError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["LoopbackServer"]

_HOST = "127.0.0.1"
_KEEP_ALIVE = 3600
"""Seconds that an idle connection is kept: longer than any test. If the server closed it just when
the client uses it again, the client would see an error that is not in the script."""

_BACKLOG = 2048  # uvicorn's default.

_logger = logging.getLogger(__name__)
_logger.addHandler(logging.NullHandler())


class _Protocol(H11Protocol):
    """Gives the application its transport, which it may reset, and uses this module's logger."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        self.app_state = {**self.app_state, "transport": transport}
        self.logger = _logger
        # Not in the configuration, which would switch it off for all servers in the process.
        self.access_log = False
        super().connection_made(transport)


class LoopbackServer:
    """Serves an ASGI application until it is closed.

    Args:
        app: the application. It gets the connection's transport as ``scope["state"]["transport"]``.
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
        """Whether `close` was called. From then on, the server itself ends connections."""
        return self._closing

    @property
    def port(self) -> int:
        """The port, once it is bound."""
        return self._port

    def start(self) -> None:
        """Bind the port and serve.

        Raises:
            OSError: the port is in use.
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
        """Stop serving, and reset open connections. A second call does nothing.

        Raises:
            MisuseError: the application itself called it.
        """
        thread = self._thread
        if thread is None:
            return
        if thread is threading.current_thread():
            raise MisuseError("a script cannot close its own model: close it in another thread")
        self._thread = None
        self._closing = True
        with contextlib.suppress(RuntimeError):  # The loop is closed: the server failed before.
            self._loop.call_soon_threadsafe(self._stop.set)
        thread.join()

    def _run(self, sock: socket.socket) -> None:
        try:
            with sock:
                asyncio.run(self._serve(sock))
        except BaseException as error:  # noqa: BLE001 # `start` raises it
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
        config.loaded_app = self._app  # Without the wrappers that `load` may add.
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
    # A new connection gets its transport in the next iterations of the loop. (asyncio needs two;
    # the third is for the tasks that this starts.)
    for _ in range(3):
        await asyncio.sleep(0)
    while state.connections or state.tasks:
        for connection in state.connections:
            # All are of the type _Protocol; uvicorn's annotation is less precise.
            cast("_Protocol", connection).transport.abort()
        await asyncio.sleep(0)
    for listener in server.servers:
        await listener.wait_closed()
