"""Checks that enough file descriptors are free for another agent."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING

from agy_actors._open_file_limit import open_file_limits
from agy_actors._sdk.errors import AgentStartError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["OpenFiles", "hint"]

_EACH = 9
"""Descriptors for one agent: three of its loop, one of its connection, one of its conversation's
lock file, three pipes of its process, and one spare."""

_RECOUNT = 256
"""The most descriptors that are assigned between two counts. A count also finds the descriptors
that the program itself has opened. Arbitrary."""

_RESERVE = 32
"""Descriptors that stay free for the program, because code that cannot open a file fails in
unexpected ways. Arbitrary."""


class OpenFiles:
    """The free descriptors for the agents of one supervisor.

    They are counted again only when the agents have used up those of the last count.
    """

    def __init__(self) -> None:
        self._room = 0

    def make_room(self, agent: str, starting: Callable[[], int]) -> None:
        """Check that enough descriptors are free for another agent, and reserve them.

        Args:
            agent: the name of the agent, for the error.
            starting: returns how many agents are starting and may not have opened their files yet.

        Raises:
            AgentStartError: too few descriptors are free.
        """
        if self._room < _EACH:
            self._count(agent, starting)
        self._room -= _EACH

    def _count(self, agent: str, starting: Callable[[], int]) -> None:
        used = _open_files()
        limits = open_file_limits()
        if limits is None or used is None:
            self._room = sys.maxsize
            return
        taken = used + _EACH * starting()
        self._room = limits[0] - _RESERVE - taken
        if self._room < _EACH:
            raise AgentStartError(
                f"{agent} cannot start: about {taken} files are open here, and no more than"
                f" {limits[0]} can be; {_advice()}",
                retryable=True,
            )
        self._room = min(self._room, max(_EACH, _RECOUNT))


def hint(error: BaseException | None) -> str:
    """Return advice about an error that too many open files caused; "" for other errors."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            return f"; {_advice()}"
        error = error.__cause__
    return ""


def _advice() -> str:
    limits = open_file_limits()
    call = ""
    if limits is not None and limits[0] < limits[1]:
        call = "call agy_actors.raise_open_file_limit(), "
    return (
        f"{call}raise the limit (RLIMIT_NOFILE: `ulimit -n`, or LimitNOFILE= of a systemd unit), or"
        " have fewer agents"
    )


def _open_files() -> int | None:
    for folder in ("/proc/self/fd", "/dev/fd"):
        with contextlib.suppress(OSError):
            return len(os.listdir(folder))  # noqa: PTH208 (a path for each would be waste)
    return None
