"""The effects of an interrupted wait on its message."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import AsyncioActor, ReplyFuture, as_completed
from tests import programs
from tests.actors.doers import PATIENCE, Do, Doer, Gate, Turn, gate_fixture, ref_fixture  # noqa: F401 (fixtures)
from tests.interrupts import ERRORS, Interrupted, ctrl_c, interrupted

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors._actors.actor_ref import AsyncioActorRef

IN_TIME = pytest.mark.parametrize("timeout", [None, 600.0])


@IN_TIME
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("kind", [Do, Turn])
def test_an_interrupted_ask_cancels_its_message(
    ref: AsyncioActorRef,
    gate: Gate,
    kind: Callable[[Any], Do | Turn],
    error: type[BaseException],
    timeout: float | None,
) -> None:
    with interrupted(error, gate.wait), pytest.raises(error):
        ref.ask(kind(gate), timeout=timeout)

    assert gate.cancelled.wait(PATIENCE)
    assert ref.ask(Turn(lambda _: "next"), timeout=PATIENCE) == "next"


@IN_TIME
def test_ctrl_c_cancels_the_turn_so_that_the_next_one_does_not_wait_for_it(
    ref: AsyncioActorRef, gate: Gate, timeout: float | None
) -> None:
    with ctrl_c(gate.wait), pytest.raises(KeyboardInterrupt):
        ref.ask(Turn(gate), timeout=timeout)

    assert ref.ask(Turn(lambda _: "next"), timeout=PATIENCE) == "next"
    assert gate.cancelled.is_set()


def test_a_queued_message_of_an_interrupted_ask_is_never_handled(
    ref: AsyncioActorRef, gate: Gate
) -> None:
    first = ref.ask(Turn(gate), block=False)
    done: list[str] = []

    with interrupted(KeyboardInterrupt, gate.wait), pytest.raises(KeyboardInterrupt):
        ref.ask(Turn(lambda _: done.append("asked")))
    gate.open()

    assert first.get(timeout=PATIENCE) == "passed"
    assert ref.ask(Turn(lambda _: list(done)), timeout=PATIENCE) == []


def test_an_interrupt_while_a_message_is_put_takes_the_message_back(
    ref: AsyncioActorRef, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = ref.actor_inbox
    put = inbox.put

    def put_and_raise(envelope: Any) -> None:
        put(envelope)
        raise KeyboardInterrupt

    monkeypatch.setattr(inbox, "put", put_and_raise)
    for block in (True, False):
        with pytest.raises(KeyboardInterrupt):
            ref.ask(Turn(gate), block=block)
    monkeypatch.undo()

    assert ref.ask(Turn(lambda _: "next"), timeout=PATIENCE) == "next"


def test_an_error_of_a_handler_is_not_an_interruption(ref: AsyncioActorRef) -> None:
    def fail(_: object) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        ref.ask(Turn(fail), timeout=PATIENCE)

    assert ref.ask("alive", timeout=PATIENCE) == "alive"


@IN_TIME
@pytest.mark.parametrize("error", ERRORS)
def test_an_interrupted_get_leaves_no_waiter_behind(
    error: type[BaseException], timeout: float | None
) -> None:
    future: ReplyFuture[str] = ReplyFuture()

    for _ in range(100):
        with interrupted(error, lambda: None), pytest.raises(error):
            future.get(timeout=timeout)

    assert not future._gates
    assert not future.done()
    future.set("reply")
    assert future.get() == "reply"


def test_an_interrupted_as_completed_does_not_cancel_its_futures() -> None:
    future: ReplyFuture[str] = ReplyFuture()

    with interrupted(KeyboardInterrupt, lambda: None), pytest.raises(KeyboardInterrupt):
        next(as_completed([future]))

    assert not future.done()
    assert not future._callbacks
    future.set("reply")


def test_an_interrupted_stop_still_stops_the_actor(gate: Gate) -> None:
    class Slow(AsyncioActor):
        async def on_stop(self) -> None:  # type: ignore[override] # or async
            await gate()

    ref = Slow.start()

    with interrupted(KeyboardInterrupt, gate.wait), pytest.raises(KeyboardInterrupt):
        ref.stop()
    gate.open()

    ref.stop(timeout=PATIENCE)
    assert not ref.is_alive()


def test_a_cancelled_await_cancels_its_message(ref: AsyncioActorRef, gate: Gate) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(ref.ask(Turn(gate), block=False))
        await asyncio.to_thread(gate.wait)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(main())

    assert ref.ask(Turn(lambda _: "next"), timeout=PATIENCE) == "next"


# A signal that another thread receives does not interrupt the system call in which the main
# thread waits. The same holds for one that the main thread receives just before it.
MISSED_SIGNAL = """
import signal, sys, threading, time
from agy_actors import AsyncioActor, ReplyFuture, as_completed

class Mute(AsyncioActor):
    use_daemon_thread = True
    async def on_receive(self, message):
        await self._loop.create_future()

def interrupt():
    while not waits():
        time.sleep(0.01)
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)

def waits():
    names = []
    frame = sys._current_frames()[threading.main_thread().ident]
    while frame is not None:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    return "wait_at_gate" in names

signal.signal(signal.SIGINT, signal.default_int_handler)  # A parent may have it ignored.
mute = Mute.start()
threading.Thread(target=interrupt, daemon=True).start()
try:
    if sys.argv[1] == "ask":
        mute.ask("anything")
    elif sys.argv[1] == "ask with a timeout":
        mute.ask("anything", timeout=600.0)
    elif sys.argv[1] == "get":
        ReplyFuture().get()
    else:
        list(as_completed([mute.ask("anything", block=False)]))
except KeyboardInterrupt:
    print("interrupted", flush=True)
mute.stop(now=True)
"""


@pytest.mark.parametrize("wait", ["ask", "ask with a timeout", "get", "as_completed"])
def test_ctrl_c_that_misses_the_system_call_of_a_wait_interrupts_it(wait: str) -> None:
    program = programs.run(
        [sys.executable, "-c", MISSED_SIGNAL, wait],
        capture_output=True,
        text=True,
        timeout=50.0,  # Importing the SDK takes long on a busy machine.
        check=True,
    )

    assert program.stdout == "interrupted\n"
