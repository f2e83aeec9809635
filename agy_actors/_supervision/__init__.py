"""Supervision: decisions, the supervisor, and its messages."""

from agy_actors._supervision._decisions import Backoff, Restart, Strategy
from agy_actors._supervision._messages import (
    CreateAgent,
    CreateSupervisor,
    GetActiveAgentCount,
    GetChildren,
    GetSupervisors,
    Shutdown,
    ShutdownAgent,
    Subscribe,
)
from agy_actors._supervision._ref import SupervisorRef
from agy_actors._supervision._supervisor import Supervisor

__all__ = [
    "Backoff",
    "CreateAgent",
    "CreateSupervisor",
    "GetActiveAgentCount",
    "GetChildren",
    "GetSupervisors",
    "Restart",
    "Shutdown",
    "ShutdownAgent",
    "Strategy",
    "Subscribe",
    "Supervisor",
    "SupervisorRef",
]
