"""Supervision: decisions, the supervisor, and its messages."""

from agy_actors._supervision._decisions import Backoff, Restart, Strategy
from agy_actors._supervision._messages import (
    CreateAgent,
    GetActiveAgentCount,
    GetChildren,
    Shutdown,
    ShutdownAgent,
)
from agy_actors._supervision._ref import SupervisorRef
from agy_actors._supervision._supervisor import Supervisor

__all__ = [
    "Backoff",
    "CreateAgent",
    "GetActiveAgentCount",
    "GetChildren",
    "Restart",
    "Shutdown",
    "ShutdownAgent",
    "Strategy",
    "Supervisor",
    "SupervisorRef",
]
