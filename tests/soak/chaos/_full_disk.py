"""An agent whose disk is full: an event must report it before turns are lost."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from agy_actors import AgyActorsError, Chat, Supervisor
from agy_actors.testing import say
from tests.soak.chaos._model import answered_before
from tests.soak.chaos._trial import SOON, Ground, Trial, end_of, missing, wait_until

if TYPE_CHECKING:
    import random

    from agy_actors import Event

__all__ = ["FullDisk"]

_NOT_SAVED = "StateNotSaved"
_RECALL = "recall"
_SIZES = ("1m", "2m")
_MAX_TURNS = 40
"""The number of turns after which a disk of these sizes is full. With SDK 0.1.22 an agent has 980
kB after its first turn, and the database of its conversation grows by whole pages."""

_TIMEOUT = 20.0  # Seconds for one turn. Arbitrary.


class _Told:
    """Counts the events by name. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kinds: Counter[str] = Counter()
        self._paths: set[str] = set()

    def note(self, event: Event) -> None:
        """Count an event. For the subscription."""
        with self._lock:
            self._kinds[type(event).__name__] += 1
            if type(event).__name__ == _NOT_SAVED:
                self._paths.add(getattr(event, "path", ""))

    def not_saved(self) -> bool:
        """Return whether an event reported that a turn was not saved."""
        with self._lock:
            return self._kinds[_NOT_SAVED] > 0

    def paths(self) -> set[str]:
        """Return the paths that were reported as not saved."""
        with self._lock:
            return set(self._paths)


class FullDisk(Trial):
    """Fills the disk of an agent."""

    fault: ClassVar[str] = "full disk"

    def __init__(
        self,
        number: int,
        ground: Ground,
        chance: random.Random,
        over: threading.Event,
        pause: float,
    ) -> None:
        super().__init__(number, ground, chance, over, pause)
        ground.model.when(f"^{_RECALL}$", say(lambda request: " ".join(answered_before(request))))

    def _work(self) -> None:
        if self.skipped is None:
            super()._work()
        else:
            self._over.wait()

    def run_round(self) -> None:
        """Mount a small disk, fill it with turns, and check which turns are left."""
        disk = Path(tempfile.mkdtemp(dir=self._ground.folder))
        try:
            self.skipped = _mount(disk, self._chance.choice(_SIZES))
            if self.skipped is not None:
                return
            try:
                self._fill(disk)
            finally:
                _unmount(disk)
        finally:
            disk.rmdir()

    def _fill(self, disk: Path) -> None:
        told = _Told()
        answered: list[str] = []
        with Supervisor.start(name="full", state_dir=disk) as supervisor:
            supervisor.subscribe(told.note, capacity=10_000)
            agent = supervisor.create_agent(self._ground.model.openai_config(), "ada")
            for _ in range(_MAX_TURNS):
                prompt = self._prompt()
                try:
                    agent.ask(Chat(prompt.text, timeout=_TIMEOUT), timeout=3 * _TIMEOUT)
                except AgyActorsError as error:
                    self.outcomes[f"the asker got {end_of(error)}"] += 1
                    break
                answered.append(prompt.nonce)
                if told.not_saved():
                    break
        lost = missing(answered, self._recall(disk, told))
        self.outcomes["turns"] += len(answered)
        self.outcomes["turns lost"] += len(lost)
        if lost and not wait_until(told.not_saved, SOON):
            self._blame(f"{len(lost)} of {len(answered)} turns were lost, and no event reported it")
        for path in told.paths():
            if not path.startswith(str(disk)):
                self._blame(f"the event names {path!r}, which is not on the full disk {disk}")

    def _recall(self, disk: Path, told: _Told) -> list[str]:
        """Ask for the turns of the conversation in a new run."""
        with Supervisor.start(name="full again", state_dir=disk) as supervisor:
            supervisor.subscribe(told.note, capacity=10_000)
            try:
                agent = supervisor.create_agent(self._ground.model.openai_config(), "ada")
                return agent.ask(Chat(_RECALL, timeout=_TIMEOUT), timeout=3 * _TIMEOUT).text.split()
            except AgyActorsError as error:
                self.outcomes[f"a new run got {end_of(error)}"] += 1
                return []


def _mount(disk: Path, size: str) -> str | None:
    """Mount a disk in memory; return the reason if that is impossible."""
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)],
            check=False,
            capture_output=True,
            text=True,
        )
    except OSError as error:
        return f"mount cannot be run: {error.strerror}"
    return None if done.returncode == 0 else f"mounting is not permitted: {done.stderr.strip()}"


def _unmount(disk: Path) -> None:
    # Lazily: a process that is ending may still have a file on it open.
    subprocess.run(["umount", "--lazy", str(disk)], check=True)
