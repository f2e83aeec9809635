"""A `localharness` process that several conversations share, and what each sees of it."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, ClassVar, Protocol

from agy_actors._harness._boot import Booting
from agy_actors._harness._process import READER_THREADS, HarnessProcess, ends_within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agy_actors._harness._boot import Address, Kind

__all__ = ["LAST_WORDS", "Seat", "SharedProcess", "Tenant"]

_ECHO = 1.0
"""Seconds for which a line may be about a tenant that has left in the middle of a turn. It
takes milliseconds; arbitrary."""

LAST_WORDS = 20
"""Lines of standard error kept for an error message; arbitrary."""


class Tenant(Protocol):
    """A conversation on a process. Its methods are called on any thread."""

    def has_turn(self, /) -> bool:
        """Tell whether a line of the process may be about it: it has a turn, or had just now."""
        ...

    def hear(self, line: str, alone: bool, /) -> None:
        """Hear a line of the process's standard error, which may be about any tenant.

        Args:
            line: the line.
            alone: whether it can be about no other tenant.
        """

    def lose(self, /) -> None:
        """Learn that the process is gone."""


class SharedProcess:
    """A process from its begin to its end.

    Its methods are for the thread of its owner, but for `has_ended`, `shake_hands`, `end` and
    `kill`.

    Args:
        kind: what to start it with.
        grace: seconds for it to end by itself before it is killed.
        on_death: called when it is gone, by the thread that reads its standard error.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, kind: Kind, *, grace: float, on_death: Callable[[], None]) -> None:
        self._booting = Booting(kind)
        self._grace = grace
        self._on_death = on_death
        self._process: HarnessProcess | None = None
        self._reader: threading.Thread | None = None
        self._tenants: tuple[Tenant, ...] = ()
        """Replaced and never changed: its reader reads it."""
        self._last_left = -math.inf
        """When a tenant left whom a line may still be about."""
        self._address: Address | None = None
        self.tail: deque[str] = deque(maxlen=LAST_WORDS)
        """The last lines of its standard error."""

    @property
    def pid(self) -> int:
        """The process id."""
        return self._booting.popen.pid

    @property
    def address(self) -> Address:
        """Where it takes connections, once it is up."""
        assert self._address is not None
        return self._address

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone, noticed or not."""
        return ends_within(self._booting.popen, 0.0)

    def shake_hands(self) -> None:
        """Wait until it is up. Blocks; ended by killing it.

        Raises:
            ProcessEnded: it ended before it was ready.
        """
        self._address = self._booting.shake_hands()

    def listen(self) -> None:
        """Begin to read its standard error. It is up."""
        process = self._process = HarnessProcess(
            self._booting.popen, grace=self._grace, on_line=self._hear, on_death=self._die
        )
        self._reader = threading.Thread(
            target=lambda: deque(process.stderr, maxlen=0),
            name=f"{READER_THREADS}stderr",
            daemon=True,
        )
        self._reader.start()

    def add(self, tenant: Tenant) -> None:
        """Let a tenant hear of the process from now on."""
        self._tenants = (*self._tenants, tenant)

    def remove(self, tenant: Tenant) -> None:
        """Let a tenant hear no more."""
        if tenant.has_turn():
            self._last_left = time.monotonic()
        self._tenants = tuple(other for other in self._tenants if other is not tenant)

    def kill(self) -> None:
        """End it at once, with all that it has started. On any thread."""
        if self._process is None:
            self._booting.close()
        else:
            self._process.kill()

    def end(self) -> None:
        """End it, by force when its grace is over, and close its pipes. Blocks.

        It ends by itself when its input does.
        """
        process = self._process
        if process is None:
            self._booting.close()
            return
        with contextlib.suppress(OSError):
            process.stdin.close()
        process.wait()
        process.dispose()
        if self._reader is not None:
            self._reader.join(self._grace)

    def _hear(self, line: str) -> None:
        self.tail.append(line)
        tenants = self._tenants
        active = [tenant for tenant in tenants if tenant.has_turn()]
        just_left = time.monotonic() - self._last_left <= _ECHO
        for tenant in tenants:
            alone = not just_left and all(other is tenant for other in active)
            tenant.hear(line, alone)

    def give_up(self) -> None:
        """Kill it and have its tenants learn that it is gone, whether it goes or not."""
        self.kill()
        self._die()

    def _die(self) -> None:
        tenants, self._tenants = self._tenants, ()
        for tenant in tenants:
            tenant.lose()
        self._on_death()


class Seat:
    """Stands in for the `subprocess.Popen` of a connection whose process is not its own.

    There is nothing to wait for at the connection's end, and nothing to end.
    """

    stdin: ClassVar[None] = None
    stdout: ClassVar[None] = None
    returncode: ClassVar[int] = 0

    def __init__(self, pid: int, on_kill: Callable[[], None]) -> None:
        self.pid = pid
        self.stderr = _Silence()
        self._on_kill = on_kill

    def poll(self) -> int:
        """Return that there is nothing to complain about."""
        return 0

    def wait(self, timeout: float | None = None) -> int:  # noqa: ARG002 (the signature is given)
        """Return at once."""
        return 0

    def kill(self) -> None:
        """Break the connection off."""
        self._on_kill()

    terminate = kill


class _Silence:
    """Standard error of which nothing is for this connection alone."""

    def __iter__(self) -> Iterator[bytes]:
        return iter(())

    def read(self) -> bytes:
        """Read nothing."""
        return b""
