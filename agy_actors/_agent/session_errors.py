"""What can go wrong with a session. Its owner makes of it what an asker is told."""

from __future__ import annotations

__all__ = ["ConversationHeld", "SessionBroken", "reason_of"]

_APPENDIX = "\nHarness stderr:"
"""What the SDK begins the harness's last lines with in its errors. They are of all its
turns, so what they say of a model's service need not be of this one."""


class SessionBroken(Exception):
    """The SDK's conversation cannot be used any more."""


class ConversationHeld(RuntimeError):
    """The harness has the conversation open for somebody else."""

    def __init__(self, message: str, pid: int | None) -> None:
        super().__init__(message)
        self.pid = pid


def reason_of(error: BaseException) -> str:
    """Return what an error of the SDK says of its turn."""
    return str(error).partition(_APPENDIX)[0].strip() or type(error).__name__
