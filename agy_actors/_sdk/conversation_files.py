"""Removes the files of a conversation."""

from __future__ import annotations

import shutil
from pathlib import Path

__all__ = ["remove_conversation"]

_DATABASE = (".db", ".db-wal", ".db-shm")
"""SQLite's files of one database."""


def remove_conversation(conversation_id: str, save_dir: Path, app_data_dir: str | None) -> bool:
    """Remove a conversation that no process has open, and return whether it had any files.

    Args:
        conversation_id: its id.
        save_dir: the folder of the databases.
        app_data_dir: the folder of the transcripts; `None` keeps them.

    Raises:
        OSError: a file of the database cannot be removed.
    """
    found = False
    for suffix in _DATABASE:
        path = save_dir / f"{conversation_id}{suffix}"
        found = found or path.exists()
        path.unlink(missing_ok=True)
    if app_data_dir is not None:
        transcripts = Path(app_data_dir, "brain", conversation_id)
        found = found or transcripts.exists()
        shutil.rmtree(transcripts, ignore_errors=True)
    return found
