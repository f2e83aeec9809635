"""The sessions of one incarnation of an agent, from their start to their end.

An agent has one session at a time, or two where each turn has a conversation of its own:
then the next one is opened while the present one is in use, and one that was used is closed
in the background and its conversation removed.

Guarantee: every session that was started is in `_open` until it is closed, so that `kill`
and `reap` reach all processes of the incarnation, whatever it does at that moment.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agy_actors._agent._errors import AgentStartError
from agy_actors._agent.conversation_files import remove_conversation
from agy_actors._agent.next_conversation import NextConversation
from agy_actors._agent.ownership import ConversationLock

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable

    from google.antigravity import AgentConfig

    from agy_actors._agent._life import AgentSpec
    from agy_actors._agent._session import Session

__all__ = ["Sessions"]

_LATE_WRITES = 0.1
"""Seconds after which the harness has written what it had to write of a turn that ended. It
takes milliseconds (google-antigravity 0.1.22); arbitrary: enough for a busy machine."""


class Sessions:
    """Opens and closes sessions. For the agent's loop, except `kill` and `reap`.

    Args:
        spec: the agent's.
        make: makes a session of a configuration.
        new_id: returns the id of a new conversation.
        context: the context in which sessions are opened: tools run in it.
    """

    def __init__(
        self,
        spec: AgentSpec,
        make: Callable[[AgentConfig], Session],
        new_id: Callable[[], str],
        context: contextvars.Context,
    ) -> None:
        self._spec = spec
        self._make = make
        self._new_id = new_id
        self._open: dict[Session, None] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._reaped = False
        self._next: NextConversation | None = None
        if spec.new_conversation_each_turn:
            self._next = NextConversation(self._start, self.close, context)

    @property
    def pid(self) -> int | None:
        """The process of a session that is open, or being opened or closed, if there is one."""
        pids = [session.pid for session in self._open]
        return next((pid for pid in reversed(pids) if pid is not None), None)

    async def open(self) -> Session:
        """Open a session: of the agent's conversation, or of a new one for the next turn.

        Raises:
            Exception: what its start failed with.
        """
        return await (self._start() if self._next is None else self._next.take())

    def prepare(self) -> None:
        """Begin to open the session of the next turn, where each has its own."""
        if self._next is not None:
            self._next.prepare()

    def retire(self, session: Session) -> asyncio.Task[None]:
        """Close a session in the background, and return the task that does it."""
        closing = asyncio.get_running_loop().create_task(self.close(session))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        return closing

    def lose(self, session: Session) -> None:
        """Note that a session's process is gone. If it was for the next turn, drop it."""
        if self._next is not None and self._next.discard(session):
            self.retire(session)

    async def close(self, session: Session, *, at_once: bool = False) -> None:
        """Close a session. See `Session.close`."""
        await session.close(at_once=at_once)
        self._open.pop(session, None)
        if self._next is not None:  # Nobody can come back to its conversation.
            await self._remove_files(session.conversation_id)

    async def close_others(self) -> None:
        """Close all but the present session."""
        if self._next is not None:
            await self._next.close()
        if self._closing:
            await asyncio.wait(list(self._closing))

    async def delete(self, conversation_id: str) -> None:
        """Remove a conversation that the agent has closed.

        Raises:
            ConversationInUse: another agent has opened it meanwhile. Nothing was removed.
            OSError: a file cannot be removed.
        """
        lock = ConversationLock(self._spec.save_dir, conversation_id, f"agent {self._spec.name!r}")
        lock.take("delete")  # Else somebody could open it while it is removed.
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
        """Remove the files that there are, and return whether there were any."""
        folders = self._spec.save_dir, self._spec.config.app_data_dir
        try:
            return await asyncio.to_thread(remove_conversation, conversation_id, *folders)
        except RuntimeError:  # The interpreter ends: Python 3.12 begins no thread then.
            return remove_conversation(conversation_id, *folders)

    def kill(self) -> None:
        """End the processes of all sessions at once. Callable from any thread."""
        for session in list(self._open):
            session.kill()

    def reap(self) -> None:
        """End them for good and wait for that, for a loop that hangs. Callable from any thread.

        The loop may turn again at any time: no session is opened after this.
        """
        self._reaped = True
        for session in list(self._open):
            session.reap()

    async def _start(self) -> Session:
        if self._reaped:
            raise AgentStartError(f"agent {self._spec.name!r} was abandoned")
        config = self._spec.config
        if self._next is not None:
            config = config.model_copy(update={"conversation_id": self._new_id()})
        session = self._make(config)
        self._open[session] = None
        try:
            await session.open()
        except BaseException:
            del self._open[session]
            raise
        return session
