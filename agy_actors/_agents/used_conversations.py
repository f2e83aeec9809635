"""`UsedConversations`: removes the files of conversations that no turn uses again.

Several conversations at a time: a thread for each, as soon as its turn has ended, would take a
fifth of the time of a short turn (measured with `agy-actors map --rehearse`, 16 agents, 2 cores).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agy_actors._sdk.conversation_files import remove_transcripts

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["UsedConversations"]

_REMOVE_EVERY = 1.0
"""Seconds between two removals. Arbitrary: an agent with short turns leaves some ten conversations
in that time, each with 20 kB of files."""

_LATE_WRITES = 0.1
"""Seconds after a turn's end in which the harness may still write files. It takes milliseconds
(google-antigravity 0.1.22); arbitrary: enough for a busy machine."""


class UsedConversations:
    """Removes the files of conversations in the background. All methods are for the agent's loop.

    The conversations were not saved: they have no database.

    Args:
        app_data_dir: the folder of the harness; `None` keeps the files.
    """

    def __init__(self, app_data_dir: str | Path | None) -> None:
        self._app_data_dir = app_data_dir
        self._left: dict[str, None] = {}
        """The conversations that may have files, oldest first."""
        self._closing = asyncio.Event()
        self._removing: asyncio.Task[None] | None = None

    def add(self, conversation_id: str) -> None:
        """Remove the files of a conversation, which is closed, within seconds."""
        if self._app_data_dir is None:
            return
        self._left[conversation_id] = None
        if self._removing is None or self._removing.done():
            self._removing = asyncio.get_running_loop().create_task(self._remove())

    async def close(self) -> None:
        """Remove all files that are left, at once."""
        self._closing.set()
        if self._removing is not None:
            await asyncio.wait([self._removing])

    async def _remove(self) -> None:
        while self._left:
            try:
                async with asyncio.timeout(_REMOVE_EVERY):
                    await self._closing.wait()
            except TimeoutError:
                pass
            for conversation_id in await self._remove_what_is_there(list(self._left)):
                del self._left[conversation_id]
            if self._left and self._closing.is_set():
                await asyncio.sleep(_LATE_WRITES)

    async def _remove_what_is_there(self, conversation_ids: list[str]) -> list[str]:
        """Remove the files that exist now, and return the conversations that had none.

        The others are looked at again: the harness writes the transcript of a turn a little after
        the turn has ended.
        """
        assert self._app_data_dir is not None
        try:
            found = await asyncio.to_thread(
                remove_transcripts, self._app_data_dir, conversation_ids
            )
        except RuntimeError:  # The interpreter ends: Python 3.12 starts no thread then.
            found = remove_transcripts(self._app_data_dir, conversation_ids)
        return [one for one in conversation_ids if one not in found]
