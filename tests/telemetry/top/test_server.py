"""`serve_top`, and the source that reads it."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import Chat, InvalidArgument, Supervisor, TurnCancelled
from agy_actors.telemetry.top.errors import InvalidAddress, TopUnavailable
from agy_actors.telemetry.top.remote_source import RemoteSource
from agy_actors.telemetry.top.server import TopServer, _is_own_host, serve_top
from agy_actors.telemetry.top.source import Action
from agy_actors.testing import say
from tests.harnesses import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agy_actors import SupervisorRef
    from agy_actors.testing import ScriptedModel

TOKEN = "t0p-s3cr3t"


@pytest.fixture
def server(supervisor: SupervisorRef) -> Iterator[TopServer]:
    with serve_top(supervisor, token=TOKEN) as server:
        yield server


def port_of(server: TopServer) -> int:
    return int(server.url.rsplit(":", 1)[1])


def request(
    server: TopServer, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, Any]:
    """Send a request with a token, unless the headers have another one."""
    connection = http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=PATIENCE)
    try:
        wanted = {"Authorization": f"Bearer {TOKEN}"} | headers
        connection.request(method, path, body, wanted)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_another_program_sees_the_tree_and_the_events(
    supervisor: SupervisorRef, model: ScriptedModel, server: TopServer
) -> None:
    agent = supervisor.create_agent(model.openai_config(), "north")
    supervisor.shutdown_agent(agent)
    supervisor.create_agent(model.openai_config(), "east")
    source = RemoteSource(server.url, server.token)
    until(lambda: source.read(0).last_event == 1)

    snapshot = source.read(0)

    assert [node.name for node in snapshot.nodes] == [supervisor.name, "east"]
    assert [(event.who, event.text) for event in snapshot.events] == [("north", "was ended")]
    assert source.read(1).events == ()
    assert source.name == server.url.removeprefix("http://")


def test_another_program_cancels_restarts_and_shuts_down(
    supervisor: SupervisorRef, model: ScriptedModel, server: TopServer
) -> None:
    gate = threading.Event()
    model.when("slow", say("done", gate=gate))
    agent = supervisor.create_agent(model.openai_config(), "north")
    reply = agent.ask(Chat("slow"), block=False)
    model.wait_for_requests(1)
    source = RemoteSource(server.url, server.token)
    root, north = source.read(0).nodes

    assert source.act(Action.CANCEL, north.id) == "the turn of agent 'north' is cancelled"
    with pytest.raises(TurnCancelled):
        reply.get(timeout=PATIENCE)
    gate.set()
    assert source.act(Action.RESTART, north.id) == "agent 'north' restarts"
    until(lambda: source.read(0).nodes[1].restarts == 1)
    source.act(Action.SHUT_DOWN, root.id)
    until(lambda: source.read(0).ended)
    assert not supervisor.is_alive()


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", TOKEN, "Bearer \xe9"],
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/top/state"), ("POST", "/top/actions")])
def test_a_wrong_token_is_refused(
    server: TopServer, method: str, path: str, authorization: str
) -> None:
    status, answer = request(server, method, path, Authorization=authorization)

    assert (status, answer) == (401, {"error": "the token is missing or wrong"})


def test_a_name_that_points_to_the_address_is_refused(server: TopServer) -> None:
    """A page of evil.example may have the browser connect here, but not choose the `Host`."""
    status, answer = request(server, "GET", "/top/state", Host="evil.example:80")

    assert (status, set(answer)) == (421, {"error"})


@pytest.mark.parametrize(
    ("host", "address", "is_own"),
    [
        ("127.0.0.1:8123", "127.0.0.1", True),
        ("127.0.0.1:9", "127.0.0.1", True),  # The port of an SSH tunnel.
        ("localhost:8123", "127.0.0.1", True),
        ("LOCALHOST", "::1", True),
        ("[::1]:8123", "::1", True),
        ("[::1]", "127.0.0.1", True),
        ("10.0.0.5:8123", "10.0.0.5", True),
        ("10.0.0.5", "0.0.0.0", True),
        ("localhost", "10.0.0.5", False),
        ("10.0.0.6:8123", "10.0.0.5", False),
        ("evil.example", "0.0.0.0", False),
        ("127.0.0.1.evil.example:80", "127.0.0.1", False),
        ("localhost.evil.example", "127.0.0.1", False),
        ("", "127.0.0.1", False),
    ],
)
def test_the_host_must_be_the_address(host: str, address: str, is_own: bool) -> None:
    assert _is_own_host(host, address) is is_own


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"action": "explode", "id": "x"}',
        '{"action": "cancel"}',
        '{"action": "cancel", "id": 3}',
        '{"action": "cancel", "id": "' + "x" * 20_000 + '"}',
        "\xff",
    ],
)
def test_an_invalid_action_is_refused(server: TopServer, body: str) -> None:
    status, answer = request(server, "POST", "/top/actions", body.encode("latin-1"))

    assert (status, set(answer)) == (400, {"error"})


@pytest.mark.parametrize("since", ["-1", "x", "1" * 99, "%C2%B2"])
def test_an_invalid_number_is_refused(server: TopServer, since: str) -> None:
    assert request(server, "GET", f"/top/state?since={since}")[0] == 400


def test_the_token_is_generated_and_not_shown_nor_logged(
    supervisor: SupervisorRef, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with serve_top(supervisor) as first, serve_top(supervisor) as second:
        RemoteSource(first.url, first.token).read(0)
        with pytest.raises(TopUnavailable, match="token is missing or wrong"):
            RemoteSource(first.url, second.token).read(0)

        assert len(first.token) >= 32
        assert first.token != second.token
        assert first.token not in repr(first) + caplog.text
        assert repr(first) == f"<TopServer {first.url}>"


def read_end(connection: socket.socket) -> bool:
    """Return whether the other side has closed a connection."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_closing_leaves_nothing_and_can_be_repeated(supervisor: SupervisorRef) -> None:
    server = serve_top(supervisor)
    with socket.create_connection(("127.0.0.1", port_of(server))) as idle:
        idle.sendall(b"GET /top/state HTTP/1.1\r\n")  # A request that never ends.
        server.close()
        server.close()

        idle.settimeout(PATIENCE)
        assert read_end(idle)
    assert not [one for one in threading.enumerate() if one.name == "agy-actors-serve-top"]
    actor = supervisor._actor_weakref()
    assert actor is not None
    assert actor.lifecycle.hub.subscriptions == ()
    with pytest.raises(OSError, match=r"."):
        socket.create_connection(("127.0.0.1", port_of(server))).close()


def test_a_connection_that_comes_while_the_server_closes_is_closed(
    supervisor: SupervisorRef,
) -> None:
    server = serve_top(supervisor)
    loop, stop = server._thread._loop, server._thread._stop
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        go.wait(PATIENCE)

    loop.call_soon_threadsafe(hold)
    assert held.wait(PATIENCE)
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=PATIENCE) as late:
        # The loop sees the connection and the request to stop at the same time.
        loop.call_soon_threadsafe(stop.set)
        go.set()
        server.close()

        assert read_end(late)


def test_a_port_in_use_is_an_error_that_leaves_nothing(
    supervisor: SupervisorRef, server: TopServer
) -> None:
    with pytest.raises(OSError, match="in use"):
        serve_top(supervisor, port=port_of(server))

    actor = supervisor._actor_weakref()
    assert actor is not None
    assert len(actor.lifecycle.hub.subscriptions) == 1


@pytest.mark.parametrize(
    "arguments",
    [{"address": "localhost"}, {"address": ""}, {"token": ""}, {"token": "é"}, {"token": "a\nb"}],
)
def test_an_invalid_argument_is_refused(
    supervisor: SupervisorRef, arguments: dict[str, str]
) -> None:
    with pytest.raises(InvalidArgument):
        serve_top(supervisor, **arguments)  # type: ignore[arg-type]


def test_a_supervisor_that_ended_is_shown_as_ended_until_the_server_is_closed() -> None:
    supervisor = Supervisor.start()
    with serve_top(supervisor) as server:
        supervisor.stop()

        assert RemoteSource(server.url, server.token).read(0).ended


# The client


def test_a_server_that_is_gone_is_said_in_plain_words_and_found_again(
    supervisor: SupervisorRef,
) -> None:
    server = serve_top(supervisor, token=TOKEN)
    source = RemoteSource(server.url, TOKEN)
    source.read(0)
    server.close()

    with pytest.raises(TopUnavailable, match=r"no answer from 127.0.0.1:\d+: Connection refused"):
        source.read(0)
    with pytest.raises(TopUnavailable):
        source.act(Action.CANCEL, "x")

    with serve_top(supervisor, port=port_of(server), token=TOKEN):
        assert source.read(0).nodes


@contextmanager
def answering(content: bytes) -> Iterator[str]:
    """Serve the same bytes to the next connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(content)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nhello", "is not a serve_top"),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", "another version"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "status 404; is it a serve_top"),
        (b"HTTP/1.1 401 No\r\n\r\nhello", "status 401"),
        (b"SSH-2.0-OpenSSH\r\n", "no answer"),
        (b"", "no answer"),
    ],
)
def test_another_server_is_no_traceback(content: bytes, words: str) -> None:
    with answering(content) as url, pytest.raises(TopUnavailable, match=words):
        RemoteSource(url, TOKEN).read(0)


@pytest.mark.parametrize(
    "url",
    ["", "http://", "ftp://127.0.0.1", "http://a:b@127.0.0.1", "http://127.0.0.1:x", "http://h/?q"],
)
def test_an_invalid_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidAddress):
        RemoteSource(url, TOKEN)


@pytest.mark.parametrize("token", ["é", "a\nb"])
def test_a_token_that_cannot_be_sent_is_refused(token: str) -> None:
    with pytest.raises(InvalidAddress):
        RemoteSource("127.0.0.1:1", token)
