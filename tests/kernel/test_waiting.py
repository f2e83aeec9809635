from __future__ import annotations

import queue
import threading

import pytest

from agy_actors._kernel import Arrivals, Change, ThreadHost, current_host, host_context
from tests.kernel._actors import PATIENCE


def test_arrivals_come_out_in_the_order_of_their_coming() -> None:
    arrivals: Arrivals[int] = Arrivals()
    for number in range(3):
        arrivals.put(number)

    assert [arrivals.get(None) for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize("timeout", [0.0, 0.01, -1.0])
def test_what_does_not_arrive_in_time_is_given_up(timeout: float) -> None:
    with pytest.raises(queue.Empty):
        Arrivals[int]().get(timeout)


def test_no_arrival_is_missed_by_a_reader_that_waits_again_and_again() -> None:
    arrivals: Arrivals[int] = Arrivals()

    def send() -> None:
        for number in range(2000):
            arrivals.put(number)

    senders = [threading.Thread(target=send) for _ in range(3)]
    for sender in senders:
        sender.start()

    received = [arrivals.get(PATIENCE) for _ in range(6000)]

    assert sorted(received) == sorted([*range(2000)] * 3)
    for sender in senders:
        sender.join()


def test_a_change_lets_all_pass_who_wait_for_it() -> None:
    lock = threading.Lock()
    change = Change(lock)
    waiting, passed = threading.Semaphore(0), threading.Semaphore(0)

    def wait() -> None:
        with lock:
            waiting.release()
            change.wait(PATIENCE)
        passed.release()

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert waiting.acquire(timeout=PATIENCE)
    with lock:  # Whoever said that it waits has left the lock, so that it does.
        change.announce()

    for thread in threads:
        assert passed.acquire(timeout=PATIENCE)
        thread.join()


def test_a_wait_for_a_change_ends_with_its_time_and_holds_the_lock_again() -> None:
    lock = threading.Lock()
    change = Change(lock)

    with lock:
        change.wait(0.01)

        assert lock.locked()
        change.announce()  # Nobody is left to let pass.


def test_numbers_of_a_kind_are_given_once_and_ids_never_again() -> None:
    host = ThreadHost()

    numbers = [host.number("kind of this test") for _ in range(3)]

    assert numbers == [1, 2, 3]
    assert len({host.new_id() for _ in range(100)}) == 100
    assert len(host.new_id()) == 32


def test_a_threads_context_holds_its_host_and_nothing_else() -> None:
    host = ThreadHost()

    context = host_context(host)

    assert context.run(current_host) is host
    assert len(context) == 1
