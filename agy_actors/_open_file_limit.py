"""The limit of open files of this process, which bounds how many agents it can have."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from loguru import logger

if TYPE_CHECKING:
    from types import ModuleType

resource: ModuleType | None
try:
    import resource
except ImportError:  # Windows has no such limit.
    resource = None

__all__ = ["open_file_limits", "raise_open_file_limit"]

_UNLIMITED = 1 << 20
"""The value of an unlimited limit: Linux's default for its own bound (fs.nr_open)."""


def raise_open_file_limit() -> int | None:
    """Raise the soft limit of open files of this process to its hard limit.

    An agent takes about five descriptors of this process, and each agent needs nine to start. With
    a usual soft limit of 1,024, about a hundred agents fit. This function changes the limit for the
    whole program, so agy_actors never calls it by itself, except in its command line. Do not call
    it in a program that uses `select.select`, which fails for descriptors from 1,024.

    Thread-safe. Repeating it is safe.

    Returns:
        The number of files that may be open now; `None` on systems without such a limit. If the
        system refuses the change, the limit stays as it is.
    """
    if resource is None:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):  # Not allowed, or more than the system has.
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            logger.info("The limit of open files was raised from {} to {}", soft, hard)
    limits = open_file_limits()
    return None if limits is None else limits[0]


def open_file_limits() -> tuple[int, int] | None:
    """Return the soft and the hard limit of open files; `None` on systems without such a limit."""
    if resource is None:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    return (
        _UNLIMITED if soft == unlimited else soft,
        _UNLIMITED if hard == unlimited else hard,
    )
