"""The core cases of actors on real threads that switch as often as possible.

Each is repeated with one seed after another. For a long night:

    AGY_ACTORS_TEST_REPETITIONS=10000 python -m pytest -n0 tests/stress

A seed gives the same case again, not the same order of the threads: repeat it.
"""

from __future__ import annotations

import concurrent.futures
import logging
import os
import random
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import as_completed
from tests.simulation.actors import Work, Worker
from tests.simulation.effort import times
from tests.simulation.test_kernel_model import (
    WAYS,
    ask_during_a_stop,
    ask_in_a_circle,
    ask_with_deadlines,
    cancel_one_turn,
    send_and_stop,
    take_turns,
    watch_the_end,
)
from tests.simulation.threads import Threads, switching_often

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agy_actors._actors.future import ReplyFuture

REPETITIONS = int(os.environ.get("AGY_ACTORS_TEST_REPETITIONS") or times(100))
"""Of each case."""

SLOW = 0.05
"""Seconds for a repetition on a busy machine; arbitrary, and ten times what most take."""

MOMENTS = (0.0, 0.01, 0.03, 0.1, 0.3)
"""Virtual seconds about as long as it takes to handle a message, or to start a thread."""

pytestmark = pytest.mark.timeout(60 + REPETITIONS * SLOW)


@pytest.fixture(autouse=True)
def stress(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    # Actors fail here on purpose: thousands of records would be kept, with everything they refer
    # to.
    caplog.set_level(logging.CRITICAL, logger="pykka")
    with switching_often():
        yield


def repeat(case: Callable[[random.Random], object]) -> None:
    for seed in range(REPETITIONS):
        try:
            case(random.Random(seed))
        except BaseException as error:
            error.add_note(f"in the repetition with seed {seed}")
            raise


def test_an_ask_that_races_with_a_stop_is_always_answered() -> None:
    repeat(lambda draw: Threads(jitter=draw).run(ask_during_a_stop))


def test_messages_of_many_senders_keep_the_order_of_each_until_a_stop() -> None:
    def case(draw: random.Random) -> None:
        kinds = draw.choices(["fast", "slow"], [30, 1], k=30)
        messages = [(draw.choice(WAYS), kind) for kind in kinds]
        plans = [messages[:10], messages[10:20], messages[20:]]
        send_and_stop(Threads(jitter=draw), plans, stop_after=draw.choice([*MOMENTS, 1.0]))

    repeat(case)


def test_turns_run_one_at_a_time_and_no_more_wait_than_the_mailbox_holds() -> None:
    def case(draw: random.Random) -> None:
        durations = draw.choices(MOMENTS, k=draw.randint(2, 6))
        take_turns(Threads(jitter=draw), draw.randint(1, 3), durations)

    repeat(case)


def test_each_watcher_is_called_once_in_any_race_with_the_end() -> None:
    def case(draw: random.Random) -> None:
        watch_the_end(
            Threads(jitter=draw), draw.choice(["stop", "fail"]), late=draw.choice(MOMENTS)
        )

    repeat(case)


def test_an_ask_is_either_answered_or_abandoned_by_its_deadline() -> None:
    def case(draw: random.Random) -> None:
        timeouts = draw.choices(MOMENTS, k=draw.randint(1, 4))
        ask_with_deadlines(Threads(jitter=draw), timeouts, work=draw.choice(MOMENTS))

    repeat(case)


def test_a_cancelled_turn_takes_no_other_with_it() -> None:
    def case(draw: random.Random) -> None:
        cancel_one_turn(Threads(jitter=draw), draw.randrange(3), work=draw.choice(MOMENTS))

    repeat(case)


def test_a_circle_of_asks_is_refused_and_never_hangs() -> None:
    repeat(lambda draw: Threads(jitter=draw).run(ask_in_a_circle))


def outcome(reply: ReplyFuture[Any]) -> str:
    try:
        return str(reply.get())
    except concurrent.futures.CancelledError:
        return "cancelled"


def cancel_and_reply(world: Threads, work: float, moments: list[float]) -> None:
    told: list[str] = []
    seen: list[str] = []
    won: list[bool] = []

    def scenario(world: Threads) -> None:
        reply = Worker.start([]).ask(Work("done", work), block=False)
        reply.add_done_callback(lambda reply: told.append(outcome(reply)))

        def wait() -> None:
            seen.append(outcome(reply))

        async def wait_on_a_loop() -> None:
            try:
                seen.append(await reply)
            except concurrent.futures.CancelledError:
                seen.append("cancelled")

        def cancel(moment: float) -> None:
            world.sleep(moment)
            won.append(reply.cancel())
            seen.append(outcome(reply))

        clients = [world.client(cancel, moment) for moment in moments]
        clients += [world.client(wait), world.client(wait_on_a_loop)]
        for client in clients:
            client.result()
        seen.append(outcome(reply))

    world.run(scenario)

    assert len(told) == 1
    assert seen == told * (3 + len(moments))
    assert won == [told == ["cancelled"]] * len(moments)


def test_a_reply_that_races_with_cancellations_is_one_for_all_and_never_changes() -> None:
    def case(draw: random.Random) -> None:
        moments = draw.choices(MOMENTS, k=2)
        cancel_and_reply(Threads(jitter=draw), draw.choice(MOMENTS), moments)

    repeat(case)


def read_as_completed(world: Threads, draw: random.Random) -> None:
    durations = draw.choices(MOMENTS[:3], k=6)
    cancelled = draw.randrange(6)

    def scenario(world: Threads) -> None:
        refs = [Worker.start([]), Worker.start([])]
        asks = [
            refs[number % 2].ask(Work(str(number), time), block=False)
            for number, time in enumerate(durations)
        ]

        def read() -> list[ReplyFuture[Any]]:
            return [ask for ask in as_completed(asks) if ask.done()]

        readers = [world.client(read), world.client(read)]
        enders = [world.client(asks[cancelled].cancel), world.client(refs[0].stop)]
        for ender in enders:
            ender.result()
        for reader in readers:
            assert sorted(map(id, reader.result())) == sorted(map(id, asks))

    world.run(scenario)


def test_a_reader_of_replies_as_they_are_completed_gets_each_once() -> None:
    repeat(lambda draw: read_as_completed(Threads(jitter=draw), draw))
