"""What observes the turns of agents, such as telemetry. This module has no observer of its own.

An observer is set at a supervisor's hub, for all agents below (`EventHub.observer`). An agent looks
for it when it takes up a turn. Turns that began before keep their observer.

Observers must not raise, must not wait, and must be callable from any thread: the end of a turn
comes from the supervisor's thread if the agent's thread hangs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agy_actors._actors.envelope import Envelope
    from agy_actors._agents.agent_incarnation import AgentIncarnation
    from agy_actors._agents.agent_messages import ChatReply
    from agy_actors._agents.observed_turn import ObservedTurn
    from agy_actors._agents.record import AgentSpec, PendingTurn
    from agy_actors._sdk.session import Session

__all__ = ["TurnObserver", "begin_to_observe", "note_for", "observe_attempt"]


class TurnObserver(Protocol):
    """Observes turns."""

    def begin(self, spec: AgentSpec, envelope: Envelope) -> ObservedTurn:
        """Return what observes a turn that an agent takes up for the first time.

        Args:
            spec: the agent's.
            envelope: the message of the turn, with its sender's context and time.
        """
        ...


def begin_to_observe(agent: AgentIncarnation, pending: PendingTurn) -> None:
    """Observe a turn that an incarnation takes up, for the first time or again."""
    if pending.observed is not None:
        pending.observed.note("restart", restarts=agent.record.restarts)
        return
    observer: TurnObserver | None = agent.spec.hub.observer
    if observer is not None:
        pending.observed = observer.begin(agent.spec, pending.envelope)


def note_for(pending: PendingTurn | None, event: str, **facts: str | float | bool) -> None:
    """Note an event of a turn, if it is observed. See `ObservedTurn.note`."""
    if pending is not None and pending.observed is not None:
        pending.observed.note(event, **facts)


async def observe_attempt(
    pending: PendingTurn,
    session: Session | None,
    attempt: Awaitable[ChatReply],
    redact: Callable[[str], str],
) -> ChatReply:
    """Run an attempt of a turn that is observed, and report its beginning and its end.

    Args:
        pending: the turn.
        session: the session that the attempt runs on.
        attempt: the attempt.
        redact: removes the agent's secrets from a text.
    """
    observed = pending.observed
    assert observed is not None
    number = pending.attempt
    observed.begin_attempt(number, "" if session is None else session.conversation_id)
    try:
        reply = await attempt
    except BaseException as error:
        observed.end_attempt(number, redact(f"{type(error).__name__}: {error}"), None)
        raise
    observed.end_attempt(number, None, reply)
    return reply
