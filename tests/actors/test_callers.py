import asyncio
import contextvars
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from agy_actors._actors.actor_ref import AsyncioActorRef
from agy_actors._actors.call_chain import current_caller
from agy_actors._actors.errors import DeadlockError
from tests.actors.doers import PATIENCE, Do, Doer, Gate, Turn, gate_fixture, ref_fixture  # noqa: F401 (fixtures)

Kind = type[Do | Turn]
KINDS: list[Kind] = [Do, Turn]


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


def asks(ref: AsyncioActorRef, message: Any, *, on_thread: bool = False) -> Any:
    """Return a handler that asks, and blocks its actor's loop or one of its tools' threads."""

    def ask(_: object) -> Any:
        return ref.ask(message, timeout=PATIENCE)

    async def ask_on_thread(_: object) -> Any:
        return await asyncio.to_thread(ask, None)

    return ask_on_thread if on_thread else ask


def nothing(_: object) -> str:
    return "answered"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("asked", KINDS)
def test_asking_oneself_on_ones_own_loop_is_a_deadlock(
    ref: AsyncioActorRef, kind: Kind, asked: Kind
) -> None:
    with pytest.raises(DeadlockError, match=rf"asking Doer .* for {asked.__name__} .*Doer.*->"):
        ref.ask(kind(asks(ref, asked(nothing))), timeout=PATIENCE)

    assert ref.ask("alive") == "alive"


@pytest.mark.parametrize("asked", KINDS)
def test_asking_back_an_actor_that_blocks_its_loop_is_a_deadlock(
    ref: AsyncioActorRef, other: AsyncioActorRef, asked: Kind
) -> None:
    back = Do(asks(ref, asked(nothing)))

    with pytest.raises(DeadlockError):
        ref.ask(Do(asks(other, back)), timeout=PATIENCE)


def test_a_chain_of_three_is_seen_and_named(
    ref: AsyncioActorRef, other: AsyncioActorRef, third: AsyncioActorRef
) -> None:
    back = Turn(asks(ref, Turn(nothing)))
    on = Do(asks(third, back))

    with pytest.raises(DeadlockError) as caught:
        ref.ask(Turn(asks(other, on, on_thread=True)), timeout=PATIENCE)

    for actor in (ref, other, third):
        assert actor.actor_urn in str(caught.value)


def test_a_tool_of_a_turn_may_ask_its_own_actor_a_query_but_no_other_turn(
    ref: AsyncioActorRef,
) -> None:
    query, turn = Do(nothing), Turn(nothing)

    assert ref.ask(Turn(asks(ref, query, on_thread=True)), timeout=PATIENCE) == "answered"
    with pytest.raises(DeadlockError):
        ref.ask(Turn(asks(ref, turn, on_thread=True)), timeout=PATIENCE)


def test_a_tool_may_go_through_another_actor_for_a_query_but_not_for_a_turn(
    ref: AsyncioActorRef, other: AsyncioActorRef
) -> None:
    query = Do(asks(ref, Do(nothing)))
    turn = Do(asks(ref, Turn(nothing)))

    assert ref.ask(Turn(asks(other, query, on_thread=True)), timeout=PATIENCE) == "answered"
    with pytest.raises(DeadlockError):
        ref.ask(Turn(asks(other, turn, on_thread=True)), timeout=PATIENCE)


def test_a_query_may_wait_for_a_turn_of_its_own_actor(ref: AsyncioActorRef) -> None:
    assert ref.ask(Do(asks(ref, Turn(nothing), on_thread=True)), timeout=PATIENCE) == "answered"


def test_stopping_oneself_and_waiting_for_it_is_a_deadlock(ref: AsyncioActorRef) -> None:
    def stop(_: object) -> None:
        ref.stop(timeout=PATIENCE)

    with pytest.raises(DeadlockError, match="for stop"):
        ref.ask(Do(stop), timeout=PATIENCE)
    with pytest.raises(DeadlockError, match="for stop"):
        ref.ask(Turn(lambda _: asyncio.to_thread(ref.stop)), timeout=PATIENCE)

    assert ref.ask("alive") == "alive"


def test_a_turn_may_wait_for_a_stop_that_cuts_it_off() -> None:
    class Impatient(Doer):
        stop_grace = 0.0

    stopped: list[bool] = []
    ref = Impatient.start()

    ref.tell(Turn(lambda _: asyncio.to_thread(lambda: stopped.append(ref.stop()))))

    ref.stop(timeout=PATIENCE)


def test_an_ask_that_does_not_block_is_not_a_deadlock(ref: AsyncioActorRef) -> None:
    reply = ref.ask(Do(lambda _: [ref.ask(Turn(nothing), block=False)]), timeout=PATIENCE)

    assert reply[0].get(timeout=PATIENCE) == "answered"


def test_actors_that_do_not_wait_for_each_other_are_not_a_deadlock(
    ref: AsyncioActorRef, other: AsyncioActorRef, third: AsyncioActorRef
) -> None:
    for kind in KINDS:
        for on_thread in (False, True):
            deep = kind(asks(third, kind(nothing)))
            handler = asks(other, deep, on_thread=on_thread)
            assert ref.ask(kind(handler), timeout=PATIENCE) == "answered"
            assert third.ask(kind(asks(ref, kind(nothing))), timeout=PATIENCE) == "answered"


def test_a_sender_is_not_the_caller_of_the_receivers_asks(
    ref: AsyncioActorRef, other: AsyncioActorRef
) -> None:
    names: list[str] = []
    done = threading.Event()

    def look(_: object) -> None:
        caller = current_caller.get()
        names.extend(frame.urn for frame in (caller.frames() if caller else ()))
        done.set()

    ref.ask(Do(lambda _: other.tell(Do(look))))
    assert done.wait(PATIENCE)

    assert names == [other.actor_urn]


def test_a_plain_thread_has_no_caller(ref: AsyncioActorRef) -> None:
    callers: list[object] = []

    def look(_: object) -> None:
        thread = threading.Thread(target=lambda: callers.append(current_caller.get()))
        thread.start()
        thread.join(PATIENCE)

    ref.ask(Turn(look))

    assert callers == [None]


def test_a_task_that_outlives_its_turn_may_ask_for_another(
    ref: AsyncioActorRef, gate: Gate
) -> None:
    tasks: list[asyncio.Task[Any]] = []
    ended = threading.Event()

    async def background(actor: Doer) -> Any:
        await gate()
        try:
            return await asks(ref, Turn(nothing), on_thread=True)(actor)
        finally:
            ended.set()

    ref.ask(Turn(lambda actor: tasks.append(actor._loop.create_task(background(actor)))))
    gate.open()

    assert ended.wait(PATIENCE)
    assert ref.ask(Do(lambda _: asyncio.wait_for(tasks[0], PATIENCE))) == "answered"


def test_a_task_that_outlives_an_ask_may_ask_the_asker(
    ref: AsyncioActorRef, other: AsyncioActorRef, gate: Gate
) -> None:
    tasks: list[asyncio.Task[Any]] = []

    async def background(actor: Doer) -> Any:
        await gate()
        return await asks(ref, Turn(nothing), on_thread=True)(actor)

    def start(actor: Doer) -> None:
        tasks.append(actor._loop.create_task(background(actor)))

    ref.ask(Turn(asks(other, Do(start), on_thread=True)))  # It has ended when its answer is here.
    gate.open()

    assert other.ask(Do(lambda _: asyncio.wait_for(tasks[0], PATIENCE))) == "answered"


def test_a_sync_turn_that_waits_for_a_thread_with_its_context_is_in_its_turn(
    ref: AsyncioActorRef,
) -> None:
    def turn(_: object) -> Any:
        context, result = contextvars.copy_context(), []

        def ask() -> None:
            try:
                result.append(ref.ask(Turn(nothing), timeout=PATIENCE))
            except DeadlockError as error:
                result.append(error)

        thread = threading.Thread(target=context.run, args=(ask,))
        thread.start()
        thread.join(PATIENCE)
        return result

    (result,) = ref.ask(Turn(turn), timeout=PATIENCE)

    assert isinstance(result, DeadlockError)


def test_the_start_of_an_actor_cannot_ask_it() -> None:
    errors: list[BaseException] = []
    made = threading.Event()
    refs: list[AsyncioActorRef] = []

    def start() -> None:
        made.wait(PATIENCE)
        try:
            refs[0].ask("message", timeout=PATIENCE)
        except DeadlockError as error:
            errors.append(error)

    refs.append(Doer.start(on_start=start))
    made.set()

    assert refs[0].ask("alive", timeout=PATIENCE) == "alive"
    assert len(errors) == 1
    refs[0].stop()
