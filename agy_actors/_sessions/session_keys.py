"""The keys of sessions, the ids of their conversations, and their folder."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from agy_actors._actors.arguments import find_surrogate, shown
from agy_actors._actors.errors import InvalidArgument

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["check_key", "check_request_id", "conversation_id_of", "folder_of", "is_key"]

_LONGEST = 1000
"""Characters of a key or of an id."""

_NAMESPACE = uuid.UUID("0e4f2f0a-7f43-5a53-8f0e-2a1d7b7c9c35")
"""For conversation ids derived from keys. Drawn once; it must never change."""


def is_key(key: object) -> bool:
    """Return whether a session can have a key."""
    return isinstance(key, str) and 1 <= len(key) <= _LONGEST and find_surrogate(key) is None


def check_key(key: object) -> str:
    """Return the key of a session.

    Raises:
        InvalidArgument: it is not text of 1 to 1,000 characters that can be encoded.
    """
    return _check("the key of a session", key)


def check_request_id(request_id: object) -> str:
    """Return the id of a request.

    Raises:
        InvalidArgument: it is not text of 1 to 1,000 characters that can be encoded.
    """
    return _check("the id of a request", request_id)


def _check(what: str, text: object) -> str:
    if not isinstance(text, str) or not 1 <= len(text) <= _LONGEST:
        raise InvalidArgument(
            f"{what} must be text of 1 to {_LONGEST} characters, got {shown(text)}"
        )
    if find_surrogate(text) is not None:
        raise InvalidArgument(
            f"{what} must be text that can be encoded in UTF-8, got {shown(text)}"
        )
    return str(text)


def conversation_id_of(key: str) -> str:
    """Return the id of a session's conversation, which is the same in each run."""
    return uuid.uuid5(_NAMESPACE, key).hex


def folder_of(save_dir: Path, path: str) -> Path:
    """Return the folder of sessions.

    Args:
        save_dir: the folder for conversations of the supervisor at the top.
        path: the names of the supervisors above and of the sessions, with slashes between them.
            Names contain no tilde.
    """
    return save_dir / "sessions" / path.replace("/", "~")
