"""The errors of a simulation."""

from __future__ import annotations

from agy_actors._actors.errors import AgyActorsError

__all__ = [
    "SimulationAborted",
    "SimulationDeadlock",
    "SimulationError",
    "SimulationLeak",
    "SimulationLivelock",
]


class SimulationError(AgyActorsError):
    """The base class of the errors that a simulation itself detects."""


class SimulationDeadlock(SimulationError):
    """Raised when nothing can run and some code waits. The message lists what waits for what."""


class SimulationLivelock(SimulationError):
    """Raised when a simulation does not end within `max_steps` or `max_time`."""


class SimulationLeak(SimulationError):
    """Raised when a scenario has ended and an ask has no reply."""


class SimulationAborted(BaseException):
    """Raised in code that still waits when the simulation is over.

    It is a `BaseException`, so that `except Exception` in a scenario does not catch it.
    """
