"""`Gate`: where a fiber blocks in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agy_actors.testing.simulation.fiber import Handle

if TYPE_CHECKING:
    from agy_actors.testing.simulation.fiber import Fiber
    from agy_actors.testing.simulation.scheduler import Scheduler

__all__ = ["Gate"]


class Gate:
    """A gate as the actors' runtime defines it, in virtual time.

    Args:
        scheduler: runs the fiber that waits.
        what: what the fiber waits for, for traces and errors.
    """

    __slots__ = ("_open", "_scheduler", "_waiting", "what")

    def __init__(self, scheduler: Scheduler, what: object) -> None:
        self._scheduler = scheduler
        self._open = False
        self._waiting: Fiber | None = None
        self.what = what

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Wait until the gate is open, and close it; return `False` after `timeout` seconds."""
        if not self._open and blocking and timeout != 0:
            self._wait(timeout)
        passed, self._open = self._open, False
        return passed

    def release(self) -> None:
        """Open the gate.

        Raises:
            RuntimeError: it is open already.
        """
        if self._open:
            raise RuntimeError("release unlocked lock")
        self._open = True
        self._resume()

    def _wait(self, timeout: float) -> None:
        scheduler = self._scheduler
        fiber = self._waiting = scheduler.running_fiber("wait")
        timer = None
        if timeout > 0:
            timer = Handle(self._resume, (), scheduler.context)
            scheduler.add_timer(fiber, scheduler.clock + timeout, timer, direct=True)
        try:
            scheduler.block(fiber, self.what)
        finally:
            self._waiting = None
            if timer is not None:
                timer.cancel()

    def _resume(self) -> None:
        fiber, self._waiting = self._waiting, None
        if fiber is not None:
            self._scheduler.make_ready(fiber)
