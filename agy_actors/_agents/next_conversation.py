"""`NextConversation`: opens an agent's next conversation while the present one is in use.

For agents that use a new conversation for each turn. Opening one takes some 50 ms, nearly all of
them in the harness (google-antigravity 0.1.22, 2 cores). During a turn, nothing waits for that.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Awaitable, Callable, Coroutine

    from agy_actors._sdk.session import Session

__all__ = ["NextConversation"]


class NextConversation:
    """Opens one session in advance. All methods are for the agent's loop.

    If a session cannot be opened in advance, the agent does not fail: `take` opens another one,
    and only its error is raised.

    Args:
        open_session: opens a session of a new conversation.
        close_session: closes a session, and never raises.
        context: the context in which sessions are opened: tools run in it.
    """

    def __init__(
        self,
        open_session: Callable[[], Coroutine[None, None, Session]],
        close_session: Callable[[Session], Awaitable[None]],
        context: contextvars.Context,
    ) -> None:
        self._open_session = open_session
        self._close_session = close_session
        self._context = context
        self._opening: asyncio.Task[Session] | None = None

    def prepare(self) -> None:
        """Begin to open a session, unless one is open or being opened."""
        if self._opening is None:
            loop = asyncio.get_running_loop()
            self._opening = loop.create_task(self._open_session(), context=self._context)
            self._opening.add_done_callback(_retrieve_error)

    async def take(self) -> Session:
        """Return the session that was opened in advance, or open a new one.

        Raises:
            Exception: what the start of the session failed with.
        """
        opening = self._opening
        if opening is not None:
            await asyncio.wait([opening])  # If this is cancelled, the session stays here.
            self._opening = None
            if not opening.cancelled() and opening.exception() is None:
                return opening.result()
        return await self._open_session()

    def discard(self, session: Session) -> bool:
        """Drop the open session if it is this one, and return whether it was."""
        opening = self._opening
        if opening is None or not _holds(opening, session):
            return False
        self._opening = None
        return True

    async def close(self) -> None:
        """Close what was opened in advance."""
        opening, self._opening = self._opening, None
        if opening is None:
            return
        opening.cancel()
        await asyncio.wait([opening])
        if not opening.cancelled() and opening.exception() is None:
            await self._close_session(opening.result())


def _holds(opening: asyncio.Task[Session], session: Session) -> bool:
    done = opening.done() and not opening.cancelled() and opening.exception() is None
    return done and opening.result() is session


def _retrieve_error(opening: asyncio.Task[Session]) -> None:
    """Keep asyncio from reporting an error that `take` ignores."""
    if not opening.cancelled():
        opening.exception()
