"""Where a conversation lives: on a process of its own, or on one that it shares.

Whichever it is, it is entered, left, and broken off in the same way.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import subprocess
from collections import deque
from typing import TYPE_CHECKING, Any, TypeAlias

import pykka

from agy_actors._harness._boot import Booting, in_daemon_thread, kind_of
from agy_actors._harness._connect import connect, drop, has_parted, sever
from agy_actors._harness._host import Lease, Leave, Opened
from agy_actors._harness._process import HarnessProcess, signal_group
from agy_actors._harness._shared import LAST_WORDS, Seat, SharedProcess

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors._harness._boot import Kind
    from agy_actors._kernel import AsyncioActorRef

__all__ = ["OnLine", "OwnQuarters", "Quarters", "SharedQuarters"]

OnLine: TypeAlias = "Callable[[str, bool], None]"
"""Takes a line of a process's standard error, and whether it can be about no other
conversation of the process."""

_IN_USE = "is already in use"  # As google-antigravity 0.1.22 has it.
_REFUSED = "Failed to create agent"  # How it says that it does not open a conversation.
_LAG = 0.5
"""Seconds by which the harness's words may come after the end of a connection that they are
about. They come within milliseconds; arbitrary."""
_LOOKS = 25  # While they may still come; arbitrary.

_REAP = 1.0  # Seconds for a killed process to be gone: it takes milliseconds.


class Quarters(abc.ABC):
    """Where one conversation lives. For the loop of its agent, if nothing else is said."""

    @property
    @abc.abstractmethod
    def pid(self) -> int | None:
        """The id of the process, from when there is one until it is left."""

    @property
    @abc.abstractmethod
    def tail(self) -> deque[str]:
        """The last lines of the process's standard error."""

    @abc.abstractmethod
    async def enter(self, strategy: Any, *, use_interactions_api: bool) -> tuple[Any, Any]:
        """Find the conversation a process, and connect.

        Returns:
            What stands in for the process, and the WebSocket.

        Raises:
            Exception: there is no process to be had, or it takes no connection.
        """

    @abc.abstractmethod
    async def is_held(self) -> bool:
        """Tell whether the process refused the conversation since it has it open already."""

    @property
    @abc.abstractmethod
    def refusal(self) -> str | None:
        """The line with which the process refused the conversation, if it said one."""

    @abc.abstractmethod
    def settle(self) -> None:
        """Note that the conversation is open."""

    @abc.abstractmethod
    def break_off(self) -> None:
        """Break the conversation off at once. Callable from any thread."""

    @abc.abstractmethod
    def evacuate(self) -> None:
        """Break it off for good, for a loop that hangs. Callable from any thread."""

    @abc.abstractmethod
    def leave(self) -> None:
        """Leave nothing behind."""


class OwnQuarters(Quarters):
    """A process of its own, which ends with the conversation.

    Args:
        grace: seconds for it to end by itself before it is killed.
        on_line: called with each line of its standard error, on any thread.
        on_death: called once when it is gone, on any thread.
    """

    def __init__(self, *, grace: float, on_line: OnLine, on_death: Callable[[], None]) -> None:
        self._grace = grace
        self._on_line = on_line
        self._on_death = on_death
        self._tail: deque[str] = deque(maxlen=LAST_WORDS)
        self._booting: Booting | None = None
        self._process: HarnessProcess | None = None
        self._ws: Any = None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def tail(self) -> deque[str]:
        return self._tail

    async def enter(self, strategy: Any, *, use_interactions_api: bool) -> tuple[Any, Any]:
        kind = kind_of(strategy, use_interactions_api=use_interactions_api)
        booting = self._booting = Booting(kind)  # Forks and returns at once.
        address = await in_daemon_thread(booting.shake_hands, "start")
        self._process = HarnessProcess(
            booting.popen, grace=self._grace, on_line=self._hear, on_death=self._on_death
        )
        self._ws = await connect(address)
        return self._process, self._ws

    async def is_held(self) -> bool:
        return False

    @property
    def refusal(self) -> str | None:
        return next((line for line in reversed(self._tail) if _REFUSED in line), None)

    def settle(self) -> None:
        """Nobody waits for that."""

    def break_off(self) -> None:
        if self._booting is not None:
            signal_group(self._booting.popen)

    def evacuate(self) -> None:
        # Its pipes are for `leave` to close, on the loop they belong to.
        if self._booting is not None:
            self.break_off()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._booting.popen.wait(_REAP)

    def leave(self) -> None:
        drop(self._ws)
        self._ws = None
        if self._process is not None:
            self._process.dispose()
            self._process = None
        elif self._booting is not None:
            self._booting.close()
        self._booting = None

    def _hear(self, line: str) -> None:
        self._tail.append(line)
        self._on_line(line, True)


class SharedQuarters(Quarters):
    """A place on a process that a `HarnessHost` owns.

    Args:
        host: the host.
        conversation: the conversation's id.
        key: the fingerprint of its API key: it shares a process with others of the same only.
        has_turn: returns whether it has a turn, or had one just now, on any thread.
        on_line: called with each line of the process's standard error, on any thread.
        on_death: called when the process is gone, on any thread.
        on_wait: called with `True` when the conversation begins to wait for a place, and
            with `False` when it has one.
    """

    def __init__(
        self,
        host: AsyncioActorRef,
        conversation: str,
        key: str,
        *,
        has_turn: Callable[[], bool],
        on_line: OnLine,
        on_death: Callable[[], None],
        on_wait: Callable[[bool], None],
    ) -> None:
        self._host = host
        self._conversation = conversation
        self._key = key
        self._on_wait = on_wait
        self._process: SharedProcess | None = None
        self._ws: Any = None
        self._broken_off = False
        self._held = False
        self._opening = True
        self._refusals: list[str] = []
        self._marks = [conversation]
        """Texts that a line about this conversation may have, and few others have."""
        self._on_line = on_line
        # As the host's tenant.
        self.has_turn = has_turn
        self.lose = on_death

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def tail(self) -> deque[str]:
        return deque() if self._process is None else self._process.tail

    async def enter(self, strategy: Any, *, use_interactions_api: bool) -> tuple[Any, Any]:
        kind = kind_of(strategy, use_interactions_api=use_interactions_api)
        self._marks += [str(path) for path in getattr(strategy, "_workspaces", None) or ()]
        process = await self._find_place(kind)
        try:
            self._ws = await connect(process.address)
        except ConnectionError:  # It hangs, or has just died: the host sees to it.
            self._tell(Leave(self, peacefully=False))
            process = await self._find_place(kind)
            self._ws = await connect(process.address)
        if self._broken_off:
            sever(self._ws)
        return Seat(process.pid, self.break_off), self._ws

    def hear(self, line: str, alone: bool, /) -> None:
        """Hear a line of the process. As the host's tenant."""
        if self._opening and _REFUSED in line:
            self._refusals.append(line)
        if _IN_USE in line and self._conversation in line:
            self._held = True
        self._on_line(line, alone)

    async def is_held(self) -> bool:
        for _ in range(_LOOKS):
            if self._held or self._own_refusals() or self._is_gone():
                break
            await asyncio.sleep(_LAG / _LOOKS)  # The reason comes another way than the refusal.
        return self._held

    @property
    def refusal(self) -> str | None:
        # Where others open theirs on the process just now, a line may be about one of those.
        lines = self._own_refusals() or self._refusals
        return lines[-1] if lines else None

    def _own_refusals(self) -> list[str]:
        return [line for line in self._refusals if any(mark in line for mark in self._marks)]

    def _is_gone(self) -> bool:
        return self._process is None or self._process.has_ended

    async def _find_place(self, kind: Kind) -> SharedProcess:
        self._on_wait(True)
        lease = self._host.ask(Lease(kind, self._key, self, self._conversation), block=False)
        try:
            self._process = await lease
        finally:
            lease.cancel()
            self._on_wait(False)
        return self._process

    def settle(self) -> None:
        self._opening = False
        self._tell(Opened(self))

    def break_off(self) -> None:
        self._broken_off = True
        if self._ws is not None:
            sever(self._ws)

    def evacuate(self) -> None:
        self.break_off()
        self._tell(Leave(self, peacefully=False))

    def leave(self) -> None:
        peacefully = self._ws is not None and has_parted(self._ws)
        drop(self._ws)
        self._process = self._ws = None
        self._tell(Leave(self, peacefully=peacefully))

    def _tell(self, message: Opened | Leave) -> None:
        with contextlib.suppress(pykka.ActorDeadError):  # It has ended, and all with it.
            self._host.tell(message)
