"""The threads of a simulation. Exactly one of them runs at a time.

A fiber may block in the middle of a step, such as an `ask` in threaded code that waits for its
reply. Its stack stays on the thread that ran the step. That thread waits, and another thread
continues with the other fibers. So a simulation needs threads to hold stacks, and runs nothing in
parallel.

Each thread waits on a lock of its own. The running thread releases the lock of one other thread
and then acquires its own, so all other threads are always blocked.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SimulationThread", "SimulationThreads"]


class SimulationThread:
    """A thread that runs from each release of its lock to its next wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self.thread: threading.Thread | None = None
        """The thread; `None` for the caller's own thread."""

    def release(self) -> None:
        """Let it run."""
        self._lock.release()

    def wait(self) -> None:
        """Block until another thread lets this one run."""
        self._lock.acquire()


class SimulationThreads:
    """The threads of one simulation. The first one is the caller's own thread.

    Args:
        work: each started thread calls it when it runs without a stack to resume. It returns
            when the simulation is over.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self.first = SimulationThread()
        self.running = self.first
        """The thread that runs."""
        self._idle: list[SimulationThread] = []
        self._started: list[SimulationThread] = []
        self._ended = False

    def switch_from(self, thread: SimulationThread) -> None:
        """Let a thread that holds no stack run, and block until `thread` is resumed.

        Args:
            thread: the calling thread, which is the running one.
        """
        self._run(self._idle.pop() if self._idle else self._start())
        thread.wait()

    def resume(self, thread: SimulationThread) -> None:
        """Resume a thread that holds a stack, and block until the calling thread may run."""
        me = self.running
        self._idle.append(me)
        self._run(thread)
        me.wait()

    def unwind(self, thread: SimulationThread) -> None:
        """Resume a thread so that it leaves its stack. The first thread calls it at the end."""
        self._run(thread)
        self.first.wait()

    def end(self) -> None:
        """End and join all started threads. The first thread calls it last."""
        self._ended = True
        for thread in self._started:
            thread.release()
        for thread in self._started:
            assert thread.thread is not None
            thread.thread.join()

    def _run(self, thread: SimulationThread) -> None:
        self.running = thread
        thread.release()

    def _start(self) -> SimulationThread:
        thread = SimulationThread()
        thread.thread = threading.Thread(
            target=self._main, args=(thread,), name="agy_actors-simulation", daemon=True
        )
        self._started.append(thread)
        thread.thread.start()
        return thread

    def _main(self, me: SimulationThread) -> None:
        me.wait()
        while not self._ended:
            self._work()
            if self._ended:  # It was idle inside `_work` when all threads were ended.
                return
            self._run(self.first)
            me.wait()
