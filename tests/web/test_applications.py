"""The documented web applications under their servers: answers, streams, and a graceful end."""

from __future__ import annotations

import re
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from agy_actors.testing import say, silence
from tests.harnesses import until
from tests.web.clients import ask, open_stream
from tests.web.load import Load, prompts_of
from tests.web.servers import DJANGO, FASTAPI, FLASK, FLASK_PRELOADED, Command, Server, serve

if TYPE_CHECKING:
    from pathlib import Path

    from agy_actors.testing import ScriptedModel

USERS = [f"user{number}" for number in range(12)]

ONE_FOR_EACH_SERVER = {"flask-preload": FLASK_PRELOADED, "django": DJANGO, "fastapi": FASTAPI}
ALL = {"flask": FLASK, **ONE_FOR_EACH_SERVER}

pytestmark = pytest.mark.timeout(300)


def applications(commands: dict[str, Command]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("command", commands.values(), ids=commands)


def ask_in_turn(server: Server, user: str, count: int) -> list[str]:
    """Ask prompts one after another. Returns them."""
    prompts = [f"{user}: prompt {number}" for number in range(count)]
    for prompt in prompts:
        assert ask(server.port, user, prompt) == (200, f"echo: {prompt}")
    return prompts


def ask_all(server: Server, users: list[str], count: int) -> list[list[str]]:
    """Ask prompts, the users at the same time. Returns each user's prompts."""
    with ThreadPoolExecutor(len(users)) as threads:
        return list(threads.map(lambda user: ask_in_turn(server, user, count), users))


@applications(ONE_FOR_EACH_SERVER)
def test_an_application_answers_streams_cancels_and_ends_gracefully(
    command: Command, model: ScriptedModel, tmp_path: Path
) -> None:
    go_on = threading.Event()
    model.when("in two pieces", say("One two", chunks=["One ", "two"], gate=go_on))
    model.when("for ever", say("word " * 10_000, delay=0.02))
    with serve(command, tmp_path, model) as server, ThreadPoolExecutor() as threads:
        asked = ask_all(server, USERS[:4], 2)
        assert [prompts_of(model, user) for user in USERS[:4]] == asked

        with open_stream(server.port, "ada", "in two pieces") as stream:
            assert stream.read() == ("message", "One ")
            go_on.set()
            assert list(stream) == [("message", "two"), ("end", "")]

        with open_stream(server.port, "bob", "for ever") as stream:
            assert stream.read() == ("message", "word ")
        assert model.wait_for_disconnect().prompt == "for ever"

        go_on.clear()
        running = threads.submit(ask, server.port, "cleo", "in two pieces")
        until(lambda: model.requests[-1].prompt == "in two pieces")
        server.begin_end()
        go_on.set()
        assert running.result() == (200, "One two")
        server.check_end()


@pytest.mark.slow
@applications(ALL)
def test_each_user_has_one_conversation_on_all_workers(
    command: Command, model: ScriptedModel, tmp_path: Path
) -> None:
    with serve(command, tmp_path, model) as server:
        asked = ask_all(server, USERS, 4)

        assert [prompts_of(model, user) for user in USERS] == asked
        assert len(server.workers_with_agents()) > 1


@pytest.mark.slow
@applications(ONE_FOR_EACH_SERVER)
def test_a_conversation_moves_between_workers(
    command: Command, model: ScriptedModel, tmp_path: Path
) -> None:
    prompts = [f"ada: concurrent {number}" for number in range(8)]
    with serve(command, tmp_path, model) as server, ThreadPoolExecutor(8) as threads:
        asked: list[str] = []
        used: set[int] = set()
        while len(used) < 2:
            assert len(asked) < 60, "one worker took all requests"
            asked.append(f"ada: prompt {len(asked)}")
            assert ask(server.port, "ada", asked[-1]) == (200, f"echo: {asked[-1]}")
            used |= server.workers_with_agents()
        assert prompts_of(model, "ada") == asked

        answers = list(threads.map(lambda prompt: ask(server.port, "ada", prompt), prompts))
        assert answers == [(200, f"echo: {prompt}") for prompt in prompts]
        seen = prompts_of(model, "ada")
        assert seen[: len(asked)] == asked
        assert sorted(seen[len(asked) :]) == prompts


@pytest.mark.slow
@applications(ONE_FOR_EACH_SERVER)
def test_errors_get_their_status_and_end_streams(
    command: Command, model: ScriptedModel, tmp_path: Path
) -> None:
    model.when("silence", silence(after="One "))
    with (
        serve(command, tmp_path, model, TIMEOUT="3", HEARTBEAT="0.2", CAPACITY="1") as server,
        ThreadPoolExecutor(24) as threads,
    ):
        assert (ask(server.port, "ada", "Hello")) == (200, "echo: Hello")
        for user, prompt, status, words in (
            ("ada", "", 400, "a prompt must contain"),
            ("x" * 1001, "Hello", 400, "the key of a session must be text"),
            ("ada", "silence", 504, "no reply|no answer|did not"),
        ):
            answer = ask(server.port, user, prompt)
            assert answer[0] == status
            assert re.search(words, answer[1]), answer

        answers = set(threads.map(lambda _: ask(server.port, "ada", "silence"), range(24)))
        assert {status for status, _ in answers} == {503, 504}
        assert any("larger capacity" in error for status, error in answers if status == 503)

        with open_stream(server.port, "ada", "silence") as stream:
            piece, (kind, error) = stream
        assert (piece, kind) == (("message", "One "), "error")
        assert "3 seconds" in error


@pytest.mark.slow
@applications(ONE_FOR_EACH_SERVER)
def test_a_client_that_leaves_while_the_model_is_silent_cancels_its_turn(
    command: Command, model: ScriptedModel, tmp_path: Path
) -> None:
    model.when("silence", silence(after="One "))
    with serve(command, tmp_path, model, HEARTBEAT="0.2") as server:
        with open_stream(server.port, "ada", "silence") as stream:
            assert stream.read() == ("message", "One ")

        assert model.wait_for_disconnect().prompt == "silence"
        assert ask(server.port, "ada", "Hello") == (200, "echo: Hello")


@pytest.mark.slow
@applications(ALL)
def test_a_reload_under_load_loses_no_request(
    command: Command, model: ScriptedModel, tmp_path: Path
) -> None:
    model.when("prompt", say(lambda request: f"echo: {request.prompt}", first_delay=0.1))
    with serve(command, tmp_path, model) as server:
        with Load(server.port, USERS) as load:
            load.wait_for_answers(24)
            old = server.workers
            server.send(signal.SIGHUP)
            server.wait_for_reload(old)
            load.wait_for_answers(24)

        assert load.failures == []
        assert {user: prompts_of(model, user) for user in USERS} == load.asked
        server.begin_end()
        server.check_end()


@pytest.mark.slow
@applications(ONE_FOR_EACH_SERVER)
def test_a_reload_finishes_running_turns(
    command: Command, model: ScriptedModel, tmp_path: Path
) -> None:
    go_on = threading.Event()
    model.when("hold", say("One two", chunks=["One ", "two"], gate=go_on))
    with serve(command, tmp_path, model) as server, ThreadPoolExecutor() as threads:
        old = server.workers
        running = [threads.submit(ask, server.port, user, "hold") for user in USERS[:4]]
        with open_stream(server.port, "ada", "hold") as stream:
            assert stream.read() == ("message", "One ")
            model.wait_for_requests(5)

            server.send(signal.SIGHUP)
            server.wait_for_workers(len(old) + 1)
            go_on.set()

            assert list(stream) == [("message", "two"), ("end", "")]
        assert [one.result() for one in running] == [(200, "One two")] * 4
        server.wait_for_reload(old)
        assert ask(server.port, "ada", "Hello") == (200, "echo: Hello")
        server.begin_end()
        server.check_end()
