"""`SupervisorStatistics`: a snapshot of a supervisor and all below it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from agy_actors._actors.message import Message

if TYPE_CHECKING:
    from collections import Counter

    from google.antigravity.types import UsageMetadata

    from agy_actors._agents.budget import BudgetStatistics

__all__ = ["GetSupervisorStatistics", "SupervisorStatistics"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorStatistics:
    """A snapshot of a supervisor and all below it: nested supervisors, pools, and their agents."""

    name: str
    """The supervisor's name."""

    agents: Counter[str]
    """How many agents there are in each state: `"starting"`, `"idle"`, `"waiting"`, `"busy"` and
    `"asleep"` as in `AgentStatistics`, `"restarting"` after a crash, until it is ready again, and
    `"ending"`. A state that is not listed counts 0."""

    actors: int
    """How many actors below are neither agents, pools nor supervisors."""

    supervisors: int
    """How many supervisors are below."""

    pools: int
    """How many pools are below."""

    sessions: int = 0
    """How many `create_sessions` are below. Their agents that are awake are among `agents`."""

    turns: Counter[str]
    """How many turns have ended, by outcome: `"answered"`, or the name of the error's type, as in
    `TurnEnded`. An outcome that is not listed counts 0."""

    turns_waiting: int
    """How many turns have not started: those in the mailboxes of agents and pools, and those that
    wait because the machine is overloaded."""

    restarts: int
    """How many times agents were restarted."""

    total_usage: UsageMetadata
    """The tokens that its agents have used since it started, up to the last ended turn of each
    agent. The tokens of agents with a budget are counted while a turn runs."""

    budgets: tuple[BudgetStatistics, ...] = ()
    """The budgets that limit its turns: those of the supervisors above, of itself, and of all
    below. A budget that several share is there once."""


@dataclasses.dataclass(frozen=True, slots=True)
class GetSupervisorStatistics(Message[SupervisorStatistics]):
    """Ask for a snapshot of a supervisor and all below it.

    `turns`, `restarts` and `total_usage` include those of agents that have ended.
    """
