"""Reads the SDK's errors, and the harness's words in them: pure functions of text.

The harness reports a model's error in three ways, none of them structured: as the text
of an exception, as the text of an ERROR step, and as a line on its standard error,
which alone comes at once when it means to try again by itself (DESIGN, F1 to F3). The
phrases below are those of google-antigravity 0.1.22.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from agy_actors._agent._errors import ModelError, QuotaExceeded, TurnError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.antigravity.types import ToolCall

__all__ = [
    "QUOTA_STATUS",
    "ModelFailure",
    "diagnose",
    "failed_checkpoint",
    "is_denial",
    "model_error",
    "redact",
    "shorten",
]

_STATUS = re.compile(
    r"HTTP request failed with status (\d{3})"  # OpenAI-compatible services
    r"|Error (\d{3}), Message:"  # Gemini
)
_RETRY_AFTER = re.compile(
    r"retryDelay[\"']?\s*:\s*[\"']?(\d+(?:\.\d+)?)s"  # google.rpc.RetryInfo
    r"|(?:retry|try again) (?:in|after) (?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)\s*s)?"
    r"|retry[-_ ]after[\"']?\s*[:=]\s*[\"']?(\d+(?:\.\d+)?)",
    re.IGNORECASE,
)
_NETWORK = re.compile(
    r"network issue connecting|connection reset|connection refused|unexpected EOF|broken pipe"
    r"|dial tcp|model unreachable|no such host|i/o timeout",
    re.IGNORECASE,
)
_DENIAL = re.compile(
    r"denied by pre-tool hook|No policy rule matched tool|blocked due to pre-tool hook"
)
_CHECKPOINT = re.compile(r"context summarization: checkpoint step (\d+) failed")
QUOTA_STATUS = 429
"""Too Many Requests (RFC 6585)."""

_LENGTH = 500  # Characters of a service's message in ours: enough to act on, and no page of HTML.


class ModelFailure(NamedTuple):
    """What a text says of the model's service."""

    status: int | None
    retry_after: float | None
    message: str


def diagnose(text: str) -> ModelFailure | None:
    """Return what a text of the SDK or the harness says of the model's service, if anything."""
    found = _STATUS.search(text)
    if found is None and not _NETWORK.search(text):
        return None
    status = int(found[1] or found[2]) if found else None
    return ModelFailure(
        status, _retry_after(text), shorten(text[found.start() :] if found else text)
    )


def failed_checkpoint(text: str) -> int | None:
    """Return the index of the step in which a compaction failed, if a text says that one did."""
    found = _CHECKPOINT.search(text)
    return None if found is None else int(found[1])


def is_denial(text: str) -> bool:
    """Return whether a text says that a policy or a hook denied a tool's call."""
    return bool(_DENIAL.search(text))


def model_error(
    failure: ModelFailure, who: str, *, text: str = "", tool_calls: tuple[ToolCall, ...] = ()
) -> TurnError:
    """Make the typed error for a failure of the model's service."""
    if failure.status == QUOTA_STATUS:
        when = "" if failure.retry_after is None else f"; retry in {failure.retry_after:g} s"
        return QuotaExceeded(
            f"the model's service refused {who} for its quota{when}: {failure.message}",
            retry_after=failure.retry_after,
            text=text,
            tool_calls=tool_calls,
        )
    what = "failed" if failure.status is None else f"answered {failure.status}"
    return ModelError(
        f"the model's service {what} in a turn of {who}: {failure.message}",
        status=failure.status,
        text=text,
        tool_calls=tool_calls,
    )


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return the text without any of the secrets."""
    for secret in sorted(secrets, key=len, reverse=True):  # One may be the beginning of another.
        text = text.replace(secret, "[redacted]")
    return text


def shorten(text: str) -> str:
    """Return a service's words as one line of bearable length."""
    text = " ".join(text.split())
    return text if len(text) <= _LENGTH else f"{text[:_LENGTH]} …"


def _retry_after(text: str) -> float | None:
    for found in _RETRY_AFTER.finditer(text):
        delay, hours, minutes, seconds, header = found.groups()
        plain = delay or header
        if plain:
            return float(plain)
        if hours or minutes or seconds:
            return 3600 * float(hours or 0) + 60 * float(minutes or 0) + float(seconds or 0)
    return None
