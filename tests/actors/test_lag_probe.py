"""`LagProbe`: how long callbacks wait on a loop."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from agy_actors._actors.event_loop import new_event_loop
from agy_actors._actors.responsiveness import LagProbe
from tests.harnesses import PATIENCE, until

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Run a loop on a thread."""
    loop = new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    if not loop.is_closed():
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_a_loop_that_sleeps_has_no_lag(loop: asyncio.AbstractEventLoop) -> None:
    probe = LagProbe(loop)
    until(lambda: loop.asleep)  # type: ignore[attr-defined] # it is ours

    assert [probe.measure() for _ in range(3)] == [0.0, 0.0, 0.0]


def test_the_lag_of_a_blocked_loop_grows_and_is_then_the_whole_wait(
    loop: asyncio.AbstractEventLoop,
) -> None:
    probe = LagProbe(loop)
    inside, let_go = threading.Event(), threading.Event()

    def block() -> None:
        inside.set()
        let_go.wait(PATIENCE)

    loop.call_soon_threadsafe(block)
    assert inside.wait(PATIENCE)
    began = time.monotonic()
    assert probe.measure() == 0.0
    until(lambda: time.monotonic() - began > 0.05)
    during = probe.measure()
    assert 0.05 <= during <= time.monotonic() - began
    let_go.set()
    done = threading.Event()
    loop.call_soon_threadsafe(done.set)
    assert done.wait(PATIENCE)

    assert during <= probe.measure() <= time.monotonic() - began
    until(lambda: probe.measure() == 0.0)


def test_a_closed_loop_has_no_lag() -> None:
    loop = new_event_loop()
    probe = LagProbe(loop)
    probe.measure()  # It does not run, so this waits for its call.
    loop.close()

    assert [probe.measure(), probe.measure()] == [0.0, 0.0]
