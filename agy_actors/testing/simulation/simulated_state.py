"""`SimulatedState`: the conversations, prompts and faults that agents of a configuration share."""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import TYPE_CHECKING, Any

from google.antigravity import types as sdk

from agy_actors.testing.simulation.simulated_turns import SimulatedTurn, reply
from agy_actors.testing.simulation.simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Script = Iterable[SimulatedTurn] | Callable[[Any], SimulatedTurn]

__all__ = ["Conversation", "Script", "SimulatedRequest", "SimulatedState"]


@dataclasses.dataclass(frozen=True, slots=True)
class SimulatedRequest:
    """A prompt that reached the model."""

    prompt: Any
    """The prompt."""
    conversation_id: str
    """The id of its conversation."""
    at: float
    """When it arrived, in seconds: virtual time in a simulation, otherwise `time.monotonic()`."""


@dataclasses.dataclass(eq=False)
class Conversation:
    """What the disk keeps of a conversation. It outlives the process."""

    history: list[sdk.Step] = dataclasses.field(default_factory=list)
    usage: sdk.UsageMetadata = dataclasses.field(default_factory=sdk.UsageMetadata)


class SimulatedState:
    """The state that all incarnations and pool members of one configuration share."""

    def __init__(self, script: Script, *, crashes: int, start: float, stop: float) -> None:
        self._play = script if callable(script) else None
        self._turns = deque[SimulatedTurn]() if callable(script) else deque(script)
        self.crashes = crashes
        self.start = start
        self.stop = stop
        self.failing_starts = 0
        self.conversations: dict[str, Conversation] = {}
        self.requests: list[SimulatedRequest] = []
        self.running = 0
        self.max_running = 0

    def __deepcopy__(self, _: object) -> SimulatedState:
        return self  # Copies of a configuration share their state.

    def next_turn(self, prompt: Any) -> SimulatedTurn:
        """Return the turn that answers a prompt."""
        if self._play is not None:
            return self._play(prompt)
        return self._turns.popleft() if self._turns else reply()

    def may_crash(self) -> bool:
        """Let the schedule choose whether the process dies here. Always `False` on threads."""
        simulation = Simulation.current()
        if self.crashes <= 0 or simulation is None:
            return False
        dies = simulation.choose(False, True)
        self.crashes -= dies
        return dies
