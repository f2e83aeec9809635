import asyncio
import concurrent.futures
import contextlib
import functools
import threading
from collections.abc import Callable
from typing import Any

import pykka
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agy_actors._actors.actor_ref import AsyncioActorRef
from agy_actors._actors.errors import MailboxFull
from agy_actors._actors.future import ReplyFuture
from tests.actors.doers import PATIENCE, Do, Doer, Gate, Turn, gate_fixture, ref_fixture, settle  # noqa: F401 (fixtures)


class SdkCancelledError(asyncio.CancelledError):
    """A BaseException by inheritance, like one of the SDK's."""


BASE_EXCEPTIONS = [SystemExit, KeyboardInterrupt, asyncio.CancelledError, SdkCancelledError]


def raiser(error: type[BaseException], *, in_coroutine: bool) -> Callable[[Any], Any]:
    def handle(_: object) -> None:
        raise error("raised by the handler")

    async def handle_async(_: object) -> None:
        await asyncio.sleep(0)
        raise error("raised by the handler")

    return handle_async if in_coroutine else handle


def set_attribute(actor: Doer, *, name: str, value: object) -> None:
    setattr(actor, name, value)


def write(_: object, *, diary: list[Any], entry: object) -> None:
    diary.append(entry)


# Handling


def test_a_coroutine_replies_when_it_ends_and_messages_are_handled_meanwhile(
    ref: AsyncioActorRef, gate: Gate
) -> None:
    slow = ref.ask(Do(gate), block=False)
    gate.wait()

    assert ref.ask("meanwhile") == "meanwhile"
    assert not slow.done()
    gate.open()

    assert slow.get(timeout=PATIENCE) == "passed"


def test_turns_run_one_at_a_time_in_their_order_while_queries_are_answered(
    ref: AsyncioActorRef,
) -> None:
    gates = [Gate() for _ in range(3)]
    turns = [ref.ask(Turn(gate), block=False) for gate in gates]

    for number, gate in enumerate(gates):
        gate.wait()
        assert ref.ask("query") == "query"
        settle(ref)
        assert [other.reached.is_set() for other in gates].count(True) == number + 1
        gate.open()
        assert turns[number].get(timeout=PATIENCE) == "passed"


def test_a_turn_may_be_a_plain_function(ref: AsyncioActorRef) -> None:
    assert ref.ask(Turn(lambda _: "done")) == "done"
    assert ref.ask(Turn(lambda _: "again")) == "again"


@pytest.mark.parametrize("kind", [Do, Turn])
def test_a_handler_may_reply_with_a_generator(ref: AsyncioActorRef, kind: type[Do | Turn]) -> None:
    assert list(ref.ask(kind(lambda _: (number for number in range(3))))) == [0, 1, 2]


def test_no_turn_is_taken_while_turns_are_not_allowed(ref: AsyncioActorRef) -> None:
    ref.ask(Do(lambda actor: actor._messages.open_turns(open=False)))
    turn = ref.ask(Turn(lambda _: "done"), block=False)
    settle(ref)
    assert not turn.done()

    ref.ask(Do(lambda actor: actor._messages.open_turns(open=True)))

    assert turn.get(timeout=PATIENCE) == "done"


def test_a_full_turn_lane_refuses_the_sender_and_queries_get_through(gate: Gate) -> None:
    class Small(Doer):
        mailbox_capacity = 2

    ref = Small.start()
    turns = [ref.ask(Turn(gate), block=False)]
    gate.wait()
    turns += [ref.ask(Turn(gate), block=False) for _ in range(2)]

    with pytest.raises(MailboxFull):
        ref.tell(Turn(gate))
    assert ref.ask("query") == "query"

    gate.open()
    assert [turn.get(timeout=PATIENCE) for turn in turns] == ["passed"] * 3
    ref.stop()


def test_more_messages_than_a_batch_leave_the_loop_time_for_its_other_work(
    ref: AsyncioActorRef,
) -> None:
    def start(actor: Doer) -> None:
        actor._loop.call_soon(actor.diary.append, "other work")
        for number in range(1000):
            actor.actor_ref.tell(number)

    ref.ask(Do(start))

    diary = ref.ask(Do(lambda actor: actor.diary))
    assert diary.index("other work") < 200
    assert [entry for entry in diary if entry != "other work"] == list(range(1000))


# Cancellation


def test_a_message_that_is_abandoned_before_it_starts_never_starts(
    ref: AsyncioActorRef, gate: Gate
) -> None:
    ref.tell(Turn(gate))
    gate.wait()
    second = Gate()
    waiting = ref.ask(Turn(second), block=False)

    assert waiting.cancel()
    gate.open()

    assert ref.ask(Turn(lambda _: "next"), timeout=PATIENCE) == "next"
    assert second.times == 0


@pytest.mark.parametrize("kind", [Do, Turn])
def test_abandoning_a_running_message_cancels_its_handler(
    ref: AsyncioActorRef, gate: Gate, kind: type[Do | Turn]
) -> None:
    running = ref.ask(kind(gate), block=False)
    gate.wait()

    assert running.cancel()

    assert gate.cancelled.wait(PATIENCE)
    assert ref.ask(Turn(lambda _: "next"), timeout=PATIENCE) == "next"
    assert ref.ask(Do(lambda actor: len(actor._messages.in_flight))) == 0


def test_a_turn_whose_task_is_cancelled_before_its_first_step_releases_the_turn(
    ref: AsyncioActorRef, gate: Gate
) -> None:
    turn = ref.ask(Turn(lambda actor: cancel_at_once(actor, gate)), block=False)

    assert ref.ask(Turn(lambda _: "next"), timeout=PATIENCE) == "next"
    with pytest.raises(pykka.ActorDeadError):
        turn.get(timeout=PATIENCE)
    assert gate.times == 0
    assert ref.ask(Do(lambda actor: len(actor._messages.in_flight))) == 0


def cancel_at_once(actor: Doer, gate: Gate) -> Any:
    # Runs after the task was made, before its first step.
    make_task = actor._loop.create_task

    def make_cancelled(*args: Any, **kwargs: Any) -> Any:
        actor._loop.create_task = make_task  # type: ignore[method-assign]
        task = make_task(*args, **kwargs)
        task.cancel()
        return task

    actor._loop.create_task = make_cancelled  # type: ignore[method-assign]
    return gate(actor)


def test_an_abandoned_handler_that_raises_another_error_has_no_effect(
    ref: AsyncioActorRef, gate: Gate
) -> None:
    async def translate(_: object) -> None:
        try:
            await gate()
        except asyncio.CancelledError:
            raise ValueError("translated") from None

    running = ref.ask(Turn(translate), block=False)
    gate.wait()
    running.cancel()

    assert ref.ask(Turn(lambda _: "next"), timeout=PATIENCE) == "next"
    assert running.cancelled()


# Errors


@pytest.mark.parametrize("in_coroutine", [False, True], ids=["function", "coroutine"])
@pytest.mark.parametrize("kind", [Do, Turn])
@pytest.mark.parametrize("error", [ValueError, *BASE_EXCEPTIONS])
def test_every_exception_of_a_handler_reaches_only_its_asker(
    ref: AsyncioActorRef, error: type[BaseException], kind: type[Do | Turn], in_coroutine: bool
) -> None:
    other = Doer.start()

    with pytest.raises(error):
        ref.ask(kind(raiser(error, in_coroutine=in_coroutine)), timeout=PATIENCE)

    assert ref.ask("alive") == "alive"
    assert ref.ask(Turn(lambda _: "turn"), timeout=PATIENCE) == "turn"
    assert other.ask("alive") == "alive"
    other.stop()


@pytest.mark.parametrize("in_coroutine", [False, True], ids=["function", "coroutine"])
@pytest.mark.parametrize("kind", [Do, Turn])
@pytest.mark.parametrize("error", [ValueError, *BASE_EXCEPTIONS])
def test_every_exception_of_a_told_handler_ends_only_its_actor(
    error: type[BaseException], kind: type[Do | Turn], in_coroutine: bool, gate: Gate
) -> None:
    diary: list[str] = []
    other, ref = Doer.start(), Doer.start(diary=diary)
    running = ref.ask(Do(gate), block=False)
    gate.wait()

    ref.tell(kind(raiser(error, in_coroutine=in_coroutine)))

    with pytest.raises(pykka.ActorDeadError) as caught:
        running.get(timeout=PATIENCE)
    assert type(caught.value.__cause__) is error
    ref.stop(timeout=PATIENCE)
    assert diary == ["failed" if error is ValueError else "stopped"]
    assert not ref.is_alive()
    assert other.ask("alive") == "alive"
    other.stop()


@pytest.mark.parametrize("error", [ValueError, *BASE_EXCEPTIONS])
def test_an_actor_ends_although_its_hooks_fail(error: type[BaseException]) -> None:
    def fail(*_: object) -> None:
        raise error

    for hooks in ({"on_start": fail}, {"on_stop": fail}, {"on_failure": fail}):
        ref = Doer.start(**hooks)
        if "on_failure" in hooks:
            ref.tell(Do(raiser(ValueError, in_coroutine=True)))

        ref.stop(timeout=PATIENCE)

        assert not ref.is_alive()
        assert ref not in pykka.ActorRegistry.get_all()


@pytest.mark.parametrize("error", [ValueError, *BASE_EXCEPTIONS])
def test_an_actor_ends_although_its_coroutine_hooks_fail(error: type[BaseException]) -> None:
    async def fail(*_: object) -> None:
        await asyncio.sleep(0)
        raise error

    for name in ("on_start", "on_stop"):
        ref = Doer.start(**{name: fail})

        ref.stop(timeout=PATIENCE)

        assert not ref.is_alive()


def test_an_ask_is_answered_although_a_method_of_the_actor_fails() -> None:
    def fail(*_: object) -> Any:
        raise ValueError("no")

    def ask_itself(actor: Doer) -> Any:
        return actor.actor_ref.ask("itself")  # The text names it, as in a `DeadlockError`.

    for name in ("_on_taken", "caller_name"):
        ref = Doer.start()
        ref.ask(Do(functools.partial(set_attribute, name=name, value=fail)))

        with pytest.raises(ValueError, match="no"):
            ref.ask(Turn(ask_itself), timeout=PATIENCE)

        assert ref.ask("alive", timeout=PATIENCE) == "alive"
        ref.stop()


def test_an_ask_is_answered_although_the_dead_error_fails(gate: Gate) -> None:
    def fail() -> Exception:
        raise ValueError("no")

    ref = Doer.start(dead_error=fail, stop_grace=0)
    running = ref.ask(Do(gate), block=False)
    gate.wait()

    ref.stop(timeout=PATIENCE)

    with pytest.raises(pykka.ActorDeadError):
        running.get(timeout=PATIENCE)
    with pytest.raises(pykka.ActorDeadError):
        ref.ask("late")


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_an_exception_that_escapes_from_a_background_task_is_contained(
    ref: AsyncioActorRef, error: type[BaseException]
) -> None:
    def start(actor: Doer) -> None:
        actor.diary.append(actor._loop.create_task(raiser(error, in_coroutine=True)(actor)))

    ref.ask(Do(start))
    settle(ref)

    assert ref.ask("alive", timeout=PATIENCE) == "alive"
    (task, *_) = ref.ask(Do(lambda actor: actor.diary))
    assert isinstance(task.exception(), error)


def test_messages_are_drained_on_although_a_drain_was_torn_out_of_the_loop(
    ref: AsyncioActorRef,
) -> None:
    def tear(actor: Doer) -> None:
        messages: Any = actor._messages
        handle = messages._handle

        def handle_and_tear(envelope: Any) -> None:
            messages._handle = handle
            handle(envelope)
            raise SystemExit

        messages._handle = handle_and_tear
        actor._loop.call_soon(messages.drain)

    ref.ask(Do(tear))
    replies = [ref.ask(number, block=False) for number in range(3)]

    assert [reply.get(timeout=PATIENCE) for reply in replies] == [0, 1, 2]


def test_an_actor_whose_main_task_is_cancelled_ends(caplog: pytest.LogCaptureFixture) -> None:
    def cancel_all(actor: Doer) -> None:
        for task in asyncio.all_tasks(actor._loop):
            task.cancel()

    ref = Doer.start()
    ref.tell(Do(cancel_all))

    ref.stop(timeout=PATIENCE)

    assert not ref.is_alive()
    with pytest.raises(pykka.ActorDeadError):
        ref.ask("late")


# Stopping


def test_a_stop_waits_for_earlier_messages() -> None:
    diary: list[Any] = []
    ref, gate = Doer.start(diary=diary), Gate()
    running = ref.ask(Turn(gate), block=False)
    waiting = [
        ref.ask(Turn(functools.partial(write, diary=diary, entry=number)), block=False)
        for number in range(3)
    ]
    query = ref.ask("query", block=False)
    gate.wait()

    stopping = ref.stop(block=False)
    assert not stopping.done()
    gate.open()

    assert stopping.get(timeout=PATIENCE) is True
    assert running.get(timeout=0) == "passed"
    assert query.get(timeout=0) == "query"
    assert [reply.get(timeout=0) for reply in waiting] == [None] * 3
    assert diary == ["query", 0, 1, 2, "stopped"]


def test_messages_after_a_stop_are_refused_while_the_actor_ends(gate: Gate) -> None:
    ref = Doer.start()
    ref.tell(Turn(gate))
    gate.wait()
    stopping = ref.stop(block=False)
    gate_of_stop(ref)

    with pytest.raises(pykka.ActorDeadError):
        ref.ask("late", timeout=PATIENCE)
    with pytest.raises(pykka.ActorDeadError):
        ref.tell("late")

    gate.open()
    assert stopping.get(timeout=PATIENCE)


def gate_of_stop(ref: AsyncioActorRef) -> None:
    """Return when the actor has taken up its stop."""
    while not ref.actor_inbox.closed:
        threading.Event().wait(0.001)


def test_a_second_stop_is_answered_when_the_actor_has_ended(gate: Gate) -> None:
    ref = Doer.start()
    ref.tell(Turn(gate))
    gate.wait()
    first = ref.stop(block=False)
    gate_of_stop(ref)

    second = ref.stop(block=False)
    assert not second.done()
    gate.open()

    assert first.get(timeout=PATIENCE) is True
    assert second.get(timeout=PATIENCE) is True
    assert ref.stop() is False


def test_a_stop_that_times_out_continues(gate: Gate) -> None:
    ref = Doer.start()
    ref.tell(Turn(gate))
    gate.wait()

    with pytest.raises(pykka.Timeout):
        ref.stop(timeout=0)
    gate.open()

    ref.stop(timeout=PATIENCE)
    assert not ref.is_alive()


def test_a_stop_cancels_handlers_that_exceed_its_grace(gate: Gate) -> None:
    class Impatient(Doer):
        stop_grace = 0.0

    diary: list[Any] = []
    ref = Impatient.start(diary=diary)

    async def run(_: object) -> None:
        try:
            await gate()
        finally:
            diary.append("cut off")

    running = ref.ask(Turn(run), block=False)
    waiting = ref.ask(Turn(lambda _: diary.append("never")), block=False)
    gate.wait()

    assert ref.stop(timeout=PATIENCE)

    for reply in (running, waiting):
        with pytest.raises(pykka.ActorDeadError):
            reply.get(timeout=0)
    assert diary == ["cut off", "stopped"]


def test_turns_that_are_shut_do_not_hold_up_a_stop(ref: AsyncioActorRef) -> None:
    ref.ask(Do(lambda actor: actor._messages.open_turns(open=False)))
    turn = ref.ask(Turn(lambda _: "done"), block=False)

    assert ref.stop(timeout=PATIENCE)

    with pytest.raises(pykka.ActorDeadError):
        turn.get(timeout=0)


def test_the_hooks_may_be_coroutines_and_run_on_the_actors_loop() -> None:
    diary: list[Any] = []

    async def start() -> None:
        await asyncio.sleep(0)
        diary.append(threading.get_ident())

    async def stop() -> None:
        await asyncio.sleep(0)
        diary.append(threading.get_ident())

    ref = Doer.start(on_start=start, on_stop=stop)
    ident = ref.ask(Do(lambda _: threading.get_ident()))
    ref.stop()

    assert diary == [ident, ident]


# Incarnations


def test_a_retired_incarnation_leaves_its_ref_and_waiting_messages_to_the_next_one(
    gate: Gate,
) -> None:
    first, second = Doer(), Doer()
    ref = first.actor_ref
    pykka.ActorRegistry.register(ref)
    first._begin()
    running = ref.ask(Turn(gate), block=False)
    query_gate = Gate()
    query = ref.ask(Do(query_gate), block=False)
    ref.tell(Turn(lambda actor: actor.diary.append("told")))
    waiting = ref.ask(Turn(lambda actor: list(actor.diary)), block=False)
    gate.wait()
    query_gate.wait()

    ref.ask(Do(lambda actor: actor._retire()))
    assert first.gone.wait(PATIENCE)
    assert ref.is_alive()
    assert gate.cancelled.is_set()
    gate.open()
    query_gate.open()
    late = ref.ask(Do(lambda actor: actor is second), block=False)
    second._take_over(ref)._begin()

    assert running.get(timeout=PATIENCE) == "passed"
    assert query.get(timeout=PATIENCE) == "passed"
    assert waiting.get(timeout=PATIENCE) == ["told"]
    assert late.get(timeout=PATIENCE) is True
    assert (gate.times, query_gate.times) == (2, 2)
    assert ref.stop(timeout=PATIENCE)


def test_a_handler_that_was_abandoned_is_not_handed_on(gate: Gate) -> None:
    ref, successor = start_with_successor()
    running = ref.ask(Turn(gate), block=False)
    gate.wait()
    ref.ask(Do(lambda actor: actor._retire()))
    running.cancel()

    successor.begin()

    assert ref.ask(Turn(lambda _: "next"), timeout=PATIENCE) == "next"
    assert gate.times == 1
    ref.stop()


def start_with_successor() -> tuple[AsyncioActorRef, Any]:
    """Start an actor, and return a function that begins the next incarnation after the first."""
    first, second = Doer(), Doer()
    pykka.ActorRegistry.register(first.actor_ref)
    first._begin()

    class Successor:
        def begin(self) -> Doer:
            assert first.gone.wait(PATIENCE)
            second._take_over(first.actor_ref)._begin()
            return second

    return first.actor_ref, Successor()


def test_a_retired_actor_takes_nothing_more() -> None:
    ref, successor = start_with_successor()

    def retire(actor: Doer) -> None:
        actor._retire()
        actor._loop.call_soon(actor._messages.drain)  # As after a put in this moment.
        actor.actor_ref.tell("for the successor")

    ref.ask(Do(retire))
    second = successor.begin()
    settle(ref)

    assert second.diary == ["for the successor"]
    ref.stop()


def test_a_stop_that_waits_at_a_retirement_ends_the_next_incarnation() -> None:
    ref, successor = start_with_successor()
    stops: list[ReplyFuture[bool]] = []

    def retire(actor: Doer) -> None:
        actor._retire()
        stops.append(ref.stop(block=False))

    ref.ask(Do(retire))
    second = successor.begin()

    assert stops[0].get(timeout=PATIENCE) is True
    assert second.diary == ["stopped"]


def test_an_actor_that_retires_while_it_stops_ends_for_good(gate: Gate) -> None:
    class Retiree(Doer):
        async def on_receive(self, message: Any) -> Any:
            await gate()
            self._retire()

    ref = Retiree.start()
    running = ref.ask(Turn(gate), block=False)
    gate.wait()
    waiting = ref.ask(Turn(gate), block=False)
    stopping = ref.stop(block=False)
    gate_of_stop(ref)
    gate.open()

    assert stopping.get(timeout=PATIENCE) is True
    assert running.done()
    with pytest.raises(pykka.ActorDeadError):
        waiting.get(timeout=0)
    assert not ref.is_alive()
    assert ref not in pykka.ActorRegistry.get_all()


def test_a_hung_incarnation_is_abandoned_and_the_next_one_continues(gate: Gate) -> None:
    first, second = Doer(), Doer()
    ref = first.actor_ref
    pykka.ActorRegistry.register(ref)
    first._begin()
    hung, let_go = threading.Event(), threading.Event()
    running = ref.ask(Turn(gate), block=False)
    gate.wait()

    def hang(_: object) -> None:
        hung.set()
        let_go.wait(PATIENCE)

    hanging = ref.ask(Do(hang), block=False)
    waiting = ref.ask("waiting", block=False)
    assert hung.wait(PATIENCE)

    first._abandon()
    gate.open()
    second._take_over(ref)._begin()

    with pytest.raises(pykka.ActorDeadError):
        hanging.get(timeout=PATIENCE)
    assert running.get(timeout=PATIENCE) == "passed"
    assert waiting.get(timeout=PATIENCE) == "waiting"
    let_go.set()
    ref.tell("for the second")
    assert ref.ask(Do(lambda actor: actor is second), timeout=PATIENCE)
    assert "for the second" not in first.diary
    ref.stop()


def test_a_turn_that_ends_in_an_abandoned_incarnation_does_not_disturb_the_next_one(
    gate: Gate,
) -> None:
    first, second = Doer(), Doer()
    ref = first.actor_ref
    pykka.ActorRegistry.register(ref)
    first._begin()
    hung, let_go = threading.Event(), threading.Event()

    def hang(_: object) -> None:
        hung.set()
        let_go.wait(PATIENCE)

    ref.tell(Turn(gate))
    gate.wait()
    ref.tell(Do(hang))
    assert hung.wait(PATIENCE)
    first._abandon()
    gate.open()
    second._take_over(ref)._begin()
    ref.ask(Turn(lambda _: None), timeout=PATIENCE)
    while not ref.actor_inbox._asleep:
        threading.Event().wait(0.001)

    let_go.set()
    assert first.gone.wait(PATIENCE)

    assert ref.ask("message", timeout=PATIENCE) == "message"
    ref.stop(timeout=PATIENCE)


def test_a_hung_actor_that_was_stopping_answers_all_when_it_is_abandoned() -> None:
    actor = Doer()
    ref = actor.actor_ref
    pykka.ActorRegistry.register(ref)
    actor._begin()
    hung, let_go = threading.Event(), threading.Event()

    async def hang(_: object) -> None:
        while not actor.actor_inbox.closed:  # noqa: ASYNC110 (nothing tells of it)
            await asyncio.sleep(0)
        hung.set()
        let_go.wait(PATIENCE)

    running = ref.ask(Do(hang), block=False)
    stopping = ref.stop(block=False)
    assert hung.wait(PATIENCE)

    actor._abandon()

    assert stopping.get(timeout=PATIENCE) is True
    with pytest.raises(pykka.ActorDeadError):
        running.get(timeout=PATIENCE)
    assert not ref.is_alive()
    let_go.set()


# Properties


@settings(deadline=None, max_examples=40)
@given(
    senders=st.lists(st.lists(st.booleans(), max_size=40), min_size=1, max_size=4),
)
def test_messages_of_each_sender_and_lane_are_handled_in_order(senders: list[list[bool]]) -> None:
    handled: list[tuple[int, int, bool]] = []
    ref = Doer.start()

    def send(sender: int) -> None:
        for number, turn in enumerate(senders[sender]):
            entry = (sender, number, turn)

            async def note(_: object, entry: tuple[int, int, bool] = entry) -> None:
                handled.append(entry)
                await asyncio.sleep(0)

            ref.tell((Turn if turn else Do)(note))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(len(senders))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    ref.stop(timeout=PATIENCE)

    assert len(handled) == sum(map(len, senders))
    for sender in range(len(senders)):
        for lane in (True, False):
            numbers = [n for s, n, turn in handled if s == sender and turn is lane]
            assert numbers == sorted(numbers)


KINDS = ["value", "error", "coroutine", "turn", "forever", "cancel", "abandon", "system exit"]


@settings(deadline=None, max_examples=40)
@given(
    senders=st.lists(st.lists(st.sampled_from(KINDS), max_size=20), min_size=1, max_size=4),
    stop_after=st.integers(0, 20),
    crash=st.booleans(),
)
def test_every_ask_is_answered_once_for_any_events(  # noqa: C901 (one scene, many parts)
    senders: list[list[str]], stop_after: int, crash: bool
) -> None:
    class Impatient(Doer):
        stop_grace = 0.0

    ref = Impatient.start()
    asks: list[ReplyFuture[Any]] = []
    answers: dict[ReplyFuture[Any], int] = {}

    async def forever(_: object) -> None:
        await asyncio.Event().wait()

    async def soon(_: object) -> int:
        await asyncio.sleep(0)
        return 1

    messages = {
        "value": Do(lambda _: 1),
        "error": Do(raiser(ValueError, in_coroutine=True)),
        "coroutine": Do(soon),
        "turn": Turn(soon),
        "forever": Do(forever),
        "cancel": Turn(forever),
        "abandon": Do(soon),
        "system exit": Do(raiser(SystemExit, in_coroutine=False)),
    }

    def count(future: ReplyFuture[Any]) -> None:
        answers[future] = answers.get(future, 0) + 1

    def send(kinds: list[str]) -> None:
        for kind in kinds:
            future = ref.ask(messages[kind], block=False)
            asks.append(future)
            future.add_done_callback(count)
            if kind in ("cancel", "abandon"):
                future.cancel()

    def end() -> None:
        for _ in range(stop_after):
            ref.ask("query", block=False)
        if crash:
            with contextlib.suppress(pykka.ActorDeadError):
                ref.tell(Do(raiser(ValueError, in_coroutine=False)))
        ref.stop(timeout=PATIENCE)

    threads = [threading.Thread(target=send, args=(kinds,)) for kinds in senders]
    threads.append(threading.Thread(target=end))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    for future in asks:
        with contextlib.suppress(
            ValueError, SystemExit, pykka.ActorDeadError, concurrent.futures.CancelledError
        ):
            assert future.get(timeout=PATIENCE) in (1, None)
    assert answers == dict.fromkeys(asks, 1)
