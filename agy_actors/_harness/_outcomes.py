"""Runs functions that users wrote, and returns what came of them.

A tool, a hook or a handler may raise anything. What is no ordinary exception gets lost on
its way, or does harm: a future takes no `StopIteration`, so whoever waits for a thread that
raised one waits for ever; an asyncio task lets a `KeyboardInterrupt` or a `SystemExit`
through to its loop, which ends; a `CancelledError` looks as if somebody had cancelled the
caller. So whatever is raised is caught where it is raised, and travels as a value.
"""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = [
    "Outcome",
    "Raised",
    "capture",
    "describe",
    "is_ordinary",
    "isolate",
    "name_of",
    "run_in_thread",
    "valid_text",
]


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What a call returned, or what it raised."""

    value: Any = None
    error: BaseException | None = None

    def get(self) -> Any:
        """Return the value.

        Raises:
            Exception: the call raised an ordinary exception, which is raised again.
            Raised: the call raised something else.
        """
        if self.error is None:
            return self.value
        if is_ordinary(self.error):
            raise self.error
        raise Raised(self.error)


class Raised(Exception):
    """Carries what is no ordinary exception, and could do harm on its way."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(describe(error))
        self.error = error


def capture(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Outcome:
    """Call a function, and return its outcome whatever it raises."""
    try:
        return Outcome(function(*args, **kwargs))
    except BaseException as error:  # noqa: BLE001 (it is returned)
        return Outcome(error=error)


async def run_in_thread(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Outcome:
    """Call a function on a thread of its own, and return its outcome whatever it raises."""
    return await asyncio.to_thread(capture, function, *args, **kwargs)


async def isolate(
    awaitable: Awaitable[Any], *, until: asyncio.Future[None] | None = None
) -> Outcome:
    """Await something in a task of its own, and return its outcome whatever it raises.

    So a `CancelledError` that the awaited code raised, which is returned, differs from a
    cancellation of the caller, which cancels the awaited code and is raised. Context
    variables that the awaited code sets are set for the caller.

    Args:
        awaitable: what to await.
        until: if it is done first, the awaited code is cancelled.
    """
    context = contextvars.copy_context()
    task = asyncio.get_running_loop().create_task(_capture_await(awaitable), context=context)
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


async def _capture_await(awaitable: Awaitable[Any]) -> Outcome:
    try:
        return Outcome(await awaitable)
    except BaseException as error:  # noqa: BLE001 (it is returned)
        return Outcome(error=_original(error))


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
    """Return whether an exception can be raised again anywhere without doing harm."""
    return isinstance(error, Exception) and not isinstance(
        error, StopIteration | StopAsyncIteration | Raised
    )


def describe(error: BaseException) -> str:
    """Return an exception's type and text as one would read them in a traceback."""
    if isinstance(error, Raised):
        return describe(error.error)
    name = type(error).__qualname__
    said = capture(str, error)
    if said.error is not None:
        return f"{name} (its text cannot be read: str() raised {type(said.error).__qualname__})"
    text = valid_text(said.value).strip()
    return f"{name}: {text}" if text else name


def valid_text(text: str) -> str:
    """Return a text whose lone surrogates are replaced by U+FFFD.

    They are no characters, so a text that has one cannot be sent to the harness.
    """
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def name_of(function: object) -> str:
    """Return the name by which a user knows a function or an object."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return str(name).rpartition("<locals>.")[2]
