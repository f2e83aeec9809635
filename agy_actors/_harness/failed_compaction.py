"""Removes from a conversation what a failed compaction left behind.

When a conversation has become too long, the harness asks the model for a summary. If that request
fails for good, the harness keeps a step of type CHECKPOINT with status ERROR in the conversation's
database, and ends each later turn with the same error, without a request to the model, also in the
next run. The raw SDK does so too. Without that step, and without those after it, the next turn
asks for a summary again (all measured with google-antigravity 0.1.22, on both protocols).

A compaction that was cancelled or killed leaves another status and does no harm, and one that the
harness has retried with success has the status of any other step.
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
"""Only where nothing but prompts and error messages came after it: so it ended all turns since."""

_PATIENCE = 1.0
"""Seconds to wait for somebody else who reads the database. Arbitrary."""


def remove_failed_compaction(database: Path) -> int | None:
    """Let a conversation go on from before a failed compaction, if it has ended with one.

    Nobody else may have the database open. What is not as expected stays as it is. Blocks.

    Returns:
        The index of the first step that was removed, or `None` if none was.
    """
    if not database.exists():
        return None
    import sqlite3  # noqa: PLC0415 (only who resumes a conversation pays for it)

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
