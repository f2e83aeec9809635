"""What a simulation raises."""

from __future__ import annotations

from agy_actors._kernel import AgyActorsError

__all__ = [
    "SimulationAborted",
    "SimulationDeadlock",
    "SimulationError",
    "SimulationLeak",
    "SimulationLivelock",
]


class SimulationError(AgyActorsError):
    """The root of what a simulation finds by itself."""


class SimulationDeadlock(SimulationError):
    """Raised when nothing can run any more and somebody waits. It says who for whom."""


class SimulationLivelock(SimulationError):
    """Raised when a simulation comes to no end within its steps, or within its time."""


class SimulationLeak(SimulationError):
    """Raised when a scenario has ended and left an ask that nobody ever answered."""


class SimulationAborted(BaseException):
    """Raised where somebody waits while the simulation is over: it ends what waits there.

    A `BaseException`, for no `except Exception` of a scenario is to hold it up.
    """
