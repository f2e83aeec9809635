"""Computes futures that pykka's `map`, `filter`, `join` and `reduce` derive from others.

Guarantees:

*   The function is called when the sources are done, by one thread at a time. Its result or
    exception resolves the future. Ctrl-C in the computing thread does not: it is raised there, and
    the next thread computes again.
*   The first thread that calls `get` calls the function. If there is only a listener (a callback,
    `await`, `as_completed`, `to_concurrent`), a worker thread calls it as soon as the sources are
    done. The function may block, so an actor's thread that resolves a source never calls it.
*   Before there is a listener, nothing is computed and the sources have no callback. Cancelling the
    future removes the callbacks from the sources.

A function that was set by `set_get_hook` has no known sources: it waits by itself, for the seconds
that it gets as its argument. If it raises although that was a number, the next `get` calls it
again.
"""

# ruff: noqa: SLF001 (a future and its computation are one concept in two classes)

from __future__ import annotations

import concurrent.futures
import functools
from typing import TYPE_CHECKING, Any

import pykka

from agy_actors._actors.errors import DeadlockError
from agy_actors._actors.future_states import CANCELLED, ERROR, PENDING, VALUE
from agy_actors._actors.runtime import current_runtime

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors._actors.reply import ComputedReply
    from agy_actors._actors.runtime import Gate

__all__ = ["Computation", "with_sources"]


class Computation:
    """Computes the value of one future, which each method gets as an argument.

    It uses the future's lock.

    Args:
        function: returns the value. Its argument is the seconds that it may wait.
    """

    __slots__ = ("_busy", "_function", "_listening", "_thread", "sources")

    def __init__(self, function: Callable[[float | None], Any]) -> None:
        self._function = function
        self.sources: tuple[ComputedReply, ...] = ()
        """The futures that the value is derived from, if they are known."""
        self._busy = False
        self._thread = 0
        """The computing thread, while `_busy`."""
        self._listening = False

    def wait(self, future: ComputedReply, timeout: float | None) -> bool:
        """Compute the outcome or wait for it; return `False` after a timeout.

        Raises:
            DeadlockError: the function itself waits for the outcome here.
            BaseException: the function raised it, and it does not resolve the future.
        """
        runtime = current_runtime()
        deadline = None if timeout is None else runtime.monotonic() + timeout

        def left() -> float | None:
            return None if deadline is None else max(0.0, deadline - runtime.monotonic())

        for source in self.sources:
            if not source._come(left()):
                return False
        while True:
            gate = runtime.new_gate(future)
            mine = self._claim(future, gate, runtime.thread_id())
            if mine is None:
                return True
            if mine:
                self._compute(future, left(), by_getter=True)
            elif not future._pass(gate, left()) and left() == 0:
                return False

    def _claim(self, future: ComputedReply, gate: Gate, me: int) -> bool | None:
        """Return whether the caller must compute; `None` if the future is done.

        If another thread computes, the gate opens when that thread has finished.
        """
        with future._lock:
            # No call between the check and the change, as in `ReplyFuture._wait`.
            if future._state != PENDING:
                return None
            if not self._busy:
                self._busy, self._thread = True, me
                return True
            if self._thread == me:
                raise DeadlockError(f"the function that computes {future!r} waits for it")
            future._gates = [gate] if future._gates is None else [*future._gates, gate]
            return False

    def listen(self, future: ComputedReply) -> None:
        """Compute the outcome as soon as the sources are done."""
        with future._lock:
            if self._listening:
                return
            self._listening = True
        if not self.sources:
            self._compute_beside(future)
            return
        look = functools.partial(self._look, future, [len(self.sources)])
        for source in self.sources:
            source.add_done_callback(look)
        future.add_done_callback(lambda _: self._forget(look))

    def _look(self, future: ComputedReply, missing: list[int], _: object) -> None:
        with future._lock:
            missing[0] -= 1
            if missing[0] or future._state != PENDING:
                return
        self._compute_beside(future)

    def _forget(self, look: Callable[[Any], object]) -> None:
        for source in self.sources:
            source.remove_done_callback(look)

    def _compute_beside(self, future: ComputedReply) -> None:
        try:
            current_runtime().run_beside(functools.partial(self._compute_for_listeners, future))
        except Exception as error:  # noqa: BLE001 (no thread is left: better than no outcome)
            future._finish(ERROR, (error, error.__traceback__), by_hook=True)

    def _compute_for_listeners(self, future: ComputedReply) -> None:
        with future._lock:
            if self._busy or future._state != PENDING:
                return  # If the computing thread gives up, this is called again.
            self._busy, self._thread = True, current_runtime().thread_id()
        self._compute(future, None, by_getter=False)

    def _compute(self, future: ComputedReply, timeout: float | None, *, by_getter: bool) -> None:
        try:
            state, result = VALUE, self._function(None if self.sources else timeout)
        except BaseException as error:
            if by_getter and not self._is_final(error, timeout):
                self._give_up_for_now(future)
                raise
            state, result = self._state_after(error), (error, error.__traceback__)
        future._finish(state, result, by_hook=True)

    def _is_final(self, error: BaseException, timeout: float | None) -> bool:
        if isinstance(error, Exception):
            return bool(self.sources) or timeout is None
        return any(source._failed_with(error) for source in self.sources)

    def _state_after(self, error: BaseException) -> int:
        cancelled = isinstance(error, concurrent.futures.CancelledError)
        return CANCELLED if cancelled and any(s.cancelled() for s in self.sources) else ERROR

    def _give_up_for_now(self, future: ComputedReply) -> None:
        with future._lock:
            self._busy, self._thread = False, 0
            gates, future._gates = future._gates, None
        for gate in gates or ():
            gate.release()
        if self._listening:
            self._compute_beside(future)


def with_sources(derive: Callable[..., Any], kind: type[Any]) -> Callable[..., Any]:
    """Wrap one of pykka's methods that derive a future, so that it notes the sources.

    Args:
        derive: the method.
        kind: the type of futures whose sources are noted.
    """

    @functools.wraps(derive)
    def derive_here(future: ComputedReply, *arguments: Any) -> Any:
        sources = (future, *arguments) if derive is pykka.Future.join else (future,)
        ours = [source for source in sources if isinstance(source, kind)]
        for source in ours:
            source.done()  # It raises in a forked child if the source is pending.
        derived: ComputedReply = derive(future, *arguments)
        if len(ours) == len(sources):
            assert derived._computation is not None
            derived._computation.sources = tuple(ours)
        if len(sources) == 1:
            derived._about = future._about
        return derived

    return derive_here
