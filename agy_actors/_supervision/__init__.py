"""Supervision: decisions, the supervisor, and its messages."""

from agy_actors._supervision._decisions import Backoff, Restart, Strategy
from agy_actors._supervision._messages import (
    CreateAgent,
    CreateSupervisor,
    GetActiveAgentCount,
    GetChildren,
    GetPools,
    GetSupervisors,
    Shutdown,
    ShutdownAgent,
    Subscribe,
)
from agy_actors._supervision._pool_messages import (
    CreatePool,
    GetMembers,
    GetPoolStatistics,
    PoolStatistics,
    Resize,
)
from agy_actors._supervision._pool_ref import PoolRef
from agy_actors._supervision._ref import SupervisorRef
from agy_actors._supervision._routing import Routing
from agy_actors._supervision._supervisor import Supervisor

__all__ = [
    "Backoff",
    "CreateAgent",
    "CreatePool",
    "CreateSupervisor",
    "GetActiveAgentCount",
    "GetChildren",
    "GetMembers",
    "GetPoolStatistics",
    "GetPools",
    "GetSupervisors",
    "PoolRef",
    "PoolStatistics",
    "Resize",
    "Restart",
    "Routing",
    "Shutdown",
    "ShutdownAgent",
    "Strategy",
    "Subscribe",
    "Supervisor",
    "SupervisorRef",
]
