"""Run a job periodically: a timer of an actor that a supervisor restarts when the job fails."""

import threading
from collections.abc import Callable
from typing import Any

from agy_actors import AsyncioActor, Supervisor


class Job(AsyncioActor):
    """Calls a function once per period."""

    def __init__(self, work: Callable[[], None], *, every: float) -> None:
        super().__init__()
        self._work = work
        self._every = every

    def on_start(self) -> None:
        """Start the timer. It ends with the incarnation, so each incarnation starts its own."""
        print("the job starts")
        self.start_timer("run", "run", after=0, every=self._every)

    def on_receive(self, message: Any) -> None:
        """Do the work. Nobody waits for a reply, so an error is a crash."""
        if message == "run":
            self._work()


days = iter(["Monday", "Tuesday", "Wednesday"])
finished = threading.Event()


def report() -> None:
    """Print the report of a day. One of them fails."""
    day = next(days, None)
    if day is None:
        finished.set()
        return
    print("report of", day)
    if day == "Tuesday":
        raise OSError("the printer is out of paper")


with Supervisor.start() as supervisor:
    supervisor.create_actor(Job, report, every=0.1, name="job")  # In seconds.
    finished.wait()
