"""The testing kit: what agy_actors itself is tested with, for its users too."""

from agy_actors.testing._exploration import (
    Exhaustive,
    Exploration,
    PctSchedules,
    RandomSchedules,
    explore,
)
from agy_actors.testing._linearizable import History, Operation, assert_linearizable
from agy_actors.testing._model import ScriptedModel
from agy_actors.testing._model_reply import (
    Reply,
    ToolCall,
    Usage,
    call_tool,
    call_tools,
    drop,
    http_error,
    malformed,
    quota_error,
    say,
    silence,
)
from agy_actors.testing._model_request import ModelRequest, ToolResult
from agy_actors.testing._schedules import (
    Deviations,
    Fifo,
    Given,
    PriorityChanges,
    RandomChoices,
)
from agy_actors.testing._simulated_agent import SimulatedAgent, SimulatedRequest
from agy_actors.testing._simulated_turns import (
    Ending,
    SimulatedTurn,
    crash,
    error,
    hang,
    quota,
    reply,
)
from agy_actors.testing._simulation import Client, Simulation
from agy_actors.testing._simulation_errors import (
    SimulationDeadlock,
    SimulationError,
    SimulationLeak,
    SimulationLivelock,
)
from agy_actors.testing._strategies import (
    DrawnChoices,
    faults,
    messages,
    prompts,
    schedules,
    turns,
)

__all__ = [
    "Client",
    "Deviations",
    "DrawnChoices",
    "Ending",
    "Exhaustive",
    "Exploration",
    "Fifo",
    "Given",
    "History",
    "ModelRequest",
    "Operation",
    "PctSchedules",
    "PriorityChanges",
    "RandomChoices",
    "RandomSchedules",
    "Reply",
    "ScriptedModel",
    "SimulatedAgent",
    "SimulatedRequest",
    "SimulatedTurn",
    "Simulation",
    "SimulationDeadlock",
    "SimulationError",
    "SimulationLeak",
    "SimulationLivelock",
    "ToolCall",
    "ToolResult",
    "Usage",
    "assert_linearizable",
    "call_tool",
    "call_tools",
    "crash",
    "drop",
    "error",
    "explore",
    "faults",
    "hang",
    "http_error",
    "malformed",
    "messages",
    "prompts",
    "quota",
    "quota_error",
    "reply",
    "say",
    "schedules",
    "silence",
    "turns",
]
