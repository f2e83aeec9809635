"""Blocking calls beside an actor's loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from agy_actors._kernel._workers import WORKERS
from tests.kernel._actors import PATIENCE, Do, Doer


def test_a_call_runs_on_a_thread_that_nobody_waits_for() -> None:
    thread = WORKERS.submit(threading.current_thread).result(PATIENCE)

    assert thread.daemon
    assert thread is not threading.current_thread()


def test_what_a_call_raises_reaches_who_waits() -> None:
    def fail() -> None:
        raise SystemExit("now")

    with pytest.raises(SystemExit, match="now"):
        WORKERS.submit(fail).result(PATIENCE)


def test_calls_that_never_return_take_nobody_elses_thread() -> None:
    let_go = threading.Event()
    ref = Doer.start()

    async def call(actor: Doer) -> str:
        for _ in range(100):
            actor._loop.run_in_executor(None, let_go.wait)
        return await asyncio.to_thread(lambda: "done")

    assert ref.ask(Do(call), timeout=PATIENCE) == "done"
    assert ref.stop(timeout=PATIENCE)
    assert Doer.start().stop(timeout=PATIENCE)  # The next one's loop shares it.
    let_go.set()
