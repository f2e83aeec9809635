"""Actors on asyncio threads: mailbox, future, actor, ref and host.

The kernel knows no agent, no SDK and no model.
"""

from agy_actors._kernel._actor import AsyncioActor
from agy_actors._kernel._callers import Caller, Frame, current_caller
from agy_actors._kernel._death import Death, DeathReason, watch
from agy_actors._kernel._errors import (
    AgyActorsError,
    AskTimeout,
    DeadlockError,
    ForkedProcessError,
    MailboxFull,
)
from agy_actors._kernel._future import ReplyFuture, as_completed, fail, resolve
from agy_actors._kernel._host import (
    Gate,
    Host,
    ThreadHost,
    current_host,
    host_context,
    use_host,
)
from agy_actors._kernel._mailbox import Envelope, Mailbox
from agy_actors._kernel._message import DEFERRED, Lane, Message, takes_turn
from agy_actors._kernel._ref import AsyncioActorRef
from agy_actors._kernel._waiting import Arrivals, Change

__all__ = [
    "DEFERRED",
    "AgyActorsError",
    "Arrivals",
    "AskTimeout",
    "AsyncioActor",
    "AsyncioActorRef",
    "Caller",
    "Change",
    "DeadlockError",
    "Death",
    "DeathReason",
    "Envelope",
    "ForkedProcessError",
    "Frame",
    "Gate",
    "Host",
    "Lane",
    "Mailbox",
    "MailboxFull",
    "Message",
    "ReplyFuture",
    "ThreadHost",
    "as_completed",
    "current_caller",
    "current_host",
    "fail",
    "host_context",
    "resolve",
    "takes_turn",
    "use_host",
    "watch",
]
