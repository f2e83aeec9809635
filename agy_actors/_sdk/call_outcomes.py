"""Calls the users' functions, and returns their results and errors as values.

A tool, a hook or a handler may raise any `BaseException`. Some of them are lost or do harm when
they propagate: a future cannot hold a `StopIteration`, so code that waits for a thread that raised
one waits forever; a `KeyboardInterrupt` or `SystemExit` passes through an asyncio task and ends its
loop; a `CancelledError` looks like a cancellation of the caller. So errors are caught where they
are raised, and passed on as values.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from agy_actors._actors.call_chain import call_task
from agy_actors._actors.errors import AgyActorsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

__all__ = [
    "Outcome",
    "Raised",
    "await_here",
    "capture",
    "capture_await",
    "describe",
    "in_call",
    "is_ordinary",
    "isolate",
    "name_of",
    "run_in_thread",
    "valid_text",
]


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a call, or its error."""

    value: Any = None
    error: BaseException | None = None

    def get(self) -> Any:
        """Return the value.

        Raises:
            Exception: the call raised this ordinary exception.
            Raised: the call raised another `BaseException`.
        """
        if self.error is None:
            return self.value
        if is_ordinary(self.error):
            raise self.error
        raise Raised(self.error)


class Raised(AgyActorsError):
    """Wraps an error that is not an ordinary exception, and that could do harm otherwise."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(describe(error))
        self.error = error


def capture(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Outcome:
    """Call a function, and return its outcome. This raises nothing."""
    try:
        return Outcome(function(*args, **kwargs))
    except BaseException as error:  # noqa: BLE001 (it is returned)
        return Outcome(error=error)


async def run_in_thread(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Outcome:
    """Call a function on its own thread, and return its outcome. This raises nothing."""
    with in_call():
        return await asyncio.to_thread(capture, function, *args, **kwargs)


async def isolate(
    awaitable: Awaitable[Any], *, until: asyncio.Future[None] | None = None
) -> Outcome:
    """Await something in its own task, and return its outcome, also if it raises.

    A `CancelledError` that the awaited code raises is returned. A cancellation of the caller
    cancels the awaited code and is raised. Context variables that the awaited code sets are set
    for the caller.

    Args:
        awaitable: what to await.
        until: cancels the awaited code if it is done first.
    """
    context = contextvars.copy_context()
    task = asyncio.get_running_loop().create_task(capture_await(awaitable), context=context)
    futures: list[asyncio.Future[Any]] = [task] if until is None else [task, until]
    try:
        await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait([task])
        raise
    _set_variables(context)
    if task.cancelled():  # Before its first step.
        return Outcome(error=asyncio.CancelledError())
    return task.result()


async def await_here(function: Callable[[], Awaitable[Any]]) -> Outcome:
    """Await something in the running task, and return its outcome, also if it raises."""
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        with in_call():
            return Outcome(await function())
    except BaseException as error:
        cancelled = task is not None and task.cancelling() > before
        if cancelled and isinstance(error, asyncio.CancelledError):
            raise
        return Outcome(error=error)


async def capture_await(awaitable: Awaitable[Any]) -> Outcome:
    """Await something, and return its outcome, also if it raises or is cancelled."""
    try:
        with in_call():
            return Outcome(await awaitable)
    except BaseException as error:  # noqa: BLE001 (it is returned)
        return Outcome(error=_original(error))


@contextlib.contextmanager
def in_call() -> Iterator[None]:
    """Tell the deadlock detection that the turn waits for the running task during the block."""
    token = call_task.set(asyncio.current_task())
    try:
        yield
    finally:
        call_task.reset(token)


def _original(error: BaseException) -> BaseException:
    # A coroutine turns these two into a RuntimeError (PEP 479).
    cause = error.__cause__
    if isinstance(error, RuntimeError) and isinstance(cause, StopIteration | StopAsyncIteration):
        return cause
    return error


def _set_variables(context: contextvars.Context) -> None:
    missing = object()
    for variable, value in context.items():
        if variable.get(missing) is not value:
            variable.set(value)


def is_ordinary(error: BaseException) -> bool:
    """Return whether an exception can propagate anywhere without doing harm."""
    return isinstance(error, Exception) and not isinstance(
        error, StopIteration | StopAsyncIteration | Raised
    )


def describe(error: BaseException) -> str:
    """Return an exception's type and text, as in a traceback."""
    if isinstance(error, Raised):
        return describe(error.error)
    name = type(error).__qualname__
    text_outcome = capture(str, error)
    if text_outcome.error is not None:
        kind = type(text_outcome.error).__qualname__
        return f"{name} (its text cannot be read: str() raised {kind})"
    text = valid_text(text_outcome.value).strip()
    return f"{name}: {text}" if text else name


def valid_text(text: str) -> str:
    """Replace lone surrogates in a text by U+FFFD.

    A lone surrogate is not a character, so the SDK cannot send it to the harness.
    """
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def name_of(function: object) -> str:
    """Return the name of a function or an object, as its author knows it."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return str(name).rpartition("<locals>.")[2]
