"""Supervised LLM agents on threads: an actor runtime for Google's Antigravity SDK.

from agy_actors import Chat, Supervisor

with Supervisor.start() as supervisor:
    poet = supervisor.create_agent(config, name="poet")
    print(poet.ask(Chat("Write a haiku about rain")).text)
"""

from agy_actors._actors.actor import AsyncioActor
from agy_actors._actors.actor_ref import AsyncioActorRef
from agy_actors._actors.as_completed import as_completed
from agy_actors._actors.blocking_warning import BlockingCallWarning
from agy_actors._actors.errors import (
    ActorDeadError,
    AgyActorsError,
    AskTimeout,
    DeadlockError,
    ForkedProcessError,
    InvalidArgument,
    InvalidConfig,
    MailboxFull,
    NotPicklableError,
    ReplyCancelled,
    UnknownMessage,
)
from agy_actors._actors.future import ReplyFuture
from agy_actors._actors.lifeline import DeathReason
from agy_actors._actors.message import Lane, Message, ReceiveTimeout
from agy_actors._actors.watch import Death, watch
from agy_actors._agents.agent_messages import (
    AvailableTools,
    Cancel,
    Chat,
    ChatReply,
    ClearHistory,
    Delete,
    Disconnect,
    GetCompactionIndices,
    GetConversationId,
    GetHistory,
    GetLastResponse,
    GetLastTurnUsage,
    GetStatistics,
    GetTotalUsage,
    GetTurnCount,
    IsIdle,
    Send,
    SignalIdle,
    WaitForIdle,
    WaitForWakeup,
)
from agy_actors._agents.agent_ref import AgentRef
from agy_actors._agents.agent_statistics import AgentState, AgentStatistics
from agy_actors._agents.approvals import ConfirmationAsked, QuestionAsked, confirmations, questions
from agy_actors._agents.budget import Budget, BudgetStatistics
from agy_actors._agents.chat_stream import ChatStream
from agy_actors._agents.creation_messages import (
    CreateAgent,
    GetActiveAgentCount,
    GetChildren,
    GetOrCreateAgent,
)
from agy_actors._agents.events import (
    AgentFellAsleep,
    BudgetUsedUp,
    ModelRetrying,
    ModelSilent,
    QuotaHold,
    TriggerFailed,
    TurnEnded,
    TurnRetried,
    TurnStarted,
    TurnWaiting,
)
from agy_actors._agents.human_reply import HumanReply
from agy_actors._agents.load_messages import GetLoad, LoadStatistics
from agy_actors._agents.pool_creation import CreatePool, GetPools
from agy_actors._agents.pool_messages import GetMembers
from agy_actors._agents.pool_ref import PoolRef
from agy_actors._agents.rate_limit import GetPace, PaceStatistics
from agy_actors._agents.retry_policy import RetryPolicy
from agy_actors._agents.supervisor_statistics import (
    GetSupervisorStatistics,
    SupervisorStatistics,
)
from agy_actors._log import carry_over_logging
from agy_actors._open_file_limit import raise_open_file_limit
from agy_actors._public_paths import show_public_paths as _show_public_paths
from agy_actors._sdk.available_tools import ToolInfo
from agy_actors._sdk.errors import (
    AgentDeadError,
    AgentStartError,
    BudgetExceeded,
    CompactionFailed,
    ConversationCorrupt,
    ConversationInUse,
    HookError,
    InvalidOutput,
    InvalidPrompt,
    ModelError,
    QuotaExceeded,
    SetupError,
    TurnCancelled,
    TurnDenied,
    TurnError,
    TurnInterrupted,
    TurnStalled,
    TurnTimeout,
    UnusableConfig,
)
from agy_actors._sdk.harness_events import HarnessDied, HarnessStarted, StateNotSaved
from agy_actors._sessions.receipt import Receipt
from agy_actors._sessions.request_state import RequestState
from agy_actors._sessions.session_events import (
    SessionEvent,
    SessionHandedOver,
    SessionSlept,
    SessionWoke,
)
from agy_actors._sessions.session_info import SessionInfo
from agy_actors._sessions.session_ref import SessionRef
from agy_actors._sessions.sessions_creation import CreateSessions, GetSessions
from agy_actors._sessions.sessions_messages import GetSessionsStatistics, SessionsStatistics
from agy_actors._sessions.sessions_ref import Sessions
from agy_actors._sessions.stored_errors import (
    RequestConflict,
    RequestNotFound,
    RequestNotSaved,
    SessionStorageError,
)
from agy_actors._supervision.actor_creation import CreateActor, GetActors
from agy_actors._supervision.actor_pool import CreateActorPool
from agy_actors._supervision.actor_pool_ref import ActorPoolRef
from agy_actors._supervision.errors import ActorStartError
from agy_actors._supervision.event_hub import Event, Subscription
from agy_actors._supervision.events import (
    AgentCrashed,
    AgentEvent,
    AgentGivenUp,
    AgentHung,
    AgentReady,
    AgentRestarting,
    AgentStarted,
    AgentStopped,
    DeadLetter,
    SupervisorEscalated,
)
from agy_actors._supervision.pool_messages import (
    GetPoolMembers,
    GetPoolStatistics,
    PoolStatistics,
    Resize,
)
from agy_actors._supervision.restart_message import RestartAgent
from agy_actors._supervision.restart_policy import Backoff, Restart, Strategy
from agy_actors._supervision.routing import Routing
from agy_actors._supervision.supervisor_messages import (
    GetTopic,
    Shutdown,
    ShutdownAgent,
    Subscribe,
)
from agy_actors._supervision.topic import Topic
from agy_actors._supervision.unsupervised_events import subscribe
from agy_actors._supervisors.supervisor import Supervisor
from agy_actors._supervisors.supervisor_ref import CreateSupervisor, GetSupervisors, SupervisorRef

__version__ = "0.2.0"
"""The version of this package."""

__all__ = [
    "ActorDeadError",
    "ActorPoolRef",
    "ActorStartError",
    "AgentCrashed",
    "AgentDeadError",
    "AgentEvent",
    "AgentFellAsleep",
    "AgentGivenUp",
    "AgentHung",
    "AgentReady",
    "AgentRef",
    "AgentRestarting",
    "AgentStartError",
    "AgentStarted",
    "AgentState",
    "AgentStatistics",
    "AgentStopped",
    "AgyActorsError",
    "AskTimeout",
    "AsyncioActor",
    "AsyncioActorRef",
    "AvailableTools",
    "Backoff",
    "BlockingCallWarning",
    "Budget",
    "BudgetExceeded",
    "BudgetStatistics",
    "BudgetUsedUp",
    "Cancel",
    "Chat",
    "ChatReply",
    "ChatStream",
    "ClearHistory",
    "CompactionFailed",
    "ConfirmationAsked",
    "ConversationCorrupt",
    "ConversationInUse",
    "CreateActor",
    "CreateActorPool",
    "CreateAgent",
    "CreatePool",
    "CreateSessions",
    "CreateSupervisor",
    "DeadLetter",
    "DeadlockError",
    "Death",
    "DeathReason",
    "Delete",
    "Disconnect",
    "Event",
    "ForkedProcessError",
    "GetActiveAgentCount",
    "GetActors",
    "GetChildren",
    "GetCompactionIndices",
    "GetConversationId",
    "GetHistory",
    "GetLastResponse",
    "GetLastTurnUsage",
    "GetLoad",
    "GetMembers",
    "GetOrCreateAgent",
    "GetPace",
    "GetPoolMembers",
    "GetPoolStatistics",
    "GetPools",
    "GetSessions",
    "GetSessionsStatistics",
    "GetStatistics",
    "GetSupervisorStatistics",
    "GetSupervisors",
    "GetTopic",
    "GetTotalUsage",
    "GetTurnCount",
    "HarnessDied",
    "HarnessStarted",
    "HookError",
    "HumanReply",
    "InvalidArgument",
    "InvalidConfig",
    "InvalidOutput",
    "InvalidPrompt",
    "IsIdle",
    "Lane",
    "LoadStatistics",
    "MailboxFull",
    "Message",
    "ModelError",
    "ModelRetrying",
    "ModelSilent",
    "NotPicklableError",
    "PaceStatistics",
    "PoolRef",
    "PoolStatistics",
    "QuestionAsked",
    "QuotaExceeded",
    "QuotaHold",
    "Receipt",
    "ReceiveTimeout",
    "ReplyCancelled",
    "ReplyFuture",
    "RequestConflict",
    "RequestNotFound",
    "RequestNotSaved",
    "RequestState",
    "Resize",
    "Restart",
    "RestartAgent",
    "RetryPolicy",
    "Routing",
    "Send",
    "SessionEvent",
    "SessionHandedOver",
    "SessionInfo",
    "SessionRef",
    "SessionSlept",
    "SessionStorageError",
    "SessionWoke",
    "Sessions",
    "SessionsStatistics",
    "SetupError",
    "Shutdown",
    "ShutdownAgent",
    "SignalIdle",
    "StateNotSaved",
    "Strategy",
    "Subscribe",
    "Subscription",
    "Supervisor",
    "SupervisorEscalated",
    "SupervisorRef",
    "SupervisorStatistics",
    "ToolInfo",
    "Topic",
    "TriggerFailed",
    "TurnCancelled",
    "TurnDenied",
    "TurnEnded",
    "TurnError",
    "TurnInterrupted",
    "TurnRetried",
    "TurnStalled",
    "TurnStarted",
    "TurnTimeout",
    "TurnWaiting",
    "UnknownMessage",
    "UnusableConfig",
    "WaitForIdle",
    "WaitForWakeup",
    "as_completed",
    "carry_over_logging",
    "confirmations",
    "questions",
    "raise_open_file_limit",
    "subscribe",
    "watch",
]

_show_public_paths(__name__)
