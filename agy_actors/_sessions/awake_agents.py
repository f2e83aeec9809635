"""`AwakeAgents`: starts and ends the agents of sessions, and reports what becomes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agy_actors._sdk.errors import ConversationInUse
from agy_actors._sessions import sessions_steps as steps
from agy_actors._sessions.session_events import SessionHandedOver, SessionSlept, SessionWoke
from agy_actors._sessions.session_files import explain_storage
from agy_actors._sessions.session_keys import conversation_id_of
from agy_actors._supervision import restart_steps

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors._actors.actor_ref import AsyncioActorRef
    from agy_actors._sessions.session_agents import SessionAgents
    from agy_actors._sessions.session_events import SessionEvent
    from agy_actors._sessions.sessions_storage import SessionsStorage
    from agy_actors._supervision.child import Child
    from agy_actors._supervision.owner_actor import OwnerActor

__all__ = ["AwakeAgents"]


class AwakeAgents:
    """The agents of the sessions that are awake. For the thread of the sessions.

    Args:
        owner: the actor whose children the agents are, by their keys.
        kind: makes the agents.
        files: returns the files of the sessions.
        decide: takes an event about an agent.
        publish: publishes an event of a session, if there is a subscriber.
    """

    def __init__(
        self,
        owner: OwnerActor,
        kind: SessionAgents,
        *,
        files: Callable[[], SessionsStorage],
        decide: Callable[[steps.Event], None],
        publish: Callable[[type[SessionEvent], str], None],
    ) -> None:
        self._owner = owner
        self._kind = kind
        self._files = files
        self._decide = decide
        self._publish = publish
        self._leaving: set[str] = set()
        """The keys of the sessions that another program asked for, and that close."""
        self.keys_by_id: dict[str, str] = {}
        """The keys of the sessions that have an agent, by the ids of their conversations."""
        self.woken = 0
        self.slept = 0
        self.handed_over = 0

    def ref(self, key: str) -> AsyncioActorRef | None:
        """Return the ref of a session's agent; `None` if it has none. Callable from any thread."""
        child = self._owner.lifecycle.children.get(key)
        return None if child is None else child.ref

    def start(self, key: str) -> None:
        """Start the agent of a session."""
        try:
            # An agent takes the lock itself. This saves its start if that would fail.
            if self._files().others.have(key):
                self._decide(steps.InUse(key))
                return
            child = self._kind.make(self._owner, key, self._files().wake(key))
        except Exception as error:  # noqa: BLE001 (after any error, it did not start)
            self._decide(steps.AgentEnded(key, self._start_error(key, error)))
            return
        self.keys_by_id[conversation_id_of(key)] = key
        self._files().others.clear(key)  # It may be the request of this program.
        self._owner.lifecycle.add(child)

    def _start_error(self, key: str, error: Exception) -> Exception:
        kind = self._kind.start_error
        if isinstance(error, kind):
            return error
        cause = explain_storage(error)
        failed = kind(f"session {key!r} did not start: {type(error).__name__}: {cause}")
        failed.__cause__ = error
        return failed

    def end(self, key: str, *, handed_over: bool) -> None:
        """End the agent of a session."""
        child = self._owner.lifecycle.children.get(key)
        if child is None:
            return
        if handed_over:
            self._leaving.add(key)
            self._files().others.clear(key)
        self._owner.lifecycle.end(child)

    def note_event(self, event: restart_steps.Event) -> None:
        """Pass on an event of an agent."""
        match event:
            case restart_steps.BecameReady(key):
                self._became_ready(key)
            case (
                restart_steps.Failed(key)
                | restart_steps.Renewed(key)
                | restart_steps.RestartAsked(key)
                | restart_steps.Leaving(key)
            ):
                self._decide(steps.AgentDown(key))
            case restart_steps.Halt():
                for key in list(self._owner.lifecycle.children):
                    self._decide(steps.AgentDown(key))

    def _became_ready(self, key: str) -> None:
        child = self._owner.lifecycle.children.get(key)
        if child is None or not self._owner.lifecycle.is_up(key) or child.ref.actor_inbox.closed:
            return
        if self._files().open(key, child.actor.record):
            self.woken += 1
            self._publish(SessionWoke, key)
        self._decide(steps.AgentReady(key))

    def note_gone(self, child: Child, error: Exception | None) -> None:
        """Note that an agent has ended completely, and that its conversation is closed."""
        key = child.name
        self.keys_by_id.pop(conversation_id_of(key), None)
        facts = self._files().find_awake(key)
        was_up = facts is not None and facts.record is not None
        self._files().sleep(key)
        handed_over = key in self._leaving
        self._leaving.discard(key)
        if was_up:
            self.slept += 1
            self.handed_over += handed_over
            self._publish(SessionHandedOver if handed_over else SessionSlept, key)
        elif isinstance(child.error, ConversationInUse):
            self._decide(steps.InUse(key))
            return
        elif error is not None:
            error = self._start_error(key, error)
        self._decide(steps.AgentEnded(key, error))
