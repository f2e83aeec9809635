"""`serve_top`: lets `agy-actors top URL` watch this program.

Guarantees:

*   Each request needs the token, which is compared in constant time, and never logged.
*   A request whose `Host` is a name that a web page chose is refused, so that a page in a browser
    cannot reach the server through a DNS name of its own (DNS rebinding).
*   When `close` returns, the thread, the port and all connections are gone.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import secrets
from typing import TYPE_CHECKING, Any

from agy_actors._actors.errors import InvalidArgument
from agy_actors.telemetry.top.local_source import LocalSource
from agy_actors.telemetry.top.server_thread import ServerThread
from agy_actors.telemetry.top.source import Action

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from agy_actors._supervisors.supervisor_ref import SupervisorRef
    from agy_actors.telemetry.top.source import Source

__all__ = ["TopServer", "make_app", "serve_top"]

_UNAUTHORIZED = 401

_DIGITS = 16
"""The digits of an event's number are fewer: a program has fewer events."""

_LARGEST = 10_000
"""The bytes of a request's body that are read. Arbitrary: an action has some 100."""


class TopServer:
    """A server that `serve_top` started. Thread-safe. A context manager that closes it."""

    def __init__(self, source: LocalSource, thread: ServerThread, token: str) -> None:
        self._source = source
        self._thread = thread
        self._token = token

    def __repr__(self) -> str:
        return f"<TopServer {self.url}>"  # Without the token.

    @property
    def url(self) -> str:
        """The address for `agy-actors top URL`."""
        host, port = self._thread.address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def token(self) -> str:
        """The token that each request needs. Who has it can end your agents."""
        return self._token

    def close(self) -> None:
        """Stop serving. A second call does nothing."""
        self._thread.close()
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def serve_top(
    supervisor: SupervisorRef,
    port: int = 0,
    address: str = "127.0.0.1",
    token: str | None = None,
) -> TopServer:
    """Let `agy-actors top URL` watch and control a supervisor of this program.

    The connection is not encrypted. Keep the default address, and reach it from another machine
    through an SSH tunnel.

    Args:
        supervisor: the supervisor.
        port: the port; 0 for a free one.
        address: the IP address to listen on.
        token: the token that each request must have; `None` generates one.

    Returns:
        The server, with its `url` and its `token`. It runs on a thread of its own until `close`.

    Raises:
        InvalidArgument: the address is not an IP address, or the token is empty or not ASCII.
        AgentDeadError: the supervisor has ended.
        OSError: the port is in use.
    """
    _check(address, token)
    chosen = secrets.token_urlsafe(32) if token is None else token
    source = LocalSource(supervisor)
    try:
        thread = ServerThread(make_app(source, chosen, address), address, port)
        thread.start()
    except BaseException:
        source.close()
        raise
    return TopServer(source, thread, chosen)


def make_app(source: Source, token: str, address: str) -> Starlette:
    """Make the application.

    Args:
        source: what it serves. One request at a time uses it.
        token: the token that each request must have.
        address: the IP address that it listens on.
    """
    from starlette.applications import Starlette  # noqa: PLC0415 (it takes 0.1 s)
    from starlette.routing import Route  # noqa: PLC0415 (as above)

    views = _Views(source, f"Bearer {token}".encode("ascii"), address)
    return Starlette(
        routes=[
            Route("/top/state", views.state),
            Route("/top/actions", views.actions, methods=["POST"]),
        ]
    )


class _Views:
    """Answers requests. All methods are for the server's loop."""

    def __init__(self, source: Source, authorization: bytes, address: str) -> None:
        self._source = source
        self._authorization = authorization
        self._address = address
        self._lock = asyncio.Lock()

    async def state(self, request: Request) -> Response:
        """Answer with a snapshot."""
        refused = self._refusal(request)
        if refused is not None:
            return refused
        since = request.query_params.get("since", "0")
        if not (since.isascii() and since.isdigit() and len(since) < _DIGITS):
            return _answer(400, error="since must be the number of an event")
        async with self._lock:
            snapshot = await asyncio.to_thread(self._source.read, int(since))
        return _answer(200, **snapshot.to_json())

    async def actions(self, request: Request) -> Response:
        """Carry out an action, and answer what happened."""
        refused = self._refusal(request)
        if refused is not None:
            return refused
        wanted = _parse(await _read_body(request))
        if wanted is None:
            return _answer(400, error="the body must be an object with action and id")
        async with self._lock:
            words = await asyncio.to_thread(self._source.act, *wanted)
        return _answer(200, message=words)

    def _refusal(self, request: Request) -> Response | None:
        if not _is_own_host(request.headers.get("host", ""), self._address):
            return _answer(421, error="this server has another address; use its IP address")
        given = request.headers.get("authorization", "").encode("latin-1")
        if not hmac.compare_digest(given, self._authorization):
            return _answer(401, error="the token is missing or wrong")
        return None


def _answer(status: int, **content: Any) -> Response:
    from starlette.responses import JSONResponse  # noqa: PLC0415 (see `make_app`)

    headers = {"WWW-Authenticate": "Bearer"} if status == _UNAUTHORIZED else None
    return JSONResponse(content, status, headers)


def _check(address: str, token: str | None) -> None:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise InvalidArgument(
            f"the address must be an IP address such as '127.0.0.1', got {address!r}"
        ) from None
    if token is not None and not (token and token.isascii() and token.isprintable()):
        raise InvalidArgument("the token must be printable ASCII text that is not empty")


def _is_own_host(host: str, address: str) -> bool:
    """Return whether a `Host` is the server's address. Its port may be that of an SSH tunnel."""
    name = host.rsplit(":", 1)[0] if host.rpartition(":")[2].isdigit() else host
    name = name.removeprefix("[").removesuffix("]").lower()
    own = ipaddress.ip_address(address)
    try:
        given = ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" and (own.is_loopback or own.is_unspecified)
    # A tunnel ends at the loopback interface. A DNS name cannot be an IP address.
    return given == own or own.is_unspecified or (given.is_loopback and own.is_loopback)


async def _read_body(request: Request) -> bytes:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _LARGEST:
            return b""
    return body


def _parse(body: bytes) -> tuple[Action, str] | None:
    try:
        value: Any = json.loads(body)
        action, node = Action(value["action"]), value["id"]
    except (ValueError, KeyError, TypeError):
        return None
    return (action, node) if isinstance(node, str) else None
