"""Streams that stop, clients that leave, and a server that goes away."""

from __future__ import annotations

import gc
import http.client
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import psutil
import pytest

from agy_actors.testing import Reply, ScriptedModel, call_tool, drop, http_error, say, silence
from tests.testing.model_client import Client

FAST = 0.2  # Seconds that closing may take.


def test_a_dropped_connection_is_reset_after_the_text(client: Client) -> None:
    client.model.then(drop("half an answer"))

    with client.open() as response:
        pieces = [client.read_piece(response) for _ in range(3)]
        with pytest.raises(ConnectionResetError):
            response.read()

    assert "".join(pieces) == "half an answer"


def test_a_long_text_is_not_lost_in_the_reset(client: Client) -> None:
    size, count = 50_000, 40  # More than the buffers on the way can hold.
    client.model.then(replace(drop("x" * size * count), chunks=size))

    with client.open() as response:
        pieces = [client.read_piece(response) for _ in range(count)]
        with pytest.raises(ConnectionResetError):
            response.read()

    assert "".join(pieces) == "x" * size * count


@pytest.mark.parametrize("stream", [True, False])
def test_a_connection_dropped_with_no_text_is_reset_before_any_answer(
    client: Client, stream: bool
) -> None:
    client.model.then(drop())

    with pytest.raises(ConnectionResetError):
        client.ask(stream=stream)


def test_after_a_drop_the_next_request_is_answered(client: Client) -> None:
    client.model.then(drop())
    with pytest.raises(ConnectionResetError):
        client.ask()

    assert client.said() == "echo: hi"


def test_silence_lasts_until_the_client_goes_away(client: Client) -> None:
    client.model.then(silence("well "))

    with client.open() as response:
        assert client.read_piece(response) == "well "
        with pytest.raises(TimeoutError, match=r"no client disconnected within 0\.05 s; 1 req"):
            client.model.wait_for_disconnect(timeout=0.05)
    gone = client.model.wait_for_disconnect()

    assert gone is client.model.requests[0]


def test_each_client_that_leaves_is_reported_once(client: Client) -> None:
    client.model.when("", silence("."))
    for prompt in ("one", "two"):
        with client.open(prompt) as response:
            client.read_piece(response)
        assert client.model.wait_for_disconnect().prompt == prompt

    with pytest.raises(TimeoutError):
        client.model.wait_for_disconnect(timeout=0.01)


def test_a_client_that_got_its_whole_answer_does_not_count_as_gone(client: Client) -> None:
    client.ask()
    client.model.then(drop())
    with pytest.raises(ConnectionResetError):
        client.ask()

    with pytest.raises(TimeoutError):
        client.model.wait_for_disconnect(timeout=0.05)


def test_a_gate_holds_the_stream_after_its_first_piece(client: Client) -> None:
    gate = threading.Event()
    client.model.then(say("one two three", gate=gate))

    with client.open() as response:
        assert client.read_piece(response) == "one "
        assert client.said("other") == "echo: other"  # Other requests are not delayed.
        gate.set()
        assert client.read_piece(response) == "two "
        response.read()


@pytest.mark.parametrize("gate_after", [0, 1, 5])
@pytest.mark.parametrize("stream", [True, False])
def test_a_gate_holds_the_end_of_an_answer_with_no_more_pieces(
    client: Client, stream: bool, gate_after: int
) -> None:
    gate = threading.Event()
    client.model.then(say("one", gate=gate, gate_after=gate_after))

    with ThreadPoolExecutor() as pool:
        answer = pool.submit(client.ask, stream=stream)
        client.model.wait_for_requests(1)
        assert not answer.done()
        gate.set()

        assert b"one" in answer.result().data


def test_a_gate_may_hold_an_error(client: Client) -> None:
    gate = threading.Event()
    error = http_error(503).error
    client.model.then(Reply(error=error, gate=gate, gate_after=0))

    with ThreadPoolExecutor() as pool:
        answer = pool.submit(client.ask)
        client.model.wait_for_requests(1)
        gate.set()

        assert answer.result().status == 503


def test_delays_set_the_pace(client: Client) -> None:
    client.model.then(say("a b c", first_delay=0.05, delay=0.02))
    before = time.monotonic()

    assert client.said() == "a b c"

    assert time.monotonic() - before >= 0.05 + 2 * 0.02


def test_waiting_for_requests_ends_when_they_came(client: Client) -> None:
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(client.model.wait_for_requests, 2)
        client.ask("one")
        client.ask("two")

        assert [request.prompt for request in waiting.result()] == ["one", "two"]


def test_a_wait_for_too_many_requests_lists_those_that_arrived(client: Client) -> None:
    client.ask("only this")

    with pytest.raises(TimeoutError, match=r"1 instead of 2 requests .*: \['only this'\]"):
        client.model.wait_for_requests(2, timeout=0.01)


def test_many_clients_are_answered_at_once(client: Client) -> None:
    gate = threading.Event()
    client.model.when("", say(lambda request: request.prompt, gate=gate, gate_after=0))
    prompts = [f"prompt {i}" for i in range(50)]

    with ThreadPoolExecutor(max_workers=50) as pool:
        answers = [pool.submit(client.said, prompt) for prompt in prompts]
        client.model.wait_for_requests(50)
        gate.set()

        assert [answer.result() for answer in answers] == prompts


def test_closing_ends_open_connections_at_once() -> None:
    model = ScriptedModel().start()
    held = threading.Event()
    model.then(
        silence("."),
        say("a b", gate=held),
        say("a b", delay=60.0),
        say("a", first_delay=60.0),
        call_tool("t", text="a"),
    )
    client = Client("openai", model)

    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        streams = [stack.enter_context(client.open()) for _ in range(3)]
        for stream in streams:
            client.read_piece(stream)
        unanswered = pool.submit(client.ask)
        client.model.wait_for_requests(4)
        before = time.monotonic()
        model.close()
        took = time.monotonic() - before

        assert took < FAST
        for stream in streams:
            with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
                stream.read()
        with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
            unanswered.result()
    assert not held.is_set()
    with pytest.raises(ConnectionRefusedError):
        client.ask()


def test_closing_leaves_no_thread_and_no_descriptor() -> None:
    def cycle() -> None:
        with ScriptedModel() as model:
            client = Client("openai", model)
            model.when("quiet", silence("."))
            client.ask()
            with client.open("quiet") as response:
                client.read_piece(response)

    cycle()
    gc.collect()
    process = psutil.Process(os.getpid())
    threads, descriptors = threading.active_count(), process.num_fds()

    for _ in range(20):
        cycle()

    assert threading.active_count() == threads
    assert process.num_fds() == descriptors


def test_closing_twice_or_before_the_start_does_nothing() -> None:
    ScriptedModel().close()
    with ScriptedModel() as model:
        model.close()


def test_an_idle_connection_does_not_delay_the_close() -> None:
    model = ScriptedModel().start()
    connection = http.client.HTTPConnection(model.base_url.removeprefix("http://"))
    connection.request("GET", "/v1/models")
    connection.getresponse().read()

    before = time.monotonic()
    model.close()

    assert time.monotonic() - before < FAST
    connection.close()


def test_a_model_has_no_address_before_it_starts() -> None:
    with pytest.raises(RuntimeError, match="start the scripted model first"):
        _ = ScriptedModel().base_url


def test_a_model_starts_once(model: ScriptedModel) -> None:
    with pytest.raises(RuntimeError, match="once"):
        model.start()


def test_a_port_can_be_chosen_and_is_refused_when_taken() -> None:
    with ScriptedModel() as model:
        port = int(model.base_url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            ScriptedModel(port=port).start()

    with ScriptedModel(port=port) as again:
        assert again.base_url == f"http://127.0.0.1:{port}"


def test_a_script_cannot_close_its_own_model() -> None:
    model = ScriptedModel()

    def closes(_: object) -> str:
        model.close()
        return "closed"

    model.start().then(say(closes))

    assert Client("openai", model).ask().status == 500
    with pytest.raises(RuntimeError, match="a script cannot close its own model"):
        model.close()
