"""`stop(now=True)` does not wait for earlier messages."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from typing import Any, ClassVar

import pykka
import pytest

from agy_actors import AskTimeout, AsyncioActor, InvalidArgument, Message
from agy_actors._actors.message import Lane
from tests.harnesses import PATIENCE


@dataclasses.dataclass(frozen=True)
class Turn(Message[str]):
    """Takes a turn."""

    lane: ClassVar[Lane] = Lane.TURN


class Query(Message[str]):
    """Is answered during a turn."""


class Notes:
    """The actions of an actor."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.stopped = threading.Event()
        self.let_go = threading.Event()
        self.cancellations = 0
        self.cleaned_up = 0


@pytest.fixture
def notes() -> Notes:
    return Notes()


class Worker(AsyncioActor):
    """Handles each message until it is cancelled, and then cleans up."""

    def __init__(self, notes: Notes) -> None:
        super().__init__()
        self._notes = notes

    async def on_receive(self, message: Any) -> str:
        self._notes.begun.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._notes.cancellations += 1
            await asyncio.sleep(0.01)
            self._notes.cleaned_up += 1
        return "never"

    def on_stop(self) -> None:
        self._notes.stopped.set()


class Blocker(AsyncioActor):
    """Blocks in each message until it is released."""

    def __init__(self, notes: Notes) -> None:
        super().__init__()
        self._notes = notes

    def on_receive(self, message: Any) -> str:
        self._notes.begun.set()
        self._notes.let_go.wait(PATIENCE)
        return "done"


@pytest.mark.parametrize("message", [Turn(), Query()], ids=["turn", "query"])
def test_a_stop_now_cancels_running_handlers_and_refuses_waiting_messages(
    notes: Notes, message: Message[str]
) -> None:
    ref = Worker.start(notes)
    asked = [ref.ask(message, block=False)]
    assert notes.begun.wait(PATIENCE)
    asked += [ref.ask(Turn(), block=False) for _ in range(3)]

    assert ref.stop(now=True, timeout=PATIENCE)

    for reply in asked:
        with pytest.raises(pykka.ActorDeadError):
            reply.get(timeout=PATIENCE)
    assert not ref.is_alive()
    assert notes.stopped.is_set()


def test_a_stop_now_cancels_a_handler_once_so_that_it_can_clean_up(notes: Notes) -> None:
    ref = Worker.start(notes)
    ref.ask(Query(), block=False)
    assert notes.begun.wait(PATIENCE)

    stops = [ref.stop(now=True, block=False) for _ in range(3)]

    assert [stop.get(timeout=PATIENCE) for stop in stops] == [True] * 3
    assert (notes.cancellations, notes.cleaned_up) == (1, 1)


def test_a_stop_that_times_out_continues_and_a_stop_now_speeds_it_up(notes: Notes) -> None:
    ref = Worker.start(notes)
    reply = ref.ask(Turn(), block=False)
    waiting = ref.ask(Turn(), block=False)
    with pytest.raises(AskTimeout):
        ref.stop(timeout=0.1)

    assert ref.stop(now=True, timeout=PATIENCE)

    for future in (reply, waiting):
        with pytest.raises(pykka.ActorDeadError):
            future.get(timeout=PATIENCE)
    assert ref.stop() is False


def test_a_stop_now_waits_for_a_plain_function_which_cannot_be_cancelled(notes: Notes) -> None:
    ref = Blocker.start(notes)
    reply = ref.ask(Query(), block=False)
    assert notes.begun.wait(PATIENCE)
    waiting = ref.ask(Turn(), block=False)
    stop = ref.stop(now=True, block=False)
    with pytest.raises(AskTimeout):
        stop.get(timeout=0.1)

    notes.let_go.set()

    assert stop.get(timeout=PATIENCE)
    assert reply.get(timeout=PATIENCE) == "done"
    with pytest.raises(pykka.ActorDeadError):
        waiting.get(timeout=PATIENCE)


def test_a_stop_without_now_lets_the_turns_that_wait_end_first() -> None:
    class Quick(AsyncioActor):
        async def on_receive(self, message: Any) -> str:
            await asyncio.sleep(0.01)
            return "done"

    ref = Quick.start()
    replies = [ref.ask(Turn(), block=False) for _ in range(3)]

    assert ref.stop(timeout=PATIENCE)

    assert [reply.get(timeout=0) for reply in replies] == ["done"] * 3


def test_a_stop_now_of_an_idle_actor_runs_its_on_stop(notes: Notes) -> None:
    ref = Worker.start(notes)

    assert ref.stop(now=True, timeout=PATIENCE)

    assert notes.stopped.is_set()
    assert ref.stop(now=True) is False


@pytest.mark.parametrize("now", [None, 0, 1, "no"])
def test_now_is_true_or_false(notes: Notes, now: Any) -> None:
    ref = Worker.start(notes)

    with pytest.raises(InvalidArgument, match="now"):
        ref.stop(now=now)

    assert ref.is_alive()
    ref.stop()


def test_a_turn_may_stop_its_own_actor_now_from_a_thread() -> None:
    class Suicidal(AsyncioActor):
        async def on_receive(self, message: Any) -> bool:
            return await asyncio.to_thread(self.actor_ref.stop, now=True)

    ref = Suicidal.start()

    with pytest.raises(pykka.ActorDeadError):
        ref.ask(Turn(), timeout=PATIENCE)

    assert ref.actor_stopped.wait(PATIENCE)


@pytest.mark.parametrize("message", [Turn(), Query()], ids=["turn", "query"])
def test_a_handler_may_await_a_stop_now_of_its_own_actor(message: Message[str]) -> None:
    class Suicidal(AsyncioActor):
        async def on_receive(self, message: Any) -> bool:
            return await self.actor_ref.stop(now=True, block=False)

    ref = Suicidal.start()

    with pytest.raises(pykka.ActorDeadError):
        ref.ask(message, timeout=PATIENCE)

    assert ref.actor_stopped.wait(PATIENCE)
