"""Actors on asyncio threads: mailbox, future, actor, ref and host.

The kernel knows no agent, no SDK and no model.
"""

from agy_actors._kernel._actor import AsyncioActor
from agy_actors._kernel._arguments import (
    check_flag,
    check_integer,
    check_optional_seconds,
    check_seconds,
    find_surrogate,
    normalize,
    shown,
)
from agy_actors._kernel._as_completed import as_completed
from agy_actors._kernel._callers import Caller, Frame, current_caller
from agy_actors._kernel._death import Death, DeathReason, watch
from agy_actors._kernel._errors import (
    AgyActorsError,
    AskTimeout,
    DeadlockError,
    ForkedProcessError,
    InvalidArgument,
    MailboxFull,
    NotPicklableError,
    UnknownMessage,
)
from agy_actors._kernel._future import ReplyFuture, fail, resolve
from agy_actors._kernel._host import (
    Gate,
    Host,
    ThreadHost,
    current_host,
    host_context,
    use_host,
)
from agy_actors._kernel._mailbox import Envelope, Mailbox
from agy_actors._kernel._message import DEFERRED, Lane, Message, find_handler, takes_turn
from agy_actors._kernel._ref import AsyncioActorRef
from agy_actors._kernel._waiting import Arrivals, Change
from agy_actors._kernel.process_bound import ProcessBound

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
    "InvalidArgument",
    "Lane",
    "Mailbox",
    "MailboxFull",
    "Message",
    "NotPicklableError",
    "ProcessBound",
    "ReplyFuture",
    "ThreadHost",
    "UnknownMessage",
    "as_completed",
    "check_flag",
    "check_integer",
    "check_optional_seconds",
    "check_seconds",
    "current_caller",
    "current_host",
    "fail",
    "find_handler",
    "find_surrogate",
    "host_context",
    "normalize",
    "resolve",
    "shown",
    "takes_turn",
    "use_host",
    "watch",
]
