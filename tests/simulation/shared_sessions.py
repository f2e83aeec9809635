"""Simulated programs that share sessions, and a record of who has which conversation open."""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import tenacity
from google.antigravity.types import StepSource
from pydantic import PrivateAttr

from agy_actors import Backoff, Supervisor
from agy_actors._sessions.session_keys import conversation_id_of
from agy_actors.testing import SimulatedAgent
from agy_actors.testing.simulation.simulated_agent import SimulatedSession

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from agy_actors import SupervisorRef
    from agy_actors._sdk.session import Session
    from agy_actors.testing import SimulatedTurn

__all__ = ["WatchedAgent", "folder", "program", "prompts_of"]

PLAIN = Backoff(wait=tenacity.wait_fixed(1.0), reset_after=30.0)


class Openings:
    """Which conversations are open, and in which program."""

    def __init__(self) -> None:
        self.open: dict[str, int] = {}
        self.most: Counter[int] = Counter()
        """The largest number of open conversations of each program."""
        self.faults: list[str] = []

    def __deepcopy__(self, _: object) -> Openings:
        return self

    def note_open(self, conversation: str, program: int) -> None:
        if conversation in self.open:
            self.faults.append(f"{conversation} is open in {self.open[conversation]} and {program}")
        self.open[conversation] = program
        number = list(self.open.values()).count(program)
        self.most[program] = max(self.most[program], number)


class WatchedSession(SimulatedSession):
    """A simulated session that notes from when until when it is open."""

    _noted = False

    async def open(self) -> None:
        await super().open()
        self._noted = True
        self._watched.openings.note_open(self.conversation_id, self._watched.program)

    async def close(self, *, at_once: bool = False) -> None:
        try:
            await super().close(at_once=at_once)
        finally:
            if self._noted:
                self._noted = False
                self._watched.openings.open.pop(self.conversation_id, None)

    @property
    def _watched(self) -> WatchedAgent:
        assert isinstance(self._config, WatchedAgent)
        return self._config


class WatchedAgent(SimulatedAgent):
    """A simulated agent, of which each program has a copy: see `in_program`."""

    session_type: ClassVar[type[Session]] = WatchedSession

    program: int = 0

    _openings: Openings = PrivateAttr(default_factory=Openings)

    def __init__(
        self, script: Callable[[Any], SimulatedTurn] | Iterable[SimulatedTurn] = (), **options: Any
    ) -> None:
        super().__init__(script, **options)

    @property
    def openings(self) -> Openings:
        return self._openings

    def in_program(self, number: int) -> WatchedAgent:
        copy = self.model_copy(update={"program": number})
        assert isinstance(copy, WatchedAgent)
        return copy


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Make a folder for the state of programs. It is removed at the end."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def program(state_dir: Path, **options: Any) -> SupervisorRef:
    """Start the supervisor of a program."""
    return Supervisor.start(
        name="root", state_dir=state_dir, **{"backoff": PLAIN, "max_restarts": 50, **options}
    )


def prompts_of(config: SimulatedAgent, key: str) -> list[str]:
    """Return the prompts in the conversation of a session, in order."""
    conversation = config._state.conversations.get(conversation_id_of(key))
    steps = [] if conversation is None else conversation.history
    return [step.content for step in steps if step.source == StepSource.USER]
