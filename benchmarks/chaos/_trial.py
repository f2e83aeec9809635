"""What the trials of the soak share: each does one kind of fault, round after round.

A trial makes what it needs itself, so that it knows what must come of the fault; the rest
of the soak goes on beside it.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import psutil

from benchmarks.chaos._callers import Worker
from benchmarks.chaos._plan import Fault, Prompt

if TYPE_CHECKING:
    import random
    import threading
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from agy_actors import SupervisorRef
    from agy_actors.testing import ScriptedModel

__all__ = ["SOON", "Ground", "Trial", "end_of", "has_ended", "missing", "wait_until"]

SOON = 5.0
"""Seconds within which something that is promised at once must happen. Arbitrary: as long
as a busy machine may keep a process or a thread waiting."""

_POLL = 0.02  # Seconds between two looks.


class Ground(NamedTuple):
    """What every trial gets."""

    model: ScriptedModel
    root: SupervisorRef
    """The supervisor whose agents the saboteur kills and freezes."""

    folder: Path
    """An empty folder for files; a trial removes what it puts there."""


class Trial(Worker):
    """Does one kind of fault again and again, and checks what came of it.

    Args:
        number: makes its prompts distinct from those of other workers.
        pause: seconds between two rounds, on average.
    """

    fault: ClassVar[str]
    """What the report calls it."""

    def __init__(
        self,
        number: int,
        ground: Ground,
        chance: random.Random,
        over: threading.Event,
        pause: float,
    ) -> None:
        super().__init__(self.fault, chance, over)
        self.rounds = 0
        """How many times the fault was done."""
        self.outcomes: Counter[str] = Counter()
        """What came of it."""
        self.skipped: str | None = None
        """Why it cannot be done on this machine."""
        self._number = number
        self._ground = ground
        self._pause = pause

    def _work(self) -> None:
        self.run_round()
        self.rounds += 1
        self._over.wait(self._chance.expovariate(1 / self._pause))

    def run_round(self) -> None:
        """Do the fault once, and check what comes of it."""
        raise NotImplementedError

    def summary(self) -> str:
        """Return one line for the report."""
        if self.skipped is not None:
            return f"{self.fault}: skipped, {self.skipped}"
        told = ", ".join(f"{count} {what}" for what, count in self.outcomes.most_common())
        return f"{self.fault}: {self.rounds} times: {told or 'nothing came of it'}"

    def failures(self) -> list[str]:
        """Return what must not have happened, once the trial is over."""
        if self.rounds == 0 and self.skipped is None:
            return [*self.wrong, f"{self.fault}: never done"]
        return self.wrong

    def _blame(self, what: str) -> None:
        self.wrong.append(f"{self.fault}, round {self.rounds + 1}: {what}")

    def _prompt(self, fault: Fault = Fault.NONE) -> Prompt:
        self._count += 1
        return Prompt(f"q{self._number}x{self._count}", fault)


def end_of(error: BaseException | None) -> str:
    """Name how something ended, for the report."""
    return "answer" if error is None else type(error).__name__


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for something that tells nobody when it happens; return whether it did."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL)
    return True


def has_ended(process: psutil.Process) -> bool:
    """Return whether a process is gone, or waits only for its parent to look."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def missing(wanted: Iterable[str], found: Iterable[str]) -> list[str]:
    """Return what is wanted and was not found, in its order."""
    there = set(found)
    return [name for name in wanted if name not in there]
