import asyncio
import concurrent.futures
import contextlib
import queue
import threading
import traceback
from collections.abc import Callable
from typing import Any

import pykka
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agy_actors._actors.as_completed import as_completed
from agy_actors._actors.errors import AskTimeout
from agy_actors._actors.future import ReplyFuture
from agy_actors._actors.runtime import ThreadRuntime, runtime_context


def in_thread(function: Callable[[], Any]) -> concurrent.futures.Future[Any]:
    result: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def run() -> None:
        try:
            result.set_result(function())
        except BaseException as error:  # noqa: BLE001 (for the test to look at)
            result.set_exception(error)

    threading.Thread(target=run).start()
    return result


def wait_until_waited_for(future: ReplyFuture[Any], waiters: int = 1) -> None:
    """Return when `count` threads block on the future."""
    while len(future._gates or ()) < waiters:
        threading.Event().wait(0.001)


def test_every_waiting_thread_gets_the_value() -> None:
    future: ReplyFuture[int] = ReplyFuture()
    waiters = [in_thread(future.get) for _ in range(5)]
    wait_until_waited_for(future, 5)

    future.set(7)

    assert [waiter.result(10) for waiter in waiters] == [7] * 5


def test_a_second_resolution_is_refused_and_changes_nothing() -> None:
    future: ReplyFuture[int] = ReplyFuture()
    future.set(1)

    assert not future._resolve(2)
    assert not future._fail(ValueError())
    assert not future.cancel()
    with pytest.raises(queue.Full):
        future.set(3)
    with pytest.raises(queue.Full):
        future.set_exception((ValueError, ValueError(), None))
    with pytest.raises(queue.Full):
        future.set_get_hook(lambda _: 4)
    assert future.get() == 1


def test_a_get_that_times_out_only_stops_waiting() -> None:
    future: ReplyFuture[int] = ReplyFuture()

    for timeout in (0, 0.001):
        with pytest.raises(AskTimeout):
            future.get(timeout=timeout)

    assert not future.done()
    assert not future._gates
    future.set(1)
    assert future.get(timeout=0) == 1


@pytest.mark.parametrize("timeout", [None, 10.0])
def test_a_reply_that_comes_when_a_wait_begins_is_not_missed(
    timeout: float | None,
) -> None:
    future: ReplyFuture[int] = ReplyFuture()

    class Runtime(ThreadRuntime):
        def new_gate(self, what: object) -> Any:
            gate = super().new_gate(what)
            future.set(1)
            return gate

    waiter = in_thread(lambda: runtime_context(Runtime()).run(future.get, timeout=timeout))

    assert waiter.result(10) == 1
    assert not future._gates


def test_a_reply_that_comes_when_a_wait_times_out_is_returned() -> None:
    future: ReplyFuture[int] = ReplyFuture()

    class Late:
        def acquire(self, *, timeout: float) -> bool:
            assert timeout == 10.0
            future.set(1)
            return False

        def release(self) -> None:
            pass

    class Runtime(ThreadRuntime):
        def new_gate(self, what: object) -> Any:
            return Late()

    assert runtime_context(Runtime()).run(future.get, timeout=10.0) == 1


def test_a_timeout_is_pykkas_and_pythons_too() -> None:
    assert issubclass(AskTimeout, pykka.Timeout)
    assert issubclass(AskTimeout, TimeoutError)


def test_waiters_that_give_up_do_not_take_the_reply_from_those_that_stay() -> None:
    for _ in range(200):
        future: ReplyFuture[int] = ReplyFuture()
        stays = in_thread(future.get)
        leave = [in_thread(lambda: future.get(timeout=0.0005)) for _ in range(3)]  # noqa: B023
        wait_until_waited_for(future)

        future.set(1)

        assert stays.result(10) == 1
        for waiter in leave:
            assert waiter.exception(10) is None or isinstance(waiter.exception(), AskTimeout)


def test_the_waiters_are_removed_before_the_first_is_woken() -> None:
    future: ReplyFuture[int] = ReplyFuture()
    seen: list[object] = []

    class Gate:
        def release(self) -> None:
            seen.append(future._gates)
            in_thread(look).result(10)

    def look() -> None:
        with future._lock:
            seen.append(future._gates)

    future._gates = [Gate(), Gate()]  # type: ignore[list-item]
    future.set(1)

    assert seen == [None] * 4


@pytest.mark.parametrize(
    "error",
    [ValueError("no"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError("sdk")],
    ids=repr,
)
def test_an_error_is_raised_by_each_get(error: BaseException) -> None:
    future: ReplyFuture[int] = ReplyFuture()
    future._fail(error)

    for _ in range(2):
        with pytest.raises(type(error)) as caught:
            future.get()
        assert caught.value is error


def raise_error() -> None:
    raise ValueError("no")


def await_it(future: ReplyFuture[Any]) -> None:
    with contextlib.suppress(StopIteration):
        next(future.__await__())


@pytest.mark.parametrize(
    "use",
    [
        lambda future: future.get(),
        lambda future: future.get(timeout=0),
        lambda future: in_thread(future.get).result(10),
        lambda future: future.map(str).get(),
        lambda future: pykka.get_all([future]),
        await_it,
    ],
    ids=["get", "get with timeout", "get in a thread", "map", "get_all", "await"],
)
def test_the_traceback_of_an_error_does_not_grow_with_each_use(
    use: Callable[[ReplyFuture[int]], object],
) -> None:
    future: ReplyFuture[int] = ReplyFuture()
    with pytest.raises(ValueError, match="no") as raised:
        raise_error()
    future._fail(raised.value)
    frames: list[str] = []
    lengths = []

    for _ in range(5):
        with pytest.raises(ValueError, match="no") as caught:
            use(future)
        frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
        lengths.append(len(frames))

    assert lengths == [lengths[0]] * 5
    assert frames.count("test_the_traceback_of_an_error_does_not_grow_with_each_use") == 2


def test_a_callback_is_called_once_whether_it_comes_before_or_after() -> None:
    future: ReplyFuture[int] = ReplyFuture()
    before: list[object] = []
    after: list[object] = []
    future.add_done_callback(before.append)

    future.set(1)
    future._resolve(2)
    future.add_done_callback(after.append)

    assert before == after == [future]


def test_a_removed_callback_is_not_called() -> None:
    future: ReplyFuture[int] = ReplyFuture()
    called: list[object] = []
    future.add_done_callback(called.append)
    future.remove_done_callback(called.append)
    future.remove_done_callback(called.append)

    future.set(1)

    assert not called


@pytest.mark.parametrize("error", [ValueError, SystemExit, asyncio.CancelledError])
def test_an_exception_of_a_callback_affects_neither_others_nor_the_resolver(
    error: type[BaseException],
) -> None:
    future: ReplyFuture[int] = ReplyFuture()
    called: list[object] = []

    def fail(_: object) -> None:
        raise error

    future.add_done_callback(fail)
    future.add_done_callback(called.append)

    future.set(1)

    assert called == [future]


def test_ctrl_c_in_a_callback_is_raised_when_the_others_have_been_called() -> None:
    future: ReplyFuture[int] = ReplyFuture()
    called: list[object] = []

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    future.add_done_callback(interrupt)
    future.add_done_callback(called.append)

    with pytest.raises(KeyboardInterrupt):
        future.set(1)

    assert called == [future]


def test_a_cancelled_future_raises_that_it_was_cancelled() -> None:
    future: ReplyFuture[int] = ReplyFuture()

    assert future.cancel()
    assert future.cancel()

    assert future.cancelled()
    assert future.done()
    with pytest.raises(concurrent.futures.CancelledError):
        future.get()


def test_a_derived_future_is_computed_once_by_the_first_that_gets_it() -> None:
    calls: list[int] = []
    future: ReplyFuture[int] = ReplyFuture()

    def compute(value: int) -> int:
        calls.append(value)
        return value + 1

    derived = future.map(compute)

    future.set(1)

    assert [waiter.result(10) for waiter in [in_thread(derived.get) for _ in range(4)]] == [2] * 4
    assert calls == [1]


def test_get_of_a_derived_future_can_be_called_again_after_a_timeout() -> None:
    future: ReplyFuture[int] = ReplyFuture()
    derived = future.map(lambda value: value + 1)

    with pytest.raises(AskTimeout):
        derived.get(timeout=0)
    future.set(1)

    assert derived.get() == 2


def test_a_derived_future_takes_no_value_and_can_be_cancelled_while_it_is_computed() -> None:
    inside, leave = threading.Event(), threading.Event()
    future: ReplyFuture[int] = ReplyFuture()

    def compute(_: float | None) -> int:
        inside.set()
        leave.wait(10)
        return 1

    future.set_get_hook(compute)

    assert not future._resolve(2)
    waiter = in_thread(future.get)
    assert inside.wait(10)
    assert future.cancel()
    leave.set()

    assert isinstance(waiter.exception(10), concurrent.futures.CancelledError)


def test_awaiting_does_not_block_the_loop() -> None:
    async def main() -> list[str]:
        events: list[str] = []
        future: ReplyFuture[str] = ReplyFuture()

        async def wait() -> None:
            events.append(await future)

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        events.append("meanwhile")
        in_thread(lambda: future.set("reply")).result(10)
        await task
        return events

    assert asyncio.run(main()) == ["meanwhile", "reply"]


def test_awaiting_a_derived_future_does_not_block_the_loop() -> None:
    async def main() -> list[object]:
        events: list[object] = []
        future: ReplyFuture[int] = ReplyFuture()
        derived = future.map(lambda value: value + 1)

        async def wait() -> None:
            events.append(await derived)

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        events.append("meanwhile")
        future.set(1)
        await task
        return events

    assert asyncio.run(main()) == ["meanwhile", 2]


def test_a_cancelled_await_cancels_the_future() -> None:
    async def main() -> ReplyFuture[int]:
        future: ReplyFuture[int] = ReplyFuture()

        async def wait() -> int:
            return await future

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return future

    assert asyncio.run(main()).cancelled()


def test_awaiting_a_done_future_returns_at_once() -> None:
    done: ReplyFuture[int] = ReplyFuture()
    done.set(1)
    failed: ReplyFuture[int] = ReplyFuture()
    failed._fail(ValueError("no"))

    assert list(run_coroutine(done)) == [1]
    with pytest.raises(ValueError, match="no"):
        run_coroutine(failed)


def run_coroutine(future: ReplyFuture[Any]) -> list[Any]:
    """Await without a loop, which works if there is no need to wait."""
    try:
        next(future.__await__())
    except StopIteration as stop:
        return [stop.value]
    raise AssertionError("it waited")


def test_a_reply_for_a_closed_loop_does_no_harm() -> None:
    future: ReplyFuture[int] = ReplyFuture()
    loop = asyncio.new_event_loop()

    async def wait() -> int:
        return await future

    task = loop.create_task(wait())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()

    assert future._resolve(1)
    task._log_destroy_pending = False  # type: ignore[attr-defined]


def test_a_concurrent_twin_gets_the_value_the_error_and_the_cancellation() -> None:
    value: ReplyFuture[int] = ReplyFuture()
    error: ReplyFuture[int] = ReplyFuture()
    cancelled: ReplyFuture[int] = ReplyFuture()
    twins = [future.to_concurrent() for future in (value, error, cancelled)]

    value.set(1)
    error._fail(ValueError("no"))
    cancelled.cancel()

    assert twins[0].result(0) == 1
    assert isinstance(twins[1].exception(0), ValueError)
    assert twins[2].cancelled()
    assert concurrent.futures.wait(twins, timeout=10).not_done == set()


def test_cancelling_a_concurrent_twin_cancels_the_future() -> None:
    future: ReplyFuture[int] = ReplyFuture()
    twin = future.to_concurrent()

    assert twin.cancel()

    assert future.cancelled()
    assert concurrent.futures.wait([twin], timeout=10).done == {twin}


def test_as_completed_yields_in_the_order_of_arrival() -> None:
    futures: list[ReplyFuture[int]] = [ReplyFuture() for _ in range(3)]
    arrivals = as_completed(futures, timeout=10)

    order = []
    for number in (2, 0, 1):
        futures[number].set(number)
        order.append(next(arrivals).get())

    assert order == [2, 0, 1]
    assert list(arrivals) == []


def test_as_completed_that_times_out_says_how_many_are_missing() -> None:
    futures: list[ReplyFuture[int]] = [ReplyFuture() for _ in range(3)]
    futures[1].set(1)
    arrivals = as_completed(futures, timeout=0)

    assert next(arrivals) is futures[1]
    with pytest.raises(AskTimeout, match="2 of 3"):
        next(arrivals)

    assert not futures[0]._callbacks
    for future in futures:
        future.cancel()


@given(
    resolvers=st.lists(st.sampled_from(["set", "fail", "cancel"]), min_size=2, max_size=5),
    waiters=st.integers(0, 3),
)
def test_of_many_that_resolve_at_once_exactly_one_succeeds(
    resolvers: list[str], waiters: int
) -> None:
    future: ReplyFuture[int] = ReplyFuture()
    called: list[object] = []
    future.add_done_callback(called.append)
    start = threading.Barrier(len(resolvers))

    def resolve(how: str, number: int) -> tuple[str, int] | None:
        start.wait(10)
        if how == "set":
            return (how, number) if future._resolve(number) else None
        if how == "fail":
            return (how, number) if future._fail(ValueError(number)) else None
        return (how, 0) if future._finish(3, None) else None

    waiting = [in_thread(future.get) for _ in range(waiters)]
    attempts = [
        in_thread(lambda how=how, number=number: resolve(how, number))  # type: ignore[misc]
        for number, how in enumerate(resolvers)
    ]

    (winner,) = [won for attempt in attempts if (won := attempt.result(10)) is not None]
    assert called == [future]
    for waiter in waiting:
        error = waiter.exception(10)
        if winner[0] == "set":
            assert waiter.result() == winner[1]
        elif winner[0] == "fail":
            assert isinstance(error, ValueError)
            assert error.args == (winner[1],)
        else:
            assert isinstance(error, concurrent.futures.CancelledError)
