"""Actors and messages for the tests of `_actors`."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors._actors.actor import AsyncioActor
from agy_actors._actors.message import Lane, Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agy_actors._actors.actor_ref import AsyncioActorRef

PATIENCE = 20.0
"""Seconds that a test waits for something that must happen."""


@dataclasses.dataclass(frozen=True, eq=False)
class Do(Message[Any]):
    """Let the actor call `function(actor)` at once."""

    function: Callable[[Any], Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Turn(Message[Any]):
    """Let the actor call `function(actor)` in a turn."""

    function: Callable[[Any], Any]

    lane = Lane.TURN


class Doer(AsyncioActor):
    """An actor that calls the functions that it gets, and keeps a diary."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        self.diary: list[Any] = []
        self.gone = threading.Event()
        """Set when this incarnation and its loop have ended."""
        for name, value in attributes.items():
            setattr(self, name, value)

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, Do | Turn):
            return message.function(self)
        self.diary.append(message)
        return message

    def on_stop(self) -> None:
        self.diary.append("stopped")

    def _after_loop(self) -> None:
        super()._after_loop()
        self.gone.set()

    def on_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> None:
        self.diary.append("failed")


class Gate:
    """A point in a coroutine handler that reports its arrival, and waits."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.cancelled = threading.Event()
        self.times = 0
        self._opened = threading.Event()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def __call__(self, _: object = None) -> str:
        self.times += 1
        here = asyncio.Event()
        self._waiting.append((asyncio.get_running_loop(), here))
        if self._opened.is_set():
            here.set()
        self.reached.set()
        try:
            await here.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return "passed"

    def wait(self) -> None:
        """Wait until a handler has come."""
        assert self.reached.wait(PATIENCE)

    def open(self) -> None:
        """Let all handlers pass, now and later."""
        self._opened.set()
        for loop, here in self._waiting:
            try:
                loop.call_soon_threadsafe(here.set)
            except RuntimeError:
                assert loop.is_closed()


def settle(ref: AsyncioActorRef) -> None:
    """Return after a few cycles of the actor's loop."""

    async def go_round(_: object) -> None:
        for _i in range(5):
            await asyncio.sleep(0)

    ref.ask(Do(go_round), timeout=PATIENCE)


@pytest.fixture(name="ref")
def ref_fixture() -> Iterator[AsyncioActorRef]:
    ref = Doer.start()
    yield ref
    ref.stop(timeout=PATIENCE)


@pytest.fixture(name="gate")
def gate_fixture() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()
