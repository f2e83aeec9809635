"""The reply to an ask: a future for threads, for asyncio and for pykka.

Guarantees:

*   A future is resolved exactly once. The transition happens under the future's lock;
    a second `set` raises `queue.Full`, as pykka's futures do, and a second `_resolve`
    returns `False`.
*   Each callback is called exactly once, after the transition and outside the lock: it may call
    anything, including this future.
*   In a forked child a pending future of the parent never gets its reply, so every use of it raises
    `ForkedProcessError`, before it takes the lock. A future that was resolved before the fork stays
    readable: its value was copied with it.

Why a plain lock and a list of waiters, and not a `threading.Condition`: usually at most one thread
waits for a reply, and a condition makes three objects for each reply. Here a waiter makes a lock,
and only if it blocks.
"""

from __future__ import annotations

import functools
import queue
import sys
import threading
from typing import TYPE_CHECKING, Any, TypeVar

import pykka
from loguru import logger

from agy_actors._actors import forks
from agy_actors._actors.arguments import check_optional_seconds
from agy_actors._actors.awaiting import await_reply
from agy_actors._actors.blocking_warning import running_loop, warn_of_blocking
from agy_actors._actors.call_chain import current_caller
from agy_actors._actors.concurrent_future import twin_of
from agy_actors._actors.deadlock import begin_wait
from agy_actors._actors.derived_future import Computation, with_sources
from agy_actors._actors.errors import AskTimeout, InvalidArgument, ReplyCancelled
from agy_actors._actors.future_states import CANCELLED, ERROR, PENDING, STATE_NAMES, VALUE
from agy_actors._actors.plumbing import traceback_for_asker
from agy_actors._actors.process_bound import ProcessBound
from agy_actors._actors.runtime import current_runtime, wait_at_gate

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Generator, Iterable
    from types import TracebackType

    from agy_actors._actors.asked_message import AskedMessage
    from agy_actors._actors.deadlock import Need, Wait
    from agy_actors._actors.runtime import Gate

    OptExcInfo = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]

__all__ = ["CANCELLED", "VALUE", "ReplyFuture"]

T = TypeVar("T")
J = TypeVar("J")
M = TypeVar("M")

_RLock = type(threading.RLock())
"""The type that `threading.RLock()` returns. Calling the type takes half the time."""


class ReplyFuture(ProcessBound, pykka.Future[T]):
    """The future reply to a message. Thread-safe.

    Any number of threads can wait for it (`get`), any event loop can `await` it without being
    blocked, and callbacks can observe it (`add_done_callback`).
    Futures derived by pykka's `map`, `filter`, `join` and `reduce` are computed once: by the
    thread that gets them first, or, if there is only another kind of waiter, by a worker thread.

    In a forked child, every use of a pending future of the parent raises `ForkedProcessError`.
    One that was resolved before the fork returns its value, or raises its error.
    """

    _instead_of_pickling = "wait for the reply where the future is, and send that"

    _get_hook: Callable[[float | None], T] | None = None
    _computation: Computation | None = None
    """Calls the hook of `set_get_hook`, or the function of a derived future, if there is one."""
    _state: int = PENDING
    """Other modules of this package read it directly where a call would cost too much."""

    _result: Any = None
    """The value, or the error with its original traceback."""

    _gates: list[Gate] | None = None
    _callbacks: list[Callable[[Any], object]] | None = None
    _made_in: int = 0

    _about: tuple[object, object] | None = None
    """The message and the actor of the reply, for errors and `repr`."""

    _warns: bool = True
    """Whether a wait that blocks an event loop warns: not if the ask has warned already."""

    _needs: Callable[[], Need] | None = None
    """Returns the need of the reply (see `deadlock`), on any thread, if `_about` does not tell
    it."""

    def __init__(self) -> None:
        # Not pykka's __init__, which makes an object for a hook's result, for each reply.
        # A reply is made for every ask, so defaults that rarely change are class attributes.
        self._lock = _RLock()
        if forks.generation:
            self._made_in = forks.generation

    def __repr__(self) -> str:
        return f"<ReplyFuture {STATE_NAMES[self._state]}{self._what()}>"

    if TYPE_CHECKING:
        message = AskedMessage()
    else:

        @property
        def message(self) -> object:
            """The message that this is the reply to, or `None` if it is not known."""
            return None if self._about is None else self._about[0]

    @property
    def metadata(self) -> Any:
        """The `metadata` of the message, such as that of a `Chat`; `None` without metadata."""
        return getattr(self.message, "metadata", None)

    def done(self) -> bool:
        """Return whether the future has a reply or an error, or was cancelled."""
        if self._state != PENDING:
            return True
        if forks.generation:
            forks.check(self._made_in)
        return False

    def cancelled(self) -> bool:
        """Return whether `cancel` came before the reply."""
        if forks.generation and self._state == PENDING:
            forks.check(self._made_in)
        return self._state == CANCELLED

    def get(self, *, timeout: float | None = None) -> T:
        """Wait for the reply and return it.

        Args:
            timeout: the seconds to wait, or `None` to wait for as long as it takes.
                After a timeout the reply may still come.

        Raises:
            AskTimeout: no reply came in time. It is a `pykka.Timeout` and a `TimeoutError`.
            InvalidArgument: the timeout is not a number of seconds >= 0.
            ReplyCancelled: the future was cancelled. It is a `CancelledError` of
                `concurrent.futures`.
            DeadlockError: the actor that should reply waits for the code that waits here.
            ForkedProcessError: it is a pending future, and this process is a forked child.
            BaseException: the actor raised it instead of replying.
        """
        if timeout is not None:
            timeout = check_optional_seconds("timeout", timeout, zero=True)
        if self._state == PENDING and not self._come(timeout):
            raise AskTimeout(f"no reply{self._what()} within {timeout:g} seconds")
        return self._outcome()

    def set(self, value: T | None = None) -> None:
        """Resolve the future with a value.

        Raises:
            queue.Full: it is resolved already.
        """
        if not self._resolve(value):
            raise queue.Full

    def set_exception(self, exc_info: OptExcInfo | None = None) -> None:
        """Resolve the future with an exception, by default the one that is being handled.

        Raises:
            queue.Full: it is resolved already.
        """
        kind, error, traceback = sys.exc_info() if exc_info is None else exc_info
        if kind is None:
            raise InvalidArgument("no exception was given, and no exception is being handled")
        if error is None:
            error = kind()
        if not self._fail(error.with_traceback(traceback)):
            raise queue.Full

    def set_get_hook(self, func: Callable[[float | None], T]) -> None:
        """Set `func(timeout)` as the function that computes the value for the first waiter.

        Raises:
            queue.Full: it is resolved already.
        """
        if self._state == PENDING:
            forks.check(self._made_in)
        with self._lock:
            if self._state != PENDING:
                raise queue.Full
            self._get_hook = func
            self._computation = computation = Computation(func)
            awaited = self._gates is not None or self._callbacks is not None
        if awaited:
            computation.listen(self)

    def _resolve(self, value: T | None) -> bool:
        """Resolve the future with a value, and return whether this was the first to do so."""
        return self._finish(VALUE, value)

    def _fail(self, error: BaseException) -> bool:
        """Resolve the future with an error, and return whether this was the first to do so."""
        return self._finish(ERROR, (error, traceback_for_asker(error)))

    def cancel(self) -> bool:
        """Abandon the reply: a message that has not started is dropped, one that runs is cancelled.

        Returns:
            `True` if the future is cancelled now; `False` if it already had a reply or an error.
        """
        return self._finish(CANCELLED, None) or self.cancelled()

    def add_done_callback(self, callback: Callable[[ReplyFuture[T]], object]) -> None:
        """Call `callback(self)` once the future is done.

        The thread that resolves the future calls it, so it must be short and must not block. If the
        future is done already, this thread calls it at once. Exceptions are logged.
        """
        if not self._append_callback(callback):
            self._call(callback)
        elif (computation := self._computation) is not None:
            computation.listen(self)

    def _append_callback(self, callback: Callable[[ReplyFuture[T]], object]) -> bool:
        if self._state != PENDING:
            return False
        forks.check(self._made_in)
        with self._lock:
            if self._state != PENDING:
                return False
            if self._callbacks is None:
                self._callbacks = []
            self._callbacks.append(callback)
            return True

    def remove_done_callback(self, callback: Callable[[ReplyFuture[T]], object]) -> None:
        """Remove a callback that has not been called."""
        if self._made_in != forks.generation:
            return  # In a forked child it is never called. Generators remove theirs as they end.
        with self._lock:
            if self._callbacks is not None and callback in self._callbacks:
                self._callbacks.remove(callback)

    def to_concurrent(self) -> concurrent.futures.Future[T]:
        """Return a `concurrent.futures.Future` that is resolved when this one is.

        Cancelling either cancels both.
        """
        return twin_of(self)

    def __await__(self) -> Generator[Any, None, T]:
        if self._state == PENDING:
            forks.check(self._made_in)
            yield from await_reply(self).__await__()
        value = self._outcome()
        return value

    __iter__ = __await__

    def _failed_with(self, error: BaseException) -> bool:
        return self._state == ERROR and self._result[0] is error

    if TYPE_CHECKING:  # pykka's, see below: a derived future is a `ReplyFuture` too.

        def filter(
            self: ReplyFuture[Iterable[J]], func: Callable[[J], bool]
        ) -> ReplyFuture[Iterable[J]]: ...

        def join(
            self: ReplyFuture[Any], *futures: pykka.Future[Any]
        ) -> ReplyFuture[Iterable[Any]]: ...

        def map(self, func: Callable[[T], M]) -> ReplyFuture[M]: ...

        def reduce(
            self: ReplyFuture[Iterable[J]], func: Callable[[M, J], M], *args: M
        ) -> ReplyFuture[M]: ...

    def _what(self) -> str:
        if self._about is None:
            return ""
        message, actor = self._about
        return f" to {type(message).__name__} by {actor}"

    def _outcome(self) -> T:
        if self._state == VALUE:
            value: T = self._result
            return value
        if self._state == CANCELLED:
            raise ReplyCancelled(f"the reply{self._what()} was abandoned")
        error: BaseException
        error, traceback = self._result
        try:
            # Each raise appends to the error's traceback. So each raise starts with the first
            # traceback, as in asyncio. Otherwise it would grow with each call, and keep all
            # callers' frames.
            raise error.with_traceback(traceback)
        finally:
            # Otherwise the frame and the traceback would keep each other alive.
            del error, traceback

    def _finish(self, state: int, result: Any, *, by_hook: bool = False) -> bool:
        if forks.generation and self._made_in != forks.generation:
            if self._state != PENDING:
                return False
            raise forks.error(self._made_in)
        with self._lock:
            if self._state != PENDING:
                return False
            if self._computation is not None:
                if not by_hook and state != CANCELLED:
                    return False  # Only the hook may resolve it, or a cancellation.
                self._get_hook = self._computation = None
            self._result = result
            self._state = state  # Last: it is read without the lock.
            gates, callbacks = self._gates, self._callbacks
            if gates is None and callbacks is None:
                return True
            # Taken under the lock, so that no item is removed from a list during the iteration.
            self._gates = self._callbacks = None
        for gate in gates or ():
            gate.release()
        if callbacks:
            self._call(*callbacks)
        return True

    def _call(self, *callbacks: Callable[[Any], object]) -> None:
        interrupt: KeyboardInterrupt | None = None
        for callback in callbacks:
            try:
                callback(self)
            except BaseException as error:  # noqa: BLE001 (the resolver is not to blame)
                logger.exception("A callback of {} failed", self)
                if isinstance(error, KeyboardInterrupt) and _on_main_thread():
                    # Ctrl-C is not the callback's fault. The other callbacks come first.
                    interrupt = error
        if interrupt is not None:
            raise interrupt

    def _come(self, timeout: float | None) -> bool:
        """Wait until the future is done, and return whether it is."""
        if self._made_in != forks.generation and self._state == PENDING:
            raise forks.error(self._made_in)
        computation = self._computation
        return self._wait(timeout) if computation is None else computation.wait(self, timeout)

    def _wait(self, timeout: float | None) -> bool:
        if timeout is not None and timeout <= 0:
            return self._state != PENDING
        gate = current_runtime().new_gate(self)
        with self._lock:
            # No call between the look and the change: a signal handler may resolve the future.
            if self._state != PENDING:
                return True
            self._gates = [gate] if self._gates is None else [*self._gates, gate]
        return self._pass(gate, timeout)

    def _pass(self, gate: Gate, timeout: float | None) -> bool:
        """Wait at a gate, and return whether the future is done."""
        wait: Wait | None = None
        try:
            if current_caller.get() is not None:
                wait = begin_wait((self,), timeout, functools.partial(self._let_go, gate))
            if self._warns and running_loop() is not None:
                warn_of_blocking()
            wait_at_gate(gate, timeout)
        finally:
            if wait is not None:
                wait.end()
            if self._state == PENDING:  # It timed out, or was interrupted, for example by Ctrl-C.
                self._let_go(gate)
        if wait is not None and wait.error is not None and self._state == PENDING:
            raise wait.error
        return self._state != PENDING

    def _let_go(self, gate: Gate) -> None:
        """Wake one waiter, without the reply."""
        with self._lock:
            if self._gates is not None and gate in self._gates:
                self._gates.remove(gate)
                gate.release()


def _on_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


# Otherwise a future that is derived in a forked child would stay pending for ever, and one that is
# derived here would wait in a thread. They are set here, and not defined in the class, to keep
# pykka's generic types.
for _derive in (pykka.Future.filter, pykka.Future.join, pykka.Future.map, pykka.Future.reduce):
    setattr(ReplyFuture, _derive.__name__, with_sources(_derive, ReplyFuture))
