"""Work that is finished leaves no objects behind, however often it is repeated.

These tests count the objects that the garbage collector tracks, in a simulation, where only the
scenario runs. So they find a single reference that is kept for each turn or wait.
"""

from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING, Any

import pytest
import tenacity

from agy_actors import (
    AskTimeout,
    Backoff,
    Cancel,
    Chat,
    ClearHistory,
    ModelError,
    QuotaExceeded,
    RetryPolicy,
    Send,
    SignalIdle,
    Supervisor,
    TurnCancelled,
    TurnStalled,
    TurnTimeout,
    WaitForIdle,
    WaitForWakeup,
    as_completed,
    watch,
)
from agy_actors.testing import SimulatedAgent, Simulation, crash, error, quota, reply
from tests.simulation.effort import times
from tests.slow import quick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agy_actors import AgentRef, PoolRef, SupervisorRef
    from agy_actors.testing import SimulatedTurn

WARM_UP = 100
"""Repetitions that fill all caches. Arbitrary."""

SLACK = 0.6
"""Objects per repetition that are not a leak. Arbitrary: a leak is one or more for each."""

LONG = 1e5
"""Virtual seconds, longer than any test waits."""


def count_objects(simulation: Simulation) -> int:
    """Count the objects, after the simulation has dropped its finished timers, tasks and asks."""
    scheduler = simulation._scheduler
    scheduler.timers.prune()
    for fiber in scheduler.fibers:
        fiber.prune_tasks()
    simulation._runtime.asks.prune()
    for _ in range(3):  # A finalizer may leave objects to the next collection.
        gc.collect()
    return len(gc.get_objects())


@contextlib.contextmanager
def raises(*kinds: type[BaseException]) -> Iterator[None]:
    """Check for an error as `pytest.raises`, which keeps the error for too long."""
    try:
        yield
    except kinds:
        return
    raise AssertionError(f"nothing of {kinds} was raised")


class World:
    """A supervisor with an agent and a pool, whose turns end as their prompts say."""

    def __init__(self, supervisor: SupervisorRef) -> None:
        self.supervisor = supervisor
        self.config = SimulatedAgent(self._play)
        self.retries = False
        retry = RetryPolicy(
            attempts=2,
            retry=tenacity.retry_if_exception(lambda error: "400" not in str(error)),
            wait=tenacity.wait_fixed(1.0),
        )
        self.agent: AgentRef = supervisor.create_agent(
            self.config, name="agent", retry=retry, idle_timeout=5.0
        )
        self.busy: AgentRef = supervisor.create_agent(
            SimulatedAgent([reply("late", after=LONG)]), name="busy"
        )
        self.turn = self.busy.ask(Chat("go", timeout=9e5, stall_timeout=9e5), block=False)
        self.teller: AgentRef = supervisor.create_agent(
            SimulatedAgent([reply("late", after=LONG)]), name="teller"
        )
        self.stream = self.teller.stream(Chat("go", timeout=9e5, stall_timeout=9e5))
        self.cursor = self.stream.events(timeout=1.0)
        self.slow = SimulatedAgent()
        self.pool: PoolRef = supervisor.create_pool(self.slow, size=1, name="pool")
        self.held: AgentRef = supervisor.create_agent(
            SimulatedAgent([quota(retry_after=LONG)], api_key="held"), name="held"
        )
        with raises(QuotaExceeded):
            self.held.ask(Chat("hi", timeout=5.0))
        patient = supervisor.create_agent(SimulatedAgent(api_key="held"), name="patient")
        self.first_in_line = patient.ask(Chat("hi", timeout=9e5), block=False)

    def _play(self, prompt: Any) -> SimulatedTurn:
        kind = str(prompt)
        self.retries = not self.retries if kind in ("crash", "error", "quota") else False
        if kind in ("crash", "error", "quota") and not self.retries:
            return reply("at last")
        turns: dict[str, SimulatedTurn] = {
            "crash": crash(),
            "error": error(500),
            "quota": quota(retry_after=1.0),
            "refuse": error(400),
            "hang": reply(after=LONG),
            "stream": reply("one\ntwo\nthree", apart=1.0),
        }
        return turns.get(kind, reply())

    def end(self) -> None:
        self.cursor.close()
        self.stream.cancel()
        self.turn.cancel()
        self.first_in_line.cancel()

    def clear(self) -> None:
        """Clear what the history and the simulated disk keep of the turns."""
        self.agent.ask(ClearHistory())
        for state in (self.config._state, self.slow._state):
            state.requests.clear()
            state.conversations.clear()


def simulation() -> Simulation:
    current = Simulation.current()
    assert current is not None
    return current


def pause(seconds: float) -> None:
    simulation().sleep(seconds)


# Turns, retries and sleep.


def ask(world: World) -> None:
    assert world.agent.ask(Chat("hi")).text == "hi"


def send(world: World) -> None:
    world.agent.tell(Send("hi"))
    world.agent.ask(WaitForIdle())


def stream(world: World) -> None:
    assert list(world.agent.stream("stream")) == ["one\n", "two\n", "three"]


def leave_stream(world: World) -> None:
    with world.agent.stream("stream") as pieces:
        next(iter(pieces))
    world.agent.ask(WaitForIdle())


def crash_and_retry(world: World) -> None:
    assert world.agent.ask(Chat("crash")).text == "at last"
    pause(35.0)  # So that the agent is not given up.


def fail_and_retry(world: World) -> None:
    assert world.agent.ask(Chat("error")).text == "at last"


def hold_and_retry(world: World) -> None:
    assert world.agent.ask(Chat("quota")).text == "at last"


def fail(world: World) -> None:
    with raises(ModelError):
        world.agent.ask(Chat("refuse"))


def stall(world: World) -> None:
    with raises(TurnStalled):
        world.agent.ask(Chat("hang", stall_timeout=1.0))


def time_out(world: World) -> None:
    with raises(TurnTimeout):
        world.agent.ask(Chat("hang", timeout=1.0))


def cancel(world: World) -> None:
    future = world.agent.ask(Chat("hang"), block=False)
    pause(1.0)
    world.agent.ask(Cancel())
    with raises(TurnCancelled):
        future.get()


def abandon(world: World) -> None:
    with raises(AskTimeout):
        world.agent.ask(Chat("hang"), timeout=1.0)
    world.agent.ask(WaitForIdle())


def sleep_and_wake(world: World) -> None:
    pause(6.0)
    assert world.agent.ask(Chat("hi")).text == "hi"


def ask_pool(world: World) -> None:
    assert world.pool.ask(Chat("hi")).text == "hi"


# Subscriptions, watches and children.


def subscribe(world: World) -> None:
    subscription = world.supervisor.subscribe(lambda _: None)
    world.agent.ask(Chat("hi"))
    subscription.cancel()


def watch_for_a_while(world: World) -> None:
    death = watch(world.agent)
    with raises(AskTimeout):
        death.get(timeout=1.0)
    death.cancel()


def create_and_stop(world: World) -> None:
    world.supervisor.create_agent(SimulatedAgent(), name="short-lived").stop()


# Waits that time out, and waits that are cancelled.


def wait_for_wakeup(world: World) -> None:
    assert world.busy.ask(WaitForWakeup(timeout=1.0)) is False


def abandon_wait_for_wakeup(world: World) -> None:
    with raises(AskTimeout):
        world.busy.ask(WaitForWakeup(timeout=LONG), timeout=1.0)


def be_woken_up(world: World) -> None:
    future = world.busy.ask(WaitForWakeup(timeout=LONG), block=False)
    world.busy.ask(SignalIdle())
    assert future.get() is True


def abandon_wait_for_idle(world: World) -> None:
    with raises(AskTimeout):
        world.busy.ask(WaitForIdle(), timeout=1.0)


def get_with_timeout(world: World) -> None:
    with raises(AskTimeout):
        world.turn.get(timeout=1.0)


def derive_with_timeout(world: World) -> None:
    derived = world.turn.map(str)
    with raises(AskTimeout):
        derived.get(timeout=1.0)
    derived.cancel()


def listen_to_derived(world: World) -> None:
    world.turn.map(str).to_concurrent().cancel()


def wait_for_first(world: World) -> None:
    with raises(AskTimeout):
        next(as_completed([world.turn], timeout=1.0))


def wait_at_stream(world: World) -> None:
    with raises(AskTimeout):
        next(world.cursor)


def await_at_stream(world: World) -> None:
    async def wait() -> None:
        with raises(AskTimeout):
            await anext(world.cursor)

    simulation().client(wait, name="reader").result()


def wait_for_quota(world: World) -> None:
    with raises(QuotaExceeded):
        world.held.ask(Chat("hi", timeout=5.0))


def abandon_wait_for_quota(world: World) -> None:
    with raises(AskTimeout):
        world.held.ask(Chat("hi", timeout=9e5), timeout=1.0)


def abandon_resize(world: World) -> None:
    with raises(AskTimeout):
        world.pool.resize(2, timeout=0.01)


OPERATIONS: list[Callable[[World], None]] = [
    *[ask, send, stream, leave_stream, crash_and_retry, fail_and_retry, hold_and_retry, fail],
    *[stall, time_out, cancel, abandon, sleep_and_wake, ask_pool],
    *[subscribe, watch_for_a_while, create_and_stop],
    *[wait_for_wakeup, abandon_wait_for_wakeup, be_woken_up, abandon_wait_for_idle],
    *[get_with_timeout, derive_with_timeout, listen_to_derived, wait_for_first],
    *[wait_at_stream, await_at_stream],
    *[wait_for_quota, abandon_wait_for_quota, abandon_resize],
]


def grown_by(operations: Sequence[Callable[[World], None]], repetitions: int) -> int:
    """Return the number of objects that repetitions add to a world."""

    def scenario(sim: Simulation) -> int:
        backoff = Backoff(wait=tenacity.wait_fixed(1.0), reset_after=30.0)
        with Supervisor.start(backoff=backoff, max_restarts=1000) as supervisor:
            world = World(supervisor)
            world.slow._state.start = 50.0  # So that no added member starts.

            def repeat(number: int) -> int:
                for done in range(1, number + 1):
                    for operation in operations:
                        operation(world)
                    if done % 50 == 0 or done == number:
                        world.clear()
                return count_objects(sim)

            before = repeat(WARM_UP)
            after = repeat(repetitions)
            world.end()
            return after - before

    world = Simulation(trace=10, max_steps=10**9, max_time=1e9, patience=1e9)
    grown: int = world.run(scenario)
    return grown


@pytest.fixture(autouse=True)
def nothing_else_counted() -> Iterator[None]:
    """Exclude the objects from before the test from collections and counts. This is also faster."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize(
    "operation",
    quick(OPERATIONS, 0, 2, 4, 7, 9, 10, *range(12, 18), 22, 24, 26, 27, 29),
    ids=[operation.__name__ for operation in OPERATIONS],
)
def test_finished_work_leaves_no_object_behind(operation: Callable[[World], None]) -> None:
    repetitions = 100

    assert grown_by([operation], repetitions) < SLACK * repetitions


@pytest.mark.slow
@pytest.mark.timeout(300)  # Ten seconds alone, more beside other work.
def test_ten_thousand_turns_subscriptions_waits_retries_and_wake_ups_leave_no_object_behind() -> (
    None
):
    operations = [ask, subscribe, wait_for_wakeup, fail_and_retry, sleep_and_wake]
    repetitions = times(10_000) // len(operations)

    assert grown_by(operations, repetitions) < SLACK * WARM_UP
