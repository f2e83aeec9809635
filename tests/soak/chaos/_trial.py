"""The base of the soak's trials, each of which causes one kind of fault, round after round.

A trial makes its own agents, so that it knows the expected results of the fault. The rest of the
soak runs in parallel.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import psutil

from tests.soak.chaos._callers import Worker
from tests.soak.chaos._plan import Fault, Prompt

if TYPE_CHECKING:
    import random
    import threading
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from agy_actors import SupervisorRef
    from agy_actors.testing import ScriptedModel

__all__ = ["SOON", "Ground", "Trial", "end_of", "has_ended", "missing", "wait_until"]

SOON = 5.0
"""Seconds within which an immediate effect must happen. Arbitrary: as long as a busy machine may
delay a process or a thread."""

_POLL = 0.02  # Seconds between two checks.


class Ground(NamedTuple):
    """The resources of every trial."""

    model: ScriptedModel
    root: SupervisorRef
    """The supervisor whose agents the saboteur kills and freezes."""

    folder: Path
    """An empty folder for files; a trial removes what it puts there."""


class Trial(Worker):
    """Repeats one kind of fault, and checks the results.

    Args:
        number: makes its prompts distinct from those of other workers.
        pause: seconds between two rounds, on average.
    """

    fault: ClassVar[str]
    """Its name in the report."""

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
        """How many times the fault was caused."""
        self.outcomes: Counter[str] = Counter()
        """The results."""
        self.skipped: str | None = None
        """Why the fault cannot be caused on this machine."""
        self._number = number
        self._ground = ground
        self._pause = pause

    def _work(self) -> None:
        self.run_round()
        self.rounds += 1
        self._over.wait(self._chance.expovariate(1 / self._pause))

    def run_round(self) -> None:
        """Cause the fault once, and check the results."""
        raise NotImplementedError

    def summary(self) -> str:
        """Return one line for the report."""
        if self.skipped is not None:
            return f"{self.fault}: skipped, {self.skipped}"
        told = ", ".join(f"{count} {what}" for what, count in self.outcomes.most_common())
        return f"{self.fault}: {self.rounds} times: {told or 'no results'}"

    def failures(self) -> list[str]:
        """Return the violations, after the trial."""
        if self.rounds == 0 and self.skipped is None:
            return [*self.wrong, f"{self.fault}: never caused"]
        return self.wrong

    def _blame(self, what: str) -> None:
        self.wrong.append(f"{self.fault}, round {self.rounds + 1}: {what}")

    def _prompt(self, fault: Fault = Fault.NONE) -> Prompt:
        self._count += 1
        return Prompt(f"q{self._number}x{self._count}", fault)


def end_of(error: BaseException | None) -> str:
    """Return the name of an outcome, for the report."""
    return "answer" if error is None else type(error).__name__


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll until a condition is true; return whether it became true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL)
    return True


def has_ended(process: psutil.Process) -> bool:
    """Return whether a process has ended, even if its parent has not reaped it."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def missing(wanted: Iterable[str], found: Iterable[str]) -> list[str]:
    """Return the expected items that were not found, in their order."""
    there = set(found)
    return [name for name in wanted if name not in there]
