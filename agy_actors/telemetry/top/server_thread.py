"""`ServerThread`: a uvicorn server on a thread of its own.

Guarantees:

*   When `start` returns, connections are accepted: the caller's thread binds the socket.
*   `close` resets the connections and joins the thread. It does not wait for clients.
*   Nothing is logged, no signal is handled, and the configuration of logging does not change.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import uvicorn

__all__ = ["ServerThread"]

_logger = logging.getLogger(__name__)
_logger.addHandler(logging.NullHandler())
_logger.propagate = False  # uvicorn's lines may name a request, and nobody asked for them.


class ServerThread:
    """Serves an ASGI application until it is closed.

    Args:
        app: the application.
        host: the IP address to listen on.
        port: the port; 0 for a free one.
    """

    def __init__(self, app: Any, host: str, port: int) -> None:
        self._app = app
        self.address = (host, port)
        """The address and the port; the real port once `start` returns."""
        self._started = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event

    def start(self) -> None:
        """Bind the port and serve.

        Raises:
            OSError: the port is in use.
        """
        host, port = self.address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.create_server((host, port), family=family)
        self.address = (host, sock.getsockname()[1])
        self._thread = threading.Thread(
            target=self._run, args=(sock,), name="agy-actors-serve-top", daemon=True
        )
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            self.close()
            raise self._failure

    def close(self) -> None:
        """Stop serving, and reset open connections. Thread-safe. A second call does nothing."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is None:
            return
        with contextlib.suppress(RuntimeError, AttributeError):  # The server failed before.
            self._loop.call_soon_threadsafe(self._stop.set)
        thread.join()

    def _run(self, sock: socket.socket) -> None:
        try:
            with sock:
                asyncio.run(self._serve(sock))
        except BaseException as error:  # noqa: BLE001 (`start` raises it)
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self, sock: socket.socket) -> None:
        server = _make_server(self._app)
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await server.startup(sockets=[sock])
        self._started.set()
        await self._stop.wait()
        await _shut_down(server)


def _make_server(app: Any) -> uvicorn.Server:
    import uvicorn  # noqa: PLC0415 (it takes 0.1 s)
    from uvicorn.protocols.http.h11_impl import H11Protocol  # noqa: PLC0415 (as above)

    class Protocol(H11Protocol):
        """Logs to this module's logger."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
            self.logger = _logger
            # Not in the configuration, which would switch it off for all servers in the process.
            self.access_log = False
            super().connection_made(transport)

    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        proxy_headers=False,
    )
    config.load()
    config.loaded_app = app  # Without the wrappers that `load` may add.
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    return server


async def _shut_down(server: uvicorn.Server) -> None:
    state, loop = server.server_state, asyncio.get_running_loop()
    for listener in server.servers:
        for sock in listener.sockets:
            loop.remove_reader(sock.fileno())  # No connection is accepted from now on.
    # A connection that was just accepted gets its transport in the next two iterations. asyncio
    # would not close it if its listener were closed before.
    for _ in range(3):
        await asyncio.sleep(0)
    for listener in server.servers:
        listener.close()
    while state.connections or state.tasks:
        for connection in list(state.connections):
            transport: Any = connection
            transport.transport.abort()
        await asyncio.sleep(0)
    for listener in server.servers:
        await listener.wait_closed()
