"""`OpenSessions`: all sessions of one incarnation of an agent, from their start to their end.

An agent has one session at a time, or two if each turn has a conversation of its own: then the
next session is opened while the present one is in use, and a used one is closed in the background
and its conversation removed.

Guarantees:

*   Every session that was started is in `_open` until it is closed, so that `kill` and `reap` reach
    all processes of the incarnation at any moment.
*   Where each turn has a conversation of its own, conversations are not saved, because no later
    session opens them. Their other files are removed, also if the session was not used, or not even
    opened.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agy_actors._agents.next_conversation import NextConversation
from agy_actors._agents.used_conversations import UsedConversations
from agy_actors._sdk.conversation_files import remove_conversation
from agy_actors._sdk.conversation_lock import ConversationLock
from agy_actors._sdk.errors import AgentStartError

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable, Coroutine

    from google.antigravity import AgentConfig

    from agy_actors._agents.record import AgentSpec
    from agy_actors._sdk.session import Session

__all__ = ["OpenSessions"]

_LATE_WRITES = 0.1
"""Seconds after a turn's end in which the harness may still write files. It takes milliseconds
(google-antigravity 0.1.22); arbitrary: enough for a busy machine."""


_NOT_SAVED = ""
"""The folder of databases of a conversation that the harness keeps in memory. A database takes half
of the harness's time for a short turn (google-antigravity 0.1.22). Not `None`, for which the SDK
makes a folder."""

_OPENING = 2.0
"""Seconds for a session that is not wanted any more to open. It is closed after that as any other,
because a harness that is cut off while it opens a conversation may still create its files. Opening
takes some 50 ms (google-antigravity 0.1.22); arbitrary: enough for a busy machine."""


class OpenSessions:
    """Opens and closes sessions. For the agent's loop, except `kill` and `reap`.

    Args:
        spec: what the agent was created with.
        make: makes a session from a configuration.
        new_id: returns the id of a new conversation.
    """

    def __init__(
        self,
        spec: AgentSpec,
        make: Callable[[AgentConfig], Session],
        new_id: Callable[[], str],
    ) -> None:
        self._spec = spec
        self._make = make
        self._new_id = new_id
        self._open: dict[Session, None] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._reaped = False
        self._next: NextConversation | None = None
        self._used: UsedConversations | None = None

    def start(self, context: contextvars.Context) -> None:
        """Open sessions in this context from now on: tools run in it."""
        if self._spec.new_conversation_each_turn:
            self._next = NextConversation(self._start, self.close, context)
            self._used = UsedConversations(self._spec.config.app_data_dir)

    @property
    def pid(self) -> int | None:
        """The process of the youngest session that is open, or is being opened or closed."""
        pids = [session.pid for session in self._open]
        return next((pid for pid in reversed(pids) if pid is not None), None)

    async def open(self) -> Session:
        """Open a session for the agent's conversation, or for a new one if each turn has its own.

        Raises:
            Exception: what its start failed with.
        """
        return await (self._start() if self._next is None else self._next.take())

    def prepare(self) -> None:
        """Begin to open the session of the next turn, if each turn has its own."""
        if self._next is not None:
            self._next.prepare()

    def retire(self, session: Session) -> asyncio.Task[None]:
        """Close a session in the background, and return the task that does it."""
        return self._in_background(lambda: self.close(session))

    def _in_background(
        self, close: Callable[[], Coroutine[None, None, None]]
    ) -> asyncio.Task[None]:
        closing = asyncio.get_running_loop().create_task(close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        return closing

    def lose(self, session: Session) -> None:
        """Note that a session's process is gone. A session for the next turn is dropped."""
        if self._next is not None and self._next.discard(session):
            self.retire(session)

    async def close(self, session: Session, *, at_once: bool = False) -> None:
        """Close a session. See `Session.close`."""
        await session.close(at_once=at_once)
        self._open.pop(session, None)
        if self._used is not None:  # No turn uses its conversation again.
            self._used.add(session.conversation_id)

    async def close_others(self) -> None:
        """Close all but the present session."""
        if self._next is not None:
            await self._next.close()
        if self._closing:
            await asyncio.wait(list(self._closing))
        if self._used is not None:
            await self._used.close()

    async def delete(self, conversation_id: str) -> None:
        """Remove a conversation that this agent has closed.

        Raises:
            ConversationInUse: another agent has opened it meanwhile. Nothing was removed.
            OSError: a file cannot be removed.
        """
        lock = ConversationLock(self._spec.save_dir, conversation_id, f"agent {self._spec.name!r}")
        lock.take("delete")  # Else another agent could open it while it is removed.
        try:
            await self._remove_files(conversation_id)
        finally:
            lock.release()

    async def _remove_files(self, conversation_id: str) -> None:
        # The harness writes the transcript of a turn a little after the turn has ended.
        found = await self._remove_what_is_there(conversation_id)
        while found:
            await asyncio.sleep(_LATE_WRITES)
            found = await self._remove_what_is_there(conversation_id)

    async def _remove_what_is_there(self, conversation_id: str) -> bool:
        """Remove the files that exist now, and return whether there were any."""
        folders = self._spec.save_dir, self._spec.config.app_data_dir
        try:
            return await asyncio.to_thread(remove_conversation, conversation_id, *folders)
        except RuntimeError:  # The interpreter ends: Python 3.12 starts no thread then.
            return remove_conversation(conversation_id, *folders)

    def kill(self) -> None:
        """End the processes of all sessions at once. Callable from any thread."""
        for session in list(self._open):
            session.kill()

    def reap(self) -> None:
        """Kill all processes and wait for their end, for a loop that hangs. Thread-safe.

        No session is opened after this, even if the loop turns again.
        """
        self._reaped = True
        for session in list(self._open):
            session.reap()

    async def _start(self) -> Session:
        if self._reaped:
            raise AgentStartError(f"agent {self._spec.name!r} was abandoned")
        config = self._spec.config
        if self._next is not None:
            return await self._start_new(
                config.model_copy(
                    update={"conversation_id": self._new_id(), "save_dir": _NOT_SAVED}
                )
            )
        session = self._make(config)
        self._open[session] = None
        try:
            await session.open()
        except BaseException:
            del self._open[session]
            raise
        return session

    async def _start_new(self, config: AgentConfig) -> Session:
        """Start a session of a new conversation, whose files are removed if this does not return.

        If it is cancelled, it does not wait for that.
        """
        session = self._make(config)
        self._open[session] = None
        opening = asyncio.get_running_loop().create_task(session.open())
        try:
            await asyncio.shield(opening)
        except BaseException:
            self._in_background(lambda: self._close_unused(session, opening))
            raise
        return session

    async def _close_unused(self, session: Session, opening: asyncio.Task[None]) -> None:
        """Close a session that may still be opening, and remove its conversation."""
        await asyncio.wait([opening], timeout=_OPENING)
        if not opening.done():
            opening.cancel()
            await asyncio.wait([opening])
        if not opening.cancelled():
            opening.exception()  # Retrieved: it was raised, or nobody waits for it.
        await self.close(session)
