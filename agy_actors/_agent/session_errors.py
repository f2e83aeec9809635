"""What can go wrong with a session. Its owner makes of it what an asker is told."""

from __future__ import annotations

import tenacity

__all__ = ["HELD", "ConversationHeld", "SessionBroken", "reason_of", "until_let_go"]

_APPENDIX = "\nHarness stderr:"
"""What the SDK begins the harness's last lines with in its errors. They are of all its
turns, so what they say of a model's service need not be of this one."""


HELD = 10.0
"""Seconds for the harness to let go of a conversation that was broken off. It takes
milliseconds, and tenths on a machine that is busy; where another program reads the database, it
waits for that for 5 seconds (measured)."""


class SessionBroken(Exception):
    """The SDK's conversation cannot be used any more."""


class ConversationHeld(RuntimeError):
    """The harness has the conversation open for somebody else."""

    def __init__(self, message: str, pid: int | None) -> None:
        super().__init__(message)
        self.pid = pid


def until_let_go() -> tenacity.AsyncRetrying:
    """Return what tries something again for as long as `ConversationHeld` is raised."""
    return tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type(ConversationHeld),
        wait=tenacity.wait_exponential(multiplier=0.01, max=0.5),
        stop=tenacity.stop_after_delay(HELD),
        reraise=True,
    )


def reason_of(error: BaseException) -> str:
    """Return what an error of the SDK says of its turn."""
    return str(error).partition(_APPENDIX)[0].strip() or type(error).__name__
