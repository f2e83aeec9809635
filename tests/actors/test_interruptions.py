"""Mailboxes whose methods are interrupted by puts, before each of their instructions."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

import pykka
import pytest
from pykka.messages import _ActorStop

from agy_actors._actors import actor as _actor
from agy_actors._actors import mailbox as _mailbox
from agy_actors._actors.actor import AsyncioActor
from agy_actors._actors.envelope import Envelope
from agy_actors._actors.errors import MailboxFull
from agy_actors._actors.future import ReplyFuture
from agy_actors._actors.mailbox import Mailbox
from agy_actors._actors.message import Lane, Message
from tests.actors.interruptions import interruptions

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from agy_actors._actors.actor_ref import AsyncioActorRef

    Put = Callable[["World", Any], None]


@dataclasses.dataclass(frozen=True)
class Turn(Message[Any]):
    name: str
    lane: ClassVar[Lane] = Lane.TURN


@dataclasses.dataclass(frozen=True)
class Query(Message[Any]):
    name: str


class Loop:
    """An event loop that calls its callbacks when the test says so."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], Any]] = []

    def call_soon(self, callback: Callable[[], Any], context: object = None) -> None:
        del context
        self.calls.append(callback)

    call_soon_threadsafe = call_soon

    def is_closed(self) -> bool:
        return False

    def run(self) -> None:
        while self.calls:
            self.calls.pop(0)()


class World:
    """A mailbox, and the messages that were put into it and taken from it."""

    def __init__(self, capacity: int = 1000) -> None:
        self.mailbox = Mailbox(capacity)
        self.loop = Loop()
        self.accepted: list[Any] = []
        self.refused: list[Any] = []
        self.taken: list[Any] = []

    def put(self, message: Any) -> None:
        self._try(message, lambda: self.mailbox.put(Envelope(message)))

    def post(self, message: Any) -> None:
        self._try(message, lambda: self.mailbox.post(message))

    def _try(self, message: Any, put: Callable[[], None]) -> None:
        try:
            put()
        except (MailboxFull, pykka.ActorDeadError):
            self.refused.append(message)
        else:
            self.accepted.append(message)

    def drain(self) -> None:
        while (item := self.mailbox.take(turns=True)) is not None:
            self.taken.append(_bare(item))

    def attach(self) -> None:
        self.mailbox.attach(self.event_loop, self.drain)

    def fall_asleep(self) -> None:
        self.attach()
        self.loop.run()
        assert self.mailbox._asleep

    @property
    def event_loop(self) -> asyncio.AbstractEventLoop:
        loop: Any = self.loop
        return loop  # type: ignore[no-any-return] # it has all that a mailbox calls


def _bare(item: Any) -> Any:
    return getattr(item, "message", item)


def dead() -> Exception:
    return pykka.ActorDeadError("dead")


def put_turn(world: World, name: str) -> None:
    world.put(Turn(name))


def put_query(world: World, name: str) -> None:
    world.put(Query(name))


def post_query(world: World, name: str) -> None:
    world.post(Query(name))


PUTS = [put_turn, put_query, post_query]


@pytest.mark.parametrize("abandoned", range(4))
def test_a_put_that_interrupts_another_at_capacity_is_accepted_and_there_or_refused(
    abandoned: int,
) -> None:
    results: Counter[int] = Counter()
    for run in interruptions(_mailbox):
        world = World(capacity=3)
        gone: list[ReplyFuture[Any]] = [ReplyFuture() for _ in range(abandoned)]
        for number in range(3):
            reply_to = gone[number] if number < abandoned else None
            world.mailbox.put(Envelope(Turn(f"old {number}"), reply_to))
        for future in gone:
            future.cancel()

        run(lambda: world.put(Turn("outer")), lambda: world.put(Turn("inner")))  # noqa: B023

        assert world.mailbox.turns_waiting <= 3
        results[len(world.accepted)] += 1
        world.drain()
        kept = [Turn(f"old {number}") for number in range(abandoned, 3)]
        assert world.taken[: len(kept)] == kept or len(world.taken) == 3
        assert Counter(world.accepted) == Counter(
            [message for message in world.taken if message.name in ("outer", "inner")]
        )
        assert set(kept) <= set(world.taken)
    assert max(results) == min(2, abandoned)


@pytest.mark.parametrize("inner", PUTS)
@pytest.mark.parametrize("outer", PUTS)
def test_a_put_that_interrupts_another_is_taken_and_wakes_the_actor(outer: Put, inner: Put) -> None:
    for run in interruptions(_mailbox):
        world = World()
        world.fall_asleep()

        run(lambda: outer(world, "outer"), lambda: inner(world, "inner"))  # noqa: B023
        world.loop.run()

        assert Counter(world.taken) == Counter(world.accepted)


@pytest.mark.parametrize("inner", PUTS)
@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("turns", [True, False])
def test_a_put_that_interrupts_a_take_is_taken_and_wakes_the_actor(
    inner: Put, before: int, *, turns: bool
) -> None:
    for run in interruptions(_mailbox):
        world = World()
        world.attach()
        world.loop.calls.clear()
        for number in range(before):
            put_query(world, f"before {number}")

        def take() -> None:
            while (item := world.mailbox.take(turns=turns)) is not None:  # noqa: B023
                world.taken.append(_bare(item))  # noqa: B023

        run(take, lambda: inner(world, "inner"))  # noqa: B023
        world.loop.run()

        if not turns:
            world.mailbox.rouse()
            world.loop.run()
        assert Counter(world.taken) == Counter(world.accepted)


def act_attach(world: World) -> None:
    world.attach()


def act_detach(world: World) -> None:
    world.mailbox.detach()


def act_detach_loop(world: World) -> None:
    world.mailbox.detach(world.event_loop)


def act_rouse(world: World) -> None:
    world.mailbox.rouse()


def act_put_back(world: World) -> None:
    world.accepted.append(Query("back"))
    world.mailbox.put_back(Envelope(Query("back")))


def act_evict(world: World) -> None:
    world.mailbox.evict()


@pytest.mark.parametrize("inner", PUTS)
@pytest.mark.parametrize(
    "act", [act_attach, act_detach, act_detach_loop, act_rouse, act_put_back, act_evict]
)
@pytest.mark.parametrize("asleep", [True, False])
def test_a_put_that_interrupts_any_other_method_is_taken_after_the_next_attach(
    inner: Put, act: Callable[[World], None], *, asleep: bool
) -> None:
    for run in interruptions(_mailbox):
        world = World()
        if asleep:
            world.fall_asleep()
        else:
            put_query(world, "first")
            put_query(world, "second")

        run(lambda: act(world), lambda: inner(world, "inner"))  # noqa: B023
        world.loop.run()
        if world.mailbox._waker is None:
            world.attach()
            world.loop.run()

        assert Counter(world.taken) == Counter(world.accepted)
        queries = [m for m in world.taken if isinstance(m, Query) and m.name != "back"]
        assert queries == [m for m in world.accepted if m in queries]


def test_a_request_to_stop_that_interrupts_a_close_is_handed_over_or_stays() -> None:
    for run in interruptions(_mailbox):
        for take_stops in (True, False):
            world = World()
            put_query(world, "first")
            left: list[Any] = []

            run(
                lambda: left.extend(world.mailbox.close(dead, take_stops=take_stops)),  # noqa: B023
                lambda: world.put(_ActorStop()),  # noqa: B023
            )
            left += world.mailbox.close(dead)

            assert Counter(map(_bare, left)) == Counter(world.accepted)


class InterruptedLock:
    """A lock whose holder is interrupted just after releasing it."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        raise KeyboardInterrupt


@pytest.mark.parametrize("outer", PUTS)
def test_ctrl_c_in_a_put_does_not_prevent_the_wake_up(outer: Put) -> None:
    world = World()
    world.fall_asleep()
    lock: Any = world.mailbox._lock
    interrupted: Any = InterruptedLock(lock)
    world.mailbox._lock = interrupted

    with pytest.raises(KeyboardInterrupt):
        outer(world, "outer")
    world.mailbox._lock = lock
    world.loop.run()

    assert len(world.taken) == 1


class Noter(AsyncioActor):
    """Notes what it handles."""

    def __init__(self, noted: list[Any]) -> None:
        super().__init__()
        self.noted = noted

    def on_receive(self, message: Any) -> None:
        self.noted.append(message)

    def on_dead_letter(self, message: Any) -> None:
        self.noted.append(("dead letter", message))


@pytest.mark.parametrize("kind", ["told", "told turns", "asked", "asked turns"])
def test_an_incarnation_that_is_abandoned_takes_nothing_more(kind: str) -> None:
    for run in interruptions(_actor):  # Within the mailbox, its lock keeps other threads out.
        noted: list[Any] = []
        actor = Noter(noted)
        loop: Any = Loop()
        actor._loop = actor._messages.loop = loop
        ref: AsyncioActorRef = actor.actor_ref
        make = Turn if "turns" in kind else Query
        messages = [make(str(number)) for number in range(3)]
        futures: dict[Any, ReplyFuture[Any]] = {}
        for message in messages:
            if "asked" in kind:
                futures[message] = ref.ask(message, block=False)
            else:
                ref.tell(message)
        actor._messages.attach()
        loop.calls.clear()
        waiting: list[Any] = []

        def abandon() -> None:
            if not actor._ended:  # noqa: B023
                actor._abandon()  # noqa: B023
                inbox = actor.actor_inbox  # noqa: B023
                waiting.extend(map(_bare, [*inbox.control, *inbox._turns]))  # noqa: B023

        run(actor._messages.drain, abandon)

        handled = [message for message in noted if not isinstance(message, tuple)]
        assert not set(handled) & set(waiting)
        successor: list[Any] = []
        while (item := ref.actor_inbox.take(turns=True)) is not None:
            successor.append(_bare(item))
        assert set(waiting) <= set(successor)
        dead = [message for note, message in filter(_is_dead_letter, noted)]
        failed = [m for m, future in futures.items() if future.done() and future._state == 2]
        assert {*handled, *successor, *dead, *failed} == set(messages)
        assert len(handled) + len(successor) == len({*handled, *successor})
        assert successor == messages[len(messages) - len(successor) :]
        for future in futures.values():
            future.cancel()


def _is_dead_letter(note: Any) -> bool:
    return isinstance(note, tuple)
