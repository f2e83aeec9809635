"""Blocking calls beside an actor's loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from agy_actors._actors.daemon_executor import DAEMON_EXECUTOR
from tests.actors.doers import PATIENCE, Do, Doer


def test_a_call_runs_on_a_thread_that_is_not_joined() -> None:
    thread = DAEMON_EXECUTOR.submit(threading.current_thread).result(PATIENCE)

    assert thread.daemon
    assert thread is not threading.current_thread()


def test_an_exception_of_a_call_reaches_its_waiter() -> None:
    def fail() -> None:
        raise SystemExit("now")

    with pytest.raises(SystemExit, match="now"):
        DAEMON_EXECUTOR.submit(fail).result(PATIENCE)


def test_calls_that_never_return_take_no_thread_from_others() -> None:
    let_go = threading.Event()
    ref = Doer.start()

    async def call(actor: Doer) -> str:
        for _ in range(100):
            actor._loop.run_in_executor(None, let_go.wait)
        return await asyncio.to_thread(lambda: "done")

    assert ref.ask(Do(call), timeout=PATIENCE) == "done"
    assert ref.stop(timeout=PATIENCE)
    assert Doer.start().stop(timeout=PATIENCE)  # The loop of the next actor shares it.
    let_go.set()
