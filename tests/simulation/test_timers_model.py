"""What messages told later, timers and cancelled starts promise, in drawn schedules."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import tenacity
from hypothesis import strategies as st

from agy_actors import (
    ActorDeadError,
    AsyncioActor,
    Backoff,
    DeadLetter,
    Lane,
    Message,
    ReceiveTimeout,
    Supervisor,
)
from agy_actors.testing import Deviations, Simulation, schedules
from tests.simulation.effort import times

if TYPE_CHECKING:
    from agy_actors import AsyncioActorRef, ReplyFuture

SETTINGS = hypothesis.settings(
    max_examples=times(40),
    deadline=None,
    print_blob=False,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
SLOW = Backoff(wait=tenacity.wait_fixed(5.0), reset_after=1000.0)


@dataclasses.dataclass(frozen=True)
class Note(Message[None]):
    """Note a number."""

    number: int


@dataclasses.dataclass(frozen=True)
class NoteInTurn(Note):
    lane = Lane.TURN


@dataclasses.dataclass(frozen=True)
class Fail(Message[None]):
    pass


class Notebook(AsyncioActor):
    """Notes numbers in a list that outlives it. Its start takes some seconds."""

    def __init__(self, noted: list[int], start: float = 0.0) -> None:
        super().__init__()
        self.noted = noted
        self._start = start

    async def on_start(self) -> None:  # type: ignore[override] # pykka: or async
        await asyncio.sleep(self._start)

    def on_receive(self, message: Any) -> None:
        if message == Fail():
            raise ValueError("no note")
        self.noted.append(message.number)


@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    delays=st.lists(st.sampled_from([0.0, 1.0, 4.0, 20.0]), min_size=1, max_size=6),
    failures=st.integers(0, 2),
    cancelled=st.sets(st.integers(0, 5)),
    kind=st.sampled_from([Note, NoteInTurn]),
    end_after=st.sampled_from([0.0, 2.0, 100.0]),
)
def test_each_message_told_later_is_handled_once_or_cancelled_or_a_dead_letter(
    schedule: Deviations,
    delays: list[float],
    failures: int,
    cancelled: set[int],
    kind: type[Note],
    *,
    end_after: float,
) -> None:
    def scenario(sim: Simulation) -> None:
        noted: list[int] = []
        letters: list[Any] = []
        with Supervisor.start(backoff=SLOW, max_restarts=50) as supervisor:
            supervisor.subscribe(
                lambda event: letters.append(event) if isinstance(event, DeadLetter) else None
            )
            notebook = supervisor.create_actor(Notebook, noted, 2.0)
            handles = [
                notebook.tell_later(kind(number), delay) for number, delay in enumerate(delays)
            ]
            for _ in range(failures):
                notebook.tell(Fail())
                sim.sleep(sim.choose(0.0, 1.0, 8.0))
            withdrawn = [
                number
                for number, handle in enumerate(handles)
                if number in cancelled and handle.cancel()
            ]
            sim.sleep(end_after)
            sim.sleep(0.0)
        fails = len(letters) - (len(delays) - len(noted) - len(withdrawn))
        assert 0 <= fails <= failures  # A failure that was told may be a dead letter, too.
        assert sorted({*noted, *withdrawn}) == sorted([*noted, *withdrawn])
        if end_after == 100.0:
            assert sorted([*noted, *withdrawn]) == list(range(len(delays)))

    Simulation(schedule).run(scenario)


@dataclasses.dataclass(frozen=True)
class Tick(Message[None]):
    """A timer's message, of one incarnation."""

    incarnation: int

    lane = Lane.TURN


class Ticking(AsyncioActor):
    """Has a timer, and works for some seconds whenever it ticks."""

    def __init__(self, works: float, ticks: list[tuple[int, int, int]]) -> None:
        super().__init__()
        self._works = works
        self._ticks = ticks
        self._number = 0

    def on_start(self) -> None:
        self._number = 1 + max((number for number, _, _ in self._ticks), default=0)
        self._ticks.append((self._number, self._number, 0))
        self.start_timer("tick", Tick(self._number), after=1.0, every=1.0)

    async def on_receive(self, message: Any) -> None:
        if message == Fail():
            raise ValueError("no tick")
        waiting = self.actor_inbox.turns_waiting
        self._ticks.append((self._number, message.incarnation, waiting))
        await asyncio.sleep(self._works)


@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    works=st.sampled_from([0.0, 2.5, 6.0]),
    pauses=st.lists(st.sampled_from([0.0, 1.0, 3.0, 8.0]), min_size=1, max_size=4),
)
def test_a_timer_tells_its_own_incarnation_and_leaves_out_ticks_that_would_pile_up(
    schedule: Deviations, works: float, pauses: list[float]
) -> None:
    def scenario(sim: Simulation) -> None:
        ticks: list[tuple[int, int, int]] = []
        with Supervisor.start(backoff=SLOW, max_restarts=50) as supervisor:
            ticking = supervisor.create_actor(Ticking, works, ticks)
            for pause in pauses:
                sim.sleep(pause)
                ticking.tell(Fail())
            sim.sleep(30.0)
        assert all(receiver == sender for receiver, sender, _ in ticks)
        assert all(waiting <= 1 for _, _, waiting in ticks)
        assert len(ticks) > len(pauses) + 2

    Simulation(schedule).run(scenario)


class Listening(AsyncioActor):
    """Notes when its receive timeout comes, and holds up its thread when it is told to."""

    def __init__(self, sim: Simulation) -> None:
        super().__init__()
        self._sim = sim
        self._last = sim.now
        self.silences: list[float] = []

    def on_start(self) -> None:
        self.set_receive_timeout(3.0)

    def on_receive(self, message: Any) -> Any:
        if message == "silences":
            return list(self.silences)
        now, self._last = self._last, self._sim.now
        if isinstance(message, ReceiveTimeout):
            self.silences.append(self._last - now)
        else:
            self._sim.sleep(message)
        return None


@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    plan=st.lists(
        st.tuples(st.sampled_from([0.0, 1.0, 2.0, 7.0]), st.sampled_from([0.0, 5.0])),
        min_size=1,
        max_size=6,
    ),
)
def test_a_receive_timeout_comes_after_silence_and_not_while_messages_wait(
    schedule: Deviations, plan: list[tuple[float, float]]
) -> None:
    def scenario(sim: Simulation) -> None:
        listening = Listening.start(sim)
        for pause, work in plan:
            sim.sleep(pause)
            listening.tell(work)
        sim.sleep(60.0)
        silences = listening.ask("silences")
        listening.stop()
        assert silences
        assert all(silence > 2.99 for silence in silences)

    Simulation(schedule).run(scenario)


@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    pauses=st.lists(st.sampled_from([0.0, 1.0]), max_size=3),
    supervised=st.booleans(),
)
def test_a_stop_now_cancels_a_start_whenever_it_comes_and_all_are_answered(
    schedule: Deviations, pauses: list[float], *, supervised: bool
) -> None:
    def scenario(sim: Simulation) -> None:
        noted: list[int] = []
        supervisor = Supervisor.start()
        refs: list[AsyncioActorRef] = []
        asked: list[ReplyFuture[Any]] = []
        if supervised:
            asked.append(supervisor.create_actor(Notebook, noted, 1000.0, block=False))
        else:
            refs.append(Notebook.start(noted, 1000.0))
        for pause in pauses:
            asked += [ref.ask(Note(1), block=False) for ref in refs]
            sim.sleep(pause)

        for ref in refs:
            assert ref.stop(now=True)
        supervisor.stop()

        assert sim.now < 900.0
        assert noted == []
        for reply in asked:
            with pytest.raises(ActorDeadError):
                reply.get(timeout=0)

    Simulation(schedule).run(scenario)
