import asyncio
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import pykka
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pykka.messages import _ActorStop

from agy_actors._actors.envelope import Envelope
from agy_actors._actors.errors import MailboxFull
from agy_actors._actors.future import ReplyFuture
from agy_actors._actors.mailbox import Mailbox
from agy_actors._actors.message import Lane, Message


class Turn(Message[Any]):
    lane = Lane.TURN

    def __init__(self, number: int = 0, sender: int = 0) -> None:
        self.number = number
        self.sender = sender


class Query(Message[Any]):
    def __init__(self, number: int = 0, sender: int = 0) -> None:
        self.number = number
        self.sender = sender


def dead() -> Exception:
    return pykka.ActorDeadError("dead")


def take_all(mailbox: Mailbox, *, turns: bool = True) -> list[Any]:
    return [envelope.message for envelope in iter(lambda: mailbox.take(turns=turns), None)]


def test_control_messages_overtake_turns_and_each_lane_keeps_its_order() -> None:
    mailbox = Mailbox()
    first, second, query, plain = Turn(), Turn(), Query(), "anything"
    for message in (first, query, second, plain):
        mailbox.put(Envelope(message))

    assert len(mailbox) == 4
    assert mailbox.turns_waiting == 2
    assert take_all(mailbox) == [query, plain, first, second]
    assert mailbox.empty()


def test_turns_wait_while_turns_are_not_allowed() -> None:
    mailbox = Mailbox()
    mailbox.put(Envelope(Turn()))

    assert mailbox.take(turns=False) is None
    assert mailbox.turns_waiting == 1
    assert mailbox.take(turns=True) is not None


class InterruptedLock:
    """A lock that another thread holds first, while it does something."""

    def __init__(self, first: Callable[[], object]) -> None:
        self._lock = threading.RLock()
        self._first: Callable[[], object] | None = first

    def __enter__(self) -> None:
        first, self._first = self._first, None
        if first is not None:
            first()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


@pytest.mark.parametrize("turns", [True, False])
def test_a_message_between_the_check_of_an_empty_mailbox_and_its_sleep_is_taken(
    *, turns: bool
) -> None:
    mailbox = Mailbox()
    mailbox.put(Envelope(Turn()))
    query = Envelope(Query())
    mailbox._lock = InterruptedLock(lambda: mailbox.put(query))  # type: ignore[assignment]

    assert mailbox.take(turns=turns) is query

    # A later message ends the sleep.
    assert (mailbox.take(turns=turns) is None) is not turns


def test_a_full_turn_lane_refuses_turns_and_takes_control_messages() -> None:
    mailbox = Mailbox(capacity=2)
    mailbox.put(Envelope(Turn()))
    mailbox.put(Envelope(Turn()))

    with pytest.raises(MailboxFull, match="2 messages waiting"):
        mailbox.put(Envelope(Turn()))
    mailbox.put(Envelope(Query()))

    assert len(mailbox) == 3


def test_a_turn_that_is_being_refused_is_not_counted() -> None:
    mailbox = Mailbox(capacity=1)
    counted: list[int] = []
    counting = threading.Thread(target=lambda: counted.append(mailbox.turns_waiting))

    class Waiting(ReplyFuture[Any]):
        def cancelled(self) -> bool:  # The mailbox asks while it holds one turn too many.
            counting.start()
            counting.join(0.1)  # It waits for the put to end.
            return False

    waiting = Waiting()
    mailbox.put(Envelope(Turn(), waiting))

    with pytest.raises(MailboxFull):
        mailbox.put(Envelope(Turn()))

    counting.join()
    waiting.set(None)
    assert counted == [1]


def test_abandoned_turns_make_room_for_new_ones() -> None:
    mailbox = Mailbox(capacity=2)
    abandoned: ReplyFuture[Any] = ReplyFuture()
    kept, new = Turn(1), Turn(2)
    mailbox.put(Envelope(Turn(), abandoned))
    mailbox.put(Envelope(kept))
    abandoned.cancel()

    mailbox.put(Envelope(new))

    assert take_all(mailbox) == [kept, new]


def test_a_mailbox_refuses_a_capacity_of_zero() -> None:
    with pytest.raises(ValueError, match="capacity must be an integer >= 1, got 0"):
        Mailbox(capacity=0)


def test_a_closed_mailbox_returns_waiting_messages_and_refuses_later_ones() -> None:
    mailbox = Mailbox()
    turn, query = Turn(), Query()
    mailbox.put(Envelope(turn))
    mailbox.put(Envelope(query))

    left = mailbox.close(dead)

    assert [envelope.message for envelope in left] == [query, turn]
    for message in (Turn(), Query(), _ActorStop()):
        with pytest.raises(pykka.ActorDeadError):
            mailbox.put(Envelope(message))
    assert not mailbox.put_back(Envelope(turn))
    assert mailbox.closed
    assert mailbox.close(dead) == []


def test_a_closed_mailbox_may_keep_its_turns_and_take_stops() -> None:
    mailbox = Mailbox()
    turn = Turn()
    mailbox.put(Envelope(turn))

    assert mailbox.close(dead, keep_turns=True, take_stops=True) == []
    mailbox.put(Envelope(_ActorStop()))

    assert take_all(mailbox) == [_ActorStop(), turn]


def test_the_error_of_a_closed_mailbox_is_made_outside_its_lock() -> None:
    mailbox = Mailbox()
    free: list[bool] = []

    def error() -> Exception:
        def try_lock() -> None:
            free.append(mailbox._lock.acquire(blocking=False))

        thread = threading.Thread(target=try_lock)
        thread.start()
        thread.join(10)
        return dead()

    mailbox.close(error)
    with pytest.raises(pykka.ActorDeadError):
        mailbox.put(Envelope("late"))

    assert free == [True]


def test_a_returned_message_comes_first_in_its_lane_even_beyond_the_capacity() -> None:
    mailbox = Mailbox(capacity=1)
    first, second = Turn(1), Turn(2)
    mailbox.put(Envelope(second))

    assert mailbox.put_back(Envelope(first))

    assert take_all(mailbox) == [first, second]


def test_get_takes_without_waiting() -> None:
    mailbox = Mailbox()
    with pytest.raises(queue.Empty):
        mailbox.get()
    mailbox.put(Envelope("message"))

    assert mailbox.get().message == "message"


class Drainer:
    """A consumer like an actor, which counts its wake-ups."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox
        self.turns = True
        self.taken: list[Any] = []
        self.wakeups = 0
        self.loop = asyncio.new_event_loop()

    def drain(self) -> None:
        self.wakeups += 1
        self.taken += take_all(self.mailbox, turns=self.turns)

    def settle(self) -> None:
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.run_until_complete(asyncio.sleep(0))


@pytest.fixture
def drainer() -> Any:
    drainer = Drainer(Mailbox())
    yield drainer
    drainer.loop.close()


def test_only_a_sleeping_loop_is_woken(drainer: Drainer) -> None:
    mailbox = drainer.mailbox
    mailbox.put(Envelope("before"))
    mailbox.attach(drainer.loop, drainer.drain)
    drainer.settle()

    for number in range(10):
        mailbox.put(Envelope(number))
    drainer.settle()

    assert drainer.taken == ["before", *range(10)]
    assert drainer.wakeups == 2


def test_messages_that_come_while_detached_are_found_after_the_next_attach(
    drainer: Drainer,
) -> None:
    mailbox = drainer.mailbox
    mailbox.attach(drainer.loop, drainer.drain)
    drainer.settle()
    mailbox.detach()
    mailbox.put(Envelope("meanwhile"))
    drainer.settle()
    assert drainer.taken == []

    mailbox.attach(drainer.loop, drainer.drain)
    drainer.settle()

    assert drainer.taken == ["meanwhile"]


def test_attaching_an_empty_mailbox_schedules_no_drain(drainer: Drainer) -> None:
    drainer.mailbox.attach(drainer.loop, drainer.drain)
    drainer.settle()
    assert drainer.wakeups == 0

    drainer.mailbox.put(Envelope("message"))
    drainer.settle()

    assert drainer.wakeups == 1
    assert drainer.taken == ["message"]


def test_a_previous_incarnation_cannot_detach_the_next_one(drainer: Drainer) -> None:
    mailbox = drainer.mailbox
    mailbox.attach(drainer.loop, drainer.drain)
    drainer.settle()
    old = asyncio.new_event_loop()
    old.close()

    mailbox.detach(old)
    mailbox.put(Envelope("message"))
    drainer.settle()

    assert drainer.taken == ["message"]


def test_rousing_takes_the_waiting_turns(drainer: Drainer) -> None:
    mailbox, turn = drainer.mailbox, Turn()
    drainer.turns = False
    mailbox.attach(drainer.loop, drainer.drain)
    mailbox.put(Envelope(turn))
    drainer.settle()
    assert drainer.taken == []

    drainer.turns = True
    mailbox.rouse()
    drainer.settle()

    assert drainer.taken == [turn]


def test_a_put_on_a_loop_that_was_closed_keeps_the_message(drainer: Drainer) -> None:
    mailbox = drainer.mailbox
    mailbox.attach(drainer.loop, drainer.drain)
    drainer.settle()
    drainer.loop.close()

    mailbox.put(Envelope("message"))

    assert len(mailbox) == 1


def test_a_put_may_interrupt_a_put_of_its_own_thread() -> None:
    mailbox = Mailbox()

    def put(*_: object) -> None:
        mailbox.put(Envelope("from the signal handler"))

    before = signal.signal(signal.SIGUSR1, put)
    try:
        with mailbox._lock:
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert len(mailbox) == 1


def run_together(functions: list[Callable[[], None]]) -> None:
    start = threading.Barrier(len(functions))

    def run(function: Callable[[], None]) -> None:
        start.wait(10)
        function()

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)


@given(
    senders=st.lists(st.lists(st.booleans(), max_size=30), min_size=1, max_size=4),
    takes=st.lists(st.booleans(), max_size=40),
    capacity=st.integers(1, 40),
)
def test_of_puts_takes_and_a_close_at_once_nothing_is_lost_or_doubled(  # noqa: C901 (one scene)
    senders: list[list[bool]], takes: list[bool], capacity: int
) -> None:
    mailbox = Mailbox(capacity=capacity)
    accepted: list[set[tuple[int, int]]] = [set() for _ in senders]
    taken: list[tuple[int, int, bool]] = []

    def send(sender: int) -> None:
        for number, turn in enumerate(senders[sender]):
            message = (Turn if turn else Query)(number, sender)
            try:
                mailbox.put(Envelope(message))
            except MailboxFull:
                continue
            except pykka.ActorDeadError:
                return
            accepted[sender].add((sender, number))

    def note(message: Any) -> None:
        taken.append((message.sender, message.number, isinstance(message, Turn)))

    def consume() -> None:
        for turns in takes:
            envelope = mailbox.take(turns=turns)
            if envelope is not None:
                note(envelope.message)
        for envelope in mailbox.close(dead):
            note(envelope.message)

    run_together([*(lambda s=s: send(s) for s in range(len(senders))), consume])

    assert len(taken) == len({(sender, number) for sender, number, _ in taken})
    assert {(sender, number) for sender, number, _ in taken} == set().union(*accepted)
    for sender in range(len(senders)):
        for lane in (True, False):
            numbers = [n for s, n, turn in taken if s == sender and turn is lane]
            assert numbers == sorted(numbers)


@given(st.lists(st.tuples(st.sampled_from(["turn", "query", "take", "take all", "back"]))))
def test_it_behaves_as_two_queues(steps: list[tuple[str]]) -> None:
    mailbox = Mailbox(capacity=3)
    control: deque[Any] = deque()
    turns: deque[Any] = deque()
    last: Any = None
    for (step,) in steps:
        if step == "turn":
            message: Any = Turn()
            if len(turns) >= 3:
                with pytest.raises(MailboxFull):
                    mailbox.put(Envelope(message))
            else:
                mailbox.put(Envelope(message))
                turns.append(message)
        elif step == "query":
            message = Query()
            mailbox.put(Envelope(message))
            control.append(message)
        elif step == "back" and last is not None:
            assert mailbox.put_back(last)
            (turns if isinstance(last.message, Turn) else control).appendleft(last.message)
            last = None
        elif step.startswith("take"):
            last = mailbox.take(turns=step == "take all")
            lane = control or (turns if step == "take all" else ())
            assert (last.message if last else None) is (lane.popleft() if lane else None)
        assert len(mailbox) == len(control) + len(turns)


@pytest.mark.parametrize(("behind", "place"), [(0, 0), (1, 2), (2, 3), (5, 3)])
def test_a_turn_is_inserted_behind_a_number_of_turns_with_waiting_askers(
    behind: int, place: int
) -> None:
    mailbox = Mailbox(capacity=3)
    waiting = [Envelope(Turn(number), ReplyFuture()) for number in range(3)]
    for envelope in waiting:
        mailbox.put(envelope)
    abandoned = waiting[0].reply_to
    assert isinstance(abandoned, ReplyFuture)
    abandoned.cancel()
    turn = Turn(9)

    assert mailbox.insert_turn(Envelope(turn), behind=behind)

    assert take_all(mailbox).index(turn) == place
    for envelope in waiting[1:]:
        assert envelope.reply_to is not None
        envelope.reply_to.set(None)


def test_a_turn_that_is_inserted_wakes_the_actor_and_a_closed_mailbox_refuses_it() -> None:
    loop = asyncio.new_event_loop()
    mailbox = Mailbox()
    drains: list[int] = []
    mailbox.attach(loop, lambda: drains.append(1))
    loop.run_until_complete(asyncio.sleep(0))
    assert drains == []

    assert mailbox.insert_turn(Envelope(Turn()), behind=1)

    loop.run_until_complete(asyncio.sleep(0))
    assert len(drains) == 1
    mailbox.close(dead)
    assert not mailbox.insert_turn(Envelope(Turn()), behind=0)
    loop.close()
