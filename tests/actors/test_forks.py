"""Every use of a parent's actors in a forked child is an error at once."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import os
import pickle
import threading
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from agy_actors import (
    AsyncioActor,
    AsyncioActorRef,
    ForkedProcessError,
    ReplyFuture,
    as_completed,
    watch,
)
from agy_actors._actors import forks
from agy_actors._actors.blocking import Arrivals
from tests.forked import in_child, outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")


class Echo(AsyncioActor):
    use_daemon_thread = True

    def on_receive(self, message: Any) -> Any:
        return message() if callable(message) else message

    def method(self) -> int:
        return 1


@pytest.fixture
def echo() -> Iterator[AsyncioActorRef]:
    ref = Echo.start()
    yield ref
    ref.stop()


USES_OF_A_REF: dict[str, Callable[[AsyncioActorRef], Any]] = {
    "ask": lambda ref: ref.ask("hi"),
    "ask in time": lambda ref: ref.ask("hi", timeout=60),
    "ask without waiting": lambda ref: ref.ask("hi", block=False),
    "tell": lambda ref: ref.tell("hi"),
    "tell pykka's own message": lambda ref: ref.tell(("a", "tuple")),
    "stop": lambda ref: ref.stop(),
    "stop without waiting": lambda ref: ref.stop(block=False),
    "is_alive": lambda ref: ref.is_alive(),
    "watch": watch,
    "proxy": lambda ref: ref.proxy(),
    "wait for its end": lambda ref: ref.actor_stopped.wait(),
}


@pytest.mark.parametrize("use", USES_OF_A_REF)
def test_every_use_of_a_parents_ref_raises_and_names_the_parent(
    use: str, echo: AsyncioActorRef
) -> None:
    seen = in_child(lambda: outcome(lambda: USES_OF_A_REF[use](echo)))

    assert seen == f"ForkedProcessError {os.getpid()}"


@pytest.mark.parametrize("use", ["ask", "tell", "stop", "is_alive", "watch"])
def test_a_ref_whose_actor_had_ended_raises_too(use: str) -> None:
    ref = Echo.start()
    ref.stop()

    seen = in_child(lambda: outcome(lambda: USES_OF_A_REF[use](ref)))

    assert seen == f"ForkedProcessError {os.getpid()}"


def test_a_proxy_of_the_parent_raises(echo: AsyncioActorRef) -> None:
    proxy = echo.proxy()

    seen = in_child(lambda: [outcome(proxy.method), outcome(lambda: proxy.actor_urn)])

    assert seen == [f"ForkedProcessError {os.getpid()}"] * 2


def test_the_error_says_what_happened_and_what_to_do_instead(echo: AsyncioActorRef) -> None:
    def message() -> str:
        with pytest.raises(ForkedProcessError) as caught:
            echo.ask("hi")
        return str(caught.value)

    said = in_child(message)

    assert f"belongs to process {os.getpid()}" in said
    assert "forked child" in said
    assert "start a supervisor in the child" in said


async def _await(future: ReplyFuture[Any]) -> Any:
    return await future


USES_OF_A_FUTURE: dict[str, Callable[[ReplyFuture[Any]], Any]] = {
    "get": lambda future: future.get(),
    "get in time": lambda future: future.get(timeout=60),
    "get at once": lambda future: future.get(timeout=0),
    "await": lambda future: asyncio.run(_await(future)),
    "add_done_callback": lambda future: future.add_done_callback(print),
    "cancel": lambda future: future.cancel(),
    "done": lambda future: future.done(),
    "cancelled": lambda future: future.cancelled(),
    "set": lambda future: future.set(1),
    "set_exception": lambda future: future.set_exception((ValueError, ValueError(), None)),
    "set_get_hook": lambda future: future.set_get_hook(lambda _: 1),
    "to_concurrent": lambda future: future.to_concurrent(),
    "as_completed": lambda future: list(as_completed([future])),
    "map": lambda future: future.map(str),
    "filter": lambda future: future.filter(bool),
    "reduce": lambda future: future.reduce(max),
    "join": lambda future: future.join(ReplyFuture()),
    "join another with it": lambda future: ReplyFuture().join(future),
}


@pytest.mark.parametrize("use", USES_OF_A_FUTURE)
def test_every_use_of_a_parents_pending_future_raises(use: str) -> None:
    future: ReplyFuture[int] = ReplyFuture()

    with _held(future._lock):
        seen = in_child(lambda: outcome(lambda: USES_OF_A_FUTURE[use](future)))

    future.set(1)
    assert seen == f"ForkedProcessError {os.getpid()}"


def test_a_future_that_the_parent_derived_raises() -> None:
    future: ReplyFuture[int] = ReplyFuture()
    derived = future.map(str)

    seen = in_child(lambda: outcome(derived.get))

    future.set(1)
    assert seen == f"ForkedProcessError {os.getpid()}"


def test_futures_resolved_before_the_fork_stay_readable() -> None:
    future: ReplyFuture[int] = ReplyFuture()
    failed: ReplyFuture[int] = ReplyFuture()
    future.set(1)
    failed._fail(ValueError("mine"))

    def uses() -> list[str]:
        called: list[Any] = []
        future.add_done_callback(called.append)
        return [
            outcome(future.get),
            outcome(lambda: asyncio.run(_await(future))),
            outcome(future.done),
            outcome(future.cancel),
            outcome(failed.get),
            outcome(lambda: called == [future]),
        ]

    with _held(future._lock), _held(failed._lock):
        seen = in_child(uses)

    assert seen == [
        "returned 1",
        "returned 1",
        "returned True",
        "returned False",
        "ValueError mine",
        "returned True",
    ]


def test_iterations_of_the_parent_raise_and_end_quietly() -> None:
    future: ReplyFuture[int] = ReplyFuture()
    arrivals: Arrivals[int] = Arrivals()
    iteration, thrown_away = as_completed([future]), as_completed([future])
    halfway: ReplyFuture[int] = ReplyFuture()
    halfway.set(1)
    begun = as_completed([halfway, future])
    next(begun)

    def use() -> list[str]:
        nonlocal thrown_away, begun
        thrown_away = iter(())
        begun.close()  # type: ignore[attr-defined]
        gc.collect()
        return [outcome(lambda: next(iteration)), outcome(lambda: arrivals.get(None))]

    with _held(future._lock):
        seen = in_child(use)

    future.set(1)
    assert seen == [f"ForkedProcessError {os.getpid()}"] * 2


def test_locks_that_another_thread_holds_at_the_fork_delay_no_child(
    echo: AsyncioActorRef,
) -> None:
    locks = [
        echo.actor_inbox._lock,
        echo.actor_stopped._lock,
        pykka.ActorRegistry._actor_refs_lock,
    ]

    def use() -> list[str]:
        own = Echo.start()
        seen = [outcome(partial(use, echo)) for use in USES_OF_A_REF.values()]
        return [*seen, outcome(lambda: own.ask("hi")), outcome(own.stop)]

    with contextlib.ExitStack() as held:
        for lock in locks:
            held.enter_context(_held(lock))
        *seen, answered, stopped = in_child(use)

    assert set(seen) == {f"ForkedProcessError {os.getpid()}"}
    assert (answered, stopped) == ("returned 'hi'", "returned True")


def test_the_repr_of_a_parents_actor_raises_nothing(echo: AsyncioActorRef) -> None:
    future: ReplyFuture[int] = ReplyFuture()
    future._about = ("hi", echo)

    def say() -> list[str]:
        assert {echo: 1}[echo] == 1
        return [repr(echo), str(echo), repr(future), repr(echo.actor_inbox), echo.actor_urn]

    seen = in_child(say)

    future.set(1)
    assert all(isinstance(text, str) and text for text in seen)


def test_a_child_can_have_its_own_actors(echo: AsyncioActorRef) -> None:
    def use() -> tuple[Any, int, Any]:
        before = len(pykka.ActorRegistry.get_all())
        own = Echo.start()
        reply = own.ask("hi", block=False).get(timeout=10)
        own.tell("no answer")
        return reply, before, pykka.ActorRegistry.stop_all(timeout=10)

    assert in_child(use) == ("hi", 0, [True])
    assert echo.ask("still here") == "still here"


def test_the_error_in_a_grandchild_names_the_process_of_the_ref(echo: AsyncioActorRef) -> None:
    def child() -> tuple[str, str, str]:
        own = Echo.start()
        pending: ReplyFuture[int] = ReplyFuture()

        def grandchild() -> list[str]:
            with contextlib.closing(_Stopping(Echo.start())) as mine:
                return [
                    outcome(lambda: echo.ask("hi")),
                    outcome(lambda: own.ask("hi")),
                    outcome(pending.get),
                    outcome(lambda: mine.ref.ask("hi")),
                ]

        of_parent, of_child, of_future, of_own = in_child(grandchild)
        own.stop()
        me = str(os.getpid())
        return of_parent, (of_child + of_future).replace(me, "child"), of_own

    assert in_child(child) == (
        f"ForkedProcessError {os.getpid()}",
        "ForkedProcessError childForkedProcessError child",
        "returned 'hi'",
    )


def test_a_handler_may_fork_and_use_its_own_actors_in_the_child(echo: AsyncioActorRef) -> None:
    def fork() -> Any:
        def use() -> list[str]:
            own = Echo.start()
            return [
                outcome(lambda: own.ask("hi")),
                outcome(own.stop),
                outcome(lambda: echo.ask("hi")),
            ]

        return in_child(use)

    # From an actor that waits, so that the handler has a caller.
    seen = echo.ask(fork, timeout=30)

    assert seen == ["returned 'hi'", "returned True", f"ForkedProcessError {os.getpid()}"]


def test_a_thread_may_fork(echo: AsyncioActorRef) -> None:
    seen: list[str] = []
    thread = threading.Thread(
        target=lambda: seen.append(in_child(lambda: outcome(lambda: echo.ask("hi"))))
    )
    thread.start()
    thread.join()

    assert seen == [f"ForkedProcessError {os.getpid()}"]


_inherited: list[AsyncioActorRef] = []


def ask_inherited() -> str:
    return str(_inherited[0].ask("hi"))


def ask_own() -> str:
    own = Echo.start()
    try:
        return str(own.ask("hi"))
    finally:
        own.stop()


def test_workers_of_a_process_pool_raise_to_their_caller(echo: AsyncioActorRef) -> None:
    _inherited[:] = [echo]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: the test has threads.
        with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as workers:
            refused, answered = workers.submit(ask_inherited), workers.submit(ask_own)
            error = refused.exception(timeout=30)
            reply = answered.result(timeout=30)
    _inherited.clear()

    assert isinstance(error, ForkedProcessError)
    assert error.parent_pid == os.getpid()
    assert reply == "hi"
    assert echo.ask("hi") == "hi"


def test_the_error_can_be_pickled() -> None:
    error = ForkedProcessError("no", parent_pid=7)

    copy = pickle.loads(pickle.dumps(error))

    assert (str(copy), copy.parent_pid, copy.retryable) == ("no", 7, False)


def test_a_process_that_was_not_forked_is_generation_zero() -> None:
    assert forks.generation == 0
    assert in_child(lambda: forks.generation) == 1


class _Stopping:
    def __init__(self, ref: AsyncioActorRef) -> None:
        self.ref = ref

    def close(self) -> None:
        self.ref.stop()


@contextlib.contextmanager
def _held(lock: Any) -> Iterator[None]:
    """Let another thread hold a lock."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        yield
    finally:
        done.set()
        thread.join()
