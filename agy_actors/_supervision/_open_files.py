"""Room for the descriptors of many agents, or an error that names the limit."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, Any

from loguru import logger

from agy_actors._agent import AgentStartError

if TYPE_CHECKING:
    from types import ModuleType

resource: ModuleType | None
try:
    import resource
except ImportError:  # Windows has no such limit.
    resource = None

__all__ = ["EVERY", "hint", "make_room"]

EVERY = 16
"""After how many agents the room is looked at again: a look takes longer the more there are."""

_EACH = 8
"""Descriptors of an agent: its loop has three, its connection one, a process of its own three
pipes; one to spare."""

_OTHERS = 256
"""Descriptors left to the program itself; arbitrary. What it has is counted; this is what it
may open beside."""


def make_room(agent: str) -> None:
    """See to it that `EVERY` more agents find descriptors, raising the soft limit if need be.

    Args:
        agent: whom it is for, for the error.

    Raises:
        AgentStartError: there is not even room for one more below the hard limit.
    """
    used = _open_files()
    if resource is None or used is None:
        return
    soft, hard = _limits(resource)
    if used + EVERY * _EACH + _OTHERS > soft and soft < hard:
        with contextlib.suppress(OSError, ValueError):  # Not allowed, or more than the system has.
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            logger.info("The limit of open files was raised from {} to {}", soft, hard)
        soft, hard = _limits(resource)
    if used + _EACH > soft:
        raise AgentStartError(
            f"{agent} cannot start: {used} files are open here, and no more than {soft} can be;"
            f" {_ADVICE}"
        )


def hint(error: BaseException | None) -> str:
    """Return what to do about an error, if it comes of too many open files."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            return f"; {_ADVICE}"
        error = error.__cause__
    return ""


_ADVICE = (
    "raise the limit (RLIMIT_NOFILE: `ulimit -n`, or LimitNOFILE= of a systemd unit), or have"
    " fewer agents"
)


def _limits(limits: Any) -> tuple[int, int]:
    soft, hard = limits.getrlimit(limits.RLIMIT_NOFILE)
    unlimited = 1 << 20  # Linux's own bound of the limit (fs.nr_open), by default.
    return (
        unlimited if soft == limits.RLIM_INFINITY else soft,
        unlimited if hard == limits.RLIM_INFINITY else hard,
    )


def _open_files() -> int | None:
    for folder in ("/proc/self/fd", "/dev/fd"):
        with contextlib.suppress(OSError):
            return len(os.listdir(folder))  # noqa: PTH208 (a path for each would be waste)
    return None
