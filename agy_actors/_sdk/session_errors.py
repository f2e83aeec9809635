"""The errors of a session. The agent turns them into the errors that callers get."""

from __future__ import annotations

import tenacity

from agy_actors._actors.errors import AgyActorsError

__all__ = ["HELD", "ConversationHeld", "SessionBroken", "reason_of", "until_let_go"]

_APPENDIX = "\nHarness stderr:"
"""What precedes the harness's last lines in the SDK's errors. These lines are from all turns on the
process, so they may be about another turn."""


HELD = 10.0
"""Seconds for the harness to close a conversation that was cut off. It takes milliseconds, and
tenths of a second on a busy machine. If another program reads the database, the harness waits for
it for 5 seconds (measured with google-antigravity 0.1.22)."""


class SessionBroken(AgyActorsError):
    """Raised when the SDK's conversation cannot be used any more."""


class ConversationHeld(AgyActorsError, RuntimeError):
    """Raised when the harness has the conversation open for another session."""

    def __init__(self, message: str, pid: int | None) -> None:
        super().__init__(message)
        self.pid = pid


def until_let_go() -> tenacity.AsyncRetrying:
    """Return a retryer that retries on `ConversationHeld`, for `HELD` seconds."""
    return tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type(ConversationHeld),
        wait=tenacity.wait_exponential(multiplier=0.01, max=0.5),
        stop=tenacity.stop_after_delay(HELD),
        reraise=True,
    )


def reason_of(error: BaseException) -> str:
    """Return the text of an error of the SDK, without the harness's last lines."""
    return str(error).partition(_APPENDIX)[0].strip() or type(error).__name__
