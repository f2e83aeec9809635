"""The guarantees of actors, in drawn schedules and on real threads.

Each test runs the functions above it in many schedules. The stress tests repeat them on
real threads.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import hypothesis
import pykka
import pytest
from hypothesis import strategies as st

from agy_actors import AgyActorsError, MailboxFull, watch
from agy_actors._actors.actor import AsyncioActor
from agy_actors._actors.lifeline import DeathReason
from agy_actors.testing import Deviations, PctSchedules, RandomSchedules, Simulation, schedules
from tests.simulation.actors import Relay, Work, Worker
from tests.simulation.effort import EFFORT, times
from tests.simulation.judged import judged
from tests.simulation.threads import (
    Threads,
    World,
    WorldType,
    explore_in,
    seconds,
    simulated,
)

pytestmark = pytest.mark.timeout(60 * max(1.0, EFFORT))

IN_BOTH_WORLDS = pytest.mark.parametrize(
    "world", [Simulation, Threads], ids=["simulated", "threads"]
)
EXPLORED_IN_BOTH_WORLDS = pytest.mark.parametrize(
    ("world", "strategy"),
    [(Simulation, RandomSchedules), (Simulation, PctSchedules), (Threads, RandomSchedules)],
    ids=["simulated-RandomSchedules", "simulated-PctSchedules", "threads"],
)
SETTINGS = hypothesis.settings(max_examples=times(150), deadline=None, print_blob=False)


class Counting(AsyncioActor):
    """Records the messages that it handles and those that it leaves unhandled."""

    def __init__(self) -> None:
        super().__init__()
        self.handled: list[Any] = []
        self.dead_letters: list[Any] = []
        self.ended = False

    async def on_receive(self, message: Any) -> Any:
        assert not self.ended, "a message was handled after the end"
        self.handled.append(message)
        kind, *_ = message
        if kind == "slow":
            await asyncio.sleep(seconds(1))
        elif kind == "fail":
            raise ValueError(message)
        return message

    def on_dead_letter(self, message: Any) -> None:
        self.dead_letters.append(message)

    def on_stop(self) -> None:
        self.ended = True


Plan = list[tuple[str, str]]
"""What a client sends, and how."""

WAYS, KINDS = ("ask", "tell"), ("fast", "slow")

plans: st.SearchStrategy[list[Plan]] = st.lists(
    st.lists(st.tuples(st.sampled_from(WAYS), st.sampled_from(KINDS)), max_size=4),
    min_size=1,
    max_size=3,
)


def send_and_stop(world: World, plans: list[Plan], stop_after: float) -> None:
    actors: list[Counting] = []

    class Kept(Counting):
        def __init__(self) -> None:
            super().__init__()
            actors.append(self)

    # Lists of events, counted at the end: on threads, two that count at once may lose one.
    sent: list[str] = []
    answers: list[str] = []

    def scenario(world: World) -> None:
        ref = Kept.start()

        def client(name: int, plan: Plan) -> None:
            for number, (how, what) in enumerate(plan):
                message = (what, name, number)
                try:
                    if how == "ask":
                        assert ref.ask(message) == message
                        answers.append("value")
                    else:
                        ref.tell(message)
                    sent.append("taken")
                except pykka.ActorDeadError:
                    answers.append("dead" if how == "ask" else "refused")

        clients = [world.client(client, name, plan) for name, plan in enumerate(plans)]
        world.sleep(stop_after)
        ref.stop()
        for running in clients:
            running.result()

    world.run(scenario)

    with judged(world):
        (actor,) = actors
        total = sum(len(plan) for plan in plans)
        asks = sum(how == "ask" for plan in plans for how, _ in plan)
        count = Counter(answers)
        assert count["value"] + count["dead"] == asks
        assert len(sent) + count["dead"] + count["refused"] == total
        assert len(actor.handled) + len(actor.dead_letters) >= len(sent)
        for client in range(len(plans)):
            numbers = [number for _, name, number in actor.handled if name == client]
            assert numbers == sorted(numbers), "one sender's messages changed places"


@IN_BOTH_WORLDS
@SETTINGS
@hypothesis.given(
    plans=plans, schedule=schedules(), stop_after=st.sampled_from([0.0, 0.5, 1.0, 9.0])
)
def test_each_message_is_handled_or_a_dead_letter_or_refused(
    world: WorldType, plans: list[Plan], schedule: Deviations, stop_after: float
) -> None:
    send_and_stop(world(schedule), plans, stop_after)


def take_turns(world: World, capacity: int, durations: list[float]) -> None:
    diary: list[tuple[str, str]] = []
    refused: list[str] = []

    def scenario(world: World) -> None:
        ref = Worker.start(diary, capacity)

        def client(name: str, time: float) -> None:
            try:
                assert ref.ask(Work(name, time)) == name
            except MailboxFull:
                refused.append(name)
            assert ref.actor_inbox.turns_waiting <= capacity

        for running in [world.client(client, str(i), time) for i, time in enumerate(durations)]:
            running.result()

    world.run(scenario)

    with judged(world):
        begins = [name for event, name in diary if event == "begin"]
        assert diary == [(event, name) for name in begins for event in ("begin", "end")]
        assert sorted([*begins, *refused]) == sorted(map(str, range(len(durations))))
        assert bool(refused) <= (len(durations) > capacity)


@IN_BOTH_WORLDS
@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    capacity=st.integers(1, 3),
    durations=st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=6),
)
def test_turns_run_one_at_a_time_within_the_bounds_of_the_mailbox(
    world: WorldType, schedule: Deviations, capacity: int, durations: list[float]
) -> None:
    take_turns(world(schedule), capacity, durations)


def watch_the_end(world: World, how: str, late: float = 1.0) -> None:
    told: list[int] = []
    reasons: list[DeathReason] = []

    def scenario(world: World) -> None:
        ref = Counting.start()

        def watcher(number: int) -> None:
            if number == 2:
                world.sleep(late)
            future = watch(ref)
            future.add_done_callback(lambda _: told.append(number))
            reasons.append(future.get().reason)

        def ender() -> None:
            if how == "stop":
                ref.stop()
            else:
                ref.tell(("fail",))

        running = [world.client(watcher, number) for number in range(3)]
        world.client(ender)
        for client in running:
            client.result()

    world.run(scenario)

    with judged(world):
        assert Counter(told) == Counter(range(3))
        assert reasons == [DeathReason.STOPPED if how == "stop" else DeathReason.FAILED] * 3


@IN_BOTH_WORLDS
@SETTINGS
@hypothesis.given(schedule=schedules(), how=st.sampled_from(["stop", "fail"]))
def test_each_watcher_is_called_once_at_any_time_of_its_start(
    world: WorldType, schedule: Deviations, how: str
) -> None:
    watch_the_end(world(schedule), how)


def ask_during_a_stop(world: World) -> None:
    ref = Relay.start()
    outcomes: list[str] = []

    def ask() -> None:
        try:
            ref.ask("late")
            outcomes.append("answered")
        except pykka.ActorDeadError:
            outcomes.append("dead")

    clients = [world.client(ask) for _ in range(2)]
    world.client(ref.stop)
    for client in clients:
        client.result()
    assert len(outcomes) == 2


@EXPLORED_IN_BOTH_WORLDS
@pytest.mark.parametrize("preempt", [False, True])
def test_an_ask_that_races_with_a_stop_is_always_answered(
    world: WorldType, strategy: Any, preempt: bool
) -> None:
    runs = times(60 if preempt else 150)

    explore_in(world, ask_during_a_stop, strategy, seed=5, runs=runs, preempt=preempt)


def ask_with_deadlines(world: World, timeouts: list[float], work: float = 1.0) -> None:
    diary: list[tuple[str, str]] = []
    answered: list[str] = []

    def scenario(world: World) -> None:
        ref = Worker.start(diary)

        def client(name: str, timeout: float) -> None:
            try:
                assert ref.ask(Work(name, work), timeout=seconds(timeout)) == name
                answered.append(name)
            except TimeoutError:
                diary.append(("abandoned", name))
            # Real clocks advance while a thread waits for its time slice.
            assert world.now <= timeout or not simulated(world)

        clients = [world.client(client, str(n), timeout) for n, timeout in enumerate(timeouts)]
        for running in clients:
            running.result()

    world.run(scenario)

    with judged(world):
        abandoned: set[str] = set()
        for event, name in diary:
            if event == "abandoned":
                abandoned.add(name)
            # On threads, its handler may have been about to begin: that is cancelled then.
            assert not (event == "begin" and name in abandoned) or not simulated(world)
        assert sorted([*abandoned, *answered]) == sorted(map(str, range(len(timeouts))))


@IN_BOTH_WORLDS
@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    timeouts=st.lists(st.sampled_from([0.25, 1.0, 2.0]), min_size=1, max_size=4),
)
def test_an_ask_ends_by_its_deadline_and_an_abandoned_one_never_starts(
    world: WorldType, schedule: Deviations, timeouts: list[float]
) -> None:
    ask_with_deadlines(world(schedule), timeouts)


def cancel_one_turn(world: World, cancelled: int, work: float = 1.0) -> None:
    diary: list[tuple[str, str]] = []

    async def scenario(_: World) -> None:
        ref = Worker.start(diary)
        asks = [ref.ask(Work(str(n), work), block=False) for n in range(3)]
        await asyncio.sleep(seconds((cancelled + 0.5) * work))
        asks[cancelled].cancel()
        for number, ask in enumerate(asks):
            if number != cancelled:
                assert await ask == str(number)

    world.run(scenario)

    with judged(world):
        ends = [name for event, name in diary if event == "end"]
        # On threads, the cancellation may also come before the turn began: it has no end then.
        assert ends == ["0", "1", "2"] or not simulated(world)
        others = [str(number) for number in range(3) if number != cancelled]
        assert [name for name in ends if name != str(cancelled)] == others


@IN_BOTH_WORLDS
@SETTINGS
@hypothesis.given(schedule=schedules(), cancelled=st.integers(0, 2))
def test_a_cancelled_turn_takes_no_other_with_it(
    world: WorldType, schedule: Deviations, cancelled: int
) -> None:
    cancel_one_turn(world(schedule), cancelled)


class Circle(AsyncioActor):
    """Asks the next actor with a number smaller by one, until it is zero."""

    other: Any = None

    def on_receive(self, message: int) -> Any:
        return "end" if message == 0 else self.other.ask(message - 1)


def ask_in_a_circle(_: World) -> None:
    first, second = Circle.start(), Circle.start()
    first.proxy().other = second
    second.proxy().other = first

    assert first.ask(1) == "end"
    with pytest.raises(AgyActorsError, match="can never be answered"):
        first.ask(3)


@EXPLORED_IN_BOTH_WORLDS
def test_a_circle_of_asks_is_refused_and_never_hangs(world: WorldType, strategy: Any) -> None:
    explore_in(world, ask_in_a_circle, strategy, seed=2, runs=50)
