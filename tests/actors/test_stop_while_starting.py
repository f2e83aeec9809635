"""Actors that are stopped while their `on_start` still runs."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pykka
import pytest
import tenacity

from agy_actors import (
    ActorDeadError,
    AskTimeout,
    AsyncioActor,
    Backoff,
    CreateActor,
    DeathReason,
    Strategy,
    Supervisor,
    watch,
)
from agy_actors.testing import Simulation
from tests.harnesses import PATIENCE, until
from tests.simulation.threads import Threads, WorldType

if TYPE_CHECKING:
    from agy_actors import AsyncioActorRef

IN_BOTH_WORLDS = pytest.mark.parametrize("world", [Simulation, Threads])

AT_ONCE = Backoff(wait=tenacity.wait_none())


class Notes:
    """What an actor has done."""

    def __init__(self) -> None:
        self.starts = 0
        self.starting = threading.Event()
        self.may_start = threading.Event()
        self.cancelled = threading.Event()
        self.stops = 0
        self.handled: list[object] = []


@pytest.fixture
def notes() -> Notes:
    return Notes()


class Slow(AsyncioActor):
    """Starts when it may, from a given start on; the starts before are immediate."""

    def __init__(self, notes: Notes, *, slow_from: int = 1) -> None:
        super().__init__()
        self.notes = notes
        self._slow_from = slow_from

    async def on_start(self) -> None:  # type: ignore[override] # pykka: or async
        notes = self.notes
        notes.starts += 1
        if notes.starts < self._slow_from:
            return
        notes.starting.set()
        try:
            while not notes.may_start.is_set():  # noqa: ASYNC110 (a thread sets it)
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            notes.cancelled.set()
            raise

    def on_stop(self) -> None:
        self.notes.stops += 1

    def on_receive(self, message: Any) -> Any:
        if message == "fail":
            raise ValueError(message)
        self.notes.handled.append(message)
        return message


class Stubborn(Slow):
    """Ignores one cancellation of its start."""

    async def on_start(self) -> None:  # type: ignore[override] # pykka: or async
        try:
            await super().on_start()
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)


class Awkward(Slow):
    """Fails when its start is cancelled."""

    async def on_start(self) -> None:  # type: ignore[override] # pykka: or async
        try:
            await super().on_start()
        except asyncio.CancelledError:
            raise ValueError("no clean-up") from None


def starting(notes: Notes, actor_class: type[Slow] = Slow) -> AsyncioActorRef:
    ref = actor_class.start(notes)
    assert notes.starting.wait(PATIENCE)
    return ref


# One actor.


@pytest.mark.parametrize("actor_class", [Slow, Stubborn, Awkward])
def test_a_stop_now_cancels_the_start(notes: Notes, actor_class: type[Slow]) -> None:
    ref = starting(notes, actor_class)
    end = watch(ref)
    asked = ref.ask("waits", block=False)
    ref.tell("waits, too")

    assert ref.stop(now=True, timeout=PATIENCE)

    assert notes.cancelled.is_set()
    with pytest.raises(pykka.ActorDeadError):
        asked.get(timeout=PATIENCE)
    assert end.get(timeout=PATIENCE).reason is DeathReason.STOPPED
    assert (notes.handled, notes.stops) == ([], 0)
    assert ref not in pykka.ActorRegistry.get_all()


def test_all_who_ask_for_the_end_during_the_start_are_answered(notes: Notes) -> None:
    ref = starting(notes)

    stops = [ref.stop(now=now, block=False) for now in (False, True, True, False)]

    assert all(isinstance(stop.get(timeout=PATIENCE), bool) for stop in stops)
    assert stops[0].get() is stops[1].get() is True
    assert ref.stop() is False


def test_a_stop_lets_the_start_and_the_messages_before_it_end(notes: Notes) -> None:
    ref = starting(notes)
    asked = ref.ask("first", block=False)
    stop = ref.stop(block=False)
    with pytest.raises(AskTimeout):
        stop.get(timeout=0.1)

    notes.may_start.set()

    assert stop.get(timeout=PATIENCE)
    assert asked.get(timeout=PATIENCE) == "first"
    assert not notes.cancelled.is_set()
    assert notes.stops == 1


def test_a_stop_now_before_the_loop_runs_cancels_the_start_as_well(notes: Notes) -> None:
    for _ in range(20):
        ref = Slow.start(notes)
        assert ref.stop(now=True, timeout=PATIENCE)
        assert not ref.is_alive()


# Under a supervisor.


def wait_in(world: Any, event: threading.Event) -> None:
    for _ in range(10_000):
        if event.is_set():
            return
        world.sleep(0.1)
    raise AssertionError("the event was never set")


@IN_BOTH_WORLDS
def test_the_end_of_a_supervisor_cancels_the_start_of_an_actor(
    world: WorldType, notes: Notes
) -> None:
    def scenario(world: Any) -> None:
        supervisor = Supervisor.start()
        creation = supervisor.create_actor(Slow, notes, name="slow", block=False)
        wait_in(world, notes.starting)

        supervisor.shutdown()

        with pytest.raises(ActorDeadError):
            creation.get(timeout=PATIENCE)
        assert notes.cancelled.is_set()

    world().run(scenario)


@IN_BOTH_WORLDS
def test_the_end_of_a_supervisor_cancels_the_start_of_a_second_incarnation(
    world: WorldType, notes: Notes
) -> None:
    def scenario(world: Any) -> None:
        supervisor = Supervisor.start(backoff=AT_ONCE)
        actor = supervisor.create_actor(Slow, notes, slow_from=2)
        actor.tell("fail")
        wait_in(world, notes.starting)
        asked = actor.ask("waits", block=False)

        supervisor.shutdown()

        with pytest.raises(ActorDeadError):
            asked.get(timeout=PATIENCE)
        assert notes.cancelled.is_set()
        assert notes.handled == []

    world().run(scenario)


@IN_BOTH_WORLDS
def test_the_end_of_one_actor_cancels_its_start_and_frees_its_name(
    world: WorldType, notes: Notes
) -> None:
    def scenario(world: Any) -> None:
        with Supervisor.start(backoff=AT_ONCE) as supervisor:
            actor = supervisor.create_actor(Slow, notes, slow_from=2, name="one")
            actor.tell("fail")
            wait_in(world, notes.starting)

            supervisor.shutdown_agent("one")

            assert notes.cancelled.is_set()
            assert supervisor.actors() == {}
            again = supervisor.create_actor(Slow, Notes(), slow_from=2, name="one")
            assert again.ask("hello") == "hello"

    world().run(scenario)


def test_a_drain_waits_for_a_start_until_its_time_is_over(notes: Notes) -> None:
    supervisor = Supervisor.start(backoff=AT_ONCE)
    actor = supervisor.ask(CreateActor(Slow, (notes,), {"slow_from": 2}, stop_timeout=0.1))
    actor.tell("fail")
    assert notes.starting.wait(PATIENCE)

    supervisor.shutdown(drain=True)

    assert notes.cancelled.is_set()
    assert not actor.is_alive()


def test_a_drain_lets_a_start_end(notes: Notes) -> None:
    supervisor = Supervisor.start(backoff=AT_ONCE)
    actor = supervisor.create_actor(Slow, notes, slow_from=2)
    actor.tell("fail")
    assert notes.starting.wait(PATIENCE)
    asked = actor.ask("waits", block=False)
    shutdown = supervisor.shutdown(drain=True, block=False)

    notes.may_start.set()

    shutdown.get(timeout=PATIENCE)
    assert asked.get(timeout=PATIENCE) == "waits"
    assert not notes.cancelled.is_set()


def test_a_sibling_that_fails_cancels_a_start_which_begins_again(notes: Notes) -> None:
    other = Notes()
    with Supervisor.start(strategy=Strategy.ONE_FOR_ALL, backoff=AT_ONCE) as supervisor:
        sibling = supervisor.create_actor(Slow, other, slow_from=100)
        supervisor.create_actor(Slow, notes, slow_from=2, block=False).get(timeout=PATIENCE)
        sibling.tell("fail")
        assert notes.starting.wait(PATIENCE)

        sibling.tell("fail")

        until(lambda: notes.starts == 3)
        assert notes.cancelled.is_set()


def test_a_member_of_a_pool_is_ended_while_it_starts(notes: Notes) -> None:
    supervisor = Supervisor.start()
    creation = supervisor.create_actor_pool(Slow, notes, size=2, block=False)
    assert notes.starting.wait(PATIENCE)

    supervisor.shutdown()

    with pytest.raises(ActorDeadError):
        creation.get(timeout=PATIENCE)
    assert notes.cancelled.is_set()
