"""Why an agent did not start: in words, and whether another start may succeed. Pure functions."""

from __future__ import annotations

import errno
import re
import traceback
from typing import TYPE_CHECKING

from agy_actors._agent._errors import AgentStartError
from agy_actors._agent.session_errors import ConversationHeld
from agy_actors._harness import HookFailed, ProcessEnded

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["StartFailed", "can_start_later", "describe_start", "explain_start", "without_secrets"]

_REFUSAL = re.compile(r"Failed to create agent: (?:failed to create LocalAgent: )?(.*)")
"""What the harness says when it does not open a conversation (google-antigravity 0.1.22)."""

_NOT_OPENED = "Failed to initialize conversation"
"""What the SDK says when the harness did not open one, in whatever way."""

_TEMPORARY = re.compile(
    r"database is locked|no space left|too many open files|resource temporarily unavailable"
    r"|cannot allocate memory|deadline exceeded|i/o timeout",
    re.IGNORECASE,
)
_TEMPORARY_ERRNO = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.EINTR,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENOSPC,
        errno.ETXTBSY,
    }
)
_NO_THREAD = "can't start new thread"  # As CPython says it, with no error of its own.


class StartFailed(Exception):
    """A session did not open, in words that tell all of it."""

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable


def explain_start(error: Exception, refusal: str | None) -> StartFailed | None:
    """Return a better error for what the SDK raised when it opened a conversation, if there is one.

    Args:
        error: what the SDK raised.
        refusal: the line with which the harness refused the conversation, if it said one.
    """
    if _NOT_OPENED not in str(error):
        return None
    found = _REFUSAL.search(refusal or "")
    if found is None:
        return StartFailed(
            "localharness ended, or closed the connection, before its conversation was open",
            retryable=True,
        )
    words = found[1].strip()
    return StartFailed(
        f"localharness did not open its conversation: {words}",
        retryable=bool(_TEMPORARY.search(words)),
    )


def without_secrets(error: Exception, redact: Callable[[str], str]) -> Exception:
    """Return an error that has no secret in it, nor in what it was raised from.

    Args:
        error: the error.
        redact: takes the secrets out of a text.
    """
    words = "".join(traceback.format_exception(error))
    if redact(words) == words:
        return error
    return StartFailed(redact(describe_start(error)), retryable=can_start_later(error))


def describe_start(error: BaseException) -> str:
    """Return what an agent's start failed with."""
    if isinstance(error, StartFailed | HookFailed | ProcessEnded):
        return str(error)
    kind, words = type(error).__name__, str(error).strip()
    return f"{kind}: {words}" if words else kind


def can_start_later(error: BaseException | None) -> bool:
    """Return whether a start that failed may succeed when it is tried again, unchanged.

    So it is if a process died or did not answer in time, or if the system was short of
    something. A configuration that is at fault stays so.
    """
    while error is not None:
        if isinstance(error, StartFailed | AgentStartError):
            return error.retryable
        if isinstance(error, HookFailed):
            return False
        if isinstance(error, ProcessEnded | ConversationHeld | TimeoutError | ConnectionError):
            return True
        if isinstance(error, OSError):
            return error.errno in _TEMPORARY_ERRNO
        if isinstance(error, RuntimeError) and _NO_THREAD in str(error):
            return True
        error = error.__cause__
    return False
