"""`RestartAgent`: asks a supervisor or a pool to restart one of its children."""

from __future__ import annotations

import dataclasses

from agy_actors._actors.actor_ref import AsyncioActorRef  # noqa: TC001 (for `typing.get_type_hints`)
from agy_actors._actors.arguments import normalize
from agy_actors._actors.message import Message

__all__ = ["RestartAgent"]


@dataclasses.dataclass(frozen=True, slots=True)
class RestartAgent(Message[None]):
    """Restart a child of any kind. The reply comes when its restart has begun.

    Its ref, its mailbox and its conversation stay. A turn that runs is treated as one that a crash
    interrupted: the retry policy decides whether it runs again. The restart is not a failure: it
    does not count towards `max_restarts`, has no backoff, and no sibling restarts with it. A child
    that waits for its restart after a crash starts at once. One that is starting, restarting or
    ending is left alone. Events tell what follows, such as `AgentReady`.

    Raises:
        InvalidConfig: there is no such child. The error names the children.
    """

    agent: str | AsyncioActorRef
    """Its name or its ref. The child may be an agent, a pool, a supervisor or any other actor."""

    def __post_init__(self) -> None:
        if isinstance(self.agent, str):
            object.__setattr__(self, "agent", normalize(self.agent))
