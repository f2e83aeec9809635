"""Leaves out of an error's traceback what its reader can do nothing about.

An asker sees an error with the lines that the error passed in the actor's thread: the loops of
asyncio, pykka and this package. They begin every traceback, and say nothing about the error.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pykka

from agy_actors._actors.errors import AgyActorsError

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["traceback_for_asker"]

_PLUMBING = tuple(
    f"{os.path.dirname(path)}{os.sep}"  # noqa: PTH120 (a prefix of paths, not a path)
    for path in (os.path.dirname(__file__), asyncio.__file__, pykka.__file__)  # noqa: PTH120
)
"""The folders whose lines are left out: this package, asyncio and pykka."""


def traceback_for_asker(error: BaseException) -> TracebackType | None:
    """Return an error's traceback from the first line of other code on.

    If there is no such line, nothing is left of an error of this package, whose text says all.
    Another error keeps its traceback, since it may be a mistake in this package.
    """
    traceback = error.__traceback__
    while traceback is not None and _is_plumbing(traceback):
        traceback = traceback.tb_next
    if traceback is None and not isinstance(error, AgyActorsError):
        return error.__traceback__
    return traceback


def _is_plumbing(traceback: TracebackType) -> bool:
    return traceback.tb_frame.f_code.co_filename.startswith(_PLUMBING)
