"""Futures derived by `map`, `filter`, `join` and `reduce`, without a call of `get`."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pykka
import pytest

from agy_actors._actors.actor import AsyncioActor
from agy_actors._actors.as_completed import as_completed
from agy_actors._actors.errors import AskTimeout, DeadlockError
from agy_actors._actors.future import ReplyFuture
from agy_actors.testing import Simulation
from tests.actors.doers import PATIENCE, Do, Doer
from tests.harnesses import until

T = TypeVar("T")

Derive = Callable[[Any], Any]


def by_hook(source: ReplyFuture[Any]) -> ReplyFuture[Any]:
    future: ReplyFuture[Any] = ReplyFuture()
    future.set_get_hook(lambda timeout: source.get(timeout=timeout))
    return future


def by_late_hook(source: ReplyFuture[Any]) -> ReplyFuture[Any]:
    future: ReplyFuture[Any] = ReplyFuture()
    future.add_done_callback(lambda _: None)
    future.set_get_hook(lambda timeout: source.get(timeout=timeout))
    return future


def joined_with_pykkas(source: ReplyFuture[Any]) -> ReplyFuture[Any]:
    other: pykka.ThreadingFuture[int] = pykka.ThreadingFuture()
    other.set(0)
    return source.join(other).map(lambda values: next(iter(values)))


DERIVATIONS: dict[str, Derive] = {
    "map": lambda f: f.map(lambda value: value),
    "map of map": lambda f: f.map(list).map(tuple).map(list),
    "filter": lambda f: f.filter(lambda _: True),
    "join": lambda f: f.join(f, f).map(lambda all_of_it: [*all_of_it][2]),
    "reduce": lambda f: f.reduce(lambda sum_, item: [*sum_, item], []),
    "get hook": by_hook,
    "late get hook": by_late_hook,
    "join with pykka's": joined_with_pykkas,
}


@pytest.fixture(params=list(DERIVATIONS.values()), ids=list(DERIVATIONS))
def derive(request: pytest.FixtureRequest) -> Derive:
    derivation: Derive = request.param
    return derivation


@pytest.fixture(params=[False, True], ids=["before", "after"])
def first(request: pytest.FixtureRequest) -> bool:
    """Whether the source is done before there is a listener."""
    return bool(request.param)


@pytest.fixture
def source() -> Iterator[ReplyFuture[list[int]]]:
    future: ReplyFuture[list[int]] = ReplyFuture()
    yield future
    future.cancel()


def test_a_derived_future_calls_its_callbacks(
    derive: Derive, source: ReplyFuture[list[int]], first: bool
) -> None:
    called: list[object] = []
    done = threading.Event()
    derived = derive(source)
    if first:
        source.set([1, 2])

    derived.add_done_callback(called.append)
    derived.add_done_callback(lambda _: done.set())
    if not first:
        assert not called
        source.set([1, 2])

    assert done.wait(PATIENCE)
    assert called == [derived]
    assert derived.get(timeout=0) == [1, 2]


def test_a_derived_future_is_yielded_as_completed(
    derive: Derive, source: ReplyFuture[list[int]]
) -> None:
    derived, other = derive(source), ReplyFuture[list[int]]()
    arrivals = as_completed([derived, other], timeout=PATIENCE)
    other.set([0])
    assert next(arrivals) is other

    source.set([1])

    assert next(arrivals) is derived
    assert derived.get(timeout=0) == [1]


def test_a_derived_future_can_be_converted_to_a_concurrent_future(
    derive: Derive, source: ReplyFuture[list[int]]
) -> None:
    twin = derive(source).to_concurrent()

    source.set([1])

    assert twin.result(PATIENCE) == [1]


def test_a_derived_future_can_be_awaited_without_a_thread_that_waits() -> None:
    source: ReplyFuture[int] = ReplyFuture()
    threads = threading.active_count()

    async def main() -> list[int]:
        waiting = [
            asyncio.ensure_future(_await(source.map(lambda value: value + 1))) for _ in range(50)
        ]
        await asyncio.sleep(0)
        assert threading.active_count() == threads
        source.set(1)
        return await asyncio.gather(*waiting)

    assert asyncio.run(main()) == [2] * 50


async def _await(future: ReplyFuture[T]) -> T:
    return await future


@pytest.mark.parametrize("wait", ["callback", "as_completed", "twin", "await"])
@pytest.mark.parametrize("what", ["source", "function"])
def test_an_error_completes_a_derived_future(wait: str, what: str) -> None:
    source: ReplyFuture[int] = ReplyFuture()
    calls: list[int] = []

    def compute(value: int) -> int:
        calls.append(value)
        raise ValueError("no")

    derived: ReplyFuture[int] = source.map(compute)
    waiting = _wait_for_error(derived, wait)
    if what == "source":
        source._fail(ValueError("no"))
    else:
        source.set(1)

    assert isinstance(waiting.result(PATIENCE), ValueError)
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            derived.get(timeout=0)
    assert calls == ([] if what == "source" else [1])


def _wait_for_error(
    derived: ReplyFuture[int], how: str
) -> concurrent.futures.Future[BaseException | None]:
    """Wait, and return the result."""
    errors: concurrent.futures.Future[BaseException | None] = concurrent.futures.Future()

    def look(future: ReplyFuture[int]) -> None:
        try:
            future.get(timeout=0)
        except BaseException as error:  # noqa: BLE001 (for the test to look at)
            errors.set_result(error)

    if how == "callback":
        derived.add_done_callback(look)
    elif how == "twin":
        derived.to_concurrent().add_done_callback(lambda f: errors.set_result(f.exception()))
    elif how == "as_completed":
        arrivals = as_completed([derived], timeout=PATIENCE)
        threading.Thread(target=lambda: look(next(arrivals))).start()
    else:

        def run() -> None:
            try:
                asyncio.run(_await(derived))
            except BaseException as error:  # noqa: BLE001 (as above)
                errors.set_result(error)

        threading.Thread(target=run).start()
    return errors


def test_a_future_derived_from_a_cancelled_one_is_cancelled() -> None:
    source: ReplyFuture[int] = ReplyFuture()
    twin = source.map(str).to_concurrent()

    source.cancel()

    assert concurrent.futures.wait([twin], timeout=PATIENCE).done
    assert twin.cancelled()


def test_a_cancelled_derived_future_leaves_nothing_with_its_source() -> None:
    source: ReplyFuture[int] = ReplyFuture()
    for _ in range(3):
        derived: ReplyFuture[str] = source.map(str)
        derived.add_done_callback(lambda _: None)
        assert source._callbacks
        derived.cancel()

    assert not source._callbacks
    source.set(1)


def test_the_function_is_called_on_a_thread_that_it_may_block() -> None:
    ref = Doer.start()
    future: ReplyFuture[object] = ref.ask(Do(lambda _: 1), block=False)

    # On the actor's own thread this could never be answered.
    derived: ReplyFuture[object] = future.map(lambda _: ref.ask(Do(lambda _: 2)))

    assert derived.to_concurrent().result(PATIENCE) == 2
    ref.stop()


def test_a_function_is_called_once_for_all_that_wait() -> None:
    calls: list[int] = []
    source: ReplyFuture[int] = ReplyFuture()

    def compute(value: int) -> int:
        calls.append(value)
        return value

    derived: ReplyFuture[int] = source.map(compute)
    twins = [derived.to_concurrent() for _ in range(5)]
    source.set(1)

    assert [derived.get(timeout=PATIENCE), *(twin.result(PATIENCE) for twin in twins)] == [1] * 6
    assert calls == [1]


def test_a_waiter_waits_no_longer_than_its_timeout_while_another_thread_computes() -> None:
    inside, leave = threading.Event(), threading.Event()
    source: ReplyFuture[int] = ReplyFuture()

    def compute(value: int) -> int:
        inside.set()
        leave.wait(PATIENCE)
        return value

    derived: ReplyFuture[int] = source.map(compute)
    derived.add_done_callback(lambda _: None)
    source.set(1)
    assert inside.wait(PATIENCE)

    with pytest.raises(AskTimeout):
        derived.get(timeout=0.01)
    leave.set()

    assert derived.get(timeout=PATIENCE) == 1


def test_a_function_that_waits_for_itself_gets_an_error() -> None:
    source: ReplyFuture[int] = ReplyFuture()
    derived: ReplyFuture[int] = source.map(lambda _: derived.get())
    source.set(1)

    with pytest.raises(DeadlockError, match="waits for it"):
        derived.get(timeout=PATIENCE)


def test_after_a_hook_that_timed_out_other_waiters_call_it_again() -> None:
    inside, leave = threading.Event(), threading.Event()
    future: ReplyFuture[int] = ReplyFuture()
    timeouts: list[float | None] = []

    def hook(timeout: float | None) -> int:
        timeouts.append(timeout)
        if timeout is None:
            return 1
        inside.set()
        leave.wait(PATIENCE)
        raise AskTimeout("not yet")

    future.set_get_hook(hook)
    results: list[object] = []

    def get(timeout: float | None) -> None:
        try:
            results.append(future.get(timeout=timeout))
        except AskTimeout as error:
            results.append(error)

    impatient = threading.Thread(target=get, args=(1.0,))
    impatient.start()
    assert inside.wait(PATIENCE)
    patient = threading.Thread(target=get, args=(None,))
    patient.start()
    until(lambda: bool(future._gates))
    leave.set()
    impatient.join(PATIENCE)
    patient.join(PATIENCE)

    assert sorted(map(str, results)) == ["1", "not yet"]
    assert len(timeouts) == 2


def test_ctrl_c_in_the_function_does_not_resolve_the_future() -> None:
    source: ReplyFuture[int] = ReplyFuture()
    raised = [KeyboardInterrupt()]

    def compute(value: int) -> int:
        if raised:
            raise raised.pop()
        return value

    derived: ReplyFuture[int] = source.map(compute)
    source.set(1)
    with pytest.raises(KeyboardInterrupt):
        derived.get()

    assert derived.get() == 1


def test_a_worker_computes_after_the_computing_thread_was_interrupted() -> None:
    source: ReplyFuture[int] = ReplyFuture()
    derived: ReplyFuture[int]
    twins: list[concurrent.futures.Future[int]] = []

    def compute(value: int) -> int:
        if not twins:
            twins.append(derived.to_concurrent())
            raise KeyboardInterrupt
        return value

    derived = source.map(compute)
    source.set(1)
    with pytest.raises(KeyboardInterrupt):
        derived.get()

    assert twins[0].result(PATIENCE) == 1


def test_a_derived_future_has_the_message_of_its_source() -> None:
    ref = Doer.start()
    message = Do(lambda _: 1)
    derived: ReplyFuture[object] = ref.ask(message, block=False).map(str)

    assert derived.message is message
    assert "to Do by" in repr(derived)
    assert derived.get() == "1"
    ref.stop()


def test_derived_futures_complete_in_a_simulation() -> None:
    class Echo(AsyncioActor):
        async def on_receive(self, message: Any) -> Any:
            await asyncio.sleep(message)
            return message

    def scenario(simulation: Simulation) -> list[object]:
        ref = Echo.start()
        futures: list[ReplyFuture[Any]] = [
            ref.ask(seconds, block=False).map(lambda value: value * 2) for seconds in (3.0, 1.0)
        ]
        done: list[object] = [future.get() for future in as_completed(futures, timeout=10)]
        return [*done, simulation.now]

    assert Simulation().run(scenario) == [2.0, 6.0, 3.0]
