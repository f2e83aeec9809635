import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from typing import Any

import pykka
import pytest

from agy_actors._actors.actor_ref import AsyncioActorRef
from agy_actors._actors.as_completed import as_completed
from agy_actors._actors.errors import AskTimeout, MailboxFull
from agy_actors._actors.future import ReplyFuture
from tests.actors.doers import PATIENCE, Do, Doer, Gate, Turn, gate_fixture, ref_fixture  # noqa: F401 (fixtures)


def test_an_ask_that_times_out_cancels_its_handler(ref: AsyncioActorRef, gate: Gate) -> None:
    with pytest.raises(AskTimeout, match="did not answer Turn within"):
        ref.ask(Turn(gate), timeout=0.01)

    assert gate.times == 0 or gate.cancelled.wait(PATIENCE)
    assert ref.ask(Turn(lambda _: "next"), timeout=PATIENCE) == "next"


def test_an_ask_that_runs_out_of_time_before_its_start_never_starts(
    ref: AsyncioActorRef, gate: Gate
) -> None:
    ref.tell(Turn(gate))
    gate.wait()
    second = Gate()

    with pytest.raises(AskTimeout):
        ref.ask(Turn(second), timeout=0)
    gate.open()

    assert ref.ask(Turn(lambda _: "next"), timeout=PATIENCE) == "next"
    assert second.times == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda ref: ref.ask("anything"),
        lambda ref: ref.ask("anything", block=False),
        lambda ref: ref.stop(block=False),
    ],
    ids=["ask", "ask without blocking", "stop"],
)
def test_a_refused_message_leaves_no_future_without_a_reply(
    ref: AsyncioActorRef,
    call: Callable[[AsyncioActorRef], object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replies: list[ReplyFuture[Any]] = []

    def refuse(envelope: Any) -> None:
        replies.append(envelope.reply_to)
        raise MailboxFull("no room")

    with monkeypatch.context() as patch:
        patch.setattr(ref.actor_inbox, "put", refuse)
        with pytest.raises(MailboxFull):
            call(ref)

    assert [reply.done() for reply in replies] == [True]


def test_a_get_that_times_out_does_not_cancel_the_message(ref: AsyncioActorRef, gate: Gate) -> None:
    future = ref.ask(Turn(gate), block=False)
    gate.wait()

    with pytest.raises(AskTimeout, match="no reply to Turn by Doer"):
        future.get(timeout=0)
    gate.open()

    assert future.get(timeout=PATIENCE) == "passed"
    assert not gate.cancelled.is_set()


def test_a_timeout_that_the_handler_raised_is_its_answer(ref: AsyncioActorRef) -> None:
    def fail(_: object) -> None:
        raise AskTimeout("the handler's own")

    with pytest.raises(AskTimeout, match="the handler's own"):
        ref.ask(Do(fail), timeout=PATIENCE)


def test_a_reply_that_comes_with_the_end_of_the_time_is_not_thrown_away(
    ref: AsyncioActorRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    get = ReplyFuture.get

    def get_too_late(self: ReplyFuture[Any], *, timeout: float | None = None) -> Any:
        get(self)
        if timeout is None:
            return get(self)
        raise AskTimeout

    with monkeypatch.context() as patch:
        patch.setattr(ReplyFuture, "get", get_too_late)

        assert ref.ask("message", timeout=1) == "message"


def test_a_dead_actor_answers_an_ask_and_refuses_a_tell() -> None:
    ref = Doer.start()
    assert ref.stop() is True

    with pytest.raises(pykka.ActorDeadError):
        ref.tell("message")
    with pytest.raises(pykka.ActorDeadError):
        ref.ask("message")
    with pytest.raises(pykka.ActorDeadError):
        ref.ask("message", block=False).get()
    assert ref.stop() is False


def test_any_thread_may_ask_at_once(ref: AsyncioActorRef) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ref.ask, range(200))) == list(range(200))


def test_replies_can_be_awaited_together(ref: AsyncioActorRef) -> None:
    async def main() -> list[Any]:
        return await asyncio.gather(*(ref.ask(number, block=False) for number in range(5)))

    assert asyncio.run(main()) == list(range(5))


def test_replies_can_be_taken_as_they_complete(ref: AsyncioActorRef, gate: Gate) -> None:
    slow, quick = ref.ask(Do(gate), block=False), ref.ask("quick", block=False)

    arrivals = as_completed([slow, quick], timeout=PATIENCE)

    assert next(arrivals) is quick
    gate.open()
    assert next(arrivals) is slow


def test_replies_mix_with_other_futures(ref: AsyncioActorRef) -> None:
    replies = [ref.ask(number, block=False).to_concurrent() for number in range(3)]

    done, _ = concurrent.futures.wait(replies, timeout=PATIENCE)

    assert {future.result() for future in done} == {0, 1, 2}


def test_a_reply_derived_by_map_is_computed_from_the_answer(ref: AsyncioActorRef) -> None:
    assert ref.ask(20, block=False).map(lambda value: value + 1).get(timeout=PATIENCE) == 21


def test_an_ask_that_races_with_a_stop_is_always_answered() -> None:
    for _ in range(50):
        ref = Doer.start()
        replies: list[ReplyFuture[Any]] = []
        start = threading.Barrier(2)

        def ask() -> None:
            start.wait(PATIENCE)  # noqa: B023
            replies.extend(ref.ask(number, block=False) for number in range(20))  # noqa: B023

        thread = threading.Thread(target=ask)
        thread.start()
        start.wait(PATIENCE)
        ref.stop(timeout=PATIENCE)
        thread.join(PATIENCE)

        outcomes = [outcome(reply) for reply in replies]
        answered = [result for result in outcomes if result != "dead"]
        assert outcomes == [*range(len(answered)), *["dead"] * (20 - len(answered))]


def outcome(reply: ReplyFuture[Any]) -> Any:
    try:
        return reply.get(timeout=PATIENCE)
    except pykka.ActorDeadError:
        return "dead"


def test_when_a_stop_has_returned_the_loop_is_closed_and_the_registry_knows() -> None:
    ref = Doer.start()
    loop = ref.ask(Do(lambda actor: actor._loop))

    ref.stop()

    assert loop.is_closed()
    assert ref not in pykka.ActorRegistry.get_all()


def test_cancelling_a_stops_future_does_not_cancel_the_stop() -> None:
    ref = Doer.start()
    held = threading.Event()
    ref.tell(Do(lambda _: held.wait(PATIENCE)))

    stopping = ref.stop(block=False)
    assert stopping.cancel()  # Before the actor takes it up.
    held.set()

    assert ref.actor_stopped.wait(PATIENCE)


def test_pykkas_registry_stops_our_actors() -> None:
    refs = [Doer.start() for _ in range(3)]

    assert pykka.ActorRegistry.stop_all() == [True] * 3

    assert not any(ref.is_alive() for ref in refs)
