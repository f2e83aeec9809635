"""The reply to an ask: a future for threads, for asyncio and for pykka.

Guarantees:

*   A future is resolved exactly once. The transition happens under the future's lock;
    a second `set` raises `queue.Full`, as pykka's futures do, and a second `resolve`
    answers `False`.
*   Each callback is called exactly once, after the transition and outside the lock:
    it may call whatever it likes, this future included.
*   In a forked child a pending future of the parent never gets its reply, so every use of it
    raises `ForkedProcessError`, before it takes the lock. What was resolved before the fork
    stays readable: its value was copied with it.

Why a plain lock and a list of waiters, and not a `threading.Condition`: a reply is
waited for by one thread at most times and by none in many, and a condition makes
three objects for each reply. A waiter here brings its own lock, only when it blocks.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import queue
import sys
import threading
from typing import TYPE_CHECKING, Any, TypeVar

import pykka
from loguru import logger

from agy_actors._kernel import forks
from agy_actors._kernel._arguments import check_optional_seconds
from agy_actors._kernel._errors import AskTimeout
from agy_actors._kernel._host import current_host
from agy_actors._kernel.process_bound import ProcessBound

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType

    from agy_actors._kernel._host import Gate

    OptExcInfo = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]

__all__ = ["CANCELLED", "ReplyFuture", "fail", "resolve"]

T = TypeVar("T")

_RLock = type(threading.RLock())
"""What `threading.RLock` makes: that is a function, which takes as long again."""

_PENDING, _VALUE, _ERROR, CANCELLED = range(4)
_STATE_NAMES = ("pending", "done", "failed", "cancelled")


class ReplyFuture(ProcessBound, pykka.Future[T]):
    """A reply that is here or will come.

    It may be waited for from any number of threads (`get`), from any event loop
    (`await`, which does not block that loop), or be told of (`add_done_callback`).
    Futures derived by pykka's `map`, `filter`, `join` and `reduce` are computed by the
    first that gets them, and are done from then on.

    In a forked child, every use of a pending future of the parent raises `ForkedProcessError`.
    One that was resolved before the fork returns its value, or raises its error.
    """

    _instead_of_pickling = "wait for the reply where the future is, and send that"

    _get_hook: Callable[[float | None], T] | None = None
    _hook_lock: threading.RLock | None = None
    _state: int = _PENDING
    """Other modules of the kernel read it where a call would cost too much."""

    _result: Any = None
    _gates: list[Gate] | None = None
    _callbacks: list[Callable[[Any], object]] | None = None
    _made_in: int = 0

    about: tuple[object, object] | None = None
    """The message and the actor that this is the reply to and of, for errors and `repr`."""

    def __init__(self) -> None:
        # Not pykka's __init__, which makes an object for a hook's result, for each reply.
        # A reply is made for every ask: what most never set is set on the class.
        self._lock = _RLock()
        if forks.generation:
            self._made_in = forks.generation

    def __repr__(self) -> str:
        return f"<ReplyFuture {_STATE_NAMES[self._state]}{self._what()}>"

    @property
    def message(self) -> object:
        """The message that this is the reply to, or `None` if it is not known."""
        return None if self.about is None else self.about[0]

    def done(self) -> bool:
        """Return whether the reply, an error or a cancellation is here."""
        if self._state != _PENDING:
            return True
        if forks.generation:
            forks.check(self._made_in)
        return False

    def cancelled(self) -> bool:
        """Return whether `cancel` came before the reply."""
        if forks.generation and self._state == _PENDING:
            forks.check(self._made_in)
        return self._state == CANCELLED

    def get(self, *, timeout: float | None = None) -> T:
        """Wait for the reply and return it.

        Args:
            timeout: the seconds to wait, or `None` to wait for as long as it takes.
                Running out of it only stops the waiting: the reply may still come.

        Raises:
            AskTimeout: nothing came in time. It is a `pykka.Timeout` and a `TimeoutError`.
            InvalidArgument: the timeout is not a number of seconds from 0.
            concurrent.futures.CancelledError: the future was cancelled.
            ForkedProcessError: it is a pending future of the process that this was forked from.
            BaseException: what the actor raised instead of a reply.
        """
        if timeout is not None:
            timeout = check_optional_seconds("timeout", timeout, zero=True)
        if self._state == _PENDING:
            if self._made_in != forks.generation:
                raise forks.error(self._made_in)
            if self._get_hook is not None:
                return self._get_by_hook(timeout)
            if not self._wait(timeout):
                raise AskTimeout(f"no reply{self._what()} within {timeout:g} seconds")
        return self._outcome()

    def set(self, value: T | None = None) -> None:
        """Resolve the future with a value.

        Raises:
            queue.Full: it is resolved already.
        """
        if not self.resolve(value):
            raise queue.Full

    def set_exception(self, exc_info: OptExcInfo | None = None) -> None:
        """Resolve the future with an exception, by default the one being handled.

        Raises:
            queue.Full: it is resolved already.
        """
        kind, error, traceback = sys.exc_info() if exc_info is None else exc_info
        if kind is None:
            raise ValueError("no exception was given, and none is being handled")
        if error is None:
            error = kind()
        if not self.fail(error.with_traceback(traceback)):
            raise queue.Full

    def set_get_hook(self, func: Callable[[float | None], T]) -> None:
        """Have `func(timeout)` compute the value when it is first asked for.

        Raises:
            queue.Full: it is resolved already.
        """
        if self._state == _PENDING:
            forks.check(self._made_in)
        with self._lock:
            if self._state != _PENDING:
                raise queue.Full
            self._get_hook = func
            self._hook_lock = threading.RLock()

    def resolve(self, value: T | None) -> bool:
        """Resolve the future with a value, and return whether this was the first to do so."""
        return self._finish(_VALUE, value)

    def fail(self, error: BaseException) -> bool:
        """Resolve the future with an error, and return whether this was the first to do so."""
        return self._finish(_ERROR, error)

    def cancel(self) -> bool:
        """Abandon the reply: what has not started never starts, what runs is cancelled.

        Returns:
            `True` if the future is cancelled now; `False` if the reply was here before.
        """
        return self._finish(CANCELLED, None) or self.cancelled()

    def add_done_callback(self, callback: Callable[[ReplyFuture[T]], object]) -> None:
        """Call `callback(self)` once the future is done.

        It is called by the thread that resolves the future, so it must be short and
        must not block; or at once, by this thread, if the future is done already. What
        it raises is logged.
        """
        if self._state != _PENDING:
            self._call(callback)
            return
        forks.check(self._made_in)
        with self._lock:
            if self._state == _PENDING:
                if self._callbacks is None:
                    self._callbacks = [callback]
                else:
                    self._callbacks.append(callback)
                return
        self._call(callback)

    def remove_done_callback(self, callback: Callable[[ReplyFuture[T]], object]) -> None:
        """Remove a callback that has not been called."""
        if self._made_in != forks.generation:
            return  # In a forked child, nobody calls it. Generators remove theirs as they end.
        with self._lock:
            if self._callbacks is not None and callback in self._callbacks:
                self._callbacks.remove(callback)

    def to_concurrent(self) -> concurrent.futures.Future[T]:
        """Return a `concurrent.futures.Future` that is resolved when this one is.

        Cancelling either cancels both.
        """
        twin: concurrent.futures.Future[T] = concurrent.futures.Future()

        def to_twin(_: ReplyFuture[T]) -> None:
            if self.cancelled():
                twin.cancel()
                twin.set_running_or_notify_cancel()
            elif twin.set_running_or_notify_cancel():
                if self._state == _ERROR:
                    twin.set_exception(self._result)
                else:
                    twin.set_result(self._result)

        def from_twin(_: concurrent.futures.Future[T]) -> None:
            if twin.cancelled():
                self.cancel()

        self.add_done_callback(to_twin)
        twin.add_done_callback(from_twin)
        return twin

    def __await__(self) -> Generator[Any, None, T]:
        if self._state == _PENDING:
            forks.check(self._made_in)
            if self._get_hook is not None:
                # Somebody's function computes it, and may block: never on this loop.
                value: T = yield from asyncio.to_thread(self.get).__await__()
                return value
            yield from self._wait_on_loop().__await__()
        value = self._outcome()
        return value

    __iter__ = __await__

    def _what(self) -> str:
        if self.about is None:
            return ""
        message, actor = self.about
        return f" to {type(message).__name__} by {actor}"

    def _outcome(self) -> T:
        if self._state == _VALUE:
            value: T = self._result
            return value
        if self._state == CANCELLED:
            raise concurrent.futures.CancelledError(f"the reply{self._what()} was abandoned")
        error: BaseException = self._result
        try:
            raise error
        finally:
            del error  # Else the frame and the traceback would keep each other alive.

    def _finish(self, state: int, result: Any, *, by_hook: bool = False) -> bool:
        if forks.generation and self._made_in != forks.generation:
            if self._state != _PENDING:
                return False
            raise forks.error(self._made_in)
        with self._lock:
            if self._state != _PENDING:
                return False
            if self._get_hook is not None and not by_hook and state != CANCELLED:
                return False  # Only the hook may resolve it, or a cancellation.
            self._result = result
            self._state = state  # Last: it is read without the lock.
            gates, callbacks = self._gates, self._callbacks
            if gates is None and callbacks is None:
                return True
            # Taken under the lock: nobody removes from a list that is being walked.
            self._gates = self._callbacks = None
        for gate in gates or ():
            gate.release()
        self._call(*(callbacks or ()))
        return True

    def _call(self, *callbacks: Callable[[Any], object]) -> None:
        interrupt: KeyboardInterrupt | None = None
        for callback in callbacks:
            try:
                callback(self)
            except BaseException as error:  # noqa: BLE001 (the resolver is not to blame)
                logger.exception("A callback of {} failed", self)
                if isinstance(error, KeyboardInterrupt) and _on_main_thread():
                    interrupt = error  # Ctrl-C is no fault of the callback. First the others.
        if interrupt is not None:
            raise interrupt

    def _wait(self, timeout: float | None) -> bool:
        if timeout is not None and timeout <= 0:
            return self._state != _PENDING
        gate = current_host().new_gate(self)
        with self._lock:
            if self._state != _PENDING:
                return True
            if self._gates is None:
                self._gates = [gate]
            else:
                self._gates.append(gate)
        if timeout is None:
            return gate.acquire()
        if gate.acquire(timeout=min(timeout, threading.TIMEOUT_MAX)):
            return True
        with self._lock:
            if self._gates is not None:
                self._gates.remove(gate)
        return self._state != _PENDING

    async def _wait_on_loop(self) -> None:
        loop = asyncio.get_running_loop()
        here = loop.create_future()

        def arrive() -> None:
            if not here.done():
                here.set_result(None)

        def arrive_from_anywhere(_: object) -> None:
            try:
                loop.call_soon_threadsafe(arrive)
            except RuntimeError:
                if not loop.is_closed():  # A closed loop has nobody left who waits.
                    raise

        self.add_done_callback(arrive_from_anywhere)
        try:
            await here
        except asyncio.CancelledError:
            # As with asyncio's own futures: cancelling the waiter cancels what it waits for.
            self.remove_done_callback(arrive_from_anywhere)
            self.cancel()
            raise

    def _get_by_hook(self, timeout: float | None) -> T:
        hook, hook_lock = self._get_hook, self._hook_lock
        assert hook is not None
        assert hook_lock is not None
        with hook_lock:  # The hook is called once; its lock is not the one `cancel` needs.
            if self._state == _PENDING:
                self._finish(_VALUE, hook(timeout), by_hook=True)
        return self._outcome()


def _on_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def resolve(future: pykka.Future[Any] | None, value: object) -> None:
    """Resolve a future of any kind, if there is one and it is not resolved already."""
    if isinstance(future, ReplyFuture):
        future.resolve(value)
    elif future is not None:
        future.set(value)


def fail(future: pykka.Future[Any] | None, error: BaseException) -> None:
    """Resolve a future of any kind with an error, if there is one that is not resolved."""
    if isinstance(future, ReplyFuture):
        future.fail(error)
    elif future is not None:
        future.set_exception((type(error), error, error.__traceback__))


def _checked(derive: Callable[..., Any]) -> Callable[..., Any]:
    """Return one of pykka's methods that derive a future, which raises for a parent's."""

    @functools.wraps(derive)
    def derive_here(*arguments: Any) -> Any:
        for argument in arguments:
            if isinstance(argument, ReplyFuture):
                argument.done()  # Raises in a forked child if it is pending.
        return derive(*arguments)

    return derive_here


# A future that is derived in a forked child would else stay pending for ever. They are set here,
# and not defined in the class, to keep pykka's generic types of them.
for _derive in (pykka.Future.filter, pykka.Future.join, pykka.Future.map, pykka.Future.reduce):
    setattr(ReplyFuture, _derive.__name__, _checked(_derive))
