"""Incarnations of a supervised actor: the owner learns how each ends, and starts the next."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import AsyncioActor, Event, subscribe
from agy_actors._actors import registry
from agy_actors._actors.declare_dead import declare_dead
from agy_actors._actors.errors import ActorDeadError
from agy_actors._actors.incarnation import Outcome
from agy_actors._actors.lifeline import DeathReason
from agy_actors._actors.watch import watch
from agy_actors.testing import Simulation
from tests.actors.doers import PATIENCE, Do, Doer, Gate, Turn, gate_fixture
from tests.simulation.threads import Threads, WorldType

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors._actors.actor_ref import AsyncioActorRef

__all__ = ["gate_fixture"]

IN_BOTH_WORLDS = pytest.mark.parametrize("world", [Simulation, Threads])


class FakeOwner:
    """Starts an actor, and its next incarnation whenever one has ended and another may follow."""

    def __init__(self, make: Callable[[], AsyncioActor], restarts: int = 1) -> None:
        self.make = make
        self.restarts = restarts
        self.log: list[Any] = []
        self.dead_letters: list[Any] = []
        self.actors: list[AsyncioActor] = []
        self.ref: AsyncioActorRef = self._add(make()).actor_ref
        registry.register(self.ref)
        self.actors[0]._begin()

    def _add(self, actor: AsyncioActor) -> AsyncioActor:
        actor._owner = self
        self.actors.append(actor)
        return actor

    def start_next(self) -> None:
        self._add(self.make())._take_over(self.ref)._begin()

    def ready(self, actor: AsyncioActor) -> None:
        self.log.append(("ready", self.actors.index(actor)))

    def gone(self, actor: AsyncioActor) -> None:
        self.log.append((actor._outcome, repr(actor._failed_with)))
        if actor._outcome is Outcome.ENDED:
            return
        if self.restarts:
            self.restarts -= 1
            self.start_next()
        else:
            declare_dead(self.ref, ActorDeadError("given up"), DeathReason.GIVEN_UP)

    def dead_letter(self, actor: AsyncioActor, message: Any) -> None:
        self.dead_letters.append((self.actors.index(actor), message))


def boom(_: object) -> None:
    raise ValueError("boom")


def leave(_: object) -> None:
    raise SystemExit("enough")


async def boom_later(_: object) -> None:
    await asyncio.sleep(0)
    raise ValueError("boom")


ENDED = (Outcome.ENDED, "None")
CRASHED = (Outcome.CRASHED, "ValueError('boom')")


@IN_BOTH_WORLDS
@pytest.mark.parametrize(
    ("failing", "error"),
    [
        (Do(boom), "ValueError('boom')"),
        (Do(boom_later), "ValueError('boom')"),
        (Turn(boom), "ValueError('boom')"),
        (Turn(boom_later), "ValueError('boom')"),
        (Do(leave), "RuntimeError('SystemExit: enough')"),
    ],
)
def test_a_crash_is_reported_and_the_next_incarnation_handles_waiting_messages(
    world: WorldType, failing: Any, error: str
) -> None:
    def scenario(_: Any) -> list[Any]:
        owner = FakeOwner(Doer)

        owner.ref.tell(failing)
        # A handler that is a coroutine fails only later.
        while owner.ref.ask(Turn(lambda actor: actor)) is owner.actors[0]:
            pass
        owner.ref.stop()

        return owner.log

    log = world().run(scenario)

    assert log == [("ready", 0), (Outcome.CRASHED, error), ("ready", 1), ENDED]


@IN_BOTH_WORLDS
def test_the_message_that_crashed_is_consumed_and_others_keep_their_order(
    world: WorldType,
) -> None:
    def scenario(_: Any) -> list[Any]:
        owner = FakeOwner(Doer)
        owner.ref.tell(Do(boom))
        for number in range(5):
            owner.ref.tell(number)
        diary = owner.ref.ask(Do(lambda actor: list(actor.diary)))
        owner.ref.stop()
        assert owner.actors[0].diary == ["failed"]  # type: ignore[attr-defined]
        return list(diary)

    assert world().run(scenario) == [0, 1, 2, 3, 4]


@IN_BOTH_WORLDS
def test_an_error_of_an_asked_message_ends_nothing(world: WorldType) -> None:
    def scenario(_: Any) -> list[Any]:
        owner = FakeOwner(Doer)
        with pytest.raises(ValueError, match="boom"):
            owner.ref.ask(Do(boom))
        with pytest.raises(SystemExit):
            owner.ref.ask(Do(leave))
        owner.ref.stop()
        return owner.log

    assert world().run(scenario) == [("ready", 0), ENDED]


class FailsAtStart(Doer):
    """Fails in its first `on_start`, and waits in the others."""

    starts: list[Any]

    async def on_start(self) -> None:  # type: ignore[override]
        self.starts.append(self)
        await asyncio.sleep(0)
        if len(self.starts) == 1:
            raise OSError("no start")


@IN_BOTH_WORLDS
def test_a_failed_start_is_reported_as_such(world: WorldType) -> None:
    def scenario(_: Any) -> list[Any]:
        starts: list[Any] = []
        owner = FakeOwner(lambda: FailsAtStart(starts=starts))
        assert owner.ref.ask("hello") == "hello"
        owner.ref.stop()
        assert owner.actors[0].diary == []  # type: ignore[attr-defined]
        return owner.log

    log = world().run(scenario)

    assert log == [(Outcome.FAILED, "OSError('no start')"), ("ready", 1), ENDED]


@IN_BOTH_WORLDS
def test_messages_that_a_crash_interrupted_are_handled_again(world: WorldType) -> None:
    def scenario(world: Any) -> int:
        owner = FakeOwner(Doer)
        times = []

        async def once(actor: Doer) -> str:
            times.append(actor)
            if len(times) == 1:
                await asyncio.get_running_loop().create_future()
            return "done"

        waiting = owner.ref.ask(Turn(once), block=False)
        while not times:
            world.sleep(1)
        owner.ref.tell(Do(boom))
        assert waiting.get() == "done"
        owner.ref.stop()
        return len(times)

    assert world().run(scenario) == 2


@IN_BOTH_WORLDS
def test_a_requested_restart_cleans_up_and_another_incarnation_follows(world: WorldType) -> None:
    def scenario(_: Any) -> list[Any]:
        owner = FakeOwner(Doer)
        owner.ref.ask("hello")
        owner.actors[0]._request_restart()
        while owner.ref.ask(Do(lambda actor: actor)) is owner.actors[0]:
            pass
        owner.ref.stop()
        assert owner.actors[0].diary == ["hello", "stopped"]  # type: ignore[attr-defined]
        return [entry[0] for entry in owner.log]

    assert world().run(scenario) == ["ready", Outcome.CRASHED, "ready", Outcome.ENDED]


@IN_BOTH_WORLDS
def test_a_restart_may_be_requested_before_the_thread_runs(world: WorldType) -> None:
    def scenario(_: Any) -> list[Any]:
        class Impatient(Doer):
            def _begin(self) -> None:
                if len(owner_actors) == 1:
                    self._request_restart()
                super()._begin()

        owner_actors: list[Any] = []

        def make() -> Doer:
            actor = Impatient()
            owner_actors.append(actor)
            return actor

        owner = FakeOwner(make)
        assert owner.ref.ask("hello") == "hello"
        owner.ref.stop()
        assert owner.actors[0].diary == []  # type: ignore[attr-defined]
        return [entry[0] for entry in owner.log]

    assert world().run(scenario) == [Outcome.CRASHED, "ready", Outcome.ENDED]


@IN_BOTH_WORLDS
def test_a_restart_may_be_requested_while_the_actor_starts(world: WorldType) -> None:
    def scenario(world: Any) -> list[Any]:
        starts: list[Any] = []

        class Slow(Doer):
            async def on_start(self) -> None:  # type: ignore[override]
                starts.append(self)
                if len(starts) == 1:
                    await asyncio.get_running_loop().create_future()

        owner = FakeOwner(Slow)
        while not starts:
            world.sleep(1)
        owner.actors[0]._request_restart()
        assert owner.ref.ask("hello") == "hello"
        owner.ref.stop()
        return [entry[0] for entry in owner.log]

    assert world().run(scenario) == [Outcome.CRASHED, "ready", Outcome.ENDED]


@IN_BOTH_WORLDS
def test_no_incarnation_follows_a_stop(world: WorldType) -> None:
    def scenario(_: Any) -> list[Any]:
        owner = FakeOwner(Doer)

        async def fail_while_stopping(actor: Doer) -> None:
            while not actor.actor_inbox.closed:  # noqa: ASYNC110 (nothing tells of it)
                await asyncio.sleep(0)
            actor._request_restart()
            raise ValueError("boom")

        owner.ref.tell(Turn(fail_while_stopping))
        assert owner.ref.stop() is True
        assert not owner.ref.is_alive()
        return owner.log

    assert [entry[0] for entry in world().run(scenario)] == ["ready", Outcome.ENDED]


@IN_BOTH_WORLDS
def test_the_end_is_reported_before_it_is_visible(world: WorldType) -> None:
    known: list[Any] = []

    def scenario(_: Any) -> None:
        owner = FakeOwner(Doer)
        watch(owner.ref).add_done_callback(lambda _: known.append(list(owner.log)))
        stopping = owner.ref.stop(block=False)
        stopping.add_done_callback(lambda _: known.append(list(owner.log)))
        stopping.get()

    world().run(scenario)

    assert known == [[("ready", 0), ENDED]] * 2


@IN_BOTH_WORLDS
def test_an_actor_that_is_given_up_answers_all_and_is_dead(world: WorldType) -> None:
    def scenario(_: Any) -> Any:
        owner = FakeOwner(Doer, restarts=0)
        owner.ref.tell(Do(boom))
        with pytest.raises(ActorDeadError):
            owner.ref.ask("hello")
        return watch(owner.ref).get().reason

    assert world().run(scenario) is DeathReason.GIVEN_UP


@IN_BOTH_WORLDS
def test_dead_letters_of_a_supervised_actor_go_to_its_owner(world: WorldType) -> None:
    elsewhere: list[Event] = []

    def scenario(_: Any) -> list[Any]:
        owner = FakeOwner(Doer)

        async def tell_and_wait(actor: Doer) -> None:
            actor.actor_ref.stop(block=False)
            actor.actor_ref.tell("late")
            await asyncio.sleep(0)

        owner.ref.ask(Turn(tell_and_wait))
        watch(owner.ref).get()
        return owner.dead_letters

    subscription = subscribe(elsewhere.append)
    letters = world().run(scenario)
    subscription.end().get(timeout=PATIENCE)

    assert letters == [(0, "late")]
    assert elsewhere == []


def test_an_incarnation_whose_loop_hangs_is_abandoned_and_reports_nothing_more() -> None:
    owner = FakeOwner(Doer)
    hung, let_go = threading.Event(), threading.Event()

    def hang(_: object) -> None:
        hung.set()
        let_go.wait(PATIENCE)
        raise ValueError("boom")

    owner.ref.tell(Do(hang))
    assert hung.wait(PATIENCE)

    first = owner.actors[0]
    assert "hang (test_incarnations.py" in first._where()
    first._kill()
    first._abandon()
    owner.start_next()
    assert owner.ref.ask("hello", timeout=PATIENCE) == "hello"
    let_go.set()
    assert first.gone.wait(PATIENCE)  # type: ignore[attr-defined]
    owner.ref.stop(timeout=PATIENCE)

    assert owner.log == [("ready", 0), ("ready", 1), ENDED]


def test_an_incarnation_that_never_finishes_its_start_can_be_abandoned() -> None:
    entered = threading.Event()

    class Stuck(Doer):
        async def on_start(self) -> None:  # type: ignore[override]
            if not entered.is_set():
                entered.set()
                await asyncio.get_running_loop().create_future()

    owner = FakeOwner(Stuck)
    assert entered.wait(PATIENCE)

    owner.actors[0]._abandon()
    owner.start_next()

    assert owner.ref.ask("hello", timeout=PATIENCE) == "hello"
    assert owner.actors[0].gone.wait(PATIENCE)  # type: ignore[attr-defined]
    owner.ref.stop(timeout=PATIENCE)
    assert owner.log == [("ready", 1), ENDED]


def test_an_incarnation_that_was_abandoned_in_its_start_leaves_the_mailbox_to_the_next() -> None:
    entered, let_go = threading.Event(), threading.Event()
    set_up: list[Any] = []

    class Stuck(Doer):
        def on_start(self) -> Any:
            if not entered.is_set():
                entered.set()
                let_go.wait(PATIENCE)
            return self._set_up()

        async def _set_up(self) -> None:
            set_up.append(self)

    owner = FakeOwner(Stuck)
    first = owner.actors[0]
    assert entered.wait(PATIENCE)

    first._abandon()
    owner.start_next()
    assert owner.ref.ask("hello", timeout=PATIENCE) == "hello"
    let_go.set()
    assert first.gone.wait(PATIENCE)  # type: ignore[attr-defined]

    assert owner.ref.ask("still there", timeout=PATIENCE) == "still there"
    assert set_up == [owner.actors[1]]
    owner.ref.stop(timeout=PATIENCE)
    assert owner.log == [("ready", 1), ENDED]


def test_an_actor_whose_main_task_is_cancelled_has_crashed(gate: Gate) -> None:
    owner = FakeOwner(Doer)
    waiting = owner.ref.ask(Turn(gate), block=False)
    gate.wait()

    def cancel_main(actor: Any) -> None:
        for task in asyncio.all_tasks():
            if task is not actor._messages.in_flight.get(actor._messages.turn):
                task.cancel()

    owner.ref.ask(Do(cancel_main))
    gate.open()
    assert owner.ref.ask("hello", timeout=PATIENCE) == "hello"
    with pytest.raises(asyncio.CancelledError):
        waiting.get(timeout=PATIENCE)
    owner.ref.stop(timeout=PATIENCE)

    assert [entry[0] for entry in owner.log] == ["ready", Outcome.CRASHED, "ready", Outcome.ENDED]
