"""The labels that the files of a conversation carry, from which a lost index is rebuilt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.antigravity.types import UsageMetadata
from loguru import logger
from pydantic import ValidationError

from agy_actors._sdk.packed_conversation import read_labels
from agy_actors._sessions.session_info import SessionInfo
from agy_actors._sessions.session_keys import conversation_id_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["find_sessions", "label_of"]


def label_of(info: SessionInfo) -> dict[str, Any]:
    """Return the label of a session, as JSON values."""
    return {
        "key": info.key,
        "created": info.created,
        "last_used": info.last_used,
        "turns": info.turns,
        "usage": info.usage.model_dump(mode="json", exclude_none=True),
    }


def find_sessions(folder: Path) -> Iterator[SessionInfo]:
    """Return the sessions whose files are in a folder.

    A conversation whose label cannot be read is left out, and a WARNING names it.
    """
    for conversation_id, label in read_labels(folder):
        info = label if isinstance(label, Exception) else _read(conversation_id, label)
        if isinstance(info, SessionInfo):
            yield info
        else:
            logger.warning(
                "The session of conversation {} is not listed: {}", conversation_id, info
            )


def _read(conversation_id: str, label: Mapping[str, Any]) -> SessionInfo | Exception:
    try:
        key = label["key"]
        if not isinstance(key, str) or conversation_id_of(key) != conversation_id:
            return ValueError(
                f"its label has the key {key!r}, which belongs to another conversation"
            )
        return SessionInfo(
            key=key,
            conversation_id=conversation_id,
            created=float(label["created"]),
            last_used=float(label["last_used"]),
            turns=int(label["turns"]),
            usage=UsageMetadata.model_validate(label["usage"]),
        )
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        return ValueError(f"its label is invalid: {type(error).__name__}: {error}")
