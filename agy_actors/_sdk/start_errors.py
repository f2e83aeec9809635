"""Explains why an agent did not start, and whether a retry may succeed. Pure functions."""

from __future__ import annotations

import errno
import re
import traceback
from typing import TYPE_CHECKING

from agy_actors._actors.errors import AgyActorsError
from agy_actors._sdk.errors import AgentStartError
from agy_actors._sdk.hook_calls import HookFailed
from agy_actors._sdk.process.spawn import ProcessEnded
from agy_actors._sdk.session_errors import ConversationHeld

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors._sdk.process.lease import LostProcess

__all__ = [
    "ProcessLost",
    "StartFailed",
    "can_start_later",
    "describe_start",
    "explain_start",
    "without_secrets",
]

_REFUSAL = re.compile(r"Failed to create agent: (?:failed to create LocalAgent: )?(.*)")
"""The harness's line when it does not open a conversation (google-antigravity 0.1.22)."""

_NOT_OPENED = "Failed to initialize conversation"
"""The SDK's error text when the harness did not open a conversation, for any reason."""

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
_NO_THREAD = "can't start new thread"  # CPython's text; it has no specific error type.


class StartFailed(AgyActorsError):
    """Raised when a session did not open. The message is complete."""

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self._retryable = retryable

    @property
    def retryable(self) -> bool:  # type: ignore[override] # known for each error alone
        """Whether the same start may succeed later."""
        return self._retryable


class ProcessLost(StartFailed):
    """Raised when the process ended while a conversation was opened on it."""

    def __init__(self, message: str, *, was_killed: bool) -> None:
        super().__init__(message, retryable=True)
        self.was_killed = was_killed


def explain_start(
    error: Exception, refusal: str | None, lost: LostProcess | None = None
) -> StartFailed | None:
    """Return a better error for an SDK error at the opening of a conversation, if there is one.

    Args:
        error: the SDK's error.
        refusal: the line with which the harness refused the conversation, or `None`.
        lost: the process, if it ended during the opening.
    """
    if lost is not None and not isinstance(error, HookFailed):
        return ProcessLost(
            f"localharness ended before its conversation was open: {describe_start(error)}",
            was_killed=lost.was_killed,
        )
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
    """Return an error without secrets in its text or its chain of causes.

    Args:
        error: the error.
        redact: removes the secrets from a text.
    """
    words = "".join(traceback.format_exception(error))
    if redact(words) == words:
        return error
    return StartFailed(redact(describe_start(error)), retryable=can_start_later(error))


def describe_start(error: BaseException) -> str:
    """Return the text for the error of an agent's start."""
    if isinstance(error, StartFailed | HookFailed | ProcessEnded):
        return str(error)
    kind, words = type(error).__name__, str(error).strip()
    return f"{kind}: {words}" if words else kind


def can_start_later(error: BaseException | None) -> bool:
    """Return whether a failed start may succeed when it is retried unchanged.

    It may if a process died or did not respond in time, or if the system lacked a resource. It
    may not if the configuration is at fault.
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
