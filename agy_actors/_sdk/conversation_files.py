"""The files of a conversation: their names, and how to remove them."""

from __future__ import annotations

import shutil
from pathlib import Path

__all__ = [
    "ARCHIVE_SUFFIX",
    "DATABASE_SUFFIX",
    "LABEL_SUFFIX",
    "archive_path",
    "brain_folder",
    "remove_conversation",
    "remove_temporary_files",
    "temporary_path",
]

ARCHIVE_SUFFIX = ".tar.xz"
"""Of the file that holds a conversation while it is compressed (see `packed_conversation`)."""

DATABASE_SUFFIX = ".db"

LABEL_SUFFIX = ".label.json"
"""Of the file that describes a conversation while it is not compressed."""

_WITH_TEMPORARY_FILES = (
    ARCHIVE_SUFFIX,
    DATABASE_SUFFIX,
    f"{DATABASE_SUFFIX}-wal",
    LABEL_SUFFIX,
)
"""The files that are first written under another name."""

_REMOVED = (
    # First, because it would replace a database that is missing.
    ARCHIVE_SUFFIX,
    DATABASE_SUFFIX,
    f"{DATABASE_SUFFIX}-wal",
    f"{DATABASE_SUFFIX}-shm",
    # Last, so that the conversation has a label until it has no other file.
    LABEL_SUFFIX,
)


def archive_path(save_dir: Path, conversation_id: str) -> Path:
    """Return the path of the file that holds a conversation while it is compressed."""
    return save_dir / f"{conversation_id}{ARCHIVE_SUFFIX}"


def brain_folder(app_data_dir: str | Path, conversation_id: str) -> Path:
    """Return the folder in which a conversation has its transcripts and other files."""
    return Path(app_data_dir, "brain", conversation_id)


def temporary_path(path: Path) -> Path:
    """Return where a file or folder is written before it gets its name.

    The name is fixed, so that what a killed process leaves behind is found.
    """
    return path.with_name(f"{path.name}.tmp")


def remove_conversation(
    conversation_id: str, save_dir: Path, app_data_dir: str | Path | None
) -> bool:
    """Remove a conversation that no process has open, and return whether it had any files.

    Args:
        conversation_id: its id.
        save_dir: the folder of the databases.
        app_data_dir: the folder of the transcripts; `None` keeps them.

    Raises:
        OSError: a file of the database, or the compressed file, cannot be removed.
    """
    found = remove_temporary_files(conversation_id, save_dir, app_data_dir)
    if app_data_dir is not None:
        transcripts = brain_folder(app_data_dir, conversation_id)
        found = found or transcripts.exists()
        shutil.rmtree(transcripts, ignore_errors=True)
    for suffix in _REMOVED:
        path = save_dir / f"{conversation_id}{suffix}"
        found = found or path.exists()
        path.unlink(missing_ok=True)
    return found


def remove_temporary_files(
    conversation_id: str, save_dir: Path, app_data_dir: str | Path | None
) -> bool:
    """Remove what an interrupted change left behind, and return whether there was anything.

    The arguments and errors are those of `remove_conversation`.
    """
    found = False
    for suffix in _WITH_TEMPORARY_FILES:
        path = temporary_path(save_dir / f"{conversation_id}{suffix}")
        if path.exists():
            found = True
            path.unlink(missing_ok=True)
    if app_data_dir is not None:
        folder = temporary_path(brain_folder(app_data_dir, conversation_id))
        if folder.exists():
            found = True
            shutil.rmtree(folder, ignore_errors=True)
    return found
