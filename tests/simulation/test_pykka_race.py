"""An ask that races with a stop is lost in pykka's protocol, but not in ours.

The model below takes the steps of pykka 4.5 in its order. A step ends where its threads may switch.
The result was also observed on real threads: a future that is never set.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
from collections import deque
from typing import Any

import pykka
import pytest

from agy_actors._actors.future import ReplyFuture
from agy_actors.testing import (
    Exhaustive,
    PctSchedules,
    RandomSchedules,
    Simulation,
    SimulationDeadlock,
    explore,
)
from tests.simulation.actors import Echo
from tests.simulation.test_exploration import deviations_of


@pytest.fixture(
    params=[lambda: RandomSchedules(0), lambda: PctSchedules(0), lambda: Exhaustive(3)],
    ids=["random", "pct", "exhaustive"],
)
def strategy(request: pytest.FixtureRequest) -> Any:
    """Return a new source of schedules: it has a state, so tests must not share one."""
    return request.param()


STOP = "stop"


async def step() -> None:
    """Let other fibers run between two steps of one thread."""
    await asyncio.sleep(0)


class PykkasActor:
    """What of a `pykka.ThreadingActor` has to do with its end.

    Args:
        closes: whether the inbox is closed together with its last look, as ours is.
    """

    def __init__(self, *, closes: bool = False) -> None:
        self.closes = closes
        self.closed = False
        self.stopped = False
        self.inbox: deque[tuple[str, ReplyFuture[str]]] = deque()
        self.arrived = asyncio.Event()

    async def ask(self, message: str) -> ReplyFuture[str]:
        """Do as `ActorRef.ask` does."""
        future: ReplyFuture[str] = ReplyFuture()
        future._about = (message, "pykka's actor")
        if self.stopped:  # `is_alive`
            future._fail(pykka.ActorDeadError())
            return future
        await step()
        if self.closed:
            future._fail(pykka.ActorDeadError())
            return future
        self.inbox.append((message, future))
        self.arrived.set()
        return future

    async def run(self) -> None:
        """Do as `Actor._actor_loop` does."""
        while not self.stopped:
            while not self.inbox:
                self.arrived.clear()
                await self.arrived.wait()
            message, future = self.inbox.popleft()
            if message == STOP:
                self.stopped = True  # `_stop`; a stop is answered when it has come so far.
            future._resolve(message)
            await step()
        # `_actor_loop_teardown`
        while self.inbox:
            _, future = self.inbox.popleft()
            future._fail(pykka.ActorDeadError())
            await step()
        self.closed = self.closes  # No step since the last look.


async def ask_during_pykkas_stop(sim: Simulation, *, closes: bool) -> None:
    actor = PykkasActor(closes=closes)
    running = sim.client(actor.run, name="actor")
    asks = sim.client(actor.ask, "question", name="asker")
    stops = sim.client(actor.ask, STOP, name="stopper")
    await running
    answers = [await client for client in (asks, stops)]
    unanswered = [answer for answer in answers if not answer.done()]
    for answer in unanswered:
        answer.cancel()  # No other code ever will.
    assert not unanswered, "no actor answers"


async def pykkas(sim: Simulation) -> None:
    await ask_during_pykkas_stop(sim, closes=False)


async def pykkas_with_a_close(sim: Simulation) -> None:
    await ask_during_pykkas_stop(sim, closes=True)


def ours(sim: Simulation) -> None:
    ref = Echo.start()
    asks = sim.client(lambda: ref.ask("question", block=False), name="asker")
    sim.client(ref.stop, name="stopper").result()
    try:
        assert asks.result().get() == "question"
    except pykka.ActorDeadError:
        pass
    except concurrent.futures.CancelledError:
        pytest.fail("no caller has cancelled it")


def test_an_ask_that_races_with_a_stop_is_lost_in_pykkas_protocol(strategy: Any) -> None:
    Simulation().run(pykkas)  # First come, first served: no ask is lost.

    with pytest.raises(AssertionError, match="no actor answers") as lost:
        explore(pykkas, strategy, runs=2000)

    assert 1 <= deviations_of(lost.value) <= 5


def test_the_wait_for_a_lost_ask_is_reported(strategy: Any) -> None:
    asked: list[ReplyFuture[str]] = []

    async def scenario(sim: Simulation) -> None:
        actor = PykkasActor()
        running = sim.client(actor.run, name="actor")

        async def ask() -> None:
            asked.append(await actor.ask("question"))
            with contextlib.suppress(pykka.ActorDeadError):
                assert await asked[-1] == "question"

        asking = sim.client(ask, name="asker")
        await sim.client(actor.ask, STOP, name="stopper")
        await running
        await asking

    with pytest.raises(SimulationDeadlock, match="question") as lost:
        explore(scenario, strategy, runs=2000)
    for ask in asked:
        ask.cancel()

    assert "asker" in str(lost.value)


def test_no_ask_is_lost_if_the_inbox_closes_with_its_last_check(strategy: Any) -> None:
    assert explore(pykkas_with_a_close, strategy, runs=500).distinct > 20


@pytest.mark.parametrize("preempt", [False, True])
def test_no_ask_is_lost_in_our_protocol(strategy: Any, preempt: bool) -> None:
    result = explore(ours, strategy, runs=100 if preempt else 500, preempt=preempt)

    assert result.distinct > 10
    assert result.complete or not isinstance(strategy, Exhaustive) or preempt
