"""Leases: the place of a conversation on a process of its own, or on one that it shares.

A conversation uses both kinds of lease in the same way.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import subprocess
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import pykka

from agy_actors._sdk.process.connect import connect, drop, is_cleanly_closed, sever
from agy_actors._sdk.process.harness_process import HarnessProcess, signal_group
from agy_actors._sdk.process.process_pool import Opened, ReleaseLease, RequestLease
from agy_actors._sdk.process.shared_process import STDERR_LINES, PopenStandIn, SharedProcess
from agy_actors._sdk.process.spawn import ProcessEnded, SpawnedProcess, in_daemon_thread, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors._actors.actor_ref import AsyncioActorRef
    from agy_actors._sdk.process.spawn import Kind

__all__ = ["Lease", "LostProcess", "OnLine", "OwnLease", "SharedLease"]

OnLine: TypeAlias = "Callable[[str, bool], None]"
"""Takes a line of a process's standard error, and whether the line cannot be about another
conversation of the process."""

_IN_USE = "is already in use"  # In the harness's line, google-antigravity 0.1.22.
_REFUSED = "Failed to create agent"  # In the line when it does not open a conversation.
_LAG = 0.5
"""Seconds by which a line may come later than the end of the connection that it explains. It comes
within milliseconds. Arbitrary."""
_CHECKS = 25  # Checks for such a line during this time. Arbitrary.

_KILL_TIMEOUT = 1.0  # Seconds for a killed process to end. It takes milliseconds.


class LostProcess(NamedTuple):
    """A process that ended while a conversation was opened on it."""

    was_killed: bool
    """Whether a signal from outside ended it. If not, opening the conversation may have."""


class Lease(abc.ABC):
    """The place of one conversation on a process.

    All methods except `sever` and `abandon` are for the loop of the conversation's agent.
    """

    @property
    @abc.abstractmethod
    def pid(self) -> int | None:
        """The id of the process; `None` before `acquire` and after `release`."""

    @property
    @abc.abstractmethod
    def tail(self) -> deque[str]:
        """The last lines of the process's standard error."""

    @abc.abstractmethod
    async def acquire(self, strategy: Any, *, use_interactions_api: bool) -> tuple[Any, Any]:
        """Get a process for the conversation, and connect to it.

        Returns:
            The object that the SDK's connection uses as its `subprocess.Popen`, and the WebSocket.

        Raises:
            Exception: no process started, or it accepts no connection.
        """

    @abc.abstractmethod
    async def is_held(self) -> bool:
        """Return whether the process refused the conversation because it is open already."""

    @property
    @abc.abstractmethod
    def refusal(self) -> str | None:
        """The line with which the process refused the conversation, or `None`."""

    @abc.abstractmethod
    def lost_process(self, error: Exception) -> LostProcess | None:
        """Return the process whose end prevented the conversation from opening, or `None`.

        Args:
            error: the error of the start.
        """

    @abc.abstractmethod
    def note_opened(self) -> None:
        """Note that the conversation is open."""

    @abc.abstractmethod
    def sever(self) -> None:
        """Cut the conversation off from its process at once. Thread-safe."""

    @abc.abstractmethod
    def abandon(self) -> None:
        """Cut the conversation off for good, if its loop hangs. Thread-safe."""

    @abc.abstractmethod
    def release(self) -> None:
        """Give up the place, and release all resources."""


class OwnLease(Lease):
    """A process that belongs to one conversation and ends with it.

    Args:
        grace: seconds for it to end by itself before it is killed.
        on_line: called with each line of its standard error, on any thread.
        on_death: called once when it is gone, on any thread.
    """

    def __init__(self, *, grace: float, on_line: OnLine, on_death: Callable[[], None]) -> None:
        self._grace = grace
        self._on_line = on_line
        self._on_death = on_death
        self._tail: deque[str] = deque(maxlen=STDERR_LINES)
        self._spawned: SpawnedProcess | None = None
        self._process: HarnessProcess | None = None
        self._ws: Any = None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def tail(self) -> deque[str]:
        return self._tail

    async def acquire(self, strategy: Any, *, use_interactions_api: bool) -> tuple[Any, Any]:
        kind = kind_of(strategy, use_interactions_api=use_interactions_api)
        spawned = self._spawned = SpawnedProcess(kind)  # Forks and returns at once.
        address = await in_daemon_thread(spawned.handshake, "start")
        self._process = HarnessProcess(
            spawned.popen, grace=self._grace, on_line=self._note_line, on_death=self._on_death
        )
        self._ws = await connect(address)
        return self._process, self._ws

    async def is_held(self) -> bool:
        return False

    @property
    def refusal(self) -> str | None:
        return next((line for line in reversed(self._tail) if _REFUSED in line), None)

    def lost_process(self, error: Exception) -> None:
        """Return `None`: the SDK itself ends a process whose conversation does not open."""

    def note_opened(self) -> None:
        """Do nothing: no other conversation waits."""

    def sever(self) -> None:
        if self._spawned is not None:
            signal_group(self._spawned.popen)

    def abandon(self) -> None:
        # `release` closes the pipes, on the loop that they belong to.
        if self._spawned is not None:
            self.sever()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._spawned.popen.wait(_KILL_TIMEOUT)

    def release(self) -> None:
        drop(self._ws)
        self._ws = None
        if self._process is not None:
            self._process.dispose()
            self._process = None
        elif self._spawned is not None:
            self._spawned.close()
        self._spawned = None

    def _note_line(self, line: str) -> None:
        self._tail.append(line)
        self._on_line(line, True)


class _Lessee:
    """A conversation on one process, until it leaves.

    A conversation whose process is dead requests a place on another. From then on, the reports of
    the first process, such as its death, do not concern the conversation.
    """

    def __init__(self, lease: SharedLease, on_death: Callable[[], None]) -> None:
        self._lease = lease
        self._on_death = on_death
        self.has_left = False

    def has_turn(self) -> bool:
        return self._lease.has_turn()

    def note_line(self, line: str, alone: bool, /) -> None:
        if not self.has_left:
            self._lease.note_line(line, alone)

    def note_death(self) -> None:
        if not self.has_left:
            self._on_death()


class SharedLease(Lease):
    """A place on a process that a `ProcessPool` owns.

    Args:
        pool: the `ProcessPool`.
        conversation: the conversation's id.
        key: the fingerprint of its API key. Only conversations with the same key share a process.
        has_turn: returns whether the conversation has a turn, or just had one, on any thread.
        on_line: called with each line of the process's standard error, on any thread.
        on_death: called when the process is gone, on any thread.
        on_wait: called with `True` when the conversation starts to wait for a place, and with
            `False` when it has one.
    """

    def __init__(
        self,
        pool: AsyncioActorRef,
        conversation: str,
        key: str,
        *,
        has_turn: Callable[[], bool],
        on_line: OnLine,
        on_death: Callable[[], None],
        on_wait: Callable[[bool], None],
    ) -> None:
        self._pool = pool
        self._conversation = conversation
        self._key = key
        self._on_wait = on_wait
        self._process: SharedProcess | None = None
        self._ws: Any = None
        self._severed = False
        self._held = False
        self._opening = True
        self._refusals: list[str] = []
        self._marks = [conversation]
        """Texts that lines about this conversation contain, and few other lines."""
        self._on_line = on_line
        self._on_death = on_death
        self.has_turn = has_turn
        self._lessee = _Lessee(self, on_death)

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def tail(self) -> deque[str]:
        return deque() if self._process is None else self._process.tail

    async def acquire(self, strategy: Any, *, use_interactions_api: bool) -> tuple[Any, Any]:
        kind = kind_of(strategy, use_interactions_api=use_interactions_api)
        self._marks += [str(path) for path in getattr(strategy, "_workspaces", None) or ()]
        process = await self._request(kind)
        try:
            self._ws = await connect(process.address)
        except ConnectionError:  # It hangs or has just died. The pool checks it.
            self._release(clean=False)
            process = await self._request(kind)
            self._ws = await connect(process.address)
        if self._severed:
            sever(self._ws)
        return PopenStandIn(process.pid, self.sever), self._ws

    def note_line(self, line: str, alone: bool, /) -> None:
        """Take a line of the process. Thread-safe."""
        if self._opening and _REFUSED in line:
            self._refusals.append(line)
        if _IN_USE in line and self._conversation in line:
            self._held = True
        self._on_line(line, alone)

    async def is_held(self) -> bool:
        for _ in range(_CHECKS):
            if self._held or self._own_refusals() or self._is_gone():
                break
            await asyncio.sleep(_LAG / _CHECKS)  # The line and the refusal come separately.
        return self._held

    @property
    def refusal(self) -> str | None:
        # If others open conversations on this process too, an unmarked line may be about them.
        lines = self._own_refusals() or self._refusals
        return lines[-1] if lines else None

    def _own_refusals(self) -> list[str]:
        return [line for line in self._refusals if any(mark in line for mark in self._marks)]

    def _is_gone(self) -> bool:
        return self._process is None or self._process.has_ended

    def lost_process(self, error: Exception) -> LostProcess | None:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ProcessEnded):
                return LostProcess(was_killed=cause.was_killed) if cause.was_killed else None
            cause = cause.__cause__ or cause.__context__
        if self._process is None or self._own_refusals() or not self._is_gone():
            return None
        return LostProcess(was_killed=self._process.was_killed)

    async def _request(self, kind: Kind) -> SharedProcess:
        self._on_wait(True)
        lessee = self._lessee = _Lessee(self, self._on_death)
        request = RequestLease(kind, self._key, lessee, self._conversation)
        granted = self._pool.ask(request, block=False)
        try:
            self._process = await granted
        finally:
            granted.cancel()
            self._on_wait(False)
        return self._process

    def note_opened(self) -> None:
        self._opening = False
        self._tell(Opened(self._lessee))

    def sever(self) -> None:
        self._severed = True
        if self._ws is not None:
            sever(self._ws)

    def abandon(self) -> None:
        self.sever()
        self._release(clean=False)

    def release(self) -> None:
        clean = self._ws is not None and is_cleanly_closed(self._ws)
        drop(self._ws)
        self._process = self._ws = None
        self._release(clean=clean)

    def _release(self, *, clean: bool) -> None:
        self._lessee.has_left = True
        self._tell(ReleaseLease(self._lessee, clean=clean))

    def _tell(self, message: Opened | ReleaseLease) -> None:
        with contextlib.suppress(pykka.ActorDeadError):  # It has stopped, with all its processes.
            self._pool.tell(message)
