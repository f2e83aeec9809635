"""Deadlocks other than an ask within an ask are found at once."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import (
    ActorDeadError,
    AskTimeout,
    AsyncioActor,
    ReplyFuture,
    Supervisor,
    as_completed,
    watch,
)
from agy_actors._actors.errors import DeadlockError
from tests.actors.doers import PATIENCE, Do, Doer, Gate, Turn, gate_fixture, ref_fixture, settle  # noqa: F401 (fixtures)

if TYPE_CHECKING:
    from agy_actors._actors.actor_ref import AsyncioActorRef

# Coroutines that block their loop are among the ways to wait.
pytestmark = pytest.mark.filterwarnings("ignore::agy_actors.BlockingCallWarning")

Handler = Callable[[Any], Any]
Wait = Callable[[ReplyFuture[Any]], Handler]


@pytest.fixture
def other() -> Iterator[AsyncioActorRef]:
    ref = Doer.start()
    yield ref
    ref.stop(timeout=PATIENCE)


@pytest.fixture
def third() -> Iterator[AsyncioActorRef]:
    ref = Doer.start()
    yield ref
    ref.stop(timeout=PATIENCE)


def nothing(_: object) -> str:
    return "answered"


# The ways in which a handler can wait for the reply to a message.


async def awaits(ref: AsyncioActorRef, message: Any) -> Any:
    return await ref.ask(message, block=False)


async def awaits_in_a_task(ref: AsyncioActorRef, message: Any) -> Any:
    return await asyncio.create_task(awaits(ref, message))


async def gathers(ref: AsyncioActorRef, message: Any) -> Any:
    return (await asyncio.gather(ref.ask(message, block=False), asyncio.sleep(0)))[0]


async def awaits_for_a_time(ref: AsyncioActorRef, message: Any) -> Any:
    return await asyncio.wait_for(ref.ask(message, block=False), PATIENCE)


async def awaits_in_a_group(ref: AsyncioActorRef, message: Any) -> Any:
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(awaits(ref, message))
    except* DeadlockError as errors:
        raise errors.exceptions[0] from None
    return task.result()


async def asks_on_a_thread(ref: AsyncioActorRef, message: Any) -> Any:
    return await asyncio.to_thread(ref.ask, message)


async def gets_on_a_thread(ref: AsyncioActorRef, message: Any) -> Any:
    future = ref.ask(message, block=False)
    return await asyncio.to_thread(future.get, timeout=PATIENCE)


async def awaits_on_a_thread(ref: AsyncioActorRef, message: Any) -> Any:
    return await asyncio.to_thread(asyncio.run, awaits(ref, message))


async def takes_the_first(ref: AsyncioActorRef, message: Any) -> Any:
    future = ref.ask(message, block=False)
    return await asyncio.to_thread(lambda: next(as_completed([future])).get())


async def asks_on_the_loop(ref: AsyncioActorRef, message: Any) -> Any:
    return ref.ask(message)


async def gets_on_the_loop(ref: AsyncioActorRef, message: Any) -> Any:
    return ref.ask(message, block=False).get(timeout=PATIENCE)


AWAITED = [
    awaits,
    awaits_in_a_task,
    gathers,
    awaits_for_a_time,
    awaits_in_a_group,
    asks_on_a_thread,
    gets_on_a_thread,
    awaits_on_a_thread,
    takes_the_first,
]
GETS = [gets_on_a_thread, takes_the_first, gets_on_the_loop]
WAYS = [*AWAITED, asks_on_the_loop, gets_on_the_loop]
IN_ALL_WAYS = pytest.mark.parametrize("way", WAYS)


def asks(way: Callable[..., Any], ref: AsyncioActorRef, message: Any) -> Handler:
    return lambda _: way(ref, message)


@IN_ALL_WAYS
def test_a_turn_cannot_wait_for_a_turn_of_its_own_actor(
    ref: AsyncioActorRef, way: Callable[..., Any]
) -> None:
    done: list[str] = []

    with pytest.raises(DeadlockError, match=r"Turn .*Doer.* -> .*Doer"):
        ref.ask(Turn(asks(way, ref, Turn(lambda _: done.append("nested")))), timeout=PATIENCE)

    assert ref.ask(Turn(nothing), timeout=PATIENCE) == "answered"
    # A `get` stops waiting. Its future still exists, and another caller may wait for it.
    assert done == (["nested"] if way in GETS else [])


@pytest.mark.parametrize("way", AWAITED)
def test_a_turn_may_wait_for_a_query_of_its_own_actor(
    ref: AsyncioActorRef, way: Callable[..., Any]
) -> None:
    assert ref.ask(Turn(asks(way, ref, Do(nothing))), timeout=PATIENCE) == "answered"


@IN_ALL_WAYS
def test_a_turn_cannot_wait_for_a_turn_through_another_actor(
    ref: AsyncioActorRef, other: AsyncioActorRef, way: Callable[..., Any]
) -> None:
    back = Turn(asks(way, ref, Turn(nothing)))

    with pytest.raises(DeadlockError):
        ref.ask(Turn(asks(way, other, back)), timeout=PATIENCE)

    for actor in (ref, other):
        assert actor.ask(Turn(nothing), timeout=PATIENCE) == "answered"


class Meeting:
    """Lets the handlers that will wait for each other continue at the same moment."""

    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size, timeout=PATIENCE)

    def then(self, handler: Handler) -> Handler:
        async def meet(actor: Any) -> Any:
            await asyncio.to_thread(self.barrier.wait)
            return await handler(actor)

        return meet


def outcomes(futures: list[ReplyFuture[Any]]) -> list[Any]:
    """Return the results of some asks: replies, and the types of errors."""
    found: list[Any] = []
    for future in futures:
        try:
            found.append(future.get(timeout=PATIENCE))
        except Exception as error:  # noqa: BLE001 (the test looks at it)
            found.append(type(error))
    return found


@IN_ALL_WAYS
@pytest.mark.parametrize("size", [2, 3, 5])
def test_of_actors_that_ask_each_other_at_the_same_moment_one_gets_the_error(
    way: Callable[..., Any], size: int
) -> None:
    ring = [Doer.start() for _ in range(size)]
    meeting = Meeting(size)

    replies = [
        asker.ask(Turn(meeting.then(asks(way, asked, Turn(nothing)))), block=False)
        for asker, asked in zip(ring, [*ring[1:], ring[0]], strict=True)
    ]

    assert sorted(map(str, outcomes(replies))) == sorted(
        [str(DeadlockError), *["answered"] * (size - 1)]
    )
    for actor in ring:
        assert actor.ask(Turn(nothing), timeout=PATIENCE) == "answered"
        actor.stop()


def test_the_error_names_all_that_wait(
    ref: AsyncioActorRef, other: AsyncioActorRef, third: AsyncioActorRef
) -> None:
    meeting = Meeting(3)
    ring = [ref, other, third]

    replies = [
        asker.ask(Turn(meeting.then(asks(awaits, asked, Turn(nothing)))), block=False)
        for asker, asked in zip(ring, [*ring[1:], ring[0]], strict=True)
    ]

    (error,) = [e for e in map(error_of, replies) if e is not None]
    for actor in ring:
        assert actor.actor_urn in str(error)


def test_actors_whose_names_raise_get_the_error_nevertheless() -> None:
    def fail() -> str:
        raise ValueError("no")

    ring = [Doer.start(caller_name=fail) for _ in range(2)]
    meeting = Meeting(2)

    replies = [
        asker.ask(Turn(meeting.then(asks(awaits, asked, Turn(nothing)))), block=False)
        for asker, asked in zip(ring, reversed(ring), strict=True)
    ]

    assert sorted(map(str, outcomes(replies))) == sorted([str(DeadlockError), "answered"])
    for actor in ring:
        actor.stop()


def error_of(reply: ReplyFuture[Any]) -> BaseException | None:
    try:
        reply.get(timeout=PATIENCE)
    except DeadlockError as error:
        return error
    return None


# Stops.


async def awaits_stop(ref: AsyncioActorRef) -> bool:
    return await ref.stop(block=False)


def stops(ref: AsyncioActorRef) -> Handler:
    return lambda _: awaits_stop(ref)


async def gathers_stop(ref: AsyncioActorRef) -> Any:
    return await asyncio.gather(ref.stop(block=False))


STOPS: dict[str, Callable[[AsyncioActorRef], Any]] = {
    "awaits": awaits_stop,
    "gathers": gathers_stop,
    "on a thread": lambda ref: asyncio.to_thread(ref.stop),
    "on the loop": lambda ref: ref.stop(),
}


@pytest.mark.parametrize("kind", [Do, Turn])
@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
def test_a_handler_cannot_wait_for_its_own_actor_to_stop(
    kind: Callable[..., Any], stop: Callable[[AsyncioActorRef], Any]
) -> None:
    ref = Doer.start()

    with pytest.raises(DeadlockError, match="stop"):
        ref.ask(kind(lambda _: stop(ref)), timeout=PATIENCE)

    ref.stop(timeout=PATIENCE)


def test_a_handler_cannot_wait_for_its_own_stop_through_another_actor(
    other: AsyncioActorRef,
) -> None:
    ref = Doer.start()
    stop = Do(lambda _: ref.stop(block=False))

    async def wait_for_end(_: object) -> object:
        stopped = await other.ask(stop, block=False)
        return await stopped

    with pytest.raises(DeadlockError, match="stop"):
        ref.ask(Do(wait_for_end), timeout=PATIENCE)

    ref.stop(timeout=PATIENCE)


def test_two_handlers_cannot_wait_for_each_others_actors_to_stop() -> None:
    refs = [Doer.start(), Doer.start()]
    meeting = Meeting(2)

    replies = [
        asker.ask(Do(meeting.then(stops(asked))), block=False)
        for asker, asked in zip(refs, reversed(refs), strict=True)
    ]

    assert sorted(map(str, outcomes(replies))) == sorted([str(DeadlockError), "True"])
    for ref in refs:
        ref.stop(timeout=PATIENCE)


@pytest.mark.parametrize("kind", [Do, Turn])
def test_a_handler_may_wait_for_a_stop_that_cuts_it_off(kind: Callable[..., Any]) -> None:
    class Impatient(Doer):
        stop_grace = 0.0

    ref = Impatient.start()

    ref.tell(kind(lambda _: awaits_stop(ref)))

    ref.stop(timeout=PATIENCE)


def test_the_start_of_an_actor_cannot_await_a_reply_of_it() -> None:
    errors: list[DeadlockError] = []

    class Starting(Doer):
        async def on_start(self) -> None:  # type: ignore[override] # or async
            try:
                await self.actor_ref.ask("message", block=False)
            except DeadlockError as error:
                errors.append(error)

    ref = Starting.start()

    assert ref.ask("alive", timeout=PATIENCE) == "alive"
    assert len(errors) == 1
    ref.stop()


def test_the_start_of_an_actor_cannot_await_its_end_after_all_messages() -> None:
    errors: list[DeadlockError] = []

    class Starting(Doer):
        async def on_start(self) -> None:  # type: ignore[override] # or async
            try:
                await self.actor_ref.stop(block=False)
            except DeadlockError as error:
                errors.append(error)

    watch(Starting.start()).get(timeout=PATIENCE)

    assert len(errors) == 1


def test_the_end_of_an_actor_cannot_await_its_end() -> None:
    errors: list[DeadlockError] = []

    class Ending(AsyncioActor):
        async def on_stop(self) -> None:  # type: ignore[override] # or async
            try:
                await self.actor_ref.stop(block=False)
            except DeadlockError as error:
                errors.append(error)

    Ending.start().stop(timeout=PATIENCE)

    assert len(errors) == 1


# Waits that are not deadlocks.


class AwaitsAnEnd(Doer):
    """Awaits in its start that another actor waits for an end."""

    other: AsyncioActorRef
    end: Callable[[AsyncioActorRef], object]
    results: queue.SimpleQueue[object]

    async def on_start(self) -> None:  # type: ignore[override] # or async
        await self.other.ask(Do(self._wait), block=False)

    def _wait(self, _: object) -> None:
        try:
            self.results.put(self.end(self.actor_ref))
        except DeadlockError as error:
            self.results.put(error)


def test_the_start_of_an_actor_may_await_an_actor_that_stops_it_now(
    other: AsyncioActorRef,
) -> None:
    results: queue.SimpleQueue[object] = queue.SimpleQueue()

    ref = AwaitsAnEnd.start(other=other, end=lambda ref: ref.stop(now=True), results=results)

    assert results.get(timeout=PATIENCE) is True
    assert not ref.is_alive()


def test_the_start_of_an_actor_may_await_an_actor_that_ends_its_supervisor(
    other: AsyncioActorRef,
) -> None:
    supervisor = Supervisor.start()
    results: queue.SimpleQueue[object] = queue.SimpleQueue()

    creation = supervisor.create_actor(
        AwaitsAnEnd, other=other, end=lambda _: supervisor.shutdown(), results=results, block=False
    )

    assert results.get(timeout=PATIENCE) is True
    with pytest.raises(ActorDeadError):
        creation.get(timeout=PATIENCE)


def test_waiting_for_a_done_future_is_not_a_deadlock(
    ref: AsyncioActorRef, other: AsyncioActorRef
) -> None:
    async def ask_and_let_it_come(_: object) -> Any:
        future = other.ask(Turn(nothing), block=False)
        while not future.done():
            await asyncio.to_thread(settle, other)
        return await future, await asyncio.to_thread(future.get), future.get()

    assert ref.ask(Turn(ask_and_let_it_come), timeout=PATIENCE) == ("answered",) * 3


def test_a_task_that_a_turn_leaves_running_may_await_the_next_turn(ref: AsyncioActorRef) -> None:
    tasks: list[asyncio.Task[Any]] = []
    begun = threading.Event()

    async def leave(_: object) -> None:
        async def background() -> Any:
            begun.set()
            return await ref.ask(Turn(nothing), block=False)

        task = asyncio.create_task(background())
        tasks.append(task)
        task.add_done_callback(lambda _: None)
        await asyncio.to_thread(begun.wait, PATIENCE)
        for _ in range(5):
            await asyncio.sleep(0)

    ref.ask(Turn(leave), timeout=PATIENCE)

    assert ref.ask(Do(lambda _: asyncio.wait_for(tasks[0], PATIENCE))) == "answered"


def test_a_task_that_a_handler_leaves_running_may_await_the_end_of_its_actor() -> None:
    stopped: list[object] = []

    async def leave(actor: Doer) -> None:
        async def end() -> None:
            try:
                stopped.append(await actor.actor_ref.stop(block=False))
            except BaseException as error:
                stopped.append(type(error))
                raise

        actor.diary.append(asyncio.create_task(end()))
        for _ in range(5):
            await asyncio.sleep(0)

    ref = Doer.start()

    ref.ask(Do(leave), timeout=PATIENCE)

    ref.stop(timeout=PATIENCE)
    assert stopped in ([True], [asyncio.CancelledError])


def test_the_first_of_two_replies_may_be_a_turns_own(
    ref: AsyncioActorRef, other: AsyncioActorRef
) -> None:
    async def take_first(_: object) -> Any:
        tasks = [
            asyncio.create_task(awaits(ref, Turn(nothing))),
            asyncio.create_task(awaits(other, Do(nothing))),
        ]
        done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()
        return [task.result() for task in done]

    def take_first_here(_: object) -> Any:
        futures = [ref.ask(Turn(nothing), block=False), other.ask(Do(nothing), block=False)]
        first = next(as_completed(futures))
        futures[0].cancel()
        return [first.get()]

    assert ref.ask(Turn(take_first), timeout=PATIENCE) == ["answered"]
    on_thread = Turn(lambda actor: asyncio.to_thread(take_first_here, actor))
    assert ref.ask(on_thread, timeout=PATIENCE) == ["answered"]


def test_a_reply_that_any_code_may_resolve_is_waited_for(ref: AsyncioActorRef, gate: Gate) -> None:
    person: ReplyFuture[str] = ReplyFuture()

    def answer() -> None:
        gate.wait()
        person.set("yes")

    thread = threading.Thread(target=answer)
    thread.start()

    async def wait(_: object) -> list[str]:
        gate.reached.set()
        return [await person, await asyncio.to_thread(person.get, timeout=PATIENCE)]

    assert ref.ask(Turn(wait), timeout=PATIENCE) == ["yes", "yes"]
    thread.join()


def test_other_threads_may_wait_for_actors_that_wait(
    ref: AsyncioActorRef, other: AsyncioActorRef, gate: Gate
) -> None:
    held = other.ask(Turn(gate), block=False)
    gate.wait()
    waiting = ref.ask(Turn(lambda _: awaits(other, Turn(nothing))), block=False)
    replies = [actor.ask(Turn(nothing), block=False) for actor in (ref, other) for _ in range(3)]
    results: list[Any] = []
    threads = [
        threading.Thread(target=lambda reply=reply: results.append(reply.get(timeout=PATIENCE)))
        for reply in replies
    ]
    for thread in threads:
        thread.start()

    gate.open()

    for thread in threads:
        thread.join()
    assert results == ["answered"] * 6
    assert (held.get(), waiting.get()) == ("passed", "answered")


def test_the_wait_with_the_earliest_deadline_fails_and_the_other_gets_its_reply(
    ref: AsyncioActorRef, other: AsyncioActorRef
) -> None:
    first, second = threading.Event(), threading.Event()

    async def wait_with_deadline(_: object) -> Any:
        first.set()
        return await asyncio.to_thread(other.ask, Turn(nothing), timeout=PATIENCE)

    async def wait_without(_: object) -> Any:
        await asyncio.to_thread(second.wait, PATIENCE)
        return await ref.ask(Turn(nothing), block=False)

    waits_too = other.ask(Turn(wait_without), block=False)  # Before what `ref` asks of it.
    replies = [ref.ask(Turn(wait_with_deadline), block=False), waits_too]
    assert first.wait(PATIENCE)
    second.set()

    assert outcomes(replies) == [DeadlockError, "answered"]


def test_a_wait_that_has_ended_is_removed(ref: AsyncioActorRef, other: AsyncioActorRef) -> None:
    async def run_out_of_time(_: object) -> str:
        with pytest.raises(AskTimeout):
            await asyncio.to_thread(other.ask, Turn(nothing), timeout=0.01)
        return "ran out of time"

    async def be_cancelled(_: object) -> str:
        task = asyncio.create_task(awaits(other, Turn(nothing)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return "was cancelled"

    gate = Gate()
    held = other.ask(Turn(gate), block=False)
    gate.wait()
    assert ref.ask(Turn(run_out_of_time), timeout=PATIENCE) == "ran out of time"
    assert ref.ask(Turn(be_cancelled), timeout=PATIENCE) == "was cancelled"
    gate.open()
    assert held.get(timeout=PATIENCE) == "passed"

    assert other.ask(Turn(asks(awaits, ref, Turn(nothing))), timeout=PATIENCE) == "answered"
