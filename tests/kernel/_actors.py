"""Actors and messages for the tests of the kernel."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors._kernel import AsyncioActor, AsyncioActorRef, Lane, Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 20.0
"""Seconds after which a test gives up waiting for what must come."""


@dataclasses.dataclass(frozen=True, eq=False)
class Do(Message[Any]):
    """Have the actor call `function(actor)`, at once."""

    function: Callable[[Any], Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Turn(Message[Any]):
    """Have the actor call `function(actor)` in a turn."""

    function: Callable[[Any], Any]

    lane = Lane.TURN


class Doer(AsyncioActor):
    """An actor that does what it is told, and keeps a diary."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        self.diary: list[Any] = []
        self.gone = threading.Event()
        """Set when this incarnation has ended, its loop too."""
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
    """A place in a coroutine handler where it says that it came, and waits."""

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
        """Let pass those who wait, and those who come."""
        self._opened.set()
        for loop, here in self._waiting:
            try:
                loop.call_soon_threadsafe(here.set)
            except RuntimeError:
                assert loop.is_closed()


def settle(ref: AsyncioActorRef) -> None:
    """Return when the actor's loop has gone round a few times."""

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
