"""Timers of an actor, its receive timeout, and messages that are told later."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import AsyncioActor, InvalidArgument, ReceiveTimeout
from agy_actors._actors.errors import ActorDeadError
from agy_actors._actors.watch import watch
from agy_actors.testing import Simulation
from tests.actors.doers import PATIENCE, Do, Doer, Turn
from tests.actors.test_incarnations import FakeOwner, boom
from tests.harnesses import until
from tests.simulation.threads import Threads, WorldType, seconds

if TYPE_CHECKING:
    from collections.abc import Callable

IN_BOTH_WORLDS = pytest.mark.parametrize("world", [Simulation, Threads])


class Clock(AsyncioActor):
    """Notes its messages and their times, in the scenario's unit."""

    def __init__(self, world: Any, set_up: Callable[[Clock], Any] | None = None) -> None:
        super().__init__()
        self.world = world
        self.set_up = set_up
        self.noted: list[Any] = []
        self.dead: list[Any] = []
        self.begun = world.now

    def on_start(self) -> None:
        if self.set_up is not None:
            self.set_up(self)

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, Do | Turn):
            return message.function(self)
        self.noted.append((message, self.world.now - self.begun))
        return None

    def on_dead_letter(self, message: Any) -> None:
        self.dead.append(message)


def noted(ref: Any) -> list[Any]:
    return [message for message, _ in ref.ask(Do(lambda actor: list(actor.noted)))]


def test_a_timer_tells_its_message_after_its_delay_and_then_periodically() -> None:
    def scenario(world: Any) -> list[Any]:
        def set_up(actor: Clock) -> None:
            actor.start_timer("once", "once", after=5)
            actor.start_timer("often", "tick", after=1, every=2)

        ref = Clock.start(world, set_up)
        world.sleep(6)
        log: list[Any] = ref.ask(Do(lambda actor: actor.noted))
        ref.stop()
        return log

    assert Simulation().run(scenario) == [("tick", 1), ("tick", 3), ("once", 5), ("tick", 5)]


@IN_BOTH_WORLDS
def test_a_timer_ticks_until_it_is_cancelled(world: WorldType) -> None:
    def scenario(world: Any) -> int:
        def set_up(actor: Clock) -> None:
            actor.start_timer("often", "tick", after=seconds(1), every=seconds(1))

        ref = Clock.start(world, set_up)
        while len(noted(ref)) < 3:
            world.sleep(1)
        ref.ask(Do(lambda actor: actor.cancel_timer("often")))
        before = len(noted(ref))
        world.sleep(20)
        after = len(noted(ref))
        ref.stop()
        return after - before

    assert world().run(scenario) == 0


@IN_BOTH_WORLDS
def test_starting_a_key_again_replaces_its_timer(world: WorldType) -> None:
    def scenario(world: Any) -> list[Any]:
        def set_up(actor: Clock) -> None:
            actor.start_timer("key", "old", after=seconds(2), every=seconds(1))
            actor.start_timer("key", "new", after=seconds(3))

        ref = Clock.start(world, set_up)
        while not noted(ref):
            world.sleep(1)
        world.sleep(10)
        messages = noted(ref)
        ref.stop()
        return messages

    assert world().run(scenario) == ["new"]


@pytest.mark.parametrize("kind", [Do, Turn])
def test_a_message_of_a_cancelled_timer_that_waits_is_withdrawn(kind: type[Any]) -> None:
    def scenario(world: Any) -> list[Any]:
        ref = Clock.start(world)
        tick = kind(lambda actor: actor.noted.append(("tick", 0)))

        async def hold_the_turn(actor: Clock) -> None:
            actor.start_timer("key", tick, after=0)
            await asyncio.sleep(5)

        def cancel_when_it_waits(actor: Clock) -> None:
            actor.start_timer("key", tick, after=1)
            world.sleep(5)  # The loop is blocked, so the timer is late.
            actor._messages.loop.call_soon(lambda: actor.cancel_timer("key"))

        ref.ask(kind(hold_the_turn if kind is Turn else cancel_when_it_waits), block=False)
        world.sleep(1)
        ref.ask(Do(lambda actor: actor.cancel_timer("key")))
        world.sleep(10)
        messages = noted(ref)
        ref.stop()
        return messages

    assert Simulation().run(scenario) == []


def test_ticks_do_not_pile_up_while_the_actor_is_busy() -> None:
    def scenario(world: Any) -> list[Any]:
        ref = Clock.start(world)

        async def work(actor: Clock) -> None:
            tick = Turn(lambda actor: actor.noted.append(("tick", world.now)))
            actor.start_timer("key", tick, after=1, every=1)
            await asyncio.sleep(100.5)

        ref.ask(Turn(work))
        world.sleep(1)
        messages = ref.ask(Do(lambda actor: list(actor.noted)))
        ref.stop()
        return list(messages)

    assert Simulation().run(scenario) == [("tick", 100.5), ("tick", 101.0)]


@IN_BOTH_WORLDS
def test_timers_end_with_their_incarnation(world: WorldType) -> None:
    def scenario(world: Any) -> tuple[list[Any], list[Any]]:
        def set_up(actor: Clock) -> None:
            if len(owner_made) == 1:
                actor.start_timer("often", "tick", after=seconds(1), every=seconds(1))
                actor.set_receive_timeout(seconds(1))

        owner_made: list[Clock] = []

        def make() -> Clock:
            owner_made.append(Clock(world, set_up))
            return owner_made[-1]

        owner = FakeOwner(make)
        while not noted(owner.ref):
            world.sleep(1)
        owner.ref.tell(Do(boom))
        while owner.ref.ask(Do(lambda actor: actor)) is owner_made[0]:
            world.sleep(1)
        world.sleep(20)
        messages = noted(owner.ref)
        owner.ref.stop()
        return messages, owner.dead_letters

    assert world().run(scenario) == ([], [])


def test_the_next_incarnation_finds_no_message_of_an_ended_timer() -> None:
    def scenario(world: Any) -> list[Any]:
        actors: list[Clock] = []

        def make() -> Clock:
            actors.append(Clock(world))
            return actors[-1]

        owner = FakeOwner(make)

        async def start_and_fail(actor: Clock) -> None:
            actor.start_timer("key", Turn(lambda actor: actor.noted.append(("tick", 0))), after=1)
            await asyncio.sleep(2)  # The tick waits for the end of this turn.
            raise ValueError("boom")

        owner.ref.tell(Turn(start_and_fail))
        world.sleep(5)
        messages = noted(owner.ref)
        assert owner.ref.ask(Do(lambda actor: actor)) is actors[1]
        owner.ref.stop()
        return messages

    assert Simulation().run(scenario) == []


@pytest.mark.parametrize(
    "how", ["a timer", "a timer that repeats", "one timer of many", "a receive timeout"]
)
@pytest.mark.parametrize("restarts_it", [False, True])
def test_a_timers_message_whose_handling_a_crash_cut_off_is_not_handled_again(
    how: str, restarts_it: bool
) -> None:
    def begin(actor: Clock) -> None:
        if how == "a receive timeout":
            actor.set_receive_timeout(1)
        else:
            actor.start_timer("key", "tick", after=1, every=0.1 if "repeats" in how else None)

    class Busy(Clock):
        async def on_receive(self, message: Any) -> Any:
            if isinstance(message, Do):
                return message.function(self)
            self.noted.append((message, 0))
            if restarts_it:
                begin(self)
            for number in range(40 if "many" in how else 0):
                self.start_timer(number, number, after=1000)
            await asyncio.sleep(100)
            return None

    def scenario(world: Any) -> list[Any]:
        actors: list[Clock] = []

        def make() -> Clock:
            actors.append(Busy(world))
            return actors[-1]

        owner = FakeOwner(make)
        owner.ref.ask(Do(begin))
        world.sleep(1.55)
        owner.ref.tell(Do(boom))
        world.sleep(5)
        messages = noted(owner.ref)
        assert len(actors) == 2
        assert actors[0].noted
        owner.ref.stop()
        return messages

    assert Simulation().run(scenario) == []


@IN_BOTH_WORLDS
def test_a_stop_ends_the_timers_without_dead_letters(world: WorldType) -> None:
    def scenario(world: Any) -> list[Any]:
        def set_up(actor: Clock) -> None:
            actor.start_timer("now", "tick", after=0, every=seconds(0.001))
            actor.start_timer("late", "late", after=seconds(1000))

        ref = Clock.start(world, set_up)
        actor = ref.ask(Do(lambda actor: actor))
        ref.stop()
        dead: list[Any] = actor.dead
        return dead

    assert world().run(scenario) == []


def test_a_handler_that_raises_for_a_timers_message_fails_the_actor() -> None:
    def scenario(world: Any) -> list[Any]:
        owner = FakeOwner(Doer)
        owner.ref.ask(Do(lambda actor: actor.start_timer("key", Do(boom), after=1)))
        world.sleep(2)
        owner.ref.stop()
        return [str(entry[0]) for entry in owner.log]

    assert Simulation().run(scenario) == ["ready", "Outcome.CRASHED", "ready", "Outcome.ENDED"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"after": -1}, "after"),
        ({"after": "soon"}, "after"),
        ({"after": float("inf")}, "after"),
        ({"after": 1, "every": 0}, "every"),
        ({"after": 1, "every": True}, "every"),
        ({"after": 1, "key": []}, "key"),
    ],
)
def test_the_arguments_of_a_timer_are_checked(arguments: dict[str, Any], words: str) -> None:
    ref = Doer.start()

    def start(actor: Doer) -> None:
        given = {"key": "key", "message": "tick", **arguments}
        actor.start_timer(**given)

    with pytest.raises(InvalidArgument, match=words):
        ref.ask(Do(start), timeout=PATIENCE)
    with pytest.raises(InvalidArgument, match="seconds"):
        ref.ask(Do(lambda actor: actor.set_receive_timeout(0)), timeout=PATIENCE)
    with pytest.raises(InvalidArgument, match="seconds"):
        ref.tell_later("message", -1)
    with pytest.raises(InvalidArgument, match="key"):
        ref.ask(Do(lambda actor: actor.cancel_timer([])), timeout=PATIENCE)
    ref.stop(timeout=PATIENCE)


def test_timers_belong_to_the_actors_own_thread() -> None:
    actor = Doer()

    with pytest.raises(RuntimeError, match="tell_later"):
        actor.start_timer("key", "tick", after=1)
    with pytest.raises(RuntimeError, match="tell_later"):
        actor.cancel_timer("key")
    with pytest.raises(RuntimeError, match="tell_later"):
        actor.set_receive_timeout(1)


def test_finished_timers_are_not_kept() -> None:
    def scenario(world: Any) -> int:
        def set_up(actor: Clock) -> None:
            for number in range(100):
                actor.start_timer(number, number, after=number)

        ref = Clock.start(world, set_up)
        world.sleep(200)
        count: int = ref.ask(Do(start_another_and_count))
        assert noted(ref) == list(range(100))
        ref.stop()
        return count

    def start_another_and_count(actor: Any) -> int:
        for number in range(200, 300):
            actor.start_timer(number, number, after=1000)
        return len(actor._timers._timers)

    assert Simulation().run(scenario) == 100


# The receive timeout.


def test_a_receive_timeout_comes_repeatedly_while_no_message_comes() -> None:
    def scenario(world: Any) -> list[Any]:
        ref = Clock.start(world, lambda actor: actor.set_receive_timeout(3))
        world.sleep(2)
        ref.tell("a message")
        world.sleep(7)
        log: list[Any] = ref.ask(Do(lambda actor: actor.noted))
        ref.ask(Do(lambda actor: actor.set_receive_timeout(None)))
        world.sleep(100)
        assert len(log) == len(noted(ref))
        ref.stop()
        return log

    assert Simulation().run(scenario) == [
        ("a message", 2),
        (ReceiveTimeout(), 5),
        (ReceiveTimeout(), 8),
    ]


def test_a_receive_timeout_waits_for_messages_that_are_not_handled_yet() -> None:
    def scenario(world: Any) -> list[Any]:
        ref = Clock.start(world, lambda actor: actor.set_receive_timeout(3))
        ref.tell(Do(lambda _: world.sleep(10)))
        ref.tell("waits")
        world.sleep(12)
        messages = noted(ref)
        ref.stop()
        return messages

    assert Simulation().run(scenario) == ["waits"]


def test_a_receive_timeout_comes_on_real_threads() -> None:
    class Silent(AsyncioActor):
        def __init__(self, came: threading.Event) -> None:
            super().__init__()
            self.came = came

        def on_start(self) -> None:
            self.set_receive_timeout(0.01)

        def on_receive(self, message: Any) -> None:
            if isinstance(message, ReceiveTimeout):
                self.came.set()

    came = threading.Event()
    ref = Silent.start(came)

    assert came.wait(PATIENCE)
    ref.stop(timeout=PATIENCE)


# Messages that are told later.


@IN_BOTH_WORLDS
def test_a_message_is_told_after_its_delay(world: WorldType) -> None:
    def scenario(world: Any) -> list[Any]:
        ref = Clock.start(world)
        ref.tell_later("soon", seconds(1))  # First: on threads, time passes between the two.
        ref.tell_later("late", seconds(5))
        while len(noted(ref)) < 2:
            world.sleep(1)
        log: list[Any] = ref.ask(Do(lambda actor: actor.noted))
        ref.stop()
        return log

    (soon, first), (late, second) = world().run(scenario)

    assert (soon, late) == ("soon", "late")
    assert first >= 1
    assert second >= 5


@IN_BOTH_WORLDS
def test_a_message_told_later_can_be_cancelled(world: WorldType) -> None:
    def scenario(world: Any) -> list[Any]:
        ref = Clock.start(world)
        cancelled = ref.tell_later("cancelled", seconds(200))
        sent = ref.tell_later("sent", seconds(3))
        assert cancelled.cancel() is True
        assert cancelled.cancel() is False
        while not noted(ref):
            world.sleep(1)
        assert sent.cancel() is False
        world.sleep(250)
        messages = noted(ref)
        ref.stop()
        return messages

    assert world().run(scenario) == ["sent"]


@IN_BOTH_WORLDS
def test_a_message_told_later_survives_restarts(world: WorldType) -> None:
    def scenario(world: Any) -> list[Any]:
        owner = FakeOwner(lambda: Clock(world), restarts=3)
        owner.ref.tell_later("late", seconds(20))
        for _ in range(3):
            owner.ref.tell(Do(boom))
            world.sleep(2)
        while not noted(owner.ref):
            world.sleep(1)
        messages = noted(owner.ref)
        owner.ref.stop()
        return messages

    assert world().run(scenario) == ["late"]


def test_a_message_that_is_due_while_no_incarnation_runs_waits_for_the_next() -> None:
    def scenario(world: Any) -> list[Any]:
        class SlowOwner(FakeOwner):
            def gone(self, actor: AsyncioActor) -> None:
                if actor is not self.actors[0]:
                    super().gone(actor)

        owner = SlowOwner(lambda: Clock(world))
        owner.ref.tell_later("late", 5)
        owner.ref.tell(Do(boom))
        world.sleep(10)
        owner.start_next()
        messages = noted(owner.ref)
        world.sleep(1)
        messages = noted(owner.ref)
        owner.ref.stop()
        return messages

    assert Simulation().run(scenario) == ["late"]


@IN_BOTH_WORLDS
def test_a_message_told_later_is_a_dead_letter_if_the_actor_ends_before(world: WorldType) -> None:
    def scenario(world: Any) -> list[Any]:
        ref = Clock.start(world)
        actor = ref.ask(Do(lambda actor: actor))
        ref.tell_later("late", seconds(1000))
        ref.tell_later("cancelled", seconds(1000)).cancel()
        ref.stop()
        with pytest.raises(ActorDeadError):
            ref.tell_later("later still", 1)
        watch(ref).get()
        dead: list[Any] = actor.dead
        return dead

    assert world().run(scenario) == ["late"]


@IN_BOTH_WORLDS
def test_each_message_told_later_is_sent_once_or_cancelled_or_a_dead_letter(
    world: WorldType,
) -> None:
    def scenario(world: Any) -> None:
        ref = Clock.start(world)
        actor = ref.ask(Do(lambda actor: actor))
        handles = [ref.tell_later(number, seconds(number % 3)) for number in range(12)]
        cancelled: list[int] = []

        def cancel() -> None:
            cancelled.extend(n for n in range(0, 12, 2) if handles[n].cancel())

        clients = [world.client(cancel), world.client(ref.stop)]
        for client in clients:
            client.result()
        watch(ref).get()

        sent = [message for message, _ in actor.noted]
        assert sorted([*sent, *cancelled, *actor.dead]) == list(range(12))

    for _ in range(20):
        world().run(scenario)


def test_a_turn_told_later_takes_the_turn_lane_even_beyond_its_capacity() -> None:
    def scenario(world: Any) -> list[Any]:
        class Narrow(Clock):
            mailbox_capacity = 1

        ref = Narrow.start(world)
        ref.tell(Turn(lambda _: asyncio.sleep(5)))
        ref.tell_later(Turn(lambda actor: actor.noted.append(("late", 0))), 1)
        world.sleep(0.5)
        ref.tell(Turn(lambda actor: actor.noted.append(("waits", 0))))
        world.sleep(10)
        messages = noted(ref)
        ref.stop()
        return messages

    assert Simulation().run(scenario) == ["waits", "late"]


def test_cancelling_leaves_nothing_on_the_actors_loop() -> None:
    ref = Doer.start()
    handle = ref.tell_later("late", 1000)
    ref.ask(Do(lambda _: None), timeout=PATIENCE)
    scheduled = ref.ask(Do(lambda actor: actor._loop._scheduled), timeout=PATIENCE)
    until(lambda: len(scheduled) == 1)

    assert handle.cancel()

    until(scheduled[0].cancelled)
    ref.stop(timeout=PATIENCE)
