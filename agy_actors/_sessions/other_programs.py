"""`OtherPrograms`: hands conversations over between the programs that share a folder.

A program that needs a conversation that another one has open makes an empty file
`<folder>/wanted/<conversation id>`. Each program looks into that folder ten times a second; the one
that has the conversation open closes it after the running turn, and removes the file. A program
that still needs the conversation makes the file again each time it looks, so requests of programs
that have died do not last.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from agy_actors._sdk.private_folders import make_private_folder
from agy_actors._sessions import sessions_steps as steps
from agy_actors._sessions.session_files import is_in_use
from agy_actors._sessions.session_keys import conversation_id_of
from agy_actors._supervision import pool_steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from agy_actors._sessions.sessions_state import KeyState

__all__ = ["OtherPrograms"]


class OtherPrograms:
    """The other programs that share a folder of sessions.

    Args:
        folder: the folder.

    Raises:
        OSError: the folder for requests cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._requests = folder / "wanted"
        make_private_folder(self._requests)

    def have(self, key: str) -> bool:
        """Return whether one of them has the conversation of a session open."""
        return is_in_use(self._folder, conversation_id_of(key))

    def ask_for(self, key: str) -> None:
        """Ask for the conversation of a session, if none has asked for it already.

        Raises:
            OSError: the file cannot be made.
        """
        path = self._requests / conversation_id_of(key)
        try:
            _touch(path)
        except FileNotFoundError:  # Someone has removed the folder.
            make_private_folder(self._requests)
            _touch(path)

    def clear(self, key: str) -> None:
        """Remove the request for a conversation, if there is one."""
        with contextlib.suppress(OSError):  # The folder may be gone, or be read-only by now.
            (self._requests / conversation_id_of(key)).unlink(missing_ok=True)

    def look(self, awake: Mapping[str, str], elsewhere: Iterable[str]) -> Iterator[steps.Event]:
        """Look at the requests of other programs, and for conversations that they have closed.

        Args:
            awake: the keys of the sessions that are awake here, by the ids of their conversations.
            elsewhere: the keys of the sessions that this program waits for.
        """
        yield self._read_requests(awake)
        for key in list(elsewhere):
            if self.have(key):
                self.ask_for(key)
            else:
                yield steps.Released(key)

    def look_before(
        self, event: steps.Event, states: Mapping[str, KeyState], awake: Mapping[str, str]
    ) -> Iterator[steps.Event]:
        """Look again at the requests, if a conversation would be handed over after an event.

        Otherwise a request that was withdrawn since the last look would close it.

        Args:
            event: the event that is to be decided next.
            states: the states of the sessions by their keys.
            awake: as of `look`.
        """
        match event:
            case pool_steps.Finished(_, key) | pool_steps.Freed(key):
                if key in states and states[key].wanted:
                    yield self._read_requests(awake)
            case _:
                pass

    def _read_requests(self, awake: Mapping[str, str]) -> steps.Wanted:
        return steps.Wanted(frozenset(awake[name] for name in self._read() if name in awake))

    def _read(self) -> list[str]:
        with contextlib.suppress(OSError), os.scandir(self._requests) as entries:
            return [entry.name for entry in entries]
        return []


def _touch(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
