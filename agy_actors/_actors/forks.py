"""Keeps forked children from using objects and descriptors of the parent process.

A fork copies the memory of a process and one of its threads. A child has copies of all refs,
futures and locks, but not the threads that answer, resolve and release them. So each object that
belongs to one process stores the generation in which it was made. Every use compares that with the
generation of the running process, before it takes a lock, because another thread may have held the
lock at the moment of the fork.

Guarantees:

*   In a process that was not forked, the comparison is the only cost.
*   A forked child does not keep open a descriptor that is registered here. If it is made and
    registered within `no_fork`, no child can inherit it in between.
*   The number of such a descriptor stays in use in the child. Otherwise copies of file objects
    there would close the next file that gets the number.

Assumption: the fork runs Python's fork hooks, as `os.fork`, `os.forkpty` and
`multiprocessing` do. C code that calls `fork` and then runs Python does not. A child
that executes another program inherits no descriptor, since all are close-on-exec.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import weakref
from typing import TYPE_CHECKING, Any, Protocol

import pykka

from agy_actors._actors.errors import ForkedProcessError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Inherited",
    "OwnDescriptor",
    "OwnPopen",
    "check",
    "error",
    "give_up_in_children",
    "no_fork",
]

generation = 0
"""How many forks lie between the first process of the program and this one."""

_pids = [os.getpid()]
"""The process ids of this process's ancestors and its own, by generation."""

_no_fork = threading.RLock()  # Re-entrant: a signal handler may fork in the thread that holds it.


class Inherited(Protocol):
    """An object of the parent that a forked child releases."""

    def give_up(self) -> None:
        """Release the object in a forked child, before other code runs there. It must not raise."""
        ...


_inherited: weakref.WeakSet[Inherited] = weakref.WeakSet()


def check(made_in: int) -> None:
    """Raise if something belongs to a process that this one was forked from.

    Args:
        made_in: the `generation` in which it was made.

    Raises:
        ForkedProcessError: it was made before the fork.
    """
    if made_in != generation:
        raise error(made_in)


def error(made_in: int) -> ForkedProcessError:
    """Make the error for using an object of an earlier generation."""
    pid = _pids[made_in]
    return ForkedProcessError(
        f"this belongs to process {pid}, and process {os.getpid()} is a forked child of it:"
        " actors, agents, futures and streams do not work across a fork; start a supervisor"
        " in the child, after the fork",
        parent_pid=pid,
    )


@contextlib.contextmanager
def no_fork() -> Iterator[None]:
    """Hold off the forks of other threads while the block runs. Keep it short."""
    with _no_fork:
        yield


def give_up_in_children(inherited: Inherited) -> None:
    """Call `inherited.give_up()` in each forked child, for as long as the object exists."""
    _inherited.add(inherited)


class OwnDescriptor:
    """A descriptor that forked children replace with the null device.

    This applies for as long as this object exists. The descriptor may be closed: it is recognised
    by its open file, and not only by its number.

    Args:
        descriptor: the descriptor, of a pipe or a socket.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._identity = _identity(descriptor)
        give_up_in_children(self)

    def give_up(self) -> None:
        """Replace the descriptor in a forked child."""
        with contextlib.suppress(OSError):  # It was closed before the fork.
            if _identity(self._descriptor) == self._identity:
                _replace(self._descriptor)


class OwnPopen(subprocess.Popen[bytes]):
    """A process whose pipes no forked child keeps open, so that it ends when its input is closed.

    The rest is `subprocess.Popen`'s. In a forked child it counts as ended, so that no code there
    signals it, waits for it, or warns that it still runs.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Otherwise a thread could fork after the pipes are made and before they are registered.
        with no_fork():
            super().__init__(*args, **kwargs)
            pipes = (self.stdin, self.stdout, self.stderr)
            self._own = [OwnDescriptor(pipe.fileno()) for pipe in pipes if pipe is not None]
            give_up_in_children(self)

    def give_up(self) -> None:
        """Treat the process as ended, in a forked child."""
        if self.returncode is None:
            self.returncode = 0


def _identity(descriptor: int) -> tuple[int, int, int]:
    status = os.fstat(descriptor)
    return status.st_mode, status.st_dev, status.st_ino


def _replace(descriptor: int) -> None:
    try:
        null = os.open(os.devnull, os.O_RDWR)
    except OSError:  # No descriptor is left. Closing this one is better than keeping it open.
        os.close(descriptor)
        return
    try:
        os.dup2(null, descriptor, inheritable=False)
    finally:
        os.close(null)


def _before() -> None:
    _no_fork.acquire()


def _after_in_parent() -> None:
    _no_fork.release()


def _after_in_child() -> None:
    global generation, _no_fork  # noqa: PLW0603 (the process is another one now)
    # A new lock instead of a release: a fork by C code may run this hook without the first one.
    _no_fork = threading.RLock()
    _pids.append(os.getpid())
    generation += 1
    for inherited in list(_inherited):
        inherited.give_up()


def _forget_parents_actors() -> None:
    """Take the parent's actors of ours out of pykka's registry.

    They have no threads here: `pykka.ActorRegistry.stop_all` would fail on them. List and
    lock are private in pykka 4.5; the lock is replaced, since another thread may have held it.
    """
    registry = pykka.ActorRegistry
    with contextlib.suppress(AttributeError):
        refs = registry._actor_refs  # noqa: SLF001
        registry._actor_refs_lock = threading.RLock()  # noqa: SLF001
        refs[:] = [
            ref for ref in refs if getattr(ref.actor_inbox, "made_in", generation) == generation
        ]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child
    )
    os.register_at_fork(after_in_child=_forget_parents_actors)
