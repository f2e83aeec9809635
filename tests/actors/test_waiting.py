from __future__ import annotations

import queue
import threading
from uuid import uuid4

import pytest

from agy_actors._actors.blocking import Arrivals, Change
from agy_actors._actors.runtime import ThreadRuntime, current_runtime, runtime_context
from tests.actors.doers import PATIENCE
from tests.simulation.threads import switching_often


def test_items_are_taken_in_the_order_of_their_arrival() -> None:
    arrivals: Arrivals[int] = Arrivals()
    for number in range(3):
        arrivals.put(number)

    assert [arrivals.get(None) for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize("timeout", [0.0, 0.01, -1.0])
def test_a_wait_for_an_item_times_out(timeout: float) -> None:
    with pytest.raises(queue.Empty):
        Arrivals[int]().get(timeout)


def test_a_reader_that_waits_repeatedly_misses_no_item() -> None:
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


def test_a_change_wakes_all_waiting_threads() -> None:
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
    with lock:  # The thread that announced its wait has released the lock, so it waits.
        change.announce()

    for thread in threads:
        assert passed.acquire(timeout=PATIENCE)
        thread.join()


def test_a_wait_for_a_change_times_out_and_holds_the_lock_again() -> None:
    lock = threading.Lock()
    change = Change(lock)

    with lock:
        change.wait(0.01)

        assert lock.locked()
        change.announce()  # No thread is left to wake.


def test_each_kind_has_its_own_numbers_and_no_number_is_used_twice() -> None:
    runtimes = [ThreadRuntime(), ThreadRuntime()]  # All gates of a process share one numbering.
    first, second = uuid4().hex, uuid4().hex
    numbers: list[int] = []

    def take() -> None:
        for _ in range(500):
            numbers.append(runtimes[0].number(first))
            numbers.append(runtimes[1].number(first))

    with switching_often():
        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(numbers) == list(range(1, 4001))
    assert [runtime.number(second) for runtime in runtimes] == [1, 2]


def test_ids_are_never_given_twice() -> None:
    ids = [runtime.new_id() for runtime in (ThreadRuntime(), ThreadRuntime()) for _ in range(100)]

    assert len(set(ids)) == 200
    assert {len(each) for each in ids} == {32}
    assert int("".join(ids), 16)


def test_a_threads_context_holds_its_host_and_nothing_else() -> None:
    runtime = ThreadRuntime()

    context = runtime_context(runtime)

    assert context.run(current_runtime) is runtime
    assert len(context) == 1
