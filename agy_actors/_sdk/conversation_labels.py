"""The labels of the conversations in a folder, from which an index of them can be built."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from agy_actors._sdk.conversation_archive import ArchiveDamaged, parse_label, read_label
from agy_actors._sdk.conversation_files import (
    ARCHIVE_SUFFIX,
    DATABASE_SUFFIX,
    LABEL_SUFFIX,
    archive_path,
)
from agy_actors._sdk.errors import ConversationCorrupt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["corrupt", "read_labels"]

_MAX_MOVES = 3
"""How often `read_labels` looks for a label that another process moves. Arbitrary."""

_ID = re.compile(r"[A-Za-z0-9-]{32,}")
"""The form of the SDK's conversation ids."""


def read_labels(save_dir: Path) -> Iterator[tuple[str, Mapping[str, Any] | Exception]]:
    """Read the label of each conversation in a folder, in the order of their ids. Blocks.

    Other processes may pack, unpack, create and remove conversations meanwhile. It takes no locks.

    Yields:
        The id and the label of a conversation, packed or not; an `OSError` or a
        `ConversationCorrupt` instead of a label that cannot be read. A conversation that was never
        saved may have only a label.

    Raises:
        OSError: the folder exists, and cannot be read.
    """
    try:
        names = [path.name for path in save_dir.iterdir()]
    except FileNotFoundError:
        return
    ids = {
        name.removesuffix(suffix)
        for name in names
        for suffix in (ARCHIVE_SUFFIX, DATABASE_SUFFIX, LABEL_SUFFIX)
        if name.endswith(suffix) and _ID.fullmatch(name.removesuffix(suffix))
    }
    for conversation_id in sorted(ids):
        label = _find_label(save_dir, conversation_id)
        if label is not None:
            yield conversation_id, label


def _find_label(save_dir: Path, conversation_id: str) -> Mapping[str, Any] | Exception | None:
    """Return a label or the error of reading it; `None` if the conversation was removed."""
    archive = archive_path(save_dir, conversation_id)
    database = save_dir / f"{conversation_id}{DATABASE_SUFFIX}"
    file = save_dir / f"{conversation_id}{LABEL_SUFFIX}"
    missing: Exception | None = None
    for _ in range(_MAX_MOVES):
        packed = archive.exists() and not database.exists()
        try:
            return read_label(archive) if packed else parse_label(file.read_bytes())
        except FileNotFoundError as error:  # Another process has just packed or unpacked it.
            missing = error
        except ArchiveDamaged as error:
            path = archive if packed else file
            return corrupt(f"conversation {conversation_id}", path, error)
        except OSError as error:
            return error
    return missing if archive.exists() or database.exists() else None


def corrupt(who: str, path: Path, error: ArchiveDamaged) -> ConversationCorrupt:
    """Return the error of a conversation with a damaged file.

    Args:
        who: its owner, as in "session 'ada'".
        path: the file.
        error: what is wrong with it.
    """
    return ConversationCorrupt(
        f"{who} cannot be opened: the file {path} is damaged ({error}); restore this file from a"
        " backup, or delete the session with sessions.delete(key)",
        path=str(path),
    )
