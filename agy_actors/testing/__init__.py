"""The testing kit. The tests of agy_actors use it, and so can yours."""

from agy_actors._public_paths import show_public_paths as _show_public_paths
from agy_actors.testing.errors import MisuseError
from agy_actors.testing.linearizable import History, Operation, assert_linearizable
from agy_actors.testing.scripted_model.model import ScriptedModel
from agy_actors.testing.scripted_model.reply import (
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
from agy_actors.testing.scripted_model.request import ModelRequest, ToolResult
from agy_actors.testing.simulation.client import Client
from agy_actors.testing.simulation.errors import (
    SimulationDeadlock,
    SimulationError,
    SimulationLeak,
    SimulationLivelock,
)
from agy_actors.testing.simulation.exploration import (
    Exhaustive,
    Exploration,
    PctSchedules,
    RandomSchedules,
    explore,
)
from agy_actors.testing.simulation.schedules import (
    Deviations,
    Fifo,
    PriorityChanges,
    RandomChoices,
    ReplayChoices,
)
from agy_actors.testing.simulation.simulated_agent import SimulatedAgent, SimulatedRequest
from agy_actors.testing.simulation.simulated_turns import (
    Ending,
    SimulatedTurn,
    crash,
    error,
    hang,
    quota,
    reply,
)
from agy_actors.testing.simulation.simulation import Simulation
from agy_actors.testing.strategies import DrawnChoices, faults, messages, prompts, schedules, turns

__all__ = [
    "Client",
    "Deviations",
    "DrawnChoices",
    "Ending",
    "Exhaustive",
    "Exploration",
    "Fifo",
    "History",
    "MisuseError",
    "ModelRequest",
    "Operation",
    "PctSchedules",
    "PriorityChanges",
    "RandomChoices",
    "RandomSchedules",
    "ReplayChoices",
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

_show_public_paths(__name__)
