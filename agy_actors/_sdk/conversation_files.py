"""The files of a conversation: their names, and how to remove them."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ARCHIVE_SUFFIX",
    "DATABASE_SUFFIX",
    "LABEL_SUFFIX",
    "archive_path",
    "brain_folder",
    "remove_conversation",
    "remove_temporary_files",
    "remove_transcripts",
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


_LOGS = "/.system_generated/logs"

_USUAL_FILES = (
    f"{_LOGS}/transcript.jsonl",
    f"{_LOGS}/transcript_full.jsonl",
    f"{_LOGS}/chunks/transcript/00000000.jsonl",
    f"{_LOGS}/chunks/transcript_full/00000000.jsonl",
)
"""The files that a conversation without artifacts has in its folder (google-antigravity 0.1.22)."""

_USUAL_FOLDERS = (
    f"{_LOGS}/chunks/transcript",
    f"{_LOGS}/chunks/transcript_full",
    f"{_LOGS}/chunks",
    _LOGS,
    "/.system_generated",
    "",
)
"""The folders of these files, the innermost first, and the folder itself."""


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
        found = bool(remove_transcripts(app_data_dir, [conversation_id])) or found
    for suffix in _REMOVED:
        path = save_dir / f"{conversation_id}{suffix}"
        found = found or path.exists()
        path.unlink(missing_ok=True)
    return found


def remove_transcripts(app_data_dir: str | Path, conversation_ids: Iterable[str]) -> set[str]:
    """Remove the transcripts of conversations, and return those that had any.

    A file that cannot be removed is left.

    Args:
        app_data_dir: their folder.
        conversation_ids: the ids of the conversations.
    """
    return {
        conversation_id
        for conversation_id in conversation_ids
        if _remove_folder(os.fspath(brain_folder(app_data_dir, conversation_id)))
    }


def _remove_folder(folder: str) -> bool:
    """Remove the folder of a conversation, and return whether there was one.

    `shutil.rmtree` reads each folder, with six times as many system calls.
    """
    try:
        for path in _USUAL_FILES:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(folder + path)  # noqa: PTH108 (the time of a `Path` matters)
        for path in _USUAL_FOLDERS:
            os.rmdir(folder + path)  # noqa: PTH106
    except FileNotFoundError:
        if not os.path.lexists(folder):
            return False
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:  # There are others.
        shutil.rmtree(folder, ignore_errors=True)
    return True


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
