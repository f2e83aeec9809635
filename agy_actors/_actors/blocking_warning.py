"""The warning for calls that block a thread on which an event loop runs.

Code that is about to block calls `warn_of_blocking` if a loop runs on the thread. To ask for the
running loop is one call in C; everything else happens only where there is one.

Which calls get a warning:

*   Code on a thread whose event loop runs, whether it is a coroutine or a callback of the loop.
*   In a plain actor of the user's, only coroutines. A handler that is a plain function may block,
    as in pykka: its thread is the actor's own, and only the actor's own messages wait. Users must
    not block the loops of agents and supervisors.
*   Nothing at the top level of a module: in a notebook, cells run inside the notebook's
    event loop, and are expected to block.

The warning is given through the `warnings` module, so that its filters apply. The default one shows
it once for each line of the user's code: the text is always the same.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from asyncio import _get_running_loop as running_loop
from typing import TYPE_CHECKING

from agy_actors._actors.errors import AgyActorsError

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from types import FrameType

__all__ = ["BlockingCallWarning", "let_functions_block", "running_loop", "warn_of_blocking"]

_OURS = frozenset({"agy_actors", "pykka", "contextlib"})
"""Packages whose frames are skipped: the call's place is the user's code that called them."""

_ENTRIES = (
    "agy_actors._actors.life",
    "agy_actors._actors.message_handler",
    "agy_actors.testing.",
)
"""The modules that call the code of plain actors and of simulated clients."""

_COROUTINE = inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE | inspect.CO_ASYNC_GENERATOR

_MARK = "agy_actors_functions_may_block"

_TEXT = (
    "this call blocks the thread of a running event loop, and with it all that runs on the loop:"
    " await the reply (block=False), use `async for` or `async with`, or call it in a thread"
    " (asyncio.to_thread)"
)


class BlockingCallWarning(AgyActorsError, RuntimeWarning):
    """Issued when a call blocks a thread on which an event loop runs. It says what to do instead.

    It is an `AgyActorsError` where the filters of `warnings` make it an error.
    """


def let_functions_block(loop: AbstractEventLoop) -> None:
    """Do not warn of plain functions that block the thread of a loop; warn of coroutines only."""
    setattr(loop, _MARK, True)


def warn_of_blocking() -> None:
    """Warn the calling user code if it blocks an event loop that it should not block.

    Raises:
        BlockingCallWarning: the filters of `warnings` turn it into an error.
    """
    loop = running_loop()
    if loop is None:
        return
    frame = _users_frame(sys._getframe(1))  # noqa: SLF001 (documented)
    if frame is None or not _is_to_be_warned(frame, may_block=getattr(loop, _MARK, False)):
        return
    warnings.warn_explicit(
        _TEXT,
        BlockingCallWarning,
        filename=frame.f_code.co_filename,
        lineno=frame.f_lineno,
        module=_module(frame),
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )


def _users_frame(frame: FrameType | None) -> FrameType | None:
    while frame is not None and _module(frame).partition(".")[0] in _OURS:
        frame = frame.f_back
    return frame


def _is_to_be_warned(frame: FrameType, *, may_block: bool) -> bool:
    """Search from the blocking call outwards for the frame that decides."""
    outer: FrameType | None = frame
    while outer is not None:
        module = _module(outer)
        ours = module.partition(".")[0] in _OURS
        if not ours and outer.f_code.co_flags & _COROUTINE:
            return True
        if may_block and module.startswith(_ENTRIES):
            return False
        if module.startswith("asyncio."):
            break  # The loop itself: the code is a callback.
        if outer.f_code.co_name == "<module>":
            return False
        outer = outer.f_back
    return not may_block


def _module(frame: FrameType) -> str:
    name = frame.f_globals.get("__name__")
    return name if isinstance(name, str) else ""
