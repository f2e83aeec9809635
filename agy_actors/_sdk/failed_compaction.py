"""Removes the steps of a failed compaction from a conversation.

When a conversation becomes too long, the harness requests a summary from the model. If that request
fails for good, the harness keeps a step of type CHECKPOINT with status ERROR in the conversation's
database, and ends each later turn with the same error, without a request to the model, also in the
next run. If that step and all later steps are removed, the next turn requests a summary again (all
measured with google-antigravity 0.1.22, in both protocols).

A compaction that was cancelled or killed has another status and does no harm. A compaction that
succeeded after a retry has the status of any other step.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["remove_failed_compaction"]

_PROMPT, _ERROR_MESSAGE, _CHECKPOINT = 14, 17, 23
"""Types of steps (`steps.step_type`)."""

_FAILED = 7
"""The status of a step that ended with an error (`steps.status`)."""

_FIND = """
SELECT MIN(idx) FROM steps AS failed
WHERE step_type = :checkpoint AND status = :failed AND NOT EXISTS (
    SELECT 1 FROM steps AS later
    WHERE later.idx > failed.idx AND later.step_type NOT IN (:prompt, :message)
    AND NOT (later.step_type = :checkpoint AND later.status = :failed)
)
"""
"""It matches only if no step but prompts and error messages follows: then it ended all later
turns."""

_PATIENCE = 1.0
"""Seconds to wait for another process that reads the database. Arbitrary."""


def remove_failed_compaction(database: Path) -> int | None:
    """Remove a failed compaction from the end of a conversation, if there is one. Blocks.

    No other process may have the database open. A database with an unknown structure is not
    changed.

    Returns:
        The index of the first removed step, or `None` if no step was removed.
    """
    if not database.exists():
        return None
    import sqlite3  # noqa: PLC0415 (only resumed conversations need it)

    with contextlib.suppress(sqlite3.Error):
        connection = sqlite3.connect(
            f"{database.resolve().as_uri()}?mode=rw", uri=True, timeout=_PATIENCE
        )
        with contextlib.closing(connection), connection:
            numbers = {
                "checkpoint": _CHECKPOINT,
                "failed": _FAILED,
                "prompt": _PROMPT,
                "message": _ERROR_MESSAGE,
            }
            ((index,),) = connection.execute(_FIND, numbers)
            if isinstance(index, int):
                connection.execute("DELETE FROM steps WHERE idx >= ?", (index,))
                return index
    return None
