"""Room for the descriptors of many agents, or an error that names the limit."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING, Any

from loguru import logger

from agy_actors._agent import AgentStartError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

resource: ModuleType | None
try:
    import resource
except ImportError:  # Windows has no such limit.
    resource = None

__all__ = ["OpenFiles", "hint"]

_EACH = 9
"""Descriptors of an agent: its loop has three, its connection one, its conversation's lock file
one, a process of its own three pipes; one to spare."""

_PLENTY = 256
"""So many are left to the program before the limit is raised; arbitrary. What it has open is
counted; this is what it may open beside."""

_LAST = 32
"""So many are left to the program in any case: what cannot open a file fails in odd ways."""


class OpenFiles:
    """The descriptors that one supervisor's agents may still take.

    They are counted anew only when those are given out that the last count found free.
    """

    def __init__(self) -> None:
        self._room = 0

    def make_room(self, agent: str, starting: Callable[[], int]) -> None:
        """See to it that one more agent finds descriptors, raising the soft limit if need be.

        Args:
            agent: whom it is for, for the error.
            starting: tells how many agents come up just now, and may have opened nothing yet.

        Raises:
            AgentStartError: there is no room even below the hard limit.
        """
        if self._room < _EACH:
            self._count(agent, starting)
        self._room -= _EACH

    def _count(self, agent: str, starting: Callable[[], int]) -> None:
        used = _open_files()
        if resource is None or used is None:
            self._room = sys.maxsize
            return
        taken = used + _EACH * starting()
        soft, hard = _limits(resource)
        if taken + _PLENTY > soft and soft < hard:
            with contextlib.suppress(OSError, ValueError):  # Not allowed, or more than may be.
                resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
                logger.info("The limit of open files was raised from {} to {}", soft, hard)
            soft, hard = _limits(resource)
        self._room = soft - _LAST - taken
        if self._room < _EACH:
            raise AgentStartError(
                f"{agent} cannot start: about {taken} files are open here, and no more than {soft}"
                f" can be; {_ADVICE}",
                retryable=True,
            )
        # So that the limit is raised in time, and what the program opens itself is seen.
        self._room = min(self._room, max(_EACH, _PLENTY))


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
