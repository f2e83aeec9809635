"""What the kernel promises, in drawn schedules."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import hypothesis
import pykka
import pytest
from hypothesis import strategies as st

from agy_actors import AgyActorsError, MailboxFull, watch
from agy_actors._kernel import AsyncioActor, DeathReason
from agy_actors.testing import (
    Deviations,
    PctSchedules,
    RandomSchedules,
    Simulation,
    explore,
    schedules,
)
from tests.simulation.actors import Relay, Work, Worker
from tests.simulation.effort import times

SETTINGS = hypothesis.settings(max_examples=times(150), deadline=None, print_blob=False)


class Counting(AsyncioActor):
    """Counts what it handles, and what it leaves unhandled."""

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
            await asyncio.sleep(1)
        elif kind == "fail":
            raise ValueError(message)
        return message

    def on_dead_letter(self, message: Any) -> None:
        self.dead_letters.append(message)

    def on_stop(self) -> None:
        self.ended = True


Plan = list[tuple[str, str]]
"""What a client does: how it sends, and what."""

plans: st.SearchStrategy[list[Plan]] = st.lists(
    st.lists(
        st.tuples(st.sampled_from(["ask", "tell"]), st.sampled_from(["fast", "slow"])),
        max_size=4,
    ),
    min_size=1,
    max_size=3,
)


@SETTINGS
@hypothesis.given(
    plans=plans, schedule=schedules(), stop_after=st.sampled_from([0.0, 0.5, 1.0, 9.0])
)
def test_what_was_sent_was_handled_or_is_a_dead_letter_or_was_refused(
    plans: list[Plan], schedule: Deviations, stop_after: float
) -> None:
    actors: list[Counting] = []

    class Kept(Counting):
        def __init__(self) -> None:
            super().__init__()
            actors.append(self)

    sent: Counter[str] = Counter()
    answers: Counter[str] = Counter()

    def scenario(sim: Simulation) -> None:
        ref = Kept.start()

        def client(name: int, plan: Plan) -> None:
            for number, (how, what) in enumerate(plan):
                message = (what, name, number)
                try:
                    if how == "ask":
                        assert ref.ask(message) == message
                        answers["value"] += 1
                    else:
                        ref.tell(message)
                    sent["taken"] += 1
                except pykka.ActorDeadError:
                    answers["dead" if how == "ask" else "refused"] += 1

        clients = [sim.client(client, name, plan) for name, plan in enumerate(plans)]
        sim.sleep(stop_after)
        ref.stop()
        for running in clients:
            running.result()

    Simulation(schedule).run(scenario)

    (actor,) = actors
    total = sum(len(plan) for plan in plans)
    asks = sum(how == "ask" for plan in plans for how, _ in plan)
    assert answers["value"] + answers["dead"] == asks
    assert sent["taken"] + answers["dead"] + answers["refused"] == total
    assert len(actor.handled) + len(actor.dead_letters) >= sent["taken"]
    for client in range(len(plans)):
        numbers = [number for _, name, number in actor.handled if name == client]
        assert numbers == sorted(numbers), "one sender's messages changed places"


@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    capacity=st.integers(1, 3),
    seconds=st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=6),
)
def test_turns_run_one_at_a_time_within_the_bounds_of_the_mailbox(
    schedule: Deviations, capacity: int, seconds: list[float]
) -> None:
    diary: list[tuple[str, str]] = []
    refused: list[str] = []

    def scenario(sim: Simulation) -> None:
        ref = Worker.start(diary, capacity)

        def client(name: str, time: float) -> None:
            try:
                assert ref.ask(Work(name, time)) == name
            except MailboxFull:
                refused.append(name)
            assert ref.actor_inbox.turns_waiting <= capacity

        for running in [sim.client(client, str(i), time) for i, time in enumerate(seconds)]:
            running.result()

    Simulation(schedule).run(scenario)

    begins = [name for event, name in diary if event == "begin"]
    assert diary == [(event, name) for name in begins for event in ("begin", "end")]
    assert sorted([*begins, *refused]) == sorted(map(str, range(len(seconds))))
    assert bool(refused) <= (len(seconds) > capacity)


@SETTINGS
@hypothesis.given(schedule=schedules(), how=st.sampled_from(["stop", "fail"]))
def test_each_watcher_is_told_once_whenever_it_began_to_watch(
    schedule: Deviations, how: str
) -> None:
    told: Counter[int] = Counter()
    reasons = set()

    def scenario(sim: Simulation) -> None:
        ref = Counting.start()

        def watcher(number: int) -> None:
            if number == 2:
                sim.sleep(1)
            future = watch(ref)
            future.add_done_callback(lambda _: told.update([number]))
            reasons.add(future.get().reason)

        def ender() -> None:
            if how == "stop":
                ref.stop()
            else:
                ref.tell(("fail",))

        running = [sim.client(watcher, number) for number in range(3)]
        sim.client(ender)
        for client in running:
            client.result()

    Simulation(schedule).run(scenario)

    assert told == Counter(range(3))
    assert reasons == {DeathReason.STOPPED if how == "stop" else DeathReason.FAILED}


@pytest.mark.parametrize("strategy", [RandomSchedules, PctSchedules])
@pytest.mark.parametrize("preempt", [False, True])
def test_an_ask_that_races_with_a_stop_is_always_answered(strategy: Any, preempt: bool) -> None:
    def scenario(sim: Simulation) -> None:
        ref = Relay.start()
        outcomes: list[str] = []

        def ask() -> None:
            try:
                ref.ask("late")
                outcomes.append("answered")
            except pykka.ActorDeadError:
                outcomes.append("dead")

        clients = [sim.client(ask) for _ in range(2)]
        sim.client(ref.stop)
        for client in clients:
            client.result()
        assert len(outcomes) == 2

    explore(scenario, strategy(5), runs=times(60 if preempt else 150), preempt=preempt)


@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    timeouts=st.lists(st.sampled_from([0.25, 1.0, 2.0]), min_size=1, max_size=4),
)
def test_an_ask_ends_by_its_deadline_and_what_was_abandoned_never_starts(
    schedule: Deviations, timeouts: list[float]
) -> None:
    diary: list[tuple[str, str]] = []

    def scenario(sim: Simulation) -> None:
        ref = Worker.start(diary)

        def client(number: int, timeout: float) -> None:
            try:
                ref.ask(Work(str(number), 1.0), timeout=timeout)
            except TimeoutError:
                diary.append(("abandoned", str(number)))
            assert sim.now <= timeout

        clients = [sim.client(client, n, timeout) for n, timeout in enumerate(timeouts)]
        for running in clients:
            running.result()

    Simulation(schedule).run(scenario)

    abandoned: set[str] = set()
    for event, name in diary:
        if event == "abandoned":
            abandoned.add(name)
        assert not (event == "begin" and name in abandoned)


@SETTINGS
@hypothesis.given(schedule=schedules(), cancelled=st.integers(0, 2))
def test_a_cancelled_turn_takes_no_other_with_it(schedule: Deviations, cancelled: int) -> None:
    diary: list[tuple[str, str]] = []

    async def scenario(_: Simulation) -> None:
        ref = Worker.start(diary)
        asks = [ref.ask(Work(str(n), 1.0), block=False) for n in range(3)]
        await asyncio.sleep(cancelled + 0.5)
        asks[cancelled].cancel()
        for number, ask in enumerate(asks):
            if number != cancelled:
                assert await ask == str(number)

    Simulation(schedule).run(scenario)

    assert [name for event, name in diary if event == "end"] == ["0", "1", "2"]


@pytest.mark.parametrize("strategy", [RandomSchedules, PctSchedules])
def test_a_circle_of_asks_is_refused_and_never_hangs(strategy: Any) -> None:
    class Circle(AsyncioActor):
        other: Any = None

        def on_receive(self, message: int) -> Any:
            return "end" if message == 0 else self.other.ask(message - 1)

    def scenario(_: Simulation) -> None:
        first, second = Circle.start(), Circle.start()
        first.proxy().other = second
        second.proxy().other = first
        assert first.ask(1) == "end"
        with pytest.raises(AgyActorsError, match="can never be answered"):
            first.ask(3)

    explore(scenario, strategy(2), runs=50)
